"""source_catalog against `jwst` on the same mosaic and the same references."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from helpers_sources import apcorr, mosaic, vega

from jwnb import models
from jwnb.stage3.source_catalog import source_catalog

pytestmark = pytest.mark.peer

# Sums in double precision in another order; where the sky taken off is far more than the light, digits are lost.
RTOL = 1e-9
OURS = ("aper30_flux_err_corr", "aper50_flux_err_corr", "aper70_flux_err_corr", "aper_total_flux_err_corr", "isophotal_flux_err_corr")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("references")
    made = {"apcorr": folder / "apcorr.fits", "abvegaoffset": folder / "vega.asdf"}
    apcorr().save(made["apcorr"])
    vega().save(made["abvegaoffset"])
    return made


def peer(model: Any, paths: dict[str, Path], folder: Path | None = None, **options: Any) -> Any:
    """Run `jwst`'s step; with a folder, it writes the table there, and gives the segmentation map, too."""
    from jwst.source_catalog import SourceCatalogStep

    step = SourceCatalogStep(**{k: str(v) if k == "connectivity" else v for k, v in options.items()})
    for reftype, path in paths.items():
        setattr(step, f"override_{reftype}", str(path))
    maps = []
    if folder is not None:
        step.save_results, step.output_dir = True, str(folder)
        step.save_model = lambda segm, suffix: maps.append(segm.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = step.process(model.copy())
    return table if folder is None else (table, *maps)


def both(model: Any, paths: dict[str, Path], **options: Any) -> tuple[Any, Any]:
    return source_catalog(model, **paths, **options), peer(model, paths, **options)


def assert_same(ours: Any, theirs: Any, *, rtol: float = RTOL, but: tuple[str, ...] = ()) -> None:
    assert ours.colnames[: len(theirs.colnames)] == theirs.colnames
    assert len(ours) == len(theirs)
    for name in theirs.colnames:
        if name in but:
            continue
        a, b = ours[name], theirs[name]
        assert (a.info.description, a.info.format) == (b.info.description, b.info.format), name
        if isinstance(b, SkyCoord):
            assert a.frame.name == b.frame.name
            assert np.array_equal(np.isnan(a.ra), np.isnan(b.ra)), name  # outside the bounding box
            assert np.nanmax(a.separation(b).arcsec) < 1e-9, name
            continue
        assert getattr(a, "unit", None) == getattr(b, "unit", None), name
        assert a.dtype == b.dtype or np.isnan(b).all(), name
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=0, err_msg=name)


def plain(value: Any) -> Any:
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else np.asarray(value).tolist()


@pytest.mark.parametrize("options", [
    {}, {"aperture_ee1": 50, "aperture_ee2": 70, "aperture_ee3": 80, "ci1_star_threshold": 1.2, "ci2_star_threshold": 1.05},
    {"snr_threshold": 10.0, "npixels": 9}, {"bkg_boxsize": 33, "nlevels": 4}, {"kernel_fwhm": 3.5, "npixels": 40},
    {"connectivity": 4, "npixels": 6, "snr_threshold": 1.5}, {"deblend": False, "bkg_boxsize": 60}, {"contrast": 0.5},
    {"contrast": 0.0, "multithresh_mode": "linear", "npixels": 6}, {"multithresh_mode": "sinh", "npixels": 6}, {"localbkg_width": 8},
    {"apermask_method": "mask", "kron_params": (2.0, 1.0, 0.5)},
], ids=str)  # fmt: skip
def test_every_option_of_segments(options: dict[str, Any], paths: dict[str, Path], tmp_path: Path) -> None:
    model = mosaic()
    ours = source_catalog(model, **paths, **options)
    theirs, segm = peer(model, paths, tmp_path, **options)
    assert len(theirs) > 15
    assert_same(ours.cat, theirs)
    if options.get("aperture_ee1") is None:
        assert tuple(ours.cat.colnames[-len(OURS) :]) == OURS
    assert segm.data.dtype == ours.segm.data.dtype
    assert np.array_equal(segm.data, ours.segm.data)
    if not options:
        assert_same_keywords(ours.segm, segm)


def assert_same_keywords(ours: Any, theirs: Any) -> None:
    others = (
        "meta.date",
        "meta.filename",
        "meta.source_catalog",
        "meta.jwnb",
        "meta.wcs.",
        "meta.calibration_software",
        "meta.ref_file",
        "history",
        "asdf",
    )
    a, b = (
        {k: v for k, v in m.to_flat_dict(include_arrays=False).items() if not k.startswith(others) and k != "meta.wcs" and v is not None}
        for m in (ours, theirs)
    )
    assert a.pop("meta.cal_step.source_catalog") == "COMPLETE"  # that of `jwst` is silent
    assert a == b
    assert np.allclose(ours.meta.wcs(10.0, 20.0), theirs.meta.wcs(10.0, 20.0), rtol=1e-14)


def test_the_table_says_the_same_of_itself(paths: dict[str, Path], tmp_path: Path) -> None:
    model = mosaic()
    ours, (theirs, _) = source_catalog(model, **paths).cat, peer(model, paths, tmp_path)
    for key, value in theirs.meta.items():
        if key == "version":
            assert {k: v for k, v in ours.meta[key].items() if k != "jwnb"} == {k: v for k, v in value.items() if k != "jwst"}
        elif key != "date":
            assert plain(ours.meta[key]) == plain(value), key
    [written] = tmp_path.glob("*.ecsv")
    assert_same(QTable.read(models.save(ours, tmp_path / "ours_cat.ecsv")), QTable.read(written))


STARS = [
    ("dao", {}), ("iraf", {}), ("dao", {"snr_threshold": 20.0, "minsep_fwhm": 6.0}), ("iraf", {"sigma_radius": 2.5, "kernel_fwhm": 3.0}),
    ("dao", {"sharplo": 0.45, "sharphi": 0.8}), ("iraf", {"roundlo": 0.02, "roundhi": 0.2}), ("dao", {"brightest": 7}),
]  # fmt: skip


@pytest.mark.parametrize(("starfinder", "options"), STARS, ids=str)
def test_every_option_of_star_finders(starfinder: str, options: dict[str, Any], paths: dict[str, Path]) -> None:
    wide = {"sharplo": 0.2, "roundlo": -0.5, "roundhi": 0.5} | options
    ours, theirs = both(mosaic(), paths, starfinder=starfinder, **wide)
    assert len(theirs) >= 3
    assert_same(ours.cat, theirs)
    assert ours.segm is None


@pytest.mark.parametrize("ratio", [0.5, None])
def test_pixel_scale(ratio: float | None, paths: dict[str, Path]) -> None:
    model = mosaic()
    model.meta.resample.pixel_scale_ratio = ratio
    assert_same(*(getattr(r, "cat", r) for r in both(model, paths)))


@pytest.mark.parametrize("instrument", ["MIRI", "FGS"])
def test_rows_of_other_instruments(instrument: str, tmp_path: Path) -> None:
    paths = {"apcorr": tmp_path / "apcorr.fits", "abvegaoffset": tmp_path / "vega.asdf"}
    apcorr(instrument).save(paths["apcorr"])
    vega(instrument).save(paths["abvegaoffset"])
    model = mosaic()
    model.meta.instrument.name = instrument
    model.meta.instrument.filter, model.meta.subarray.name = "F200W", "FULL"
    model.meta.instrument.detector = {"MIRI": "MIRIMAGE", "FGS": "GUIDER2"}[instrument]
    ours, theirs = both(model, paths)
    assert_same(ours.cat, theirs)
    assert theirs.meta["abvega_offset"] == np.float32(1.68)


def test_negative_sky_and_one_source(paths: dict[str, Path]) -> None:
    model = mosaic(sky=-3.0)
    assert_same(*(getattr(r, "cat", r) for r in both(model, paths)))
    model = mosaic(empty=True)
    model.data[80:90, 80:90] += 1
    ours, theirs = both(model, paths)
    assert len(theirs) == 1
    assert_same(ours.cat, theirs, but=("nn_label",))  # of another integer type there
    assert ours.cat["nn_label"][0] == theirs["nn_label"][0] == -1


def test_pixels_without_data_in_sources(paths: dict[str, Path]) -> None:
    model = mosaic()
    bright = np.argwhere(np.nan_to_num(model.data) > 3)
    for k, (row, column) in enumerate(bright[::7]):
        if k % 3 == 0:
            model.data[row, column] = np.nan
        elif k % 3 == 1:
            model.err[row, column] = np.nan
        else:
            model.wht[row, column] = 0
    ours, theirs = both(model, paths)
    assert np.isnan(theirs["aper50_flux"]).any()
    assert_same(ours.cat, theirs)


def test_nothing_found(paths: dict[str, Path]) -> None:
    for model in (mosaic(empty=True), mosaic()):
        if model.data[50, 100] > 0.6 or np.nanmax(model.data) > 1:
            model.wht = np.zeros_like(model.wht)
        assert peer(model, paths) is None
        with pytest.warns(UserWarning, match="no sources were found"):
            assert len(source_catalog(model, **paths).cat) == 0


def test_no_row_of_the_aperture_correction(paths: dict[str, Path]) -> None:
    model = mosaic()
    model.meta.instrument.filter = "F444W"
    assert peer(model, paths) is None
    with pytest.raises(ValueError, match="no row for filter F444W"):
        source_catalog(model, **paths)


def test_the_input_stays_as_it_was(paths: dict[str, Path]) -> None:
    model = mosaic()
    before, data, wcs = copy.deepcopy(model.meta.instance), model.data.copy(), model.meta.wcs
    del before["wcs"]
    source_catalog(model, **paths)
    assert model.meta.wcs is wcs
    assert {k: v for k, v in model.meta.instance.items() if k != "wcs"} == before
    assert np.array_equal(model.data, data, equal_nan=True)
