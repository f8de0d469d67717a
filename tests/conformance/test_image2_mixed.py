"""Steps of `jwst` and of jwnb in one chain: any may stand between any two others, through a saved file."""

import itertools
import warnings
from pathlib import Path
from typing import Any

import helpers_flux as flux
import helpers_wcs as h
import numpy as np
import pytest
from conformance.peer_image2 import assert_same_arrays, assert_same_tree, run_jwst

import jwnb
from jwnb.stage2.flat import flat_field
from jwnb.stage2.photom import photom
from jwnb.wcs.assign import assign_wcs

pytestmark = pytest.mark.peer

STEPS = ((assign_wcs, "AssignWcsStep"), (flat_field, "FlatFieldStep"), (photom, "PhotomStep"))
ARRAYS = ("data", "err", "var_poisson", "var_rnoise", "var_flat", "dq", "area")


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The references of each step."""
    folder = tmp_path_factory.mktemp("references")
    h.distortion_model().save(folder / "distortion.asdf")
    for name, model in (("flat", flux.flat()), ("photom", flux.photom_table()), ("area", flux.area())):
        model.save(folder / f"{name}.fits")
    return [
        {"distortion": folder / "distortion.asdf", "filteroffset": "N/A"},
        {"flat": folder / "flat.fits"},
        {"photom": folder / "photom.fits", "area": folder / "area.fits"},
    ]


def run_chain(ours: tuple[bool, ...], references: list[dict[str, Any]], folder: Path) -> Any:
    model = flux.rate()
    model.meta.exposure.exposure_time = model.meta.exposure.measurement_time = 100.0
    for mine, (function, name), files in zip(ours, STEPS, references, strict=True):
        given = {"reference": next(iter(files.values()))} if len(files) == 1 else files  # ours: one reference goes by that name
        model = function(model, **given) if mine else run_jwst(name, model, files)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the data models say of files that others have written
            model.save(folder / "between_cal.fits")
        model = jwnb.open(folder / "between_cal.fits")
    return model


@pytest.fixture(scope="module")
def theirs(references: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `jwst` alone makes."""
    return run_chain((False, False, False), references, tmp_path_factory.mktemp("theirs"))


@pytest.mark.parametrize("ours", [c for c in itertools.product((True, False), repeat=3) if any(c)])
def test_every_mixture(ours: tuple[bool, ...], references: list[dict[str, Any]], theirs: Any, tmp_path: Path) -> None:
    mixed = run_chain(ours, references, tmp_path)
    assert_same_arrays(mixed, theirs, ARRAYS)
    assert_same_tree(mixed.meta.wcsinfo, theirs.meta.wcsinfo)
    assert_same_tree(mixed.meta.photometry, theirs.meta.photometry)
    x, y = np.meshgrid(np.linspace(0, 31, 5), np.linspace(0, 31, 5))
    np.testing.assert_allclose(mixed.meta.wcs(x, y), theirs.meta.wcs(x, y), rtol=0, atol=1e-10)


def test_jwst_resamples_what_is_made_here(references: list[dict[str, Any]], theirs: Any, tmp_path: Path) -> None:
    from jwst.resample import ResampleStep

    results = []
    for model in (run_chain((True, True, True), references, tmp_path), theirs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.append(ResampleStep().process(model.copy()))
    np.testing.assert_allclose(results[0].data, results[1].data, rtol=1e-6)
    assert np.isfinite(results[0].data).sum() > 100
