"""dark_current against `jwst` on the same exposure and reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance.peer_stage1 import assert_close, run_jwst
from helpers import freeze, make_ramp, make_reference
from jwst.dark_current import DarkCurrentStep
from stdatamodels.jwst.datamodels import DarkMIRIModel, DarkModel, RampModel

import jwnb
from jwnb import dq
from jwnb.errors import CalibrationWarning

pytestmark = pytest.mark.peer

PLANE = (24, 40)


def exposure(ngroups: int, nframes: int = 1, groupgap: int = 0, *, nints: int = 2, **changes: Any) -> RampModel:
    rng = np.random.default_rng(5)
    data = rng.normal(1000, 50, (nints, ngroups, *PLANE))
    data[rng.random(data.shape) < 0.01] = np.nan
    ramp = make_ramp(data, **({"exposure.nframes": nframes, "exposure.groupgap": groupgap, "exposure.zero_frame": True} | changes))
    ramp.groupdq = rng.choice(np.array([0, 2, 4], np.uint8), data.shape)
    ramp.pixeldq = rng.choice(np.array([0, 1, 4], np.uint32), PLANE)
    ramp.zeroframe = data[:, 0].astype(np.float32)
    return ramp


def dark(nplanes: int, nframes: int = 1, groupgap: int = 0, *, nints: int = 0, plane: tuple[int, int] = PLANE) -> Any:
    """Return a dark that grows, with NaN, flags and a mean dark current; `nints` integrations make it MIRI's."""
    rng = np.random.default_rng(6)
    leading = (nints,) if nints else ()
    data = rng.normal(0.5, 3, (*leading, nplanes, *plane)) + 7.0 * np.arange(nplanes)[:, None, None]
    data[rng.random(data.shape) < 0.02] = np.nan
    flags = rng.choice(np.array([0, 1, 0, dq.PIXEL["HOT"], dq.PIXEL["WARM"]], np.uint32), (nints, 1, *plane) if nints else plane)
    model = make_reference(DarkMIRIModel if nints else DarkModel, plane, "dark", data=data.astype(np.float32), dq=flags)
    model.meta.exposure.nframes, model.meta.exposure.groupgap, model.meta.exposure.ngroups = nframes, groupgap, nplanes
    model.meta.exposure.average_dark_current = 0.03
    return model


def compare(ramp: RampModel, reference: Any, options: dict[str, Any] | None = None) -> RampModel:
    model = not isinstance(reference, Path)
    ours = jwnb.dark_current(freeze(ramp), reference=freeze(reference) if model else reference, **(options or {}))
    theirs = run_jwst(DarkCurrentStep, ramp, options, dark=reference)
    assert ours.meta.cal_step.dark_sub == "COMPLETE" == theirs.meta.cal_step.dark_sub
    assert_close(ours.data, theirs.data, float(np.nanmax(ramp.data)))
    for name in ("pixeldq", "groupdq", "zeroframe", "average_dark_current"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype, name
    assert np.nanmax(np.abs(ours.data - ramp.data)) > 5.0
    return ours


@pytest.mark.parametrize(
    ("groups", "planes"),
    [((5, 1, 0), 5), ((4, 1, 0), 9), ((3, 4, 1), 14), ((2, 8, 2), 18), ((3, 2, 0), 6), ((1, 4, 0), 4), ((3, 1, 3), 10)],
)
def test_frames_are_averaged_as_the_exposure_was(groups: tuple[int, int, int], planes: int) -> None:
    compare(exposure(*groups), dark(planes))


def test_a_dark_of_the_same_groups_is_taken_as_it_is() -> None:
    compare(exposure(3, 4, 2), dark(4, 4, 2))


@pytest.mark.parametrize(("groups", "planes"), [((5, 1, 0), 3), ((3, 4, 1), 9), ((4, 2, 3), 11)])
def test_a_short_dark_is_extrapolated(groups: tuple[int, int, int], planes: int) -> None:
    with pytest.warns(CalibrationWarning, match="extrapolated"):
        compare(exposure(*groups), dark(planes))


@pytest.mark.parametrize("own", [(5, 4, 0), (5, 2, 2)])
def test_a_dark_that_would_have_to_be_split_is_not_used(own: tuple[int, int, int]) -> None:
    ramp = exposure(3, 2, 1)
    ours, theirs = jwnb.dark_current(ramp, reference=dark(*own)), run_jwst(DarkCurrentStep, ramp, dark=dark(*own))
    assert ours.meta.cal_step.dark_sub == "SKIPPED" == theirs.meta.cal_step.dark_sub
    np.testing.assert_array_equal(ours.data, theirs.data)
    np.testing.assert_array_equal(ours.pixeldq, theirs.pixeldq)


def miri(nints: int, groups: tuple[int, int, int], first: int = 1) -> RampModel:
    changes = {
        "instrument.name": "MIRI", "instrument.detector": "MIRIMAGE", "exposure.type": "MIR_IMAGE", "exposure.integration_start": first,
        "exposure.integration_end": first + nints - 1, "instrument.channel": None, "instrument.module": None,
        "instrument.filter": "F770W", "instrument.pupil": None,
    }  # fmt: skip
    return exposure(*groups, nints=nints, **changes)


def miri_dark(*args: int, **kwargs: Any) -> DarkMIRIModel:
    model = dark(*args, **kwargs)
    model.meta.instrument.name, model.meta.instrument.detector = "MIRI", "MIRIMAGE"
    return model


@pytest.mark.parametrize("groups", [(4, 1, 0), (2, 2, 1)])
@pytest.mark.parametrize(("nints", "first", "dark_nints"), [(1, 1, 1), (3, 1, 2), (2, 1, 2), (3, 4, 2), (1, 1, 3)])
def test_darks_with_several_integrations(groups: tuple[int, int, int], nints: int, first: int, dark_nints: int) -> None:
    compare(miri(nints, groups, first), miri_dark(6, nints=dark_nints))


def test_a_late_segment_shorter_than_the_dark_gets_the_darks_last_integration() -> None:
    # jwst averages only as many integrations of the dark as the segment has, and subtracts an empty last one.
    ramp, reference = miri(1, (2, 2, 1), first=4), miri_dark(6, nints=3)
    ours, theirs = jwnb.dark_current(ramp, reference=reference), run_jwst(DarkCurrentStep, ramp, dark=reference)
    np.testing.assert_array_equal(theirs.data, ramp.data)
    expected = np.nan_to_num(reference.data[2, :2]).mean(axis=0)
    there = ~np.isnan(ramp.data[0, 0])
    np.testing.assert_allclose((ramp.data[0, 0] - ours.data[0, 0])[there], expected[there], atol=2e-4)


@pytest.mark.parametrize("options", [{}, {"average_dark_current": 0.5}, {"average_dark_current": 0.0}])
def test_average_dark_current(options: dict[str, Any]) -> None:
    ours = compare(exposure(2), dark(2), options)
    assert np.unique(ours.average_dark_current) == np.float32(options.get("average_dark_current", 0.03))


def test_an_image_of_the_average_dark_current_is_used() -> None:
    # jwst means to, but compares its shape with that of an attribute that is not there yet, and leaves it out.
    reference = dark(2)
    reference.average_dark_current = np.linspace(0, 1, PLANE[0] * PLANE[1], dtype=np.float32).reshape(PLANE)
    ramp = exposure(2)
    assert run_jwst(DarkCurrentStep, ramp, dark=reference).average_dark_current is None
    np.testing.assert_array_equal(jwnb.dark_current(ramp, reference=reference).average_dark_current, reference.average_dark_current)


def test_files_with_their_own_flags(tmp_path: Path) -> None:
    reference = dark(14)
    reference.dq = np.random.default_rng(1).integers(0, 4, PLANE).astype(np.uint32)
    reference.dq_def = np.array(
        [(0, 1, "HOT", "hot"), (1, 2, "UNRELIABLE_DARK", "unreliable")],
        dtype=[("BIT", "u4"), ("VALUE", "u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")],
    )
    path = tmp_path / "dark.fits"
    from astropy.io import fits

    reference.save(str(path))
    with fits.open(path, mode="update") as opened:  # `save` writes standard bits; a reference file has its own
        opened["DQ"].data = np.random.default_rng(1).integers(0, 4, PLANE).astype(np.uint32)
    ours = compare(exposure(3, 4, 1), path)
    assert (ours.pixeldq & dq.PIXEL["UNRELIABLE_DARK"]).any()
    again = compare(exposure(3, 4, 1), path)
    np.testing.assert_array_equal(ours.data, again.data)
