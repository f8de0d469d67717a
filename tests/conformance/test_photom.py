"""photom against `jwst` on the same exposure and the same references."""

from pathlib import Path
from typing import Any

import helpers_flux as h
import numpy as np
import pytest
from conformance.peer_image2 import assert_same_arrays, plain, run_jwst

from jwnb.errors import MissingReferenceError
from jwnb.stage2.photom import photom

pytestmark = pytest.mark.peer

ARRAYS = ("data", "err", "var_poisson", "var_rnoise", "var_flat", "dq", "area")


def flat_fielded(shape: tuple[int, ...] = (h.SIDE, h.SIDE), **where: Any) -> Any:
    model = h.rate(shape, **where)
    model.var_flat = (0.01 * np.abs(model.data)).astype(np.float32)
    model.var_flat[..., 9, 9] = np.nan
    return model


def both(model: Any, table: Any, area: Any, folder: Path, **options: Any) -> tuple[Any, Any]:
    table.save(folder / "photom.fits")
    if area is not None:
        area.save(folder / "area.fits")
    paths = {"photom": folder / "photom.fits", "area": "N/A" if area is None else folder / "area.fits"}
    return photom(model, **paths, **options), run_jwst("PhotomStep", model, paths, **options)


def assert_same(ours: Any, theirs: Any) -> None:
    assert_same_arrays(ours, theirs, ARRAYS)
    assert plain(ours.meta.photometry) == plain(theirs.meta.photometry)
    assert (ours.meta.bunit_data, ours.meta.bunit_err) == (theirs.meta.bunit_data, theirs.meta.bunit_err)
    assert ours.meta.cal_step.photom == theirs.meta.cal_step.photom


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(("exp_type", "shape"), [
    ("NRC_IMAGE", (h.SIDE, h.SIDE)), ("NRC_TSIMAGE", (3, h.SIDE, h.SIDE)), ("NRC_CORON", (2, h.SIDE, h.SIDE)),
    ("NIS_IMAGE", (h.SIDE, h.SIDE)), ("NIS_AMI", (h.SIDE, h.SIDE)), ("FGS_IMAGE", (h.SIDE, h.SIDE)), ("FGS_IMAGE", (2, h.SIDE, h.SIDE)),
])  # fmt: skip
def test_instruments(exp_type: str, shape: tuple[int, ...], inverse: bool, tmp_path: Path) -> None:
    model = flat_fielded(shape, exp_type=exp_type)
    instrument = model.meta.instrument.name
    ours, theirs = both(model, h.photom_table(instrument), h.area(instrument=instrument), tmp_path, inverse=inverse)
    assert_same(ours, theirs)
    assert ours.meta.bunit_data == ("DN/s" if inverse else "MJy/sr")


@pytest.mark.parametrize("laws", [("linear",), ("exponential",), ("powerlaw",), ("linear", "exponential", "powerlaw")])
@pytest.mark.parametrize("apply_time_correction", [False, True])
def test_decline_with_time(laws: tuple[str, ...], apply_time_correction: bool, tmp_path: Path) -> None:
    table = h.add_decline(h.photom_table(), *laws)
    assert_same(*both(flat_fielded(), table, h.area(), tmp_path, apply_time_correction=apply_time_correction))


@pytest.mark.parametrize("exp_type", ["NIS_IMAGE", "FGS_IMAGE"])
def test_decline_of_other_instruments(exp_type: str, tmp_path: Path) -> None:
    model = flat_fielded(exp_type=exp_type)
    table = h.add_decline(h.photom_table(model.meta.instrument.name), "linear")
    assert_same(*both(model, table, None, tmp_path))


def test_subarray_column(tmp_path: Path) -> None:
    model = flat_fielded(subarray="SUB64P")
    ours, theirs = both(model, h.photom_table(subarrays=("FULL", "SUB64P")), h.area(), tmp_path)
    assert_same(ours, theirs)
    assert ours.meta.photometry.conversion_megajanskys == np.float32(1.06)


def test_subarray_of_the_area_map(tmp_path: Path) -> None:
    model = flat_fielded(corner=(31, 9), subarray="SUB32")
    assert_same(*both(model, h.photom_table(), h.area((2048, 2048)), tmp_path))


def test_without_area_map(tmp_path: Path) -> None:
    assert_same(*both(flat_fielded(), h.photom_table(), None, tmp_path))


@pytest.mark.parametrize("source_type", ["POINT", "EXTENDED"])
def test_source_type_does_not_matter_to_images(source_type: str, tmp_path: Path) -> None:
    assert_same(*both(flat_fielded(), h.photom_table(), h.area(), tmp_path, source_type=source_type))


def test_without_variances(tmp_path: Path) -> None:
    model = h.rate()
    del model.instance["var_poisson"], model.instance["var_rnoise"]
    assert_same(*both(model, h.photom_table(), h.area(), tmp_path))


def test_no_row(tmp_path: Path) -> None:
    """The arrays stay as they are in both. `jwst` calls that COMPLETE; here it is SKIPPED, with the reason and a warning."""
    model = flat_fielded()
    model.meta.instrument.filter = "F090W"
    with pytest.warns(match="no row for FILTER=F090W, PUPIL=CLEAR"):
        ours, theirs = both(model, h.photom_table(), h.area(), tmp_path)
    assert_same_arrays(ours, theirs, ("data", "err", "var_poisson", "var_rnoise", "var_flat", "dq"))
    assert (ours.meta.cal_step.photom, theirs.meta.cal_step.photom) == ("SKIPPED", "COMPLETE")


def test_two_rows(tmp_path: Path) -> None:
    from jwst.photom.photom import MatchFitsTableRowError

    h.photom_table(twice=True).save(tmp_path / "photom.fits")
    paths = {"photom": tmp_path / "photom.fits", "area": "N/A"}
    with pytest.raises(MissingReferenceError, match="2 rows for FILTER=F200W, PUPIL=CLEAR"):
        photom(flat_fielded(), **paths)
    with pytest.raises(MatchFitsTableRowError):
        run_jwst("PhotomStep", flat_fielded(), paths)


def test_cube_of_niriss_is_skipped(tmp_path: Path) -> None:
    model = flat_fielded((2, h.SIDE, h.SIDE), exp_type="NIS_AMI")
    ours, theirs = both(model, h.photom_table("NIRISS"), None, tmp_path)
    assert ours.meta.cal_step.photom == theirs.meta.cal_step.photom == "SKIPPED"
    assert_same_arrays(ours, theirs, ARRAYS)
