"""Sky levels of regions, and levels that make overlaps agree."""

import numpy as np
import pytest

from jwnb.errors import ParameterError
from jwnb.stage3.sky_levels import Level, Pair, Statistic, matching_levels, measure
from jwnb.stage3.sky_overlap import region, whole

SHAPE = (150, 170)


def noise(sky=10.0, sigma=0.5, seed=0):
    return np.random.default_rng(seed).normal(sky, sigma, SHAPE).astype(np.float32)


@pytest.mark.parametrize(("name", "within"), [("mean", 0.02), ("median", 0.02), ("midpt", 0.03), ("mode", 0.15)])
def test_the_sky_is_found_beside_stars_and_bad_pixels(name, within):
    values = noise()
    values[20:30, 30:40] += 500
    values[::7, ::11] = np.nan
    values[3, 4] = 1e6
    (level,) = measure(values, [whole(SHAPE)], Statistic(name))
    assert level.value == pytest.approx(10, abs=within)
    clipped = int(np.isfinite(values).sum()) - level.pixels
    assert 95 < clipped < 120


@pytest.mark.parametrize("nclip", [0, 3])
@pytest.mark.parametrize("odd", [False, True])
def test_medians_are_exact(nclip, odd):
    values = noise(seed=3)
    if odd:
        values[7, 7] = np.nan
    (level,) = measure(values, [whole(SHAPE)], Statistic("median", nclip=nclip, lsigma=50, usigma=50))
    assert level.value == float(np.median(values[np.isfinite(values)]))
    few = np.full(SHAPE, np.nan, np.float32)
    few[0, : 2 + odd] = [1, 5, 7][: 2 + odd]
    (level,) = measure(few, [whole(SHAPE)], Statistic("median", nclip=nclip))
    assert level == Level(5.0 if odd else 3.0, 2 + odd)


def test_limits():
    values = noise()
    (level,) = measure(values, [whole(SHAPE)], Statistic("mean", lower=10.0, nclip=0))
    kept = values[values >= 10]
    assert level.value == pytest.approx(kept.astype(float).mean(), rel=1e-7)
    assert level.pixels == kept.size
    (level,) = measure(values, [whole(SHAPE)], Statistic("mean", lower=9.5, upper=10.5, nclip=0))
    assert level.pixels == ((values >= 9.5) & (values <= 10.5)).sum()


def test_regions_without_a_pixel_have_no_level():
    values = noise()
    values[:50] = np.nan
    inside, outside, empty = (region([box], SHAPE) for box in (square(60, 90), square(5, 30), square(300, 400)))
    for name in ("mode", "median", "mean", "midpt"):
        levels = measure(values, [outside, inside, empty], Statistic(name))
        assert [level is None for level in levels] == [True, False, True]
        assert measure(values, [empty], Statistic(name)) == [None]
        assert measure(values, [whole(SHAPE)], Statistic(name, lower=100.0)) == [None]


def square(low, high):
    return np.array([low, high, high, low, low], float), np.array([low, low, high, high, low], float)


@pytest.mark.parametrize("name", ["mode", "median", "mean", "midpt"])
def test_a_constant_image(name):
    (level,) = measure(np.full(SHAPE, 4, np.float32), [whole(SHAPE)], Statistic(name))
    assert level == Level(4.0, SHAPE[0] * SHAPE[1])


def test_a_region_is_measured_by_itself():
    """What is found does not depend on what else is measured, nor on the way that clipping takes."""
    values = noise()
    values[:, 100:] += 40  # so that the core of the image is none of its parts'
    parts = [region([square(10 * k, 10 * k + 45)], SHAPE) for k in range(10)]
    for name in ("mode", "median", "mean", "midpt"):
        together = measure(values, parts, Statistic(name))
        alone = [measure(values, [part], Statistic(name))[0] for part in parts]
        assert together == alone
        own = np.full(SHAPE, np.nan, np.float32)
        own[:46, :46] = values[:46, :46]
        assert measure(own, [parts[0]], Statistic(name))[0].value == pytest.approx(together[0].value, rel=1e-6)


def test_bins_without_number_are_refused():
    with pytest.raises(ParameterError, match="binwidth"):
        measure(noise(sigma=100), [whole(SHAPE)], Statistic(binwidth=1e-7))


def pair(i, j, difference, pixels=100):
    return Pair(i, j, Level(5 + difference, pixels), Level(5, pixels))


def test_levels_give_back_what_overlaps_show():
    truth = np.array([0.3, -0.1, 0.5, 0.0])
    pairs = [pair(i, j, truth[i] - truth[j], pixels=10 * (i + j)) for i, j in ((0, 1), (1, 2), (2, 3), (0, 3))]
    levels, sets = matching_levels(4, pairs)
    assert levels - levels.min() == pytest.approx(truth - truth.min(), abs=1e-12)
    assert len(set(sets)) == 1


def test_pairs_that_disagree_count_by_their_pixels():
    weights = {(0, 1): 400, (1, 2): 100, (0, 2): 100}
    differences = {(0, 1): 1.0, (1, 2): 1.0, (0, 2): 2.3}
    levels, _ = matching_levels(3, [pair(*ij, differences[ij], weights[ij]) for ij in weights])
    levels -= levels[2]
    found = np.array([levels[i] - levels[j] for i, j in weights])
    residuals, w = np.array(list(differences.values())) - found, np.array(list(weights.values())) ** 2
    # The gradient of the sum of squares is nothing for each level.
    assert w[0] * residuals[0] + w[2] * residuals[2] == pytest.approx(0, abs=1e-6)
    assert -w[0] * residuals[0] + w[1] * residuals[1] == pytest.approx(0, abs=1e-6)
    assert abs(residuals[0]) < abs(residuals[1])


def test_sets_that_hang_together_and_images_alone():
    levels, sets = matching_levels(6, [pair(0, 2, 0.4), pair(3, 4, -0.2)])
    assert np.isnan(levels[[1, 5]]).all()
    assert levels[0] - levels[2] == pytest.approx(0.4)
    assert levels[4] - levels[3] == pytest.approx(0.2)
    assert levels[0] + levels[2] == pytest.approx(0)
    assert sets[0] == sets[2] != sets[3] == sets[4]
    levels, sets = matching_levels(2, [])
    assert np.isnan(levels).all()
    assert len(set(sets)) == 2
