"""Bad input of image3: refused before any pixel is touched, or a reason in the ledger; never a worse WCS, never a wrong file."""

import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from astropy.table import Table
from helpers_alignment import DEC, RA, Sky, observe, off_truth, star_field, visits

import jwnb
from jwnb import cli, step
from jwnb.errors import CalibrationWarning, InputError, MissingFileError, ParameterError
from jwnb.products import Products
from jwnb.record import node
from jwnb.wcs.frames import footprint, polygon

SHAPE = (220, 220)
NOBODY = Sky(np.zeros(0), np.zeros(0), np.zeros(0))
PLANES = ("data", "err", "var_poisson", "var_rnoise", "var_flat")
ONLY_ALIGNED = ("skymatch", "outlier_detection", "source_catalog")


def calibrated(model):
    """Give an image what photom leaves behind."""
    model.var_rnoise = np.full(SHAPE, 16.0, np.float32)
    model.var_poisson, model.var_flat = np.full(SHAPE, 1e-6, np.float32), np.full(SHAPE, 1e-8, np.float32)
    meta = model.meta
    meta.bunit_data = meta.bunit_err = "MJy/sr"
    meta.exposure.exposure_time = meta.exposure.effective_exposure_time = meta.exposure.duration = 500.0
    meta.exposure.measurement_time = 490.0
    meta.exposure.start_time, meta.exposure.end_time = 60462.5, 60462.506
    meta.photometry.pixelarea_arcsecsq, meta.photometry.pixelarea_steradians = 0.0240, 5.64e-13
    for name in ("assign_wcs", "flat_field", "photom"):
        setattr(meta.cal_step, name, "COMPLETE")
    return model


def observed(sky, count=3):
    made, truths = visits(sky, count, shape=SHAPE)
    return [calibrated(model) for model in made], truths


@pytest.fixture(scope="module")
def sky():
    return star_field(120, width=40.0)


@pytest.fixture(scope="module")
def field3(sky):
    return observed(sky)


@pytest.fixture(scope="module")
def images(field3):
    return field3[0]


@pytest.fixture(scope="module")
def files(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cal")
    return [jwnb.save(model, folder / model.meta.filename) for model in images]


@pytest.fixture
def untouched(pinned, monkeypatch):
    """What is refused here is refused before any step runs."""
    monkeypatch.setattr(step, "_run", _fail)
    return pinned


@pytest.fixture
def run(field, tmp_path, capsys):
    """Run image3 on the command line; an error is exit code 1 and one line."""

    def main(*words, code=1):
        base = ["run", "image3", "--offline-set", str(field.references), "--output-dir", str(tmp_path / "out")]
        assert cli.main([*base, *map(str, words)]) == code
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert len(said.strip().splitlines()) == (1 if code else 0)
        assert code == 0 or not (tmp_path / "out").exists()
        return said

    return main


def edited(model, **changes):
    """Return a copy with other metadata (dots as two underscores)."""
    out = model.copy()
    for name, value in changes.items():
        *parents, last = name.split("__")
        owner = out.meta
        for parent in parents:
            owner = getattr(owner, parent)
        setattr(owner, last, value)
    return out


def elsewhere(model, *, dither, wcs=True, region=True):
    """Return a copy whose WCS, or S_REGION, or both, lie elsewhere."""
    out, other = model.copy(), observe(NOBODY, dither=dither, shape=SHAPE)[0]
    if wcs:
        out.meta.wcs = other.meta.wcs
    if region:
        out.meta.wcsinfo.s_region = polygon(footprint(other.meta.wcs))
    return out


def _fail(made, *_):
    raise AssertionError(f"{made.name} ran")


def lines(made):
    return {e["step"]: e for e in jwnb.ledger(made.i2d)}


def aligned_as_well(result, images, truths):
    """No WCS is further from the truth than it was."""
    for model, given, truth in zip(result, images, truths, strict=True):
        before, after = (np.abs(off_truth(m, truth)).max() for m in (given, model))
        assert after <= before + 0.02
        if node(model)["tweakreg"]["status"] != "aligned":
            assert model.meta.wcs(3.0, 4.0) == given.meta.wcs(3.0, 4.0)
            assert model.meta.wcsinfo.s_region == given.meta.wcsinfo.s_region


# Fields that give little to go by ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stars", "why"), [(0, "it has no stars"), (2, "and 15 are needed")])
def test_no_stars_and_two_stars(pinned, stars, why):
    two = Sky(np.array([RA, RA + 3 / 3600]), np.array([DEC, DEC + 4 / 3600]), np.array([5000.0, 4000.0]))
    images, truths = observed(two if stars else NOBODY)
    with pytest.warns(CalibrationWarning) as said:
        made = jwnb.image3(images)
    assert any("nothing could be aligned" in str(one.message) for one in said)
    assert any("no sources were found" in str(one.message) for one in said) == (stars == 0)
    aligned_as_well(made.crf, images, truths)
    told = lines(made)
    assert told["tweakreg"]["status"] == "SKIPPED" and why in told["tweakreg"]["reason"]
    assert told["resample"]["status"] == told["source_catalog"]["status"] == "COMPLETE"
    assert len(made.cat) == stars


@pytest.mark.parametrize("what", ["crowded", "doubled"])
def test_crowded_fields_and_doubled_sources(pinned, sky, what):
    beside = Sky(*(np.concatenate(pair) for pair in ((sky.ra, sky.ra + 0.25 / 3600), (sky.dec, sky.dec), (sky.flux, 0.9 * sky.flux))))
    images, truths = observed(star_field(800, apart=0.3, width=40.0) if what == "crowded" else beside)
    made = jwnb.image3(images)
    aligned_as_well(made.crf, images, truths)
    assert [node(model)["tweakreg"]["status"] for model in made.crf] == ["reference", "aligned", "aligned"]


def test_one_image_is_resampled_and_catalogued_only(pinned, images):
    made = jwnb.image3(images[:1])
    for name in ("tweakreg", "skymatch", "outlier_detection"):
        assert lines(made)[name]["status"] == "SKIPPED"
        assert lines(made)[name]["reason"] == "there is one exposure, and nothing to compare it with"
    assert made.crf is None and np.isfinite(made.i2d.data).any() and len(made.cat) > 10
    asked = jwnb.image3(images[:1], run=("tweakreg", "skymatch", "outlier_detection"))
    reasons = {name: lines(asked)[name] for name in ("tweakreg", "skymatch", "outlier_detection")}
    assert all(line["status"] == "SKIPPED" and line["reason"] for line in reasons.values())


def emptied(model, how):
    out = model.copy()
    if how == "flagged":
        out.dq = np.full(SHAPE, 1, np.uint32)
    for name in PLANES if how == "nan" else ():
        setattr(out, name, np.full(SHAPE, np.nan, np.float32))
    return out


@pytest.mark.parametrize("how", ["flagged", "nan"])
def test_an_image_without_a_usable_pixel(pinned, field3, how):
    images, truths = field3
    images = [images[0], emptied(images[1], how), images[2]]
    with pytest.warns(CalibrationWarning) as said:
        made = jwnb.image3(images)
    text = " ".join(str(one.message) for one in said)
    assert "jw09999001001_02101_2 keeps its WCS: it has no stars" in text
    assert "no sky level for jw09999001001_02101_00002_nrca1_cal.fits" in text
    aligned_as_well(made.crf, images, truths)
    without = jwnb.image3([images[0], images[2]])
    x, y = made.i2d.meta.wcs.invert(*without.i2d.meta.wcs(110.0, 110.0))
    assert made.i2d.data[int(y) - 20 : int(y) + 20, int(x) - 20 : int(x) + 20].mean() == pytest.approx(
        without.i2d.data[90:130, 90:130].mean(), rel=0.05
    )


@pytest.mark.parametrize("how", ["flagged", "nan"])
def test_no_usable_pixel_at_all(pinned, images, how, tmp_path):
    with pytest.warns(CalibrationWarning) as said:
        made = jwnb.image3([emptied(model, how) for model in images])
    text = " ".join(str(one.message) for one in said)
    for part in ("nothing could be aligned", "nothing is flagged", "the image holds no data", "the catalogue is empty"):
        assert part in text
    assert not np.isfinite(made.i2d.data).any() and len(made.cat) == 0
    assert lines(made)["skymatch"]["status"] == "SKIPPED" and "no exposure has pixels" in lines(made)["skymatch"]["reason"]
    assert all(path.stat().st_size for path in made.save(tmp_path))


def test_a_negative_sky_is_a_sky(pinned, images):
    below = []
    for model in images:
        out = model.copy()
        out.data = model.data - np.float32(30)
        below.append(out)
    usual, made = jwnb.image3(images, skip=("source_catalog",)), jwnb.image3(below, skip=("source_catalog",))
    np.testing.assert_allclose(made.i2d.data, usual.i2d.data - 30, atol=2e-4)
    levels = [[model.meta.background.level for model in one.crf] for one in (usual, made)]
    np.testing.assert_allclose(levels[0], levels[1], atol=1e-3)


def test_images_that_do_not_overlap(pinned, images):
    far = elsewhere(images[1], dither=(0.0, 120.0))
    with pytest.warns(CalibrationWarning, match="nothing could be aligned.*nothing of the reference lies in its field"):
        made = jwnb.image3([images[0], far], skip=("source_catalog",))
    assert lines(made)["skymatch"]["status"] == "SKIPPED"
    assert [model.meta.wcs(1.0, 2.0) for model in made.crf] == [model.meta.wcs(1.0, 2.0) for model in (images[0], far)]
    assert np.mean([(model.dq & 16) > 0 for model in made.crf]) < 3e-4  # a star on an edge


# What is not to be combined ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "wanted"),
    [
        ({"instrument__filter": "F150W"}, InputError, r"through different filters: F200W \(2\), F150W \(1\).*00002.*mix_filters=True"),
        ({"instrument__pupil": "F162M"}, InputError, r"F200W/F162M"),
        ({"instrument__name": "NIRISS"}, InputError, r"of different instruments: NIRCAM \(2\), NIRISS \(1\)"),
        ({"bunit_data": "DN/s"}, InputError, r"in different units: MJy/sr \(2\), DN/s \(1\).*00002.*image2 makes cal images"),
        ({"cal_step__resample": "COMPLETE"}, InputError, r"00002_nrca1_cal\.fits has been through resample already"),
        ({"wcs": None}, InputError, r"00002_nrca1_cal\.fits has no WCS: run assign_wcs first"),
        ({"wcsinfo__roll_ref": None}, InputError, r"00002_nrca1_cal\.fits lacks ROLL_REF"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_one_that_does_not_belong_is_named_before_any_work(untouched, images, change, error, wanted):
    with pytest.raises(error, match=wanted):
        jwnb.image3([images[0], edited(images[1], **change), images[2]])


def test_filters_are_mixed_where_that_is_asked_for(pinned, images):
    made = jwnb.image3([images[0], edited(images[1], instrument__filter="F150W")], mix_filters=True, skip=("tweakreg",))
    assert made.i2d.meta.instrument.filter == "MULTIPLE" and made.cat is None
    assert lines(made)["source_catalog"]["reason"] == "the images are through different filters, and aperture corrections are for one"


def test_images_in_other_units_have_no_catalogue(pinned, images):
    rates = [edited(model, bunit_data="DN/s", bunit_err="DN/s", cal_step__photom="SKIPPED") for model in images[:2]]
    made = jwnb.image3(rates, skip=("tweakreg",))
    assert lines(made)["source_catalog"]["reason"] == "the images are in DN/s, and sources are measured in MJy/sr"


def test_a_mosaic_among_the_inputs(pinned, images, files, tmp_path):
    mosaic = jwnb.resample(images[:2])
    path = jwnb.save(mosaic, tmp_path / "m_i2d.fits")
    for several in ([images[0], mosaic], [files[0], path], [path, files[0]], path):
        with pytest.raises(InputError, match=r"_i2d\.fits has been through resample already; image3 starts from cal images"):
            jwnb.image3(several)


def test_products_without_cal_images(untouched, images):
    for made in (Products("detector1", {"rate": images[1]}), Products("image2", {"cal": None, "i2d": images[1]})):
        with pytest.raises(InputError, match="these products of .* have none"):
            jwnb.image3([images[0], made])


def test_other_shapes_are_combined_and_refused_only_where_pixels_are_compared(pinned, images):
    small = images[1].copy()
    for name in (*PLANES, "dq"):
        setattr(small, name, getattr(images[1], name)[:120, :150].copy())
    small.meta.subarray.ysize, small.meta.subarray.xsize = 120, 150
    made = jwnb.image3([images[0], small], skip=("tweakreg", "source_catalog"))
    assert np.isfinite(made.i2d.data).any()
    with pytest.raises(InputError, match=r"of shape \(120, 150\) and .* of \(220, 220\). Use resample_data=True"):
        jwnb.image3([images[0], small], skip=("tweakreg", "source_catalog"), options={"outlier_detection": {"resample_data": False}})


def test_several_detectors_need_a_reference_that_is_for_several(pinned, images, sky, tmp_path):
    """And where there is none it is said before the work, not when the mosaic is done."""
    beside = calibrated(observe(sky, number=1, detector=2, shape=SHAPE)[0])
    made = jwnb.image3([images[0], beside], skip=("tweakreg", "skymatch", "outlier_detection"))
    assert made.i2d.meta.instrument.detector == "MULTIPLE" and made.cat is not None
    folder = shutil.copytree(pinned.references, tmp_path / "single")
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace('"MULTIPLE"', '"NRCA1"'))
    with (
        jwnb.references.use(offline=folder),
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(jwnb.errors.MissingReferenceError, match="no apcorr reference .*'MULTIPLE', not"),
    ):
        patch.setattr(step, "_run", _fail)
        jwnb.image3([images[0], beside])


def test_arrays_that_do_not_fit(pinned, images):
    damaged = images[1].copy()
    damaged.instance["err"] = images[1].err[:100].copy()
    with pytest.raises(InputError, match=r"ERR has the shape \(100, 220\)"):
        jwnb.image3([images[0], damaged], skip=("tweakreg",))
    without = images[1].copy()
    without.instance.pop("err")
    with pytest.raises(InputError, match="has no ERR array, by which outliers are judged"):
        jwnb.image3([images[0], without], skip=("tweakreg",))


# Places and sizes -------------------------------------------------------------------------------------------------------


def test_an_image_on_another_part_of_the_sky(untouched, images, files, tmp_path):
    far = elsewhere(images[2], dither=(0.0, 40 * 3600.0))
    path = jwnb.save(far, tmp_path / "far_cal.fits")
    for several in ([images[0], images[1], far], [files[0], files[1], path]):
        with pytest.raises(InputError, match=r"the output image would have \d+ x \d+ pixels .* GiB") as said:
            jwnb.image3(several)
        picture = str(said.value).splitlines()
        assert picture[1].startswith("Where they lie (north up, east left; 40 deg across)")
        assert "3" in picture[2] and picture[-1].startswith("3: ") and picture[-1].endswith("40 deg from the middle of the others")


@pytest.mark.parametrize("which", [{"wcs": False}, {"region": False}], ids=["region elsewhere", "wcs elsewhere"])
def test_a_region_that_is_not_where_the_wcs_is(untouched, images, which):
    """The output is laid out by S_REGION: an image that its WCS puts outside would be lost without a word."""
    wrong = elsewhere(images[2], dither=(0.0, 300.0), **which)
    with pytest.raises(InputError, match=r"S_REGION and WCS of .*00003_nrca1_cal\.fits put it on places 4.98 arcmin apart"):
        jwnb.image3([images[0], images[1], wrong])


@pytest.mark.parametrize("options", [{"pixel_scale": 0.0003}, {"output_shape": (200_000, 120_000)}])
def test_an_output_of_half_a_terabyte(untouched, images, options):
    for several in (images, images[0]):
        with pytest.raises(InputError, match=r"would have \d+ x \d+ pixels .*, .* GiB; there are free .* GiB\. Give a smaller"):
            jwnb.image3(several, options={"resample": options})


# Catalogues -------------------------------------------------------------------------------------------------------------


def doubled_columns(table):
    return "RA,DEC,RA\n" + "".join(f"{row['RA']},{row['DEC']},{row['RA']}\n" for row in table)


@pytest.mark.parametrize(
    ("name", "content", "error", "wanted"),
    [
        ("none.ecsv", None, MissingFileError, r"none\.ecsv' is neither a file nor a catalogue of the archive's service"),
        ("dup.csv", doubled_columns, InputError, r"dup\.csv has more than one column 'ra' \(RA, RA_1\)"),
        ("dup.fits", lambda t: Table({"RA": t["RA"], "ra": t["RA"], "DEC": t["DEC"]}), InputError, r"more than one column 'ra' \(RA, ra\)"),
        ("other.ecsv", lambda t: Table({"x": t["RA"], "y": t["DEC"]}), InputError, r"no columns RA and DEC.*its columns are x, y"),
        ("empty.ecsv", lambda t: "", InputError, "is an empty file"),
        ("page.csv", lambda t: "<html><body>404</body></html>", InputError, r"page\.csv"),
        ("nan.ecsv", lambda t: Table({"RA": t["RA"] * np.nan, "DEC": t["DEC"]}), InputError, "no row of .* has a position"),
        ("one.ecsv", lambda t: Table({**dict(t.items()), "pmra": t["RA"] * 0}), InputError, "proper motions in one coordinate only"),
        ("mjd.ecsv", lambda t: Table({**dict(t.items()), "epoch": t["RA"] * 0 + 57388}), InputError, "decimal years such as"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value and " " not in value else "",
)
def test_catalogues_that_cannot_be_used(pinned, images, sky, tmp_path, name, content, error, wanted):
    written = None if content is None else content(sky.table())
    if isinstance(written, str):
        (tmp_path / name).write_text(written)
    elif written is not None:
        written.write(tmp_path / name)
    with pytest.raises(error, match=wanted):
        jwnb.image3(images[:2], options={"tweakreg": {"abs_refcat": tmp_path / name}})


def test_a_catalogue_without_epoch_is_used_and_said_so(pinned, field3, sky, tmp_path):
    images, truths = field3
    table = sky.table()
    table["pmra"], table["pmdec"] = 5.0, -3.0
    table.write(tmp_path / "sky.ecsv")
    made = jwnb.image3(images[:2], options={"tweakreg": {"abs_refcat": tmp_path / "sky.ecsv"}}, skip=ONLY_ALIGNED)
    assert lines(made)["tweakreg"]["notes"] == ["sky.ecsv: proper motions none: the catalogue has no epoch"]
    images = list(jwnb.tweakreg(images[:2], abs_refcat=tmp_path / "sky.ecsv"))
    for model, truth in zip(images, truths, strict=False):
        assert np.abs(off_truth(model, truth)[4]).max() < 0.025


def test_a_catalogue_of_another_field(pinned, field3, tmp_path):
    images, truths = field3
    star_field(80, seed=77, ra=210.0, dec=-50.0).table().write(tmp_path / "other.ecsv")
    with pytest.warns(CalibrationWarning, match=r"nothing could be aligned with other\.ecsv, and every WCS is as it was"):
        made = jwnb.image3(images, options={"tweakreg": {"abs_refcat": tmp_path / "other.ecsv"}}, skip=ONLY_ALIGNED, keep=("tweakreg",))
    aligned_as_well(made.kept["tweakreg"], images, truths)
    assert "other.ecsv" in lines(made)["tweakreg"]["reason"]


# Files ------------------------------------------------------------------------------------------------------------------


def test_a_truncated_file_as_the_third(untouched, files, tmp_path):
    cut = tmp_path / "cut_cal.fits"
    for size in (-2880 * 40, -100):
        cut.write_bytes(files[2].read_bytes()[:size])
        with pytest.raises(InputError, match=r"cut_cal\.fits is truncated"):
            jwnb.image3([*files[:2], cut])


@pytest.mark.parametrize("when", ["tweakreg", "skymatch", "outlier_detection", "resample"])
def test_a_file_that_is_deleted_meanwhile(pinned, files, tmp_path, monkeypatch, when):
    victim, ran = tmp_path / "victim_cal.fits", step._run
    shutil.copy(files[1], victim)

    def deleting(made, *rest):
        if made.name == when:
            victim.unlink()
        return ran(made, *rest)

    monkeypatch.setattr(step, "_run", deleting)
    earlier = [name for name in ("tweakreg", "skymatch") if name != when]
    with pytest.raises(MissingFileError, match=r"there is no file .*victim_cal\.fits"):
        jwnb.image3([files[0], victim], skip=earlier)


def test_a_crf_whose_input_is_gone_or_damaged(pinned, files, tmp_path):
    victim = tmp_path / "victim_cal.fits"
    shutil.copy(files[1], victim)
    made = jwnb.image3([files[0], victim], skip=("tweakreg", "source_catalog"))
    victim.write_bytes(files[1].read_bytes()[:300_000])
    with pytest.raises(InputError, match="is truncated"):
        made.save(tmp_path / "damaged")
    victim.unlink()
    with pytest.raises(MissingFileError, match=r"victim_cal\.fits"):
        made.save(tmp_path / "gone")
    for folder in ("damaged", "gone"):  # what was written is whole
        assert [path.name for path in (tmp_path / folder).iterdir()] == [files[0].name.replace("_cal", "_crf")]
        assert jwnb.open(next((tmp_path / folder).iterdir())).data.shape == SHAPE


def test_exposures_of_one_name_are_not_written_over_each_other(pinned, files, tmp_path):
    twins = [tmp_path / part / "x_cal.fits" for part in ("a", "b")]
    for path, source in zip(twins, files, strict=False):
        path.parent.mkdir()
        shutil.copy(source, path)
    with pytest.raises(InputError, match=r"several exposures would be kept there as x_crf\.fits"):
        jwnb.image3(twins, resume=tmp_path / "kept")
    made = jwnb.image3(twins, skip=("tweakreg", "source_catalog"))
    with pytest.raises(InputError, match=r"2 exposures have the name x_crf\.fits, and would be written over each other"):
        made.save(tmp_path / "out")
    assert not (tmp_path / "kept").exists() and not (tmp_path / "out").exists()


def test_kept_exposures_do_not_replace_inputs(untouched, files, tmp_path):
    inputs = [shutil.copy(path, tmp_path / f"{k}_crf.fits") for k, path in enumerate(files[:2])]
    before = [path.read_bytes() for path in inputs]
    with pytest.raises(InputError, match=r"0_crf\.fits, 1_crf\.fits would be written over the input of that name"):
        jwnb.image3(inputs, resume=tmp_path)
    assert [path.read_bytes() for path in inputs] == before


def test_folders_that_nothing_can_be_kept_in(untouched, files, tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="is a file, not a folder"):
            jwnb.image3(files, resume=folder)
    with pytest.raises(ParameterError, match="resume=5: the path of a folder was expected"):
        jwnb.image3(files, resume=5)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(untouched, files, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="no permission to write"):
        jwnb.image3(files, resume=tmp_path / "kept")


def test_a_catalogue_that_changed_is_not_gone_on_from(pinned, files, sky, tmp_path):
    catalogue, options = tmp_path / "sky.ecsv", {"tweakreg": {"abs_refcat": tmp_path / "sky.ecsv"}}
    sky.table().write(catalogue)

    def again():
        made = jwnb.image3(files[:2], options=options, resume=tmp_path / "kept", skip=("outlier_detection", "source_catalog"))
        return any("goes on from" in line for line in made.log), made.i2d.meta.wcsinfo.s_region

    first = again()
    assert again() == (True, first[1])
    sky.table(east=0.3).write(catalogue, overwrite=True)
    resumed, region = again()
    assert not resumed and region != first[1]
    with jwnb.references.use(offline=pinned.references, parameters={"tweakreg": {"fitgeometry": "shift"}}):
        assert not again()[0]


# The command line -------------------------------------------------------------------------------------------------------


def test_mistakes_on_the_command_line_are_one_line(run, images, files, tmp_path):
    other = jwnb.save(edited(images[1], instrument__filter="F150W"), tmp_path / "f150w_cal.fits")
    far = jwnb.save(elsewhere(images[2], dither=(0.0, 40 * 3600.0)), tmp_path / "far_cal.fits")
    mosaic = jwnb.save(edited(images[2], cal_step__resample="COMPLETE"), tmp_path / "m_i2d.fits")
    cut, file = tmp_path / "cut_cal.fits", tmp_path / "file"
    cut.write_bytes(files[2].read_bytes()[: -2880 * 40])
    file.write_text("x")
    for words, wanted in (
        ((files[0], other), "--mix-filters"),
        ((files[0], far), "Are all images of one field?"),
        ((files[0], mosaic), "starts from cal images"),
        ((files[0], files[1], cut), "is truncated"),
        ((files[0], files[1], tmp_path / "none_cal.fits"), "there is no file"),
        ((files[0], files[1], "--resample.pixel-scale", "0.0003"), "GiB; there are free"),
        ((files[0], files[1], "--tweakreg.abs-refcat", tmp_path / "none.ecsv"), "neither a file nor a catalogue"),
        ((files[0], files[1], "--resume", file), "is a file, not a folder"),
        ((files[0], files[1], "--mix-filter"), "unrecognized arguments: --mix-filter"),
    ):
        assert wanted in run(*words)


def test_options_of_the_pipeline_on_the_command_line(run, images, files, tmp_path):
    other = jwnb.save(edited(images[1], instrument__filter="F150W"), tmp_path / "f150w_cal.fits")
    skip = ("--skip", "tweakreg", "outlier_detection")
    run("--mix-filters", files[0], other, "--resume", tmp_path / "kept", "--name", "both", *skip, code=0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["both_i2d.fits"]
    kept = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert kept == ["f150w_crf.fits", "image3-state.json", files[0].name.replace("_cal", "_crf")]


@pytest.mark.skipif(sys.platform != "linux", reason="a full disk is made with a file-size limit")
@pytest.mark.parametrize("room", [100_000, 800_000])
def test_a_full_disk(field, files, tmp_path, room):
    """For the temporary files of the median, and for the products."""
    code = """
        import resource, signal, sys
        from jwnb import cli
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
        sys.exit(cli.main(sys.argv[2:]))
    """
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    words = ["run", "image3", *files, "--offline-set", field.references, "--output-dir", out, "--skip", "source_catalog"]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(room), *map(str, words)], check=False, capture_output=True, text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("jwnb: error: ") and len(done.stderr.strip().splitlines()) == 1
    assert ("temporary folder" in done.stderr) == (room == 100_000)
    assert not list(temporary.iterdir())
    assert not out.exists() or not any(path.name.startswith(".") for path in out.iterdir())
