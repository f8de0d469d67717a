"""Where references and exposures lie on the detector."""

import numpy as np
import pytest
from stdatamodels.jwst.datamodels import (
    GainModel,
    SuperBiasModel,
)

from jwnb.errors import InputError
from jwnb.references import resolve
from jwnb.references.opening import cache, open_reference

FLAGS = [(0, 1, "DO_NOT_USE", ""), (1, 2, "HOT", ""), (2, 4, "DEAD", "")]
DQ_DEF = np.array(FLAGS, dtype=[("BIT", "<u4"), ("VALUE", "<u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")])
NY, NX = 40, 48


def prepared(model, *, x=1, y=1, nx=NX, ny=NY, instrument="NIRCAM", detector="NRCA1", keywords=True):
    """Fill in what a reference file says of itself."""
    model.meta.instrument.name, model.meta.instrument.detector = instrument, detector
    model.meta.description, model.meta.author, model.meta.pedigree = "made for a test", "tests", "DUMMY"
    model.meta.useafter, model.meta.reftype = "2015-01-01T00:00:00", "any"
    if keywords:
        model.meta.subarray.xstart, model.meta.subarray.ystart = x, y
        model.meta.subarray.xsize, model.meta.subarray.ysize = nx, ny
    return model


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.fixture(autouse=True)
def _empty_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def bias(tmp_path):
    model = prepared(SuperBiasModel(data=numbered(NY, NX), err=numbered(NY, NX) + 0.5))
    model.dq = (np.arange(NY * NX) % 5).astype(np.uint32).reshape(NY, NX)
    model.save(tmp_path / "bias.fits")
    return tmp_path / "bias.fits"


def test_a_subarray_of_a_subarray(tmp_path, make_exposure):
    path = tmp_path / "gain.fits"
    prepared(GainModel(data=numbered(NY, NX)), x=101, y=201).save(path)

    cut = open_reference(resolve(make_exposure(), "gain", path), GainModel, make_exposure(x=103, y=204, nx=4, ny=3))

    np.testing.assert_array_equal(cut.data, numbered(NY, NX)[3:6, 2:6])


def test_missing_keywords_mean_full_frame_or_the_exposures_own(make_exposure):
    data = np.zeros((1024, 1032), np.float32)
    data[20, 10] = 7
    full = prepared(GainModel(data=data), instrument="MIRI", detector="MIRIMAGE", keywords=False)
    exposure = make_exposure("MIRIMAGE", instrument="MIRI", x=11, y=21, nx=4, ny=4)
    assert open_reference(resolve(exposure, "gain", full), GainModel, exposure).data[0, 0] == 7

    own = prepared(GainModel(data=numbered(4, 4)), instrument="MIRI", detector="MIRIMAGE", keywords=False)
    assert open_reference(resolve(exposure, "gain", own), GainModel, exposure) is own


def test_keywords_that_contradict_the_array_give_way(make_exposure):
    wrong = prepared(GainModel(data=numbered(24, 32)), nx=2048, ny=2048)
    exposure = make_exposure(nx=32, ny=24)
    assert open_reference(resolve(exposure, "gain", wrong), GainModel, exposure).data.shape == (24, 32)


def test_an_exposure_that_does_not_say_where_it_is_raises(bias, make_exposure):
    exposure = make_exposure(nx=16, ny=8)
    exposure.meta.subarray.xstart = None
    with pytest.raises(InputError, match="SUBSTRT1"):
        open_reference(resolve(exposure, "superbias", bias), SuperBiasModel, exposure)


def test_irs2_arrays_of_3200_rows_are_of_the_full_frame(make_exposure):
    exposure = make_exposure("NRS1", instrument="NIRSPEC", nx=2048, ny=3200)
    exposure.meta.subarray.ysize = 2048
    tall = prepared(SuperBiasModel(data=np.zeros((3200, 2048), np.float32)), instrument="NIRSPEC", detector="NRS1", nx=2048, ny=2048)
    assert open_reference(resolve(exposure, "superbias", tall), SuperBiasModel, exposure) is tall
