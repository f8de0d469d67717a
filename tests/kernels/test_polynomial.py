"""Polynomial kernels against obvious twins."""

import numpy as np
import pytest

from jwnb.kernels.polynomial import straighten, straighten_frames, straighten_reads

SATURATED, UNUSABLE = np.uint8(2), np.uint32(1 << 20)
SHAPE = (2, 4, 7, 21)


def made(order: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    nints, ngroups, ny, nx = SHAPE
    data = (rng.uniform(100, 9000, (nints, 1, ny, nx)) * np.arange(1, ngroups + 1)[:, None, None]).astype(np.float32)
    groupdq = rng.choice(np.array([0, 4, 2, 6], np.uint8), SHAPE, p=[0.7, 0.1, 0.1, 0.1])
    pixeldq = rng.choice(np.array([0, 1], np.uint32), (ny, nx))
    coeffs = rng.normal(0, 1, (order + 1, ny, nx)) * np.array([5, 0.01, 1e-6, 1e-11, 1e-16, 1e-21, 1e-26])[: order + 1, None, None]
    coeffs[1] += 1
    flags = rng.choice(np.array([0, UNUSABLE, 16], np.uint32), (ny, nx), p=[0.8, 0.1, 0.1])
    coeffs[order, 2, 3] = np.nan
    coeffs[0, 2, 4] = np.nan
    coeffs[1, 3, 5] = 0.0
    return data, groupdq, pixeldq, coeffs.astype(np.float32), flags


def usable(coeffs: np.ndarray, flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bad = ((flags & UNUSABLE) != 0) | np.isnan(coeffs).any(axis=0) | (coeffs[1] == 0)
    identity = np.zeros(len(coeffs), np.float32)
    identity[1] = 1
    return np.where(bad, identity[:, None, None], coeffs), bad


def horner(coeffs: np.ndarray, values: np.ndarray) -> np.ndarray:
    total = np.zeros_like(values)
    for c in coeffs[::-1]:
        total = total * values + c
    return total


@pytest.mark.parametrize("order", [1, 2, 4, 6])
def test_straighten(order: int) -> None:
    data, groupdq, pixeldq, coeffs, flags = made(order)
    straight, combined = straighten(data, groupdq, pixeldq, coeffs, flags, SATURATED, UNUSABLE)
    good, bad = usable(coeffs, flags)
    assert 3 <= bad.sum() < bad.size
    np.testing.assert_array_equal(straight, np.where(groupdq & SATURATED, data, horner(good, data)))
    np.testing.assert_array_equal(straight[:, :, bad], data[:, :, bad])
    np.testing.assert_array_equal(combined, pixeldq | flags | np.where(bad, UNUSABLE, np.uint32(0)))


def test_straighten_frames_keeps_zeros() -> None:
    data, _, _, coeffs, flags = made(3)
    frames = data[:, 0].copy()
    frames[:, ::2, 5] = 0.0
    good, _ = usable(coeffs, flags)
    expected = np.where(frames == 0, np.float32(0), horner(good, frames))
    np.testing.assert_array_equal(straighten_frames(frames, coeffs, flags, UNUSABLE), expected)


def plain_reads(data: np.ndarray, groupdq: np.ndarray, coeffs: np.ndarray, inverse: np.ndarray, nreads: int) -> np.ndarray:
    out = data.copy()
    nints, ngroups, ny, nx = data.shape
    for i, y, x in np.ndindex(nints, ny, nx):
        ramp, flags = data[i, :, y, x], (groupdq[i, :, y, x] & SATURATED) != 0
        c, b = coeffs[:, y, x], inverse[:, y, x].astype(np.float64)
        straight = np.where(flags, ramp, [horner(c, v) for v in ramp])
        last = max(int((~flags).sum()) - 1, 2) - 1
        rate = (straight[last] - straight[0]) / (last * nreads)
        for g in range(ngroups):
            times = g * nreads + np.arange(nreads) - (nreads - 1) / 2
            reads = np.array([horner(b, straight[0] + rate * t) for t in times])
            reads += ramp[g] - reads.mean()
            if not flags[g]:
                out[i, g, y, x] = np.mean([horner(c.astype(np.float64), r) for r in reads])
    return out


@pytest.mark.parametrize("nreads", [2, 5])
def test_straighten_reads(nreads: int) -> None:
    data, groupdq, pixeldq, coeffs, flags = made(3)
    inverse = np.zeros((3, *SHAPE[2:]), np.float32)
    inverse[1], inverse[2] = 1.0, -1e-6
    inverse[2, 6, 6] = np.nan
    straight, combined = straighten_reads(data, groupdq, pixeldq, coeffs, inverse, flags, nreads, SATURATED, UNUSABLE)
    (good, bad), (bend, unbendable) = usable(coeffs, flags), usable(inverse, flags)
    np.testing.assert_allclose(straight, plain_reads(data, groupdq, good, bend, nreads), rtol=3e-7)
    np.testing.assert_array_equal(combined, pixeldq | flags | np.where(bad | unbendable, UNUSABLE, np.uint32(0)))


def test_reads_of_a_bent_ramp_come_out_straight() -> None:
    # Truth: reads bent by a quadratic, averaged by eight; straightening the means alone leaves the bend within a group.
    nreads, rate, bend = 8, 120.0, 4e-6
    coeffs = np.zeros((6, 1, 1), np.float32)
    for k, value in enumerate([0, 1, bend, 2 * bend**2, 5 * bend**3, 14 * bend**4]):  # the inverse series of v - bend v^2
        coeffs[k] = value
    inverse = np.array([0, 1, -bend], np.float32)[:, None, None]
    counts = rate * np.arange(1, 5 * nreads + 1)
    data = (counts - bend * counts**2).reshape(5, nreads).mean(axis=1).astype(np.float32)[None, :, None, None]
    truth = counts.reshape(5, nreads).mean(axis=1)
    none = np.zeros((1, 1), np.uint32)
    args = (data, np.zeros(data.shape, np.uint8), none, coeffs)
    by_read, _ = straighten_reads(*args, inverse, none, nreads, SATURATED, UNUSABLE)
    by_mean, _ = straighten(*args, none, SATURATED, UNUSABLE)
    assert np.abs(by_read[0, :, 0, 0] - truth).max() < 0.01 < 0.1 < np.abs(by_mean[0, :, 0, 0] - truth).max()
