"""Bad input, end to end: a clear error before any pixel is touched, or SKIPPED with its reason; nothing lost or half-written."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
from astropy.io import fits
from helpers import make_image, make_ramp, make_reference
from stdatamodels.jwst.datamodels import (
    DarkModel,
    FlatModel,
    GainModel,
    ImageModel,
    NrcImgPhotomModel,
    RampModel,
    ReadnoiseModel,
    SuperBiasModel,
)

import jwnb
from jwnb import cli, step
from jwnb.errors import (
    CalibrationWarning,
    InputError,
    JwnbError,
    MissingFileError,
    MissingReferenceError,
    ParameterError,
    WrongExposureError,
)
from jwnb.models import Exposures, check_folder
from jwnb.references.opening import lazy_reference, open_reference
from jwnb.references.resolver import resolve


@pytest.fixture
def untouched(pinned, monkeypatch):
    """Make every step fail the test: what is refused here is refused before any of them runs."""

    def touched(made, *_):
        raise AssertionError(f"{made.name} ran")

    monkeypatch.setattr(step, "_run", touched)
    return pinned


@pytest.fixture
def inputs_stay(field):
    """The files of the observation are the same afterwards, and nothing lies beside them."""

    def everything():
        return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(field.folder.rglob("*")) if p.is_file()}

    before = everything()
    yield
    assert everything() == before


@pytest.fixture
def run(field, tmp_path, capsys):
    """Run a command line with the field's references; give its exit code, what it wrote, and what it said."""

    def main(*words, code=1):
        assert cli.main(["run", *map(str, words), "--offline-set", str(field.references), "--output-dir", str(tmp_path / "out")]) == code
        said = capsys.readouterr().err
        assert "Traceback" not in said
        if code:
            assert len(said.strip().splitlines()) == 1
        return said

    return main


def edited(model, **changes):
    """Return a copy with other metadata (dots as two underscores)."""
    out = model.copy()
    for name, value in changes.items():
        *parents, last = name.split("__")
        node = out.meta
        for parent in parents:
            node = getattr(node, parent)
        setattr(node, last, value)
    return out


def with_groups(ramp, n):
    out = edited(ramp, exposure__ngroups=n)
    out.data, out.groupdq = ramp.data[:, :n].copy(), ramp.groupdq[:, :n].copy()
    return out


def reference(field, kind):
    return next(p for p in field.references.iterdir() if f"_{kind}_" in p.name)


def named(step_name, reftype):
    """Return what a step calls its reference of a type."""
    return next(p.name for p in step.find_step(step_name).references if p.reference.reftype == reftype)


def reason(model, name):
    return next(e for e in jwnb.ledger(model) if e["step"] == name)["reason"]


# References -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gain", "readnoise"])
def test_a_reference_without_a_finite_value_is_refused(untouched, kind):
    nothing = GainModel(str(reference(untouched, kind))) if kind == "gain" else jwnb.open(reference(untouched, kind)).copy()
    nothing.data = np.full_like(nothing.data, np.nan)
    with pytest.raises(MissingReferenceError, match=f"the {kind} reference has no finite value .* pass another {kind} reference"):
        jwnb.detector1(untouched.uncal[0], options={"jump": {kind: nothing}})


def test_steps_refuse_it_too_and_gain_that_is_partly_nan_is_normal():
    rng = np.random.default_rng(1)
    ramp = make_ramp(rng.normal(100, 10, (1, 5, 8, 8)).cumsum(axis=1))
    values = np.full((8, 8), 2.0, np.float32)
    values[0] = np.nan
    readnoise = make_reference(ReadnoiseModel, (8, 8), "readnoise", data=np.full((8, 8), 5.0, np.float32))
    some = make_reference(GainModel, (8, 8), "gain", data=values)
    none = make_reference(GainModel, (8, 8), "gain", data=np.full((8, 8), np.nan, np.float32))
    assert np.isfinite(jwnb.ramp_fit(jwnb.jump(ramp, gain=some, readnoise=readnoise), gain=some, readnoise=readnoise).rate.data[1:]).all()
    for made in (jwnb.jump, jwnb.ramp_fit):
        with pytest.raises(MissingReferenceError, match="gain reference has no finite value"):
            made(ramp, gain=none, readnoise=readnoise)


@pytest.mark.parametrize(
    ("step_name", "option", "kind", "wanted"),
    [
        ("dark_current", "reference", "gain", "the dark reference .* is a gain reference .REFTYPE=GAIN.; pass a dark reference"),
        ("dq_init", "reference", "gain", "the mask reference .* is a gain reference"),
        ("linearity", "reference", "gain", "the linearity reference .* is a gain reference"),
        ("jump", "gain", "dark", "the gain reference .* is a dark reference"),
        ("jump", "readnoise", "gain", "the readnoise reference .* is a gain reference"),
    ],
)
def test_a_reference_of_another_type_is_refused(untouched, step_name, option, kind, wanted):
    with pytest.raises(InputError, match=wanted):
        jwnb.detector1(untouched.uncal[0], options={step_name: {option: reference(untouched, kind)}})


@pytest.mark.parametrize(
    ("step_name", "reftype", "kind"),
    [
        ("assign_wcs", "distortion", "gain"),
        ("photom", "photom", "gain"),
        ("flat_field", "flat", "gain"),
        ("flat_field", "flat", "distortion"),
        ("photom", "area", "flat"),
    ],
)
def test_image2_refuses_a_reference_of_another_type(untouched, stage1, step_name, reftype, kind):
    with pytest.raises(InputError, match=f"the {reftype} reference .* is a {kind} reference"):
        jwnb.image2(stage1.rate, options={step_name: {named(step_name, reftype): reference(untouched, kind)}})


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (lambda whole: b"", "is empty"),
        (lambda whole: b"<html>not found</html>", "is not a FITS file"),
        (lambda whole: whole[:-100], "is truncated: its .* not a whole number"),
        (lambda whole: whole[: 2880 * 10], "is truncated: its headers ask for"),
    ],
    ids=["empty", "web page", "cut off", "cut at a block"],
)
@pytest.mark.parametrize(("step_name", "option", "kind"), [("jump", "gain", "gain"), ("dark_current", "reference", "dark")])
def test_a_reference_that_cannot_be_read_is_refused(untouched, tmp_path, content, wanted, step_name, option, kind):
    bad = tmp_path / "bad.fits"
    bad.write_bytes(content(reference(untouched, kind).read_bytes()))
    with pytest.raises(InputError, match=rf"the {kind} reference cannot be used: .*bad\.fits {wanted}"):
        jwnb.detector1(untouched.uncal[0], options={step_name: {option: bad}})


def test_an_asdf_reference_that_cannot_be_read_is_refused(untouched, stage1, tmp_path):
    bad = tmp_path / "bad.asdf"
    for content in (b"hello", reference(untouched, "distortion").read_bytes()[:300]):
        bad.write_bytes(content)
        with pytest.raises(InputError, match=r"the distortion reference cannot be used: .*bad\.asdf"):
            jwnb.image2(stage1.rate, options={"assign_wcs": {"distortion": bad}})


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"instrument__name": "MIRI"}, "is for instrument MIRI; .* is of NIRCAM"),
        ({"instrument__detector": "NRCB1"}, "is for detector NRCB1"),
    ],
)
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_reference_of_another_detector_is_refused(untouched, tmp_path, changes, wanted, on_disk):
    with GainModel(str(reference(untouched, "gain"))) as gain:
        other = edited(gain, **changes)
    if on_disk:
        other.save(tmp_path / "gain.fits")
        other = tmp_path / "gain.fits"
    with pytest.raises(MissingReferenceError, match=f"the gain reference .* {wanted}"):
        jwnb.detector1(untouched.uncal[0], options={"jump": {"gain": other}})


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize(("kind", "option", "step_name"), [("gain", "gain", "jump"), ("superbias", "reference", "superbias"),
                                                           ("dark", "reference", "dark_current")])  # fmt: skip
def test_a_reference_of_the_wrong_shape_is_refused(untouched, tmp_path, kind, option, step_name, on_disk):
    """Its keywords say that it fits: compiled code that believed them would read beyond the array."""
    ramp, model_class = jwnb.open(untouched.uncal[0]), {"gain": GainModel, "superbias": SuperBiasModel, "dark": DarkModel}[kind]
    with model_class(str(reference(untouched, kind))) as whole:
        small = whole.copy()
    for name, part in list(small.instance.items()):
        if isinstance(part, np.ndarray) and part.dtype.names is None:
            small.instance[name] = part[..., :100, :100].copy()
    if on_disk:
        small.save(tmp_path / "small.fits")
        small = tmp_path / "small.fits"
    with pytest.raises(MissingReferenceError, match="100×100 pixels.*160×160"):
        jwnb.detector1(ramp, options={step_name: {option: small}})
    with pytest.raises(MissingReferenceError, match="100×100 pixels.*160×160"):
        opener = lazy_reference if kind == "dark" else open_reference  # what the step itself would do
        opener(resolve(ramp, kind, small), model_class, ramp)


def test_flags_of_another_shape_than_the_reference_are_refused(untouched, stage1):
    with FlatModel(str(reference(untouched, "flat"))) as flat:
        odd = flat.copy()
    odd.dq = odd.dq[:50].copy()
    with pytest.raises(MissingReferenceError, match="DQ has 160×50 pixels"):
        jwnb.image2(stage1.rate, options={"flat_field": {"reference": odd}})


def test_a_reference_without_its_array_is_refused(untouched, tmp_path):
    with fits.open(reference(untouched, "gain")) as hdus:
        fits.HDUList([hdus[0]]).writeto(tmp_path / "gain.fits")
    with pytest.raises(InputError, match="gain reference gain.fits has no SCI array"):
        jwnb.detector1(untouched.uncal[0], options={"jump": {"gain": tmp_path / "gain.fits"}})


def test_a_photom_reference_with_an_empty_table_is_refused(pinned, stage1):
    with NrcImgPhotomModel(str(reference(pinned, "photom"))) as photom:
        empty = photom.copy()
    empty.phot_table = empty.phot_table[:0]
    with pytest.raises(MissingReferenceError, match="no table, or an empty one"):
        jwnb.photom(stage1.rate, photom=empty)


def test_something_else_than_a_reference_is_refused(untouched, stage1):
    with pytest.raises(InputError, match="a gain reference is a model, a path or 'N/A'; a int was given"):
        jwnb.detector1(untouched.uncal[0], options={"jump": {"gain": 5}})
    with pytest.raises(InputError, match="flat reference is a FlatModel .* a ImageModel was given"):
        jwnb.image2(stage1.rate, options={"flat_field": {"reference": stage1.rate}})


# Keywords -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keyword", ["FILTER", "PUPIL"])
def test_image2_names_the_keyword_that_photom_needs(untouched, stage1, keyword):
    rate = edited(stage1.rate, **{f"instrument__{keyword.lower()}": None})
    with pytest.raises(InputError, match=rf"image2: .*_rate\.fits lacks {keyword} \(for photom\)\. Set"):
        jwnb.image2(rate)


def test_photom_on_its_own_names_it(pinned, stage1):
    with pytest.raises(InputError, match="photom needs the keyword FILTER, missing in"):
        jwnb.photom(edited(stage1.rate, instrument__filter=None))


def test_looking_up_a_reference_names_it_where_it_decides(untouched, stage1):
    with pytest.raises(MissingReferenceError, match=r"meta\.instrument\.filter \(FILTER\) is missing, not 'F200W'"):
        jwnb.image2(edited(stage1.rate, instrument__filter=None), skip=("photom",))


@pytest.mark.parametrize(("attribute", "keyword"), [("name", "INSTRUME"), ("detector", "DETECTOR")])
def test_the_detector_must_be_known(untouched, stage1, attribute, keyword):
    with pytest.raises(InputError, match=rf"detector1: .* lacks {keyword} \(for its references\)"):
        jwnb.detector1(edited(jwnb.open(untouched.uncal[0]), **{f"instrument__{attribute}": None}))
    with pytest.raises(InputError, match=rf"image2: .* lacks {keyword}"):
        jwnb.image2(edited(stage1.rate, **{f"instrument__{attribute}": None}))


@pytest.mark.parametrize(
    ("attribute", "keyword", "steps"),
    [
        ("ra_ref", "RA_REF", "assign_wcs, resample"),
        ("dec_ref", "DEC_REF", "assign_wcs, resample"),
        ("roll_ref", "ROLL_REF", "assign_wcs, resample"),
        ("v2_ref", "V2_REF", "assign_wcs"),
        ("v3_ref", "V3_REF", "assign_wcs"),
        ("v3yangle", "V3I_YANG", "resample"),
        ("vparity", "VPARITY", "resample"),
    ],
)
def test_pointing_keywords_are_named(untouched, stage1, attribute, keyword, steps):
    with pytest.raises(InputError, match=rf"lacks {keyword} \(for {steps}\)"):
        jwnb.image2(edited(stage1.rate, **{f"wcsinfo__{attribute}": None}))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"exposure__group_time": 0.0}, "TGROUP is 0.0; it must be positive"),
        ({"exposure__group_time": float("nan")}, "TGROUP is nan; it must be positive"),
        ({"exposure__frame_time": -1.0}, "TFRAME is -1.0"),
        ({"exposure__nframes": 0}, "NFRAMES is 0"),
        ({"exposure__groupgap": -1}, "GROUPGAP is -1; it must be 0 or more"),
        ({"subarray__xstart": None}, "lacks SUBSTRT1"),
        ({"subarray__xsize": None}, r"no xstart, ystart, xsize and ysize \(SUBSTRT1"),
        ({"exposure__type": None}, "has no EXP_TYPE"),
        ({"exposure__ngroups": 9}, "NGROUPS says 9 and SCI holds 7"),
    ],
)
def test_keywords_that_cannot_be_are_refused(untouched, changes, wanted):
    with pytest.raises(InputError, match=wanted):
        jwnb.detector1(edited(jwnb.open(untouched.uncal[0]), **changes))


def test_group_scale_on_its_own_refuses_zero_frames():
    with pytest.raises(InputError, match="NFRAMES is 0; it must be positive"):
        jwnb.group_scale(make_ramp(np.ones((1, 2, 4, 4)), **{"exposure.nframes": 0}))


def test_an_unknown_exposure_type_in_a_file_gets_the_nearest(untouched, tmp_path):
    path = shutil.copy(untouched.uncal[0], tmp_path / "odd_uncal.fits")
    fits.setval(path, "EXP_TYPE", value="NRC_IMAG")
    with pytest.raises(InputError, match="EXP_TYPE 'NRC_IMAG' is not a JWST exposure type. Did you mean 'NRC_IMAGE'"):
        jwnb.detector1(path)


def test_a_keyword_of_the_wrong_kind_is_said_in_a_line(field, tmp_path):
    path = shutil.copy(field.uncal[0], tmp_path / "odd_uncal.fits")
    fits.setval(path, "TGROUP", value="long")
    with pytest.warns(CalibrationWarning, match="odd_uncal.fits: a keyword is not as .* not used: meta.exposure.group_time: 'long'"):
        jwnb.open(path)


# Few groups, no light, no pixels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_groups_go_all_the_way(pinned, n):
    made = jwnb.detector1(with_groups(jwnb.open(pinned.uncal[0]), n))
    assert made.rate.meta.cal_step.jump == "SKIPPED"
    assert reason(made.rate, "jump") == f"it takes more than 2 groups, and there are {n}"
    good = (made.rate.dq & 1) == 0
    assert good.mean() > 0.8
    assert np.isfinite(made.rate.data[good]).all()
    cal = jwnb.image2(made.rate).cal
    assert cal.meta.cal_step.photom == "COMPLETE"
    usable = (cal.dq & 1) == 0
    assert usable.mean() > 0.8
    assert np.isfinite(cal.data[usable]).all()


def test_no_groups_are_refused(untouched):
    with pytest.raises(InputError, match=r"has no pixels: its SCI is empty, \(1, 0, 160, 160\)"):
        jwnb.detector1(with_groups(jwnb.open(untouched.uncal[0]), 0))


ALL_BUT_RESAMPLE = ("tweakreg", "skymatch", "outlier_detection", "source_catalog")


def nothing_in(model):
    return not np.isfinite(np.where(model.dq & 1, np.nan, model.data)).any()


def test_every_pixel_saturated(pinned, tmp_path):
    ramp = jwnb.open(pinned.uncal[0]).copy()
    ramp.data = np.full_like(ramp.data, 65535)
    with pytest.warns(CalibrationWarning, match="no pixel has a group that can be fitted"):
        made = jwnb.detector1(ramp)
    science = (made.rate.dq & int(jwnb.dq.PIXEL["REFERENCE_PIXEL"])) == 0
    assert np.isnan(made.rate.data[science]).all()
    assert (made.rate.dq[science] & 3 == 3).all()
    with pytest.warns(CalibrationWarning, match="no input pixel could be used"):
        second = jwnb.image2(made.rate)
    assert nothing_in(second.cal)
    with pytest.warns(CalibrationWarning, match="no input pixel could be used"):
        image = jwnb.image3([second.cal, second.cal], skip=ALL_BUT_RESAMPLE).i2d
    assert np.isnan(image.data).all()
    assert not image.wht.any()
    assert any("no input pixel" in n for n in jwnb.ledger(image)[-2]["notes"])
    jwnb.save(image, tmp_path / "nothing_i2d.fits")


@pytest.mark.parametrize("what", ["flagged", "nan"])
def test_nothing_to_use(pinned, what):
    ramp = jwnb.open(pinned.uncal[0]).copy()
    if what == "nan":
        ramp.data = np.full_like(ramp.data, np.nan)
    else:
        ramp.pixeldq, ramp.groupdq = np.ones_like(ramp.pixeldq), np.ones_like(ramp.groupdq)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = jwnb.detector1(ramp)
    assert any("no pixel has a group that can be fitted" in str(w.message) for w in said)
    assert {w.category for w in said} == {CalibrationWarning}
    assert any("samples of SCI are NaN" in str(w.message) for w in said) == (what == "nan")
    science = (made.rate.dq & int(jwnb.dq.PIXEL["REFERENCE_PIXEL"])) == 0
    assert np.isnan(made.rate.data[science]).all()


def test_nan_in_some_rows_stays_there(pinned):
    ramp = jwnb.open(pinned.uncal[0]).copy()
    ramp.data = ramp.data.copy()
    ramp.data[..., 70, :] = np.nan
    with pytest.warns(CalibrationWarning, match="1120 samples of SCI are NaN or infinite: they are flagged DO_NOT_USE"):
        rate = jwnb.detector1(ramp).rate
    assert np.isnan(rate.data[70, 4:-4]).all()
    assert (rate.dq[70, 4:-4] & 1).all()
    assert np.isfinite(rate.data[69, 4:-4]).mean() > 0.9


@pytest.mark.parametrize("shape", [(1, 7, 0, 160), (0, 7, 160, 160)])
def test_arrays_without_pixels_are_refused(untouched, shape):
    ramp = jwnb.open(untouched.uncal[0]).copy()
    ramp.data, ramp.pixeldq, ramp.groupdq = np.empty(shape, np.float32), np.zeros(shape[2:], np.uint32), np.zeros(shape, np.uint8)
    with pytest.raises(InputError, match="SCI is empty|NINTS says 1 and SCI holds 0"):
        jwnb.detector1(ramp)
    empty = make_image(np.ones((0, 0)))
    with pytest.raises(InputError, match="has no pixels: its SCI is empty"):
        step._check_input(step.find_step("flat_field"), empty, {})


def test_models_without_data_are_refused(untouched, stage1):
    ramp, image = RampModel(), ImageModel()
    ramp.update(jwnb.open(untouched.uncal[0]))
    image.update(stage1.rate)
    with pytest.raises(InputError, match=r"SCI has shape \(0,\); a ramp has"):
        jwnb.detector1(ramp)
    with pytest.raises(InputError, match="has no pixels: its SCI is missing"):
        jwnb.image2(image)


@pytest.mark.parametrize("name", ["err", "var_poisson", "dq"])
def test_arrays_that_do_not_fit_are_refused(untouched, stage1, name):
    """Compiled code trusts shapes: these used to be read beyond their end."""
    rate = stage1.rate.copy()
    rate.instance[name] = rate.instance[name][:100].copy()
    with pytest.raises(InputError, match=rf"{name.upper()} has the shape \(100, 160\), and \(160, 160\) goes with SCI"):
        jwnb.image2(rate)


def test_flags_that_do_not_fit_are_begun_anew_by_dq_init_only(pinned):
    ramp = jwnb.open(pinned.uncal[0]).copy()
    ramp.groupdq = ramp.groupdq[:, :3].copy()
    made = jwnb.detector1(ramp, skip=("jump",))
    line = next(e for e in jwnb.ledger(made.rate) if e["step"] == "dq_init")
    assert line["notes"] == ["GROUPDQ has the shape (1, 3, 160, 160) where (1, 7, 160, 160) was expected, so it is started anew"]
    for refuse in (lambda: jwnb.saturation(ramp), lambda: jwnb.detector1(ramp, skip=("dq_init",))):
        with pytest.raises(InputError, match=r"GROUPDQ has the shape \(1, 3, 160, 160\)"):
            refuse()


def test_a_zeroframe_that_does_not_fit_is_refused(untouched):
    ramp = jwnb.open(untouched.uncal[0]).copy()
    ramp.zeroframe = ramp.zeroframe[:, :50].copy()
    with pytest.raises(InputError, match=r"ZEROFRAME has the shape \(1, 50, 160\)"):
        jwnb.detector1(ramp)


# Products in the wrong place ------------------------------------------------------------------------------------------


def test_what_is_calibrated_is_not_calibrated_twice(untouched, stage1, stage2):
    with pytest.raises(InputError, match=r"has been through flat_field, photom already.*skip=\('flat_field', 'photom',\)"):
        jwnb.image2(stage2.cal)
    with pytest.raises(InputError, match="has been through superbias, linearity, dark_current already"):
        jwnb.detector1(stage1.ramp)


def test_image3_refuses_what_is_not_a_calibrated_image(pinned, stage1, stage2):
    with pytest.raises(InputError, match=r"_rate\.fits has no WCS: run assign_wcs first \(image2 does\)"):
        jwnb.image3([stage2.cal, stage1.rate])
    with pytest.raises(WrongExposureError, match="image3 starts from cal images"):
        jwnb.image3([stage1.rateints])
    with pytest.raises(WrongExposureError, match="takes 2-D images; .*_rateints.fits is a CubeModel"):
        jwnb.image3([stage2.cal, stage1.rateints])


def test_exposures_may_come_as_any_list_of_paths(pinned, stage2, tmp_path):
    path = jwnb.save(stage2.cal, tmp_path / "a_cal.fits")
    expected = jwnb.image3([path, path], skip=ALL_BUT_RESAMPLE).i2d.data
    for several in (np.array([str(path), str(path)]), (p for p in (path, path)), (stage2.cal, path)):
        np.testing.assert_array_equal(jwnb.image3(several, skip=ALL_BUT_RESAMPLE).i2d.data, expected)
    np.testing.assert_array_equal(jwnb.resample(p for p in (path, path)).data, expected)


@pytest.mark.parametrize("wrong", [5, None, b"x_cal.fits", {"x_cal.fits"}, [5], [None]], ids=repr)
def test_what_is_neither_path_nor_model_is_refused(wrong):
    for take in (jwnb.image3, jwnb.resample, Exposures):
        with pytest.raises(InputError, match="a path or a data model was expected; a .* was given"):
            take(wrong)
    for take in (jwnb.open, jwnb.detector1, jwnb.image2):
        with pytest.raises(InputError, match="a path or a data model was expected"):
            take(wrong)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"options": {"jump": 5}}, "give a mapping of mappings"),
        ({"options": "jump"}, "give a mapping of mappings"),
        ({"skip": 5}, "skip=5: give a tuple of step names"),
        ({"keep": (5,)}, "keep=.5,.: give a tuple of step names"),
        ({"options": {"jump": {"rejection_threshold": "5"}}}, "rejection_threshold='5' is not a float"),
        ({"options": {"ramp_fit": {"save_opt": "yes"}}}, "save_opt='yes' is not a bool"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(untouched, arguments, wanted):
    with pytest.raises(ParameterError, match=wanted):
        jwnb.detector1(untouched.uncal[0], **arguments)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{", "neither JSON nor YAML"),
        ('{"products": 5}', "or not a list of them"),
        ('{"products": [5]}', "each product needs members"),
        ('{"products": [{"members": [{"expname": 5, "exptype": "science"}]}]}', "expname"),
        ("\xff", "asn"),
    ],
)
def test_associations_that_are_none(untouched, tmp_path, text, wanted):
    path = tmp_path / "bad_asn.json"
    path.write_bytes(text.encode("latin-1"))
    for pipeline in (jwnb.image2, jwnb.image3):
        with pytest.raises(InputError, match=wanted):
            pipeline(path)


def test_a_member_that_is_missing_is_found_before_the_first_product_is_made(untouched, stage1, tmp_path):
    jwnb.save(stage1.rate, tmp_path / "there_rate.fits")
    products = [{"name": n, "members": [{"expname": f"{n}_rate.fits", "exptype": "science"}]} for n in ("there", "not_there")]
    (tmp_path / "two_asn.json").write_text(json.dumps({"products": products}))
    for pipeline in (jwnb.image2, jwnb.image3):
        with pytest.raises(MissingFileError, match=r"not_there_rate\.fits.*Did you mean 'there_rate\.fits'"):
            pipeline(tmp_path / "two_asn.json")


# The command line, and saving -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("inputs_stay")
def test_files_that_cannot_be_read_are_one_line_and_nothing_is_written(field, run, tmp_path):
    whole = field.uncal[0].read_bytes()
    bad = tmp_path / "bad_uncal.fits"
    no_science = fits.open(field.uncal[0])
    with no_science:
        del no_science["SCI"]
        no_science.writeto(tmp_path / "nothing_uncal.fits")
    contents = [b"", b"<html>", whole[:-100], whole[: 2880 * 6], (tmp_path / "nothing_uncal.fits").read_bytes()]
    for content in contents:
        bad.write_bytes(content)
        assert "bad_uncal.fits" in run("detector1", bad)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("inputs_stay")
def test_mistakes_on_the_command_line_are_one_line_and_nothing_is_written(field, run, stage1, tmp_path):
    rate = jwnb.save(stage1.rate, tmp_path / "x_rate.fits")
    before = rate.read_bytes()
    first = field.uncal[0]
    for words, wanted in (
        (("detector1", rate), "image2 starts from it"),
        (("image2", first), "detector1 starts from it"),
        (("image3", rate), "has no WCS"),
        (("detector1", first, "--jump.gain", reference(field, "dark")), "is a dark reference"),
        (("detector1", first, "--jump.gain", tmp_path / "none.fits"), "does not exist"),
        (("detector1", first, "--jump.minimum-groups", "0"), "out of range"),
        (("detector1", first, "--jump.minimum-groups", "many"), "is not a int"),
        (("detector1", first, "--skip", "jmp"), "Did you mean 'jump'"),
        (("detector1", first, tmp_path / "none_uncal.fits"), "there is no file"),
        (("detector1", first, first), "is given twice"),
        (("dark_curent", first), "Did you mean 'dark_current'"),
    ):
        assert wanted in run(*words)
    assert rate.read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_what_degrades_a_result_is_one_line_on_the_command_line(field, run, tmp_path):
    """And no error: the products are there."""
    path = shutil.copy(field.uncal[0], tmp_path / "bright_uncal.fits")
    with fits.open(path, mode="update") as hdus:
        hdus["SCI"].data[...] = 65535
    (line,) = run("detector1", path, "--skip", "refpix", code=0).strip().splitlines()
    assert line == "jwnb: warning: no pixel has a group that can be fitted, so no rate can be used"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["bright_rate.fits", "bright_rateints.fits"]


@pytest.mark.usefixtures("untouched")
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(field, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        for name in ("detector1", "dq_init"):
            words = ["run", name, str(field.uncal[0]), "--offline-set", str(field.references), "--output-dir", str(folder)]
            assert cli.main(words) == 1
            assert f"cannot write to {folder}: {tmp_path / 'file'} is a file" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "x"
    check_folder(tmp_path / "not" / "yet" / "there")
    assert not (tmp_path / "not").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused_before_any_work(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="no permission to write"):
        check_folder(tmp_path / "out")


def test_a_product_is_not_written_over_its_input(field, stage1, tmp_path, capsys):
    ramp = jwnb.save(stage1.ramp, tmp_path / "y_ramp.fits")
    before = ramp.read_bytes()
    steps = ("superbias", "linearity", "dark_current", "refpix")
    words = ["run", "detector1", str(ramp), "--keep", "ramp", "--output-dir", str(tmp_path), "--offline-set", str(field.references)]
    assert cli.main([*words, "--skip", *steps]) == 1
    assert "y_ramp.fits would be written over the input of that name" in capsys.readouterr().err
    assert ramp.read_bytes() == before
    assert not (tmp_path / "y_rate.fits").exists()


def test_saving_twice_replaces_whole_files(stage2, tmp_path):
    first = stage2.save(tmp_path)
    before = {p: p.read_bytes() for p in first}
    assert stage2.save(tmp_path) == first
    assert sorted(tmp_path.iterdir()) == sorted(first)
    for path in first:
        assert len(path.read_bytes()) == len(before[path])
        assert jwnb.open(path).meta.filename == path.name


def in_a_process(code, *words):
    """Run Python code with the command line ``jwnb`` at hand."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(sys.platform != "linux", reason="a full disk is made with a file-size limit")
@pytest.mark.usefixtures("inputs_stay")
def test_a_full_disk_on_the_command_line(field, tmp_path):
    code = """
        import resource, signal, sys
        from jwnb import cli
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        sys.exit(cli.main(sys.argv[1:]))
    """
    out = tmp_path / "out"
    process = in_a_process(code, "run", "detector1", field.uncal[0], "--offline-set", field.references, "--output-dir", out)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 1
    assert said.startswith("jwnb: error: cannot write ")
    assert len(said.strip().splitlines()) == 1
    assert list(out.iterdir()) == []


@pytest.mark.usefixtures("inputs_stay")
def test_killed_while_saving_on_the_command_line(field, tmp_path):
    code = """
        import os, sys
        from astropy.io import fits
        from jwnb import cli
        write = fits.HDUList.writeto
        def dying(self, path, *args, **kwargs):
            write(self, path, *args, **kwargs)
            with open(path, "r+b") as stream:
                stream.truncate(stream.seek(0, 2) // 2)
            os.kill(os.getpid(), 9)
        fits.HDUList.writeto = dying
        sys.exit(cli.main(sys.argv[1:]))
    """
    out = tmp_path / "out"
    out.mkdir()
    earlier = out / field.uncal[0].name.replace("uncal", "rate")
    earlier.write_bytes(b"an earlier product")
    process = in_a_process(code, "run", "detector1", field.uncal[0], "--offline-set", field.references, "--output-dir", out)
    process.communicate(timeout=200)
    assert process.returncode == -9
    assert [p.name for p in out.iterdir() if p.is_file()] == [earlier.name]
    assert earlier.read_bytes() == b"an earlier product"


@pytest.mark.usefixtures("inputs_stay", "pinned")
def test_every_error_is_one_of_ours(field):
    """Whatever is wrong, `except jwnb.errors.JwnbError` catches it."""
    for call in (
        lambda: jwnb.open(""),
        lambda: jwnb.open("\0"),
        lambda: jwnb.open(field.folder),
        lambda: jwnb.detector1(field.references / "manifest.json"),
        lambda: jwnb.image3(field.references / "manifest.json"),
        lambda: jwnb.detector1(reference(field, "gain")),
        lambda: jwnb.image2(reference(field, "distortion")),
    ):
        with pytest.raises(JwnbError):
            call()
