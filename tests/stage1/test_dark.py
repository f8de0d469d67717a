"""dark_current: truth, what is read, what is kept, and darks that do not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import freeze, make_ramp, make_reference
from stdatamodels.jwst.datamodels import DarkMIRIModel, DarkModel, DarkNirspecModel, RampModel

import jwnb
from jwnb import dq
from jwnb.errors import CalibrationWarning, MissingReferenceError
from jwnb.references.lazy import LazyReference
from jwnb.stage1.dark import averages

PLANE = (12, 16)


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    averages.clear()


def exposure(ngroups: int, nframes: int = 1, groupgap: int = 0, **changes: Any) -> RampModel:
    return make_ramp(np.full((2, ngroups, *PLANE), 100.0), **({"exposure.nframes": nframes, "exposure.groupgap": groupgap} | changes))


def dark(nplanes: int, nframes: int = 1, groupgap: int = 0, plane: tuple[int, int] = PLANE, model: type = DarkModel) -> DarkModel:
    """Return a dark whose plane k is k everywhere."""
    data = np.arange(nplanes, dtype=np.float32)[:, None, None] * np.ones(plane, np.float32)
    made = make_reference(model, plane, "dark", data=data, dq=np.zeros(plane, np.uint32))
    made.meta.exposure.nframes, made.meta.exposure.groupgap = nframes, groupgap
    return made


def subtracted(ramp: RampModel, out: RampModel) -> list[float]:
    return list((ramp.data - out.data)[0, :, 3, 3])


@pytest.mark.parametrize(
    ("groups", "own", "expected"),
    [
        ((3, 1, 0), (5, 1, 0), [0, 1, 2]),
        ((3, 4, 0), (12, 1, 0), [1.5, 5.5, 9.5]),
        ((3, 2, 3), (12, 1, 0), [0.5, 5.5, 10.5]),
        ((3, 4, 2), (3, 4, 2), [0, 1, 2]),
        ((2, 4, 2), (6, 2, 0), [0.5, 3.5]),  # a dark of pairs of frames: two pairs a group, one pair left out
    ],
)
def test_each_group_loses_the_mean_of_its_frames(groups: tuple[int, ...], own: tuple[int, ...], expected: list[float]) -> None:
    ramp = freeze(exposure(*groups))
    out = jwnb.dark_current(ramp, reference=freeze(dark(*own)))
    assert subtracted(ramp, out) == expected
    assert out.groupdq is ramp.groupdq and out.meta.cal_step.dark_sub == "COMPLETE"


@pytest.mark.parametrize("own", [(9, 3, 0), (9, 1, 1), (9, 2, 1)])
def test_darks_whose_groups_do_not_divide_the_exposures_are_skipped(own: tuple[int, ...]) -> None:
    ramp = exposure(2, 4, 1)
    out = jwnb.dark_current(ramp, reference=dark(*own))
    assert out.meta.cal_step.dark_sub == "SKIPPED" and out.data is ramp.data
    assert f"{own[1]} frames a group" in jwnb.ledger(out)[-1]["reason"]


def test_a_short_dark_goes_on_along_its_last_two_frames() -> None:
    ramp = exposure(3, 2, 1)
    with pytest.warns(CalibrationWarning, match="needs 8 frames of dark and the reference has 4"):
        out = jwnb.dark_current(ramp, reference=dark(4))
    assert subtracted(ramp, out) == [0.5, 3.5, 6.5]
    one = jwnb.dark_current(ramp, reference=dark(1))
    assert one.meta.cal_step.dark_sub == "SKIPPED"


def test_nan_counts_as_zero_and_flags_are_passed_on() -> None:
    reference = dark(4)
    reference.data[1, 3, 3] = np.nan
    reference.dq[3, 3] = dq.PIXEL["HOT"]
    ramp = exposure(1, 4)
    ramp.pixeldq[3, 3] = dq.PIXEL["DEAD"]
    out = jwnb.dark_current(ramp, reference=reference)
    assert subtracted(ramp, out) == [(0 + 0 + 2 + 3) / 4]
    assert out.pixeldq[3, 3] == dq.pixel("HOT", "DEAD") and out.pixeldq.sum() == out.pixeldq[3, 3]


def test_zeroframe_is_not_changed() -> None:
    ramp = exposure(2, **{"exposure.zero_frame": True})
    ramp.zeroframe = np.ones((2, *PLANE), np.float32)
    assert jwnb.dark_current(ramp, reference=dark(2)).zeroframe is ramp.zeroframe


def test_later_integrations_of_miri_get_the_last_of_the_dark() -> None:
    data = np.arange(2 * 3, dtype=np.float32).reshape(2, 3, 1, 1) * np.ones(PLANE, np.float32)
    flags = np.zeros((2, 1, *PLANE), np.uint32)
    flags[0, 0, 0, 0], flags[1, 0, 0, 1] = 1, 2
    reference = make_reference(DarkMIRIModel, PLANE, "dark", data=data, dq=flags)
    reference.meta.instrument.name, reference.meta.instrument.detector = "MIRI", "MIRIMAGE"
    reference.meta.exposure.nframes, reference.meta.exposure.groupgap = 1, 0
    ramp = make_ramp(np.full((3, 2, *PLANE), 100.0), **{"instrument.name": "MIRI", "instrument.detector": "MIRIMAGE"})
    out = jwnb.dark_current(ramp, reference=reference)
    np.testing.assert_array_equal((ramp.data - out.data)[:, :, 3, 3], [[0, 1], [3, 4], [3, 4]])
    assert list(out.pixeldq[0, :3]) == [1, 2, 0]
    ramp.meta.exposure.integration_start = 5
    np.testing.assert_array_equal((ramp.data - jwnb.dark_current(ramp, reference=reference).data)[:, 0, 3, 3], [3, 3, 3])


def test_nirspec_darks_are_taken() -> None:
    reference = dark(3, model=DarkNirspecModel)
    reference.meta.instrument.name, reference.meta.instrument.detector = "NIRSPEC", "NRS1"
    ramp = exposure(3, **{"instrument.name": "NIRSPEC", "instrument.detector": "NRS1"})
    assert subtracted(ramp, jwnb.dark_current(ramp, reference=reference)) == [0, 1, 2]


def test_average_dark_current_comes_from_the_caller_the_image_or_the_value() -> None:
    reference = dark(2)
    ramp = exposure(2)
    assert not jwnb.dark_current(ramp, reference=reference).average_dark_current.any()
    reference.meta.exposure.average_dark_current = 0.25
    assert (jwnb.dark_current(ramp, reference=reference).average_dark_current == 0.25).all()
    reference.average_dark_current = np.full(PLANE, 0.5, np.float32)
    assert (jwnb.dark_current(ramp, reference=reference).average_dark_current == 0.5).all()
    given = jwnb.dark_current(ramp, reference=reference, average_dark_current=0.75).average_dark_current
    assert (given == 0.75).all() and given.shape == PLANE and given.dtype == np.float32


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "dark.fits"
    rng = np.random.default_rng(2)
    reference = dark(14)
    reference.data = rng.normal(5, 1, (14, *PLANE)).astype(np.float32)
    reference.save(str(path))
    return path


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    read: list[Any] = []
    original = LazyReference.read

    def counting(self: LazyReference, name: str = "SCI", index: Any = None, **options: Any) -> np.ndarray:
        if name == "SCI":
            read.append(index)
        return original(self, name, index, **options)

    monkeypatch.setattr(LazyReference, "read", counting)
    return read


def test_only_the_frames_needed_are_read_and_only_once(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = count_reads(monkeypatch)
    ramp = exposure(3, 2, 3)
    first = jwnb.dark_current(ramp, reference=saved)
    assert read == [(0,), (1,), (5,), (6,), (10,), (11,)]
    again = jwnb.dark_current(ramp, reference=saved)
    assert len(read) == 6
    np.testing.assert_array_equal(first.data, again.data)
    jwnb.dark_current(exposure(3, 2, 2), reference=saved)
    assert len(read) == 12


def test_file_and_model_agree_and_without_room_nothing_is_kept(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = exposure(3, 4, 1)
    kept = jwnb.dark_current(ramp, reference=saved).data
    read = count_reads(monkeypatch)
    with jwnb.settings.using(reference_cache_mb=0):
        streamed = jwnb.dark_current(ramp, reference=saved).data
    assert len(read) == 12
    np.testing.assert_array_equal(streamed, kept)
    np.testing.assert_array_equal(jwnb.dark_current(ramp, reference=DarkModel(str(saved))).data, kept)


def test_a_changed_file_is_read_again(saved: Path) -> None:
    ramp = exposure(2)
    before = jwnb.dark_current(ramp, reference=saved).data
    changed = DarkModel(str(saved))
    changed.data = changed.data + 1
    saved.unlink()
    changed.save(str(saved))
    np.testing.assert_allclose(jwnb.dark_current(ramp, reference=saved).data, before - 1, atol=1e-4)


def test_the_dark_is_cut_to_the_subarray(saved: Path) -> None:
    whole = jwnb.dark_current(exposure(3, 4, 1), reference=saved).data
    part = make_ramp(
        np.full((2, 3, 5, 6), 100.0),
        **{"exposure.nframes": 4, "exposure.groupgap": 1, "subarray.xstart": 4, "subarray.ystart": 3},
    )
    np.testing.assert_array_equal(jwnb.dark_current(part, reference=saved).data, whole[:, :, 2:7, 3:9])


def test_a_dark_of_another_size_is_refused() -> None:
    with pytest.raises(MissingReferenceError):
        jwnb.dark_current(exposure(2), reference=dark(2, plane=(8, 8)))
