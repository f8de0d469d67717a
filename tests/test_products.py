"""What a pipeline gives back."""

from dataclasses import dataclass

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from helpers import make_image
from stdatamodels.jwst.datamodels import ImageModel
from yaml import YAMLError

import jwnb
from jwnb import models
from jwnb.errors import InputError
from jwnb.products import Products


@pytest.fixture
def products():
    rate = make_image(np.ones((8, 8)), filename="a_rate.fits")
    crfs = [make_image(np.ones((8, 8)), filename=f"{n}_crf.fits") for n in "ab"]
    return Products(
        "detector1", {"rate": rate, "crf": crfs, "fitopt": None}, kept={"jump": make_image(np.ones((8, 8)), filename="a_rate.fits")}
    )


def test_by_suffix(products):
    assert products.rate.meta.filename == "a_rate.fits"
    assert len(products.crf) == 2
    assert products.fitopt is None
    assert products.ami_oi is None
    assert products.suffixes == ("rate", "crf")
    assert "rate" in dir(products)
    with pytest.raises(AttributeError, match="Did you mean 'rate'"):
        _ = products.ratee


def test_saving_under_standard_names(products, tmp_path):
    paths = products.save(tmp_path / "out")
    assert sorted(p.name for p in paths) == ["a_crf.fits", "a_jump.fits", "a_rate.fits", "b_crf.fits"]
    assert all(jwnb.open(p).data.shape == (8, 8) for p in paths)
    assert products.rate.meta.filename == "a_rate.fits"


def test_a_folder_that_cannot_be(products, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        products.save(tmp_path / "file")


def test_it_is_immutable(products):
    with pytest.raises(TypeError):
        products.made["cal"] = 1


def test_it_shows_itself(products):
    assert "a_rate.fits: ImageModel (8, 8)" in repr(products)


def test_several_exposures_are_opened_one_at_a_time_when_saved(tmp_path):
    path = models.save(make_image(np.ones((8, 8)), filename="jw1_cal.fits"), tmp_path / "jw1_cal.fits")
    several = models.Exposures([path, make_image(np.ones((8, 8)), filename="jw2_cal.fits")]).named(["jw1_a1_crf.fits", "jw2_a1_crf.fits"])
    products = Products("image3", {"crf": several}, kept={"tweakreg": several})
    assert [p.name for p in products.save(tmp_path / "out")] == [
        "jw1_a1_crf.fits", "jw2_a1_crf.fits", "jw1_a1_tweakreg.fits", "jw2_a1_tweakreg.fits",
    ]  # fmt: skip
    assert jwnb.open(tmp_path / "out" / "jw1_a1_crf.fits").meta.filename == "jw1_a1_crf.fits"
    assert "jw2_a1_crf.fits: exposure" in repr(products) and "jw2_a1_crf.fits" in products._repr_html_()


def test_catalogues_are_saved_beside_models(tmp_path):
    @dataclass(frozen=True)
    class Found:
        cat: QTable
        segm: ImageModel

    cat = QTable({"flux": [1.0, 2.0] * u.Jy}, meta={"filename": "a_cat.ecsv", "radii": np.arange(2.0)})
    segm = make_image(np.ones((8, 8)), filename="a_segm.fits")
    products = Products("image3", {"cat": cat, "segm": segm}, kept={"source_catalog": Found(cat, segm)})
    assert products.cat is cat
    assert "a_cat.ecsv: QTable (2, 1)" in repr(products)
    assert "a_cat.ecsv" in products._repr_html_()
    paths = products.save(tmp_path)
    assert [p.name for p in paths] == ["a_cat.ecsv", "a_segm.fits", "a_source_catalog.ecsv", "a_source_catalog1.fits"]
    back = QTable.read(paths[0])
    assert np.array_equal(back["flux"], cat["flux"])
    assert back.meta["filename"] == "a_cat.ecsv"


def test_a_catalogue_is_there_whole_or_not_at_all(tmp_path):
    path = models.save(QTable({"a": [1.0]}), tmp_path / "new" / "x_cat.ecsv")
    with pytest.raises(InputError, match=r"must end in \.ecsv"):
        models.save(QTable({"a": [1.0]}), tmp_path / "x.fits")
    with pytest.raises(YAMLError):
        models.save(QTable({"a": [1.0]}, meta={"cannot": object}), path)
    assert [p.name for p in path.parent.iterdir()] == ["x_cat.ecsv"]
    assert len(QTable.read(path)) == 1
