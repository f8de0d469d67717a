"""image3 of both packages, whole, on the same misaligned exposures with sky steps and cosmic rays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from conformance.peer_crds import crds_cache
from conformance.peer_image3 import CASES, SKY_STEP, Mosaics, pairs
from conformance.peer_pipelines import EXACT_MAPS, Allowed, Both, arrays, assert_same_arrays, assert_within, quiet
from conformance.test_products import same
from scipy import ndimage
from stdatamodels.jwst.datamodels import ImageModel

import jwnb
from jwnb import dq

pytestmark = pytest.mark.peer

DEFAULTS = "defaults"
SEVERAL = [name for name, case in CASES.items() if case.given != "first"]
ONE = [name for name, case in CASES.items() if case.given == "first"]
CLEANED = [name for name in SEVERAL if not CASES[name].steps.get("outlier_detection", {}).get("skip")]
CATALOGUED = [name for name, case in CASES.items() if not case.steps.get("source_catalog", {}).get("skip")]
OTHER_GRID = "not cleaned, other grid"
OUTLIER = dq.PIXEL["OUTLIER"]
WCS_KEYWORDS = ("A_", "B_", "AP_", "BP_", "CRVAL", "PC", "CRPIX", "CDELT", "CTYPE")
OF_THE_MOSAIC = (
    "NDRIZ", "RESWHT", "PXSCLRT", "PIXFRAC", "KERNEL", "XPOSURE", "EFFEXPTM", "TEXPTIME", "EXPSTART", "EXPEND", "ASNPOOL", "ASNTABLE",
)  # fmt: skip
STATUSES = ("S_TWKREG", "S_SKYMAT", "S_OUTLIR", "S_RESAMP")
MORE_COLUMNS = [
    "aper30_flux_err_corr",
    "aper50_flux_err_corr",
    "aper70_flux_err_corr",
    "aper_total_flux_err_corr",
    "isophotal_flux_err_corr",
]

# On the same exposures: float32, and sums of several exposures in double precision. `jwst` rounds in other places, and places the
# corners of the grid 1e-8 pixel elsewhere. Where the ratio of scales differs (docs/differences.md), values do by twice as much.
ROUNDED = Allowed(sigmas=1e-6, rtol=1.2e-6)
OF_ANOTHER_RATIO = 1e-5


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def positions(model: ImageModel, margin: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """Return right ascension (times the cosine of the declination) and declination on a grid over an image, in its pixels."""
    y, x = np.meshgrid(*(np.linspace(0, n - 1, 9) for n in model.data.shape), indexing="ij")
    ra, dec = model.meta.wcs(x, y)
    degrees = np.sqrt(model.meta.photometry.pixelarea_arcsecsq) / 3600
    return ra * np.cos(np.radians(dec)) / degrees, dec / degrees


def apart(ours: Path, theirs: Path) -> float:
    """Return by how many pixels two files differ in what they say lies where."""
    with ImageModel(ours) as a, ImageModel(theirs) as b:
        (x, y), (their_x, their_y) = positions(a), positions(b)
    return float(np.nanmax(np.hypot(x - their_x, y - their_y)))


@pytest.mark.parametrize("case", SEVERAL)
def test_names_of_products(mosaics: Mosaics, case: str) -> None:
    """A-8: a cleaned exposure's name has the identifier of the association. `jwst` has no name for the mosaic of a list."""
    made = mosaics.of(case)
    ours, theirs = names(made.ours), names(made.theirs)
    if CASES[case].given == "list":
        root = mosaics.field().cal[0].name.removesuffix("_cal.fits")
        theirs = sorted(name.replace("step", root) for name in theirs)
        assert f"{root}_crf.fits" in ours
    elif case in CLEANED:
        assert all("_a3001_crf" in name for name in ours if "crf" in name)
    assert ours == theirs


@pytest.mark.parametrize("case", CLEANED)
def test_alignment(mosaics: Mosaics, case: str) -> None:
    """WCS within 0.02 pixel of each other: they are the same. What is aligned differs from what it was."""
    made = pairs(mosaics.of(case), "_crf.fits")
    assert max(apart(*pair) for pair in made) < 1e-6
    before = mosaics.field(CASES[case].observation).cal
    assert max(apart(pair[0], path) for pair, path in zip(made, before, strict=True)) > 0.5
    for pair in made:
        ours, theirs = (fits.getheader(path, "SCI") for path in pair)
        for key in (key for key in theirs if key.startswith(WCS_KEYWORDS)):
            expected = theirs[key]
            assert ours[key] == (pytest.approx(expected, rel=1e-6, abs=1e-14) if isinstance(expected, float) else expected), key


@pytest.mark.parametrize("case", CLEANED)
def test_sky_levels(mosaics: Mosaics, case: str) -> None:
    """To 1e-3 of a step of the sky."""
    levels = [[fits.getheader(path)["BKGLEVEL"] for path in pair] for pair in pairs(mosaics.of(case), "_crf.fits")]
    ours, theirs = np.transpose(levels)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    assert np.ptp(ours) > 0.5 * SKY_STEP


@pytest.mark.parametrize("case", CLEANED)
def test_cleaned_exposures(mosaics: Mosaics, case: str) -> None:
    """The same flags, every one; the same values, but where a sky that is subtracted was rounded otherwise."""
    flagged = 0
    for pair in pairs(mosaics.of(case), "_crf.fits"):
        ours, theirs = (arrays(path) for path in pair)
        assert list(ours) == list(theirs)
        for name in theirs:
            if name == "SCI":
                np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-7, atol=1e-6)
            else:
                np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
        flagged += int(((ours["DQ"] & OUTLIER) > 0).sum())
    assert flagged > 60


@pytest.mark.parametrize("case", CASES)
def test_mosaic(mosaics: Mosaics, case: str) -> None:
    made = mosaics.of(case)
    pair = made.pair("i2d")
    assert apart(*pair) < 1e-6
    of_one = ("S_TWKREG", "S_OUTLIR", "FILENAME") if case in ONE else ()  # see `test_statuses_of_one_exposure`
    if case == OTHER_GRID:
        assert_same_but_for_the_ratio(*pair)
    else:
        assert_same_arrays(made, "i2d", ROUNDED, leave_out=("DATE", "CAL_VER", *of_one))
    ours, theirs = (fits.getheader(path) for path in pair)
    for key in OF_THE_MOSAIC:
        expected = theirs.get(key)
        assert ours.get(key) == (pytest.approx(expected, rel=1e-5) if key == "PXSCLRT" else expected), key
    assert same(*(fits.getval(path, "S_REGION", "SCI") for path in pair), "S_REGION")


def assert_same_but_for_the_ratio(ours_path: Path, theirs_path: Path) -> None:
    ours, theirs = arrays(ours_path), arrays(theirs_path)
    assert list(ours) == list(theirs)
    np.testing.assert_array_equal(ours["CON"], theirs["CON"])
    err = np.nan_to_num(theirs["ERR"].astype(np.float64))
    for name, scale in {"SCI": err, "ERR": err, "VAR_POISSON": err**2, "VAR_RNOISE": err**2, "VAR_FLAT": err**2, "WHT": 1.0}.items():
        around = ndimage.maximum_filter(np.abs(np.nan_to_num(theirs[name].astype(np.float64))), 5)
        limit = OF_ANOTHER_RATIO * (around + scale)
        np.testing.assert_array_equal(np.isnan(ours[name]), np.isnan(theirs[name]), err_msg=name)
        assert_within(ours[name], theirs[name], limit, name)


@pytest.mark.parametrize("case", SEVERAL)
def test_statuses(mosaics: Mosaics, case: str) -> None:
    """Of the mosaic and of each exposure, in the files and in HDRTAB."""
    made = mosaics.of(case)
    for pair in [made.pair("i2d"), *pairs(made, "_crf.fits")]:
        ours, theirs = (fits.getheader(path) for path in pair)
        assert {key: ours.get(key) for key in STATUSES} == {key: theirs.get(key) for key in STATUSES}
        assert ours["S_TWKREG"] == "COMPLETE"
        assert ours["S_OUTLIR"] == ("COMPLETE" if case in CLEANED else "SKIPPED")
    header = fits.getheader(made.our("i2d"))
    assert header["S_RESAMP"] == "COMPLETE" and header["S_SRCCAT"] == ("COMPLETE" if case in CATALOGUED else "SKIPPED")


@pytest.mark.parametrize("case", ONE)
def test_statuses_of_one_exposure(mosaics: Mosaics, case: str) -> None:
    """What cannot be done to one exposure is skipped, with the reason; `jwst` calls it failed, and writes the exposure unchanged as crf."""
    made = mosaics.of(case)
    ours, theirs = (fits.getheader(path) for path in made.pair("i2d"))
    aligned = "tweakreg" in CASES[case].steps
    assert [ours[key] for key in STATUSES] == ["COMPLETE" if aligned else "SKIPPED", "SKIPPED", "SKIPPED", "COMPLETE"]
    assert [theirs[key] for key in STATUSES] == ["COMPLETE" if aligned else "FAILED", "SKIPPED", "FAILED", "COMPLETE"]
    assert [name for name in names(made.theirs) if "crf" not in name] == names(made.ours)
    assert not (fits.getdata(pairs_of_one(made), "DQ") & OUTLIER).any()
    told = {entry["step"]: entry["reason"] for entry in jwnb.ledger(jwnb.open(made.our("i2d"))) if entry["status"] == "SKIPPED"}
    assert all("one exposure" in told[step] for step in ("skymatch", "outlier_detection"))


def pairs_of_one(made: Both) -> Path:
    (path,) = made.theirs.glob("*_crf.fits")
    return path


@pytest.mark.parametrize("case", CATALOGUED)
def test_catalogue(mosaics: Mosaics, case: str) -> None:
    """Source by source, in the same order; digits are lost where the sky taken off is far more than the light."""
    ours, theirs = (QTable.read(path) for path in pairs(mosaics.of(case), "_cat.ecsv")[0])
    assert ours.colnames == theirs.colnames + MORE_COLUMNS
    assert len(ours) == len(theirs) >= 9
    assert ours["sky_centroid"].separation(theirs["sky_centroid"]).arcsec.max() < 1e-6
    rtol = OF_ANOTHER_RATIO if case == OTHER_GRID else 2e-6
    for name in theirs.colnames:
        a, b = (np.asarray(getattr(table[name], "value", table[name])) for table in (ours, theirs))
        if b.dtype.kind == "O":  # positions
            continue
        if b.dtype.kind != "f":
            np.testing.assert_array_equal(a, b, err_msg=name)
        elif name == "aper_bkg_flux":
            assert np.all(np.abs(a - b) <= 10 * rtol * theirs["aper_bkg_flux_err"].value)
        else:  # of a round source the orientation says little
            atol = {"roundness": 1e-4, "sharpness": 1e-4, "ellipticity": 1e-4, "orientation": 500 * rtol, "sky_orientation": 500 * rtol}
            np.testing.assert_allclose(a, b, rtol=10 * rtol, atol=atol.get(name, 0), equal_nan=True, err_msg=name)


@pytest.mark.parametrize("case", CATALOGUED)
def test_segmentation(mosaics: Mosaics, case: str) -> None:
    ours, theirs = (arrays(path) for path in mosaics.of(case).pair("segm"))
    np.testing.assert_array_equal(ours["SCI"], theirs["SCI"])
    assert ours["SCI"].dtype == theirs["SCI"].dtype and ours["SCI"].max() >= 9


def test_inputs_are_listed_in_the_mosaic(mosaics: Mosaics) -> None:
    """HDRTAB has a row for each exposure, as it was when it was drizzled."""
    ours, theirs = (fits.getdata(path, "HDRTAB") for path in mosaics.of(DEFAULTS).pair("i2d"))
    assert ours.names == theirs.names
    assert {"S_TWKREG", "S_SKYMAT", "S_OUTLIR", "ASNPOOL", "ASNTABLE", "BKGLEVEL", "FILENAME"} <= set(ours.names)
    assert set(ours["S_TWKREG"]) == set(ours["S_SKYMAT"]) == set(ours["S_OUTLIR"]) == {"COMPLETE"}
    assert list(ours["FILENAME"]) == [ours_path.name for ours_path, _ in pairs(mosaics.of(DEFAULTS), "_crf.fits")]
    assert set(ours["ASNTABLE"]) == {"jw09999-a3001_image3_00001_asn.json"}


def test_interpolated_maps(mosaics: Mosaics) -> None:
    """By default maps are interpolated. At most 1e-4 of the flags differ, none of them by more than 0.5 % of its threshold."""
    made = mosaics.of(DEFAULTS)
    seen = mosaics.field()
    with crds_cache(seen.crds):
        ours = jwnb.image3(list(seen.cal))
        aligned = jwnb.skymatch(jwnb.tweakreg(list(seen.cal)))
        limits = [{"snr": f"{5 * f} {4 * f}", "scale": f"{1.2 * f} {0.7 * f}"} for f in (1.005, 0.995)]
        fewer, more = (jwnb.outlier_detection(aligned, **limit, **EXACT_MAPS["resample"]) for limit in limits)
    differing = pixels = 0
    for k, (_, path) in enumerate(pairs(made, "_crf.fits")):
        mine, least, most = ((images[k].dq & OUTLIER) > 0 for images in (ours.crf, fewer, more))
        differing += int((mine != ((fits.getdata(path, "DQ") & OUTLIER) > 0)).sum())
        pixels += mine.size
        assert not (least & ~mine).any() and not (mine & ~most).any()
    assert differing <= 1e-4 * pixels
    theirs = arrays(made.pair("i2d")[1])
    np.testing.assert_array_equal(np.isnan(ours.i2d.data), np.isnan(theirs["SCI"]))
    off = np.abs(ours.i2d.data.astype(np.float64) - theirs["SCI"]) / theirs["ERR"]
    assert np.nanmedian(off) < 1e-4 and np.nanmax(off) < 0.05
    other = QTable.read(pairs(made, "_cat.ecsv")[0][1])
    assert ours.cat["sky_centroid"].separation(other["sky_centroid"]).arcsec.max() < 1e-4
    np.testing.assert_allclose(ours.cat["aper50_flux"].value, other["aper50_flux"].value, rtol=1e-3)


# ---------------------------------------------------------------- steps of both in one chain


def theirs_on(step: str, given: list[Any], crds: Path) -> list[Any]:
    """Run one step of `jwst` on files or models, and return the models that it gives."""
    import jwst.outlier_detection
    import jwst.resample
    import jwst.skymatch
    import jwst.tweakreg
    from jwst.datamodels import ModelLibrary

    classes = {
        "tweakreg": jwst.tweakreg.TweakRegStep, "skymatch": jwst.skymatch.SkyMatchStep, "resample": jwst.resample.ResampleStep,
        "outlier_detection": jwst.outlier_detection.OutlierDetectionStep,
    }  # fmt: skip
    with crds_cache(crds), quiet():
        made = classes[step].call(given, configure_log=False)
        if not isinstance(made, ModelLibrary):
            return [made]
        with made:
            models = [made.borrow(k) for k in range(len(made))]
            for k, model in enumerate(models):
                made.shelve(model, k, modify=False)
    return models


def saved(images: Sequence[Any], folder: Path) -> list[str]:
    return [str(jwnb.save(image, folder / image.meta.filename)) for image in images]


def test_a_step_of_theirs_between_two_of_ours(mosaics: Mosaics, tmp_path: Path) -> None:
    """By way of files. The flags are the same, and the ledger says who did what."""
    seen = mosaics.field()
    with crds_cache(seen.crds):
        aligned = saved(jwnb.tweakreg(list(seen.cal)), tmp_path)
        matched = saved(theirs_on("skymatch", aligned, seen.crds), tmp_path / "matched")
        cleaned = jwnb.outlier_detection(matched, pixmap_tolerance=0)
    assert_same_as_theirs(mosaics.of(DEFAULTS), list(cleaned))
    told = {entry["step"]: (entry["status"], bool(entry["software"])) for entry in jwnb.ledger(cleaned[1])}
    assert told["tweakreg"] == told["outlier_detection"] == ("COMPLETE", True) and told["skymatch"] == ("COMPLETE", False)


def test_a_step_of_ours_between_two_of_theirs(mosaics: Mosaics) -> None:
    """In memory."""
    seen = mosaics.field()
    with crds_cache(seen.crds):
        matched = jwnb.skymatch(theirs_on("tweakreg", [str(path) for path in seen.cal], seen.crds))
        cleaned = theirs_on("outlier_detection", list(matched), seen.crds)
    assert_same_as_theirs(mosaics.of(DEFAULTS), cleaned)


def assert_same_as_theirs(made: Both, cleaned: Sequence[Any]) -> None:
    for (_, path), image in zip(pairs(made, "_crf.fits"), cleaned, strict=True):
        theirs = arrays(path)
        for name, value in (("SCI", image.data), ("DQ", image.dq), ("ERR", image.err)):
            np.testing.assert_array_equal(value, theirs[name])
        assert image.meta.background.level == pytest.approx(fits.getval(path, "BKGLEVEL"), abs=1e-6)


def test_cleaned_exposures_go_either_way(mosaics: Mosaics) -> None:
    """Our crf through their resample gives their mosaic, and theirs through ours gives ours."""
    seen, made = mosaics.field(), mosaics.of(DEFAULTS)
    exposures = pairs(made, "_crf.fits")
    (other,) = theirs_on("resample", [str(ours) for ours, _ in exposures], seen.crds)
    with crds_cache(seen.crds):
        mosaic = jwnb.resample([theirs for _, theirs in exposures], **EXACT_MAPS["resample"])
        catalogue = jwnb.source_catalog(other).cat
    for image, path in ((other, made.pair("i2d")[1]), (mosaic, made.our("i2d"))):
        expected = arrays(path)
        for name, value in (("SCI", image.data), ("ERR", image.err), ("WHT", image.wht), ("CON", image.con)):
            np.testing.assert_array_equal(value, expected[name])
    assert len(catalogue) == len(QTable.read(pairs(made, "_cat.ecsv")[0][1]))
