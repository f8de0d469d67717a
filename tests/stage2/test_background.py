"""background, subtract_images and what image2 makes of associations with background members."""

import functools
import json
from pathlib import Path
from typing import Any

import helpers_flux as h
import numpy as np
import pytest
from helpers import freeze
from stdatamodels.jwst.datamodels import CubeModel, ImageModel, RampModel

import jwnb
from jwnb import cli
from jwnb.dq import PIXEL
from jwnb.errors import CalibrationWarning, InputError, MissingFileError, ParameterError, WrongExposureError
from jwnb.stage2.background import background, combined_background, subtract_images
from jwnb.step import share

SIDE = h.SIDE
JUMP = PIXEL["JUMP_DET"]


@functools.cache
def template(shape: tuple[int, ...], where: tuple[tuple[str, Any], ...]) -> Any:
    """Making a model reads its schema, which is slow; each is made once and shared."""
    model = h.rate(shape, **dict(where))
    model.meta.bunit_data = "DN/s"
    return model


def target(shape: tuple[int, ...] = (SIDE, SIDE), **where: Any) -> Any:
    """A rate or rateints with some NaN and no flags."""
    model = share(template(shape, tuple(where.items())))
    model.instance["data"], model.instance["dq"] = model.data.copy(), np.zeros(shape, np.uint32)
    return model


def sky(value: float = 2.0, shape: tuple[int, ...] = (SIDE, SIDE), *, noise: float = 0.0, seed: int = 1, **where: Any) -> Any:
    """A rate or rateints of nothing but sky, with error 0.5 and no flags."""
    model = target(shape, **where)
    model.instance["data"] = np.random.default_rng(seed).normal(value, noise, shape).astype(np.float32)
    model.instance["err"] = np.full(shape, 0.5, np.float32)
    model.meta.filename = f"jw09999002001_02101_{seed:05}_nrca1_rate.fits"
    return model


# The step ---------------------------------------------------------------------------------------------------------------


def test_one_background_is_subtracted_from_every_plane() -> None:
    for shape in ((SIDE, SIDE), (3, SIDE, SIDE)):
        model, member = freeze(target(shape)), freeze(sky(2.5))
        out = background(model, bkg_list=member)
        np.testing.assert_array_equal(out.data, model.data - np.float32(2.5))
        np.testing.assert_array_equal(out.err, model.err)
        assert type(out) is type(model)
        assert out.meta.cal_step.bkg_subtract == "COMPLETE"
        assert model.meta.cal_step.bkg_subtract is None


def test_mean_leaves_out_what_stands_out_and_has_an_honest_error() -> None:
    members = [sky(2, noise=0.1, seed=k) for k in range(12)]
    members[4].data[10:20, 10:20] += 100
    out = background(target(), bkg_list=members, save_combined_background=True)
    made = combined_background(out)
    assert made is not None
    assert np.abs(made.data - 2).max() < 6 * 0.1 / np.sqrt(11)
    np.testing.assert_allclose(made.err[12, 12], 0.5 / np.sqrt(11), rtol=1e-6)
    np.testing.assert_array_equal(out.data, target().data - made.data)
    wide = background(target(), bkg_list=members, sigma=4.0, save_combined_background=True)
    np.testing.assert_allclose(combined_background(wide).data[12, 12], 2 + 100 / 12, rtol=0.05)


def test_once_and_until_nothing_more_goes() -> None:
    """Two outliers of very different size: the smaller shows only after the larger is gone."""
    values = [0.0] * 14 + [5.0, 1000.0]
    members = [sky(v, seed=k + 1) for k, v in enumerate(values)]
    once, all_gone = (
        combined_background(background(target(), bkg_list=members, maxiters=n, save_combined_background=True)) for n in (1, None)
    )
    np.testing.assert_allclose(once.data, 5 / 15, rtol=1e-6)
    assert not all_gone.data.any()


def test_too_few_to_leave_any_out_is_said() -> None:
    members = [sky(v, seed=k + 1) for k, v in enumerate([2, 2, 2, 2, 2, 2, 90])]
    out = background(target(), bkg_list=members)
    assert any("cannot lie 3 standard deviations" in line for line in jwnb.ledger(out)[-1]["notes"])
    np.testing.assert_array_equal(out.data, target().data - np.float32((12 + 90) / 7))
    better = background(target(), bkg_list=members, sigma=2.0)
    np.testing.assert_array_equal(better.data, target().data - np.float32(2))
    assert not any("cannot lie" in line for line in jwnb.ledger(better)[-1]["notes"])


def test_integrations_are_averaged_first_and_clipped_by_themselves() -> None:
    member = sky(2, (11, SIDE, SIDE))
    member.data[3, 5, 5], member.err[4, 6, 6], member.data[:, 7, 7], member.dq[9, 8, 8] = 500, 30, np.nan, JUMP
    with pytest.warns(CalibrationWarning, match="1 good pixels have no value in any background"):
        out = background(target(), bkg_list=[member], save_combined_background=True)
    made = combined_background(out)
    np.testing.assert_array_equal(made.data, np.where(np.arange(SIDE**2).reshape(SIDE, SIDE) == 7 * SIDE + 7, 0, 2))
    np.testing.assert_allclose(made.err[6, 6], 0.5, rtol=1e-6)
    assert out.dq[8, 8] == made.dq[8, 8] == JUMP
    assert out.data[7, 7] == target().data[7, 7]


def test_flags_of_all_are_combined_and_nan_is_left_out() -> None:
    members = [sky(1), sky(3, seed=2)]
    members[0].dq[4, 4], members[1].dq[4, 4], members[0].data[5, 6] = 4, 1, np.nan
    model = target()
    model.dq[4, 4] = 2
    model.data[9, 9] = np.nan
    out = background(model, bkg_list=members)
    assert out.dq[4, 4] == 7
    assert model.dq[4, 4] == 2
    assert out.data[5, 6] == model.data[5, 6] - np.float32(3)
    assert np.isnan(out.data[9, 9])


def test_where_a_background_is_nan_and_flagged_nobody_is_warned() -> None:
    member = sky()
    member.data[5, 6], member.dq[5, 6] = np.nan, PIXEL["DO_NOT_USE"]
    out = background(target(), bkg_list=member)
    assert out.dq[5, 6] == PIXEL["DO_NOT_USE"]


@pytest.mark.parametrize("corner", [(1, 1), (9, 13), (20, 5)])
def test_backgrounds_of_other_subarrays_lie_where_they_lie(corner: tuple[int, int]) -> None:
    """Truth: sky that grows over the detector is taken off to nothing, whatever part of it a background shows."""
    y, x = np.mgrid[:64, :64].astype(np.float32)
    slope = x + 100 * y

    def cut(x0: int, y0: int, n: int, seed: int) -> Any:
        model = sky(shape=(n, n), seed=seed, corner=(x0, y0), subarray="SUB64P")
        model.data = slope[y0 - 1 : y0 - 1 + n, x0 - 1 : x0 - 1 + n].copy()
        return model

    image = cut(*corner, 24, 1)
    inside, whole = cut(corner[0] + 4, corner[1] + 6, 10, 2), cut(1, 1, 64, 3)
    assert not background(image, bkg_list=[whole]).data.any()
    assert not background(image, bkg_list=[inside, whole]).data.any()
    with pytest.warns(CalibrationWarning, match=f"{24 * 24 - 100} good pixels have no value"):
        part = background(image, bkg_list=[inside])
    covered = np.zeros((24, 24), bool)
    covered[6:16, 4:14] = True
    np.testing.assert_array_equal(part.data, np.where(covered, 0, image.data))


def test_no_pixel_in_common() -> None:
    image, far = sky(corner=(1, 1), subarray="SUB64P"), sky(corner=(101, 1), subarray="SUB64P", seed=2)
    with (
        pytest.raises(InputError, match="none of the backgrounds .*has a pixel in common.*32×32 pixels from \\(1, 1\\)"),
        pytest.warns(CalibrationWarning, match="no pixels in common"),
    ):
        background(image, bkg_list=[far])
    with pytest.warns(CalibrationWarning, match="00002_nrca1_rate.fits has no pixels in common"):
        assert not background(image, bkg_list=[far, sky(seed=3, subarray="SUB64P")]).data.any()


def test_paths_and_models_give_the_same(tmp_path: Path) -> None:
    members = [sky(2, noise=1, seed=k) for k in (1, 2, 3)] + [sky(2, (4, SIDE, SIDE), noise=1, seed=4)]
    paths = [jwnb.save(m, tmp_path / f"b{k}_rate.fits") for k, m in enumerate(members)]
    image = jwnb.save(target(), tmp_path / "image_rate.fits")
    one = background(target(), bkg_list=members, sigma=1.5)
    for given in (paths, [str(p) for p in paths], (*members[:2], *paths[2:])):
        np.testing.assert_array_equal(background(image, bkg_list=given, sigma=1.5).data, one.data)
    np.testing.assert_array_equal(background(image, bkg_list=str(paths[0])).data, background(target(), bkg_list=members[:1]).data)


def test_piece_is_the_same_pixels_of_the_whole() -> None:
    members = [sky(2, noise=1, seed=k) for k in (1, 2, 3)]
    whole = background(target(), bkg_list=members, sigma=1.3)
    piece = background(jwnb.cutout(target(), x=(2, 19), y=(4, 11)), bkg_list=members, sigma=1.3)
    np.testing.assert_array_equal(piece.data, whole.data[4:11, 2:19])
    np.testing.assert_array_equal(piece.dq, whole.dq[4:11, 2:19])


def test_nothing_given_is_skipped() -> None:
    for given in (None, (), []):
        out = background(target(), bkg_list=given)
        assert out.meta.cal_step.bkg_subtract == "SKIPPED"
        assert jwnb.ledger(out)[-1]["reason"] == "no background members were given"
        np.testing.assert_array_equal(out.data, target().data)


def test_combined_background_says_what_it_is(tmp_path: Path) -> None:
    out = background(target(), bkg_list=[sky()], save_combined_background=True)
    made = combined_background(out)
    assert isinstance(made, ImageModel)
    assert (made.meta.bunit_data, made.meta.instrument.detector, made.meta.subarray.xsize) == ("DN/s", "NRCA1", SIDE)
    assert made.meta.filename == "jw09999001001_02101_00001_nrca1_combinedbackground.fits"
    again = jwnb.open(jwnb.save(made, tmp_path / made.meta.filename))
    np.testing.assert_array_equal(again.data, made.data)
    assert "00001_nrca1_rate.fits" in jwnb.ledger(again)[-1]["notes"][-1]
    assert combined_background(background(target(), bkg_list=[sky()])) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instrument.detector": "NRCB1"}, "its DETECTOR is NRCB1, not NRCA1"),
        ({"instrument.name": "NIRISS"}, "its INSTRUME is NIRISS, not NIRCAM"),
        ({"bunit_data": "MJy/sr"}, "is MJy/sr, not DN/s"),
    ],
)
def test_what_cannot_be_subtracted(change: dict[str, str], message: str) -> None:
    model, other = target(), sky()
    for path, value in change.items():
        other[f"meta.{path}"] = value
    with pytest.raises(InputError, match=message):
        background(model, bkg_list=[other])
    with pytest.raises(InputError, match=message):
        subtract_images(model, subtract=other)


def test_other_bad_members(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a RampModel; images or integrations"):
        background(target(), bkg_list=[RampModel((1, 2, SIDE, SIDE))])
    with pytest.raises(MissingFileError):
        background(target(), bkg_list=[tmp_path / "none_rate.fits"])
    bare = sky()
    del bare.instance["err"]
    with pytest.raises(InputError, match="'err' array"):
        background(target(), bkg_list=[bare])
    torn = sky()
    torn.instance["dq"] = torn.dq[:4]
    with pytest.raises(InputError, match="DQ has the shape"):
        background(target(), bkg_list=[torn])
    for wrong in ({"sigma": 0.0}, {"sigma": -1.0}, {"maxiters": 0}, {"bkg_list": 5}, {"bkg_list": [5]}):
        with pytest.raises(ParameterError):
            background(target(), **wrong)


def test_odd_members_are_said() -> None:
    other = sky()
    other.meta.instrument.filter = "F444W"
    with pytest.warns(CalibrationWarning, match=r"was taken with FILTER F444W, not F200W"):
        background(target(), bkg_list=[other])
    other = sky()
    other.meta.cal_step.bkg_subtract = "COMPLETE"
    with pytest.warns(CalibrationWarning, match="its own background subtracted already"):
        background(target(), bkg_list=[other])
    with pytest.warns(CalibrationWarning, match="is the exposure itself"):
        background(target(), bkg_list=[target()])


@pytest.mark.parametrize(
    ("instrument", "kind"), [("NIRISS", "NIS_SOSS"), ("NIRISS", "NIS_WFSS"), ("NIRCAM", "NRC_WFSS"), ("MIRI", "MIR_WFSS")]
)
def test_slitless_spectra_are_refused(instrument: str, kind: str) -> None:
    model = target()
    model.meta.instrument.name, model.meta.exposure.type = instrument, kind
    with pytest.raises(WrongExposureError, match=f"{kind}.*not in this version"):
        background(model, bkg_list=[sky()])


def test_tilt_of_the_grating_wheel() -> None:
    model, member = target(), sky()
    for one in (model, member):
        one.meta.instrument.name, one.meta.instrument.detector, one.meta.exposure.type = "NIRSPEC", "NRS1", "NRS_IMAGE"
        one.meta.instrument.filter = one.meta.instrument.pupil = None
        one.meta.instrument.gwa_xtilt = one.meta.instrument.gwa_ytilt = 0.1
    assert background(model, bkg_list=[member]).meta.cal_step.bkg_subtract == "COMPLETE"
    member.meta.instrument.gwa_ytilt = 0.1 + 1e-6
    skipped = background(model, bkg_list=[member])
    assert skipped.meta.cal_step.bkg_subtract == "SKIPPED"
    assert "gwa_ytilt" in jwnb.ledger(skipped)[-1]["reason"]
    member.meta.instrument.gwa_xtilt = None
    with pytest.raises(InputError, match="set meta.instrument.gwa_xtilt"):
        background(model, bkg_list=[member])


# The difference of two images -------------------------------------------------------------------------------------------


def test_difference() -> None:
    one, other = freeze(h.rate()), freeze(h.rate(seed=2))
    out = subtract_images(one, subtract=other)
    np.testing.assert_array_equal(out.data, one.data - other.data)
    np.testing.assert_allclose(out.err, np.sqrt(one.err**2 + other.err**2), rtol=1e-6)
    np.testing.assert_array_equal(out.var_rnoise, one.var_rnoise + other.var_rnoise)
    np.testing.assert_array_equal(out.dq, one.dq | other.dq)
    assert out.dq.dtype == np.uint32
    assert [e["step"] for e in jwnb.ledger(out)] == ["subtract_images"]


def test_error_of_the_difference_is_honest() -> None:
    rng = np.random.default_rng(4)
    one, other = sky(shape=(SIDE, SIDE)), sky(shape=(SIDE, SIDE), seed=2)
    one.err[:], other.err[:] = 3, 4
    one.data, other.data = (rng.normal(7, s, one.data.shape).astype(np.float32) for s in (3, 4))
    out = subtract_images(one, subtract=other)
    np.testing.assert_allclose((out.data / out.err).std(), 1, atol=0.1)


def test_difference_of_integrations_and_of_a_larger_image(tmp_path: Path) -> None:
    cube, image = h.rate((3, SIDE, SIDE)), h.rate(seed=2)
    np.testing.assert_array_equal(subtract_images(cube, subtract=image).data, cube.data - image.data)
    other = h.rate((3, SIDE, SIDE), seed=3)
    out = subtract_images(cube, subtract=jwnb.save(other, tmp_path / "b_rateints.fits"))
    np.testing.assert_array_equal(out.data, cube.data - other.data)
    assert isinstance(out, CubeModel)
    large = h.rate((50, 60), seed=4)
    shifted = h.rate(corner=(11, 7), subarray="SUB32")
    np.testing.assert_array_equal(subtract_images(shifted, subtract=large).data, shifted.data - large.data[6:38, 10:42])


def test_differences_that_cannot_be_made() -> None:
    with pytest.raises(ParameterError, match="needs what to subtract"):
        subtract_images(h.rate())
    with pytest.raises(InputError, match="not all pixels of"):
        subtract_images(h.rate(), subtract=h.rate((16, 16)))
    for shape in ((SIDE, SIDE), (2, SIDE, SIDE)):
        with pytest.raises(InputError, match="has 3 integrations and .* the shape"):
            subtract_images(h.rate(shape), subtract=h.rate((3, SIDE, SIDE)))
    bare = h.rate()
    del bare.instance["err"]
    with pytest.raises(InputError, match="has no ERR"):
        subtract_images(h.rate(), subtract=bare)


# image2 on associations -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(stage1: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rates and their integrations, three backgrounds of 4 DN/s and little noise, all beside each other."""
    tmp_path = tmp_path_factory.mktemp("level2")
    rng = np.random.default_rng(3)
    for k, name in enumerate(("a", "b")):
        for suffix, model in (("rate", stage1.rate), ("rateints", stage1.rateints)):
            copied = model.copy()
            copied.data += 4 + k
            jwnb.save(copied, tmp_path / f"{name}_{suffix}.fits")
    for k in range(3):
        empty = stage1.rate.copy()
        empty.data = rng.normal(4, 0.01, empty.data.shape).astype(np.float32)
        empty.dq = np.zeros_like(empty.dq)
        jwnb.save(empty, tmp_path / f"sky{k}_rate.fits")
    return tmp_path


@pytest.fixture
def folder(pinned: Any, files: Path) -> Path:
    return files


def association(folder: Path, *products: tuple[str, list[str], list[str]]) -> Path:
    made = [
        {
            "name": name,
            "members": [{"expname": m, "exptype": "science"} for m in science] + [{"expname": m, "exptype": "background"} for m in sky],
        }
        for name, science, sky in products
    ]
    path = folder / "jw_image2_00001_asn.json"
    path.write_text(json.dumps({"asn_type": "image2", "asn_pool": "jw_pool.csv", "products": made}))
    return path


SKIES = ["sky0_rate.fits", "sky1_rate.fits", "sky2_rate.fits"]


def test_each_product_with_its_backgrounds(folder: Path, stage1: Any, tmp_path: Path) -> None:
    path = association(
        folder, ("first", ["a_rate.fits"], SKIES), ("second", ["b_rate.fits"], []), ("third", ["b_rateints.fits"], SKIES[:1])
    )
    options = {"background": {"sigma": 2.0, "save_combined_background": True}}
    first, second, third = jwnb.image2(path, skip=("resample",), options=options, keep=("bsub",))
    assert first.suffixes == ("bsub", "combinedbackground", "cal")
    assert second.suffixes == ("cal",)
    assert third.suffixes == ("bsubints", "combinedbackground", "calints")
    good = np.isfinite(first.bsub.data)
    np.testing.assert_allclose(first.bsub.data[good], stage1.rate.data[good], atol=0.05)
    np.testing.assert_allclose(first.combinedbackground.data, 4, atol=0.05)
    assert first.combinedbackground.meta.bunit_data == "DN/s"
    assert first.cal.meta.bunit_data == "MJy/sr"
    assert (first.cal.meta.asn.table_name, first.cal.meta.asn.pool_name) == (path.name, "jw_pool.csv")
    assert [m.meta.filename for m in first.made.values()] == ["first_bsub.fits", "first_combinedbackground.fits", "first_cal.fits"]
    lines = {e["step"]: e for e in jwnb.ledger(first.cal)}
    assert lines["background"]["status"] == first.cal.meta.cal_step.bkg_subtract == "COMPLETE"
    assert lines["background"]["parameters"]["sigma"] == 2.0
    assert jwnb.ledger(second.cal)[-5]["reason"] == "no background members were given"
    assert "combined_background" not in first.cal.meta.jwnb
    assert third.calints.meta.cal_step.bkg_subtract == "COMPLETE"
    assert [p.name for p in third.save(tmp_path / "out")] == ["third_bsubints.fits", "third_combinedbackground.fits", "third_calints.fits"]


def test_subtracting_first_gives_the_cal_of_the_difference(folder: Path, stage1: Any) -> None:
    made = jwnb.image2(association(folder, ("p", ["a_rate.fits"], SKIES)), skip=("resample",)).cal
    alone = jwnb.image2(background(folder / "a_rate.fits", bkg_list=[folder / s for s in SKIES]), skip=("resample",)).cal
    for name in ("data", "err", "dq", "var_poisson"):
        np.testing.assert_array_equal(getattr(made, name), getattr(alone, name))


def test_backgrounds_without_an_association(folder: Path) -> None:
    made = jwnb.image2(folder / "a_rate.fits", skip=("resample",), options={"background": {"bkg_list": [folder / SKIES[0]]}})
    assert made.cal.meta.cal_step.bkg_subtract == "COMPLETE"
    listed = association(folder, ("p", ["a_rate.fits"], SKIES))
    left_out = jwnb.image2(listed, skip=("resample", "background"), keep=("bsub",))
    assert left_out.suffixes == ("cal",)
    assert left_out.cal.meta.cal_step.bkg_subtract == "SKIPPED"
    again = jwnb.image2(listed, skip=("resample",), options={"background": {"bkg_list": [folder / SKIES[0]]}})
    np.testing.assert_array_equal(again.cal.data, made.cal.data)


def test_associations_that_cannot_be_done(folder: Path) -> None:
    with pytest.raises(InputError, match=r"'p' has 2 science members \(a_rate.fits, b_rate.fits\).*a product of its own"):
        jwnb.image2(association(folder, ("first", ["a_rate.fits"], []), ("p", ["a_rate.fits", "b_rate.fits"], SKIES)))
    with pytest.raises(MissingFileError, match=r"sky7_rate\.fits.*Did you mean"):
        jwnb.image2(association(folder, ("first", ["a_rate.fits"], []), ("p", ["b_rate.fits"], ["sky7_rate.fits"])))
    path = association(folder, ("p", ["a_rate.fits"], SKIES))
    with pytest.raises(ParameterError, match="background has no option 'sigmas'. Did you mean 'sigma'"):
        jwnb.image2(path, options={"background": {"sigmas": 2.0}})
    for wrong in ({"background": 5}, 5):
        with pytest.raises(ParameterError, match="mapping of mappings"):
            jwnb.image2(path, options=wrong)


def test_subtracted_twice_is_refused(folder: Path) -> None:
    done = background(folder / "a_rate.fits", bkg_list=[folder / SKIES[0]])
    jwnb.save(done, folder / "c_bsub.fits")
    with pytest.raises(InputError, match="has been through background already"):
        jwnb.image2(association(folder, ("p", ["c_bsub.fits"], SKIES)))
    assert jwnb.image2(folder / "c_bsub.fits", skip=("resample",)).cal.meta.cal_step.bkg_subtract == "COMPLETE"


def test_command_line(folder: Path, field: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = association(folder, ("p", ["a_rate.fits"], SKIES))
    where = ["--offline-set", str(field.references), "--output-dir", str(tmp_path / "out")]
    words = ["--skip", "resample", "--keep", "bsub", "--background.sigma", "2", "--background.save-combined-background", "true"]
    assert cli.main(["run", "image2", str(path), *words, *where]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"p_bsub.fits", "p_combinedbackground.fits", "p_cal.fits"}
    assert (
        cli.main(["run", "background", str(folder / "a_rate.fits"), "--bkg-list", f"{folder / SKIES[0]},{folder / SKIES[1]}", *where]) == 0
    )
    assert jwnb.open(tmp_path / "out" / "a_background.fits").meta.cal_step.bkg_subtract == "COMPLETE"
    capsys.readouterr()
