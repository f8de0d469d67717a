"""What a pipeline gives back."""

import numpy as np
import pytest
from helpers import make_image

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
