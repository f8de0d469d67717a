"""Where references and exposures lie on the detector."""

import numpy as np
import pytest
from helpers_references import NX, NY, numbered, prepared
from stdatamodels.jwst.datamodels import (
    GainModel,
    SuperBiasModel,
)

from jwnb.errors import InputError
from jwnb.references import resolve
from jwnb.references.opening import open_reference


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
