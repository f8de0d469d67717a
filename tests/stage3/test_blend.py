"""Metadata of several inputs as those of one product."""

import numpy as np
import pytest
from helpers_stage3 import dithered
from stdatamodels.jwst.datamodels import ImageModel
from stdatamodels.jwst.datamodels import open as open_model

from jwnb.errors import InputError
from jwnb.stage3.blend import Blend


def blended(images, ignore=()):
    blend = Blend(ignore)
    for image in images:
        blend.add(image)
    product = ImageModel((4, 4))
    blend.finish(product)
    return product


def test_rules_of_the_schema() -> None:
    images = dithered(3)
    images[1].meta.instrument.filter = "F150W"
    images[2].meta.observation.time = "11:59:00.000"
    product = blended(images)
    assert product.meta.instrument.filter == "MULTIPLE"
    assert product.meta.instrument.detector == "NRCA1"
    assert product.meta.observation.time == "11:59:00.000"
    assert product.meta.exposure.start_time == min(i.meta.exposure.start_time for i in images)
    assert product.meta.exposure.end_time == max(i.meta.exposure.end_time for i in images)
    assert product.meta.exposure.exposure_time == sum(i.meta.exposure.exposure_time for i in images)


def test_ignored_attributes_stay() -> None:
    product = blended(dithered(2), ignore=("meta.filename", "meta.photometry.pixelarea_arcsecsq"))
    assert product.meta.filename is None
    assert product.meta.photometry.pixelarea_arcsecsq is None
    assert not product.meta.hasattr("wcs")


def test_a_row_for_each_input_survives_saving(tmp_path) -> None:
    images = dithered(3)
    images[1].meta.target.proposer_name = "only this one"
    blended(images).save(tmp_path / "x.fits")
    with open_model(tmp_path / "x.fits") as back:
        table = back.hdrtab
        assert list(table["FILENAME"]) == [i.meta.filename for i in images]
        assert list(table["TARGPROP"]) == ["nan", "only this one", "nan"]
        assert np.allclose(table["EFFEXPTM"], [501, 502, 503])


def test_inputs_of_two_classes() -> None:
    blend = Blend()
    blend.add(dithered(1)[0])
    from stdatamodels.jwst.datamodels import CubeModel

    with pytest.raises(InputError, match="CubeModel"):
        blend.add(CubeModel((2, 3, 4)))
