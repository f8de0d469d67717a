"""Outliers as bits, and how they get into the arrays of an exposure."""

import numpy as np
from helpers_stage3 import calibrated

from jwnb import dq, record
from jwnb.stage3.outlier_flags import found_in

FLAGS = dq.pixel("OUTLIER", "DO_NOT_USE")


def some(model) -> np.ndarray:
    found = np.zeros(model.data.shape, bool)
    found[10, 20] = found[30, 40] = found[95, 111] = True
    return found


def test_flags_and_nan() -> None:
    model = calibrated()
    found = some(model)
    outliers = found_in(model, found, np.ones(model.data.shape, np.float32))
    assert np.array_equal(outliers.found, found)
    assert outliers.bits.nbytes == -(-found.size // 8)
    before = model.copy()
    before.var_flat[3, 3] = np.nan
    changed = before.copy()
    outliers(changed)
    assert np.array_equal(changed.dq[found] & FLAGS, np.full(3, FLAGS))
    assert changed.dq[3, 3] == before.dq[3, 3] | dq.PIXEL["DO_NOT_USE"]
    bad = (changed.dq & dq.PIXEL["DO_NOT_USE"]) > 0
    for name in ("data", "err", "var_poisson", "var_rnoise", "var_flat"):
        assert np.array_equal(np.isnan(getattr(changed, name)), bad), name
        assert np.array_equal(getattr(changed, name)[~bad], getattr(before, name)[~bad])
    others = ~found
    others[3, 3] = False
    assert np.array_equal(changed.dq[others], before.dq[others])


def test_arrays_are_replaced_not_written_into() -> None:
    model = calibrated()
    data, flags = model.data, model.dq
    kept = data.copy(), flags.copy()
    found_in(model, some(model), np.ones(model.data.shape, np.float32))(model)
    assert model.data is not data and np.array_equal(data, kept[0], equal_nan=True)
    assert model.dq is not flags and np.array_equal(flags, kept[1])


def test_arrays_that_were_not_loaded_stay_away() -> None:
    model = calibrated()
    outliers = found_in(model, some(model), np.ones(model.data.shape, np.float32))
    for gone in (("dq", "err", "var_flat"), ("data",), ("data", "dq", "err", "var_poisson", "var_rnoise", "var_flat")):
        part = model.copy()
        for name in gone:
            del part.instance[name]
        outliers(part)
        assert not set(gone) & set(part.instance)
        if "dq" not in gone:
            assert (part.dq[10, 20] & FLAGS) == FLAGS
        if "var_rnoise" not in gone:
            assert np.isnan(part.var_rnoise[10, 20])


def test_an_exposure_without_flags_gets_them() -> None:
    model = calibrated()
    del model.instance["dq"]
    found_in(model, some(model), np.ones(model.data.shape, np.float32))(model)
    assert model.dq[10, 20] == FLAGS and model.dq.dtype == np.uint32


def test_a_list_of_the_strongest() -> None:
    model = calibrated()
    model.data[:], model.err[:] = 1, 0.5
    model.data[10, 20], model.data[30, 40], model.data[95, 111] = 4, 11, np.nan
    expected = np.full(model.data.shape, 1, np.float32)
    found_in(model, some(model), expected)(model)
    table = record.node(model)["outlier_detection"]
    assert table["n_flagged"] == 3 and table["n_pixels"] == model.data.size
    assert table["x"].tolist() == [20, 40, 111] and table["y"].tolist() == [10, 30, 95]
    assert table["difference"].tolist()[:2] == [3, 10] and table["sigma"].tolist()[:2] == [6, 20]
    assert table["value"].tolist()[:2] == [4, 11] and table["median"].tolist() == [1, 1, 1]


def test_the_list_is_short_and_survives_saving(tmp_path) -> None:
    from jwnb import models

    model = calibrated()
    model.data = np.random.default_rng(0).normal(size=model.data.shape).astype(np.float32)
    model.err[:] = 1
    found_in(model, np.ones(model.data.shape, bool), np.zeros(model.data.shape, np.float32))(model)
    models.save(model, tmp_path / "a_crf.fits")
    table = record.node(models.open(tmp_path / "a_crf.fits"))["outlier_detection"]
    assert table["n_flagged"] == 96 * 112
    assert len(table["x"]) == len(table["sigma"]) == 200
    assert np.abs(table["sigma"]).min() > 2
