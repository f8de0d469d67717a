"""background against `jwst` on the same exposures and the same backgrounds, and image2 on associations with background members."""

import functools
import json
import warnings
from pathlib import Path
from typing import Any

import helpers_flux as h
import numpy as np
import pytest
from conformance.conftest import Observation
from conformance.peer_crds import crds_cache
from conformance.peer_image2 import assert_same_arrays
from conformance.peer_pipelines import Both, arrays, chosen, quiet, run_jwst
from conformance.peer_pipelines import assert_same_arrays as assert_same_products

import jwnb
from jwnb.stage2.background import background, combined_background
from jwnb.step import share

pytestmark = pytest.mark.peer

SIDE = h.SIDE
ARRAYS = ("data", "err", "dq", "var_poisson", "var_rnoise")
PLANE, CUBE = (SIDE, SIDE), (4, SIDE, SIDE)


@functools.cache
def template(shape: tuple[int, ...], where: tuple[tuple[str, Any], ...]) -> Any:
    """Making a model reads its schema, which is slow; each is made once and shared."""
    return h.rate(shape, **dict(where))


def exposure(shape: tuple[int, ...] = PLANE, **where: Any) -> Any:
    return share(template(shape, tuple(where.items())))


def sky(shape: tuple[int, ...] = PLANE, *, seed: int, **where: Any) -> Any:
    """A background with sources, NaN, infinities and flags."""
    rng = np.random.default_rng(100 + seed)
    data, err = rng.normal(10, 3, shape).astype(np.float32), rng.uniform(0.1, 1, shape).astype(np.float32)
    for array in (data, err):
        array[rng.random(shape) < 0.05] *= 20
        array[rng.random(shape) < 0.03] = np.nan
    data[rng.random(shape) < 0.005] = np.inf
    data[..., 20, 20], data[..., 21, 21] = np.nan, -3
    dq = rng.choice([0, 0, 0, 0, 1, 2, 4, 1024], shape).astype(np.uint32)
    return filled(exposure(shape, **where), f"sky{seed}", data=data, err=err, dq=dq)


def even(value: float, shape: tuple[int, ...], *, name: str = "sky", **where: Any) -> Any:
    data, err = np.full(shape, value, np.float32), np.full(shape, 0.5, np.float32)
    return filled(exposure(shape, **where), name, data=data, err=err, dq=np.zeros(shape, np.uint32))


def filled(model: Any, name: str, **arrays: Any) -> Any:
    model.instance.update(arrays)
    model.meta.filename = f"{name}_rate.fits"
    return model


def run_peer(model: Any, members: Any, **options: Any) -> tuple[Any, Any]:
    """Return what `jwst` makes of a copy of `model`, and its combined background."""
    from jwst.background import BackgroundStep

    step, combined = BackgroundStep(**options), []
    step.save_combined_background = True
    step.save_model = lambda made, **_: combined.append(made)
    with quiet():
        done = step.process(model.copy(), members)
    return done, combined[0] if combined else None


def subtracted(model: Any, members: Any, **options: Any) -> Any:
    """Return what jwnb makes of it; that some pixels have no background is warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwnb.errors.CalibrationWarning)
        return background(model, bkg_list=members, **options)


def compare(model: Any, members: list[Any], **options: Any) -> Any:
    """Compare the result and the combined background; integrations are summed in single precision by `jwst`, in double here."""
    theirs, their_mean = run_peer(model, members, **options)
    ours = subtracted(model, members, save_combined_background=True, **options)
    mean = combined_background(ours)
    assert mean is not None
    np.testing.assert_array_equal(mean.dq, their_mean.dq)
    for name in ("data", "err"):
        mine, other = getattr(mean, name), getattr(their_mean, name)
        assert mine.dtype == other.dtype == np.float32
        if model.data.ndim == 2:
            np.testing.assert_array_equal(mine, other, err_msg=name)
        else:
            np.testing.assert_allclose(mine, other, rtol=5e-7, err_msg=name)
    if model.data.ndim == 2:
        assert_same_arrays(ours, theirs, ARRAYS)
    else:
        assert_same_arrays(ours, theirs, ARRAYS[1:])
        np.testing.assert_allclose(ours.data, theirs.data, rtol=5e-7, atol=5e-7 * float(np.nanmax(np.abs(mean.data))))
    assert ours.meta.cal_step.bkg_subtract == theirs.meta.cal_step.bkg_subtract == "COMPLETE"
    return mean


LOW, ONCE = {"sigma": 1.2}, {"sigma": 1.2, "maxiters": 1}


@pytest.mark.parametrize(
    ("number", "options"), [(1, {}), (2, {}), (3, {}), (3, LOW), (6, {}), (6, LOW), (6, ONCE), (12, {}), (12, LOW), (12, ONCE)]
)
def test_images(number: int, options: dict[str, Any]) -> None:
    mean = compare(exposure(), [sky(seed=k) for k in range(number)], **options)
    plain = np.mean([sky(seed=k).data for k in range(number)], axis=0)
    if (number > 2 and options) or number > 8:
        assert (np.abs(mean.data - plain)[np.isfinite(plain)] > 0.1).any(), "something must have been clipped"


@pytest.mark.parametrize(("integrations", "options"), [(1, {}), (2, {}), (9, {}), (9, LOW), (9, ONCE), (40, LOW)])
def test_integrations(integrations: int, options: dict[str, Any]) -> None:
    """The number of integrations need not be that of the exposure. Pixels that no integration has are looked at further below."""
    members = [sky((integrations, SIDE, SIDE), seed=k) for k in range(3)]
    for k, member in enumerate(members):
        for array in (member.data, member.err):
            lost = ~np.isfinite(array).any(axis=0)
            array[:, lost] = 3 + k
    compare(exposure(CUBE), members, **options)


@pytest.mark.parametrize("shape", [PLANE, CUBE])
def test_larger_backgrounds_are_cut(shape: tuple[int, ...]) -> None:
    model = exposure(shape, corner=(5, 9), subarray="SUB64P")
    members = [sky((*shape[:-2], 48, 52), seed=k, corner=(1, 1)) for k in range(2)]
    for member in members:
        for array in (member.data, member.err):
            array[~np.isfinite(array)] = 2
    compare(model, members)


def test_backgrounds_that_end_before_the_exposure_does() -> None:
    """One of three covers only the first rows and columns, which is the one place where `jwst` puts a smaller background right."""
    compare(exposure(), [sky(seed=1), sky(seed=2), sky((24, 23), seed=3)])


def test_one_that_lies_elsewhere() -> None:
    compare(exposure(), [sky(seed=1), sky(seed=2, corner=(101, 101), subarray="SUB64P")])


def test_files(tmp_path: Path) -> None:
    paths = [jwnb.save(sky(seed=k), tmp_path / f"b{k}_rate.fits") for k in range(3)]
    theirs, _ = run_peer(exposure(), [str(p) for p in paths])
    assert_same_arrays(subtracted(exposure(), paths), theirs, ARRAYS)
    theirs, _ = run_peer(exposure(), None, bkg_list=[str(p) for p in paths])
    assert_same_arrays(subtracted(exposure(), paths), theirs, ARRAYS)


def test_none_is_skipped_by_both() -> None:
    theirs, _ = run_peer(exposure(), [])
    ours = background(exposure(), bkg_list=())
    assert_same_arrays(ours, theirs, ARRAYS)
    assert ours.meta.cal_step.bkg_subtract == theirs.meta.cal_step.bkg_subtract == "SKIPPED"


@pytest.mark.parametrize("shift", [0, 1e-6])
def test_tilt_of_the_grating_wheel(shift: float) -> None:
    model, member = exposure(), sky(seed=1)
    for one, tilt in ((model, 0.1), (member, 0.1 + shift)):
        one.meta.instrument.name, one.meta.instrument.detector, one.meta.exposure.type = "NIRSPEC", "NRS1", "NRS_IMAGE"
        one.meta.instrument.filter = one.meta.instrument.pupil = None
        one.meta.instrument.gwa_xtilt, one.meta.instrument.gwa_ytilt = 0.1, tilt
    theirs, _ = run_peer(model, [member])
    ours = subtracted(model, [member])
    assert_same_arrays(ours, theirs, ARRAYS)
    assert ours.meta.cal_step.bkg_subtract == theirs.meta.cal_step.bkg_subtract == ("SKIPPED" if shift else "COMPLETE")


# Deliberate differences -------------------------------------------------------------------------------------------------


def test_a_small_background_in_the_middle() -> None:
    """`jwst` puts it into the first corner: the sky is taken off where it was not measured, and stays where it was."""
    model, small = even(5, PLANE, name="image"), even(5, (10, 10), corner=(11, 6), subarray="SUB64P")
    theirs, _ = run_peer(model, [small])
    with pytest.warns(jwnb.errors.CalibrationWarning, match="no value in any background"):
        ours = background(model, bkg_list=[small])
    assert not ours.data[5:15, 10:20].any() and (ours.data == 0).sum() == 100
    assert not theirs.data[:10, :10].any() and (theirs.data == 0).sum() == 100
    assert (theirs.data[10:15, 10:20] == 5).all()


def test_integrations_of_which_none_has_a_value() -> None:
    """`jwst` counts such a pixel as a sky of 0: of two backgrounds of 6 DN/s, of which one is NaN there, it takes 3."""
    model, members = even(6, CUBE, name="image"), [even(6, CUBE), even(6, CUBE)]
    members[1].data[:, 4, 4] = np.nan
    theirs, _ = run_peer(model, members)
    ours = background(model, bkg_list=members)
    assert not ours.data.any()
    assert (theirs.data[:, 4, 4] == 3).all() and (theirs.data == 0).sum() == theirs.data.size - len(theirs.data)
    far = even(6, CUBE, corner=(17, 1), subarray="SUB64P")
    theirs, _ = run_peer(model, [members[0], far])
    ours = background(model, bkg_list=[members[0], far])
    assert not ours.data.any()
    assert (theirs.data[..., 16:] == 3).all()


@pytest.mark.parametrize(("shape", "other"), [(PLANE, CUBE), (CUBE, PLANE)])
def test_rates_and_integrations_mixed(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    """`jwst` ends in an error where the backgrounds have other axes than the exposure."""
    model, member = even(6, shape, name="image"), even(6, other)
    with pytest.raises((ValueError, IndexError)):
        run_peer(model, [member])
    assert not background(model, bkg_list=[member]).data.any()


# image2 -----------------------------------------------------------------------------------------------------------------


def as_background(source: Path, target: Path) -> Path:
    """Copy a product, with a value in each pixel that is NaN in all integrations, which `jwst` would count as 0."""
    model = jwnb.open(source)
    for array in (model.data, model.err):
        if array.ndim == 3:
            array[:, np.isnan(array).all(axis=0)] = 1
    return jwnb.save(model, target)


@pytest.mark.parametrize("suffix", ["rate", "rateints"])
def test_association(averaged: Observation, stage1_of_both: list[Both], suffix: str, tmp_path: Path) -> None:
    """Rates of the practice field serve as backgrounds of the first: no good sky, but every kind of pixel."""
    science = stage1_of_both[0].pair(suffix)[1]
    members = [as_background(both.pair(suffix)[1], tmp_path / f"sky{k}_{suffix}.fits") for k, both in enumerate(stage1_of_both)]
    listed = [{"expname": str(science), "exptype": "science"}] + [{"expname": str(m), "exptype": "background"} for m in members]
    asn = tmp_path / "jw09999_image2_00001_asn.json"
    content = {"asn_type": "image2", "asn_rule": "Asn_Lv2Image", "program": "09999", "asn_pool": "jw_pool.csv"}
    asn.write_text(json.dumps({**content, "products": [{"name": "jw09999001001_field", "members": listed}]}))
    options, without = {"sigma": 1.2, "save_combined_background": True}, {"resample": {"skip": True}}
    both = Both(tmp_path / "ours", tmp_path / "theirs")
    with crds_cache(averaged.crds), warnings.catch_warnings():
        warnings.simplefilter("ignore", jwnb.errors.CalibrationWarning)
        run_jwst("Image2Pipeline", asn, both.theirs, {"bkg_subtract": {**options, "save_results": True}, **without})
        made = jwnb.image2(asn, keep=("bsub",), **chosen({"background": options, **without}))
    made.save(both.ours)
    ints = "ints" if suffix == "rateints" else ""
    names = {f"bsub{ints}", "combinedbackground", f"cal{ints}"}
    assert both.suffixes == (names, names)
    assert {p.name for p in both.ours.iterdir()} == {p.name for p in both.theirs.iterdir()}
    for name in names - {"combinedbackground"}:
        assert_same_products(both, name)
    mine, other = (arrays(path) for path in both.pair("combinedbackground"))
    assert set(mine) == set(other)
    for name in mine:
        np.testing.assert_allclose(mine[name], other[name], rtol=5e-7, err_msg=name)
    assert (mine["SCI"] > 1).mean() > 0.5
    calibrated = made.made[f"cal{ints}"]
    assert calibrated.meta.asn.instance == jwnb.open(both.pair(f"cal{ints}")[1]).meta.asn.instance
