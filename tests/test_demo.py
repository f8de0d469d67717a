"""`make demo`: raw ramps to a picture, with every step named."""

import numpy as np
import pytest
from PIL import Image

import jwnb
from jwnb import sim
from jwnb.demo import demo


@pytest.mark.filterwarnings("ignore:nothing could be aligned", "ignore:no sources were found")  # so small a field has few stars
def test_the_demo_ends_with_products_paths_and_a_picture(tmp_path, capsys, monkeypatch):
    full = sim.imaging
    monkeypatch.setattr(sim, "imaging", lambda folder, *, seed: full(folder, seed=seed, subarray="SUB160", dithers=2, stars=5, galaxies=1))
    assert demo(tmp_path / "demo", seed=2) == 0
    text = capsys.readouterr().out
    for step in ("dq_init", "jump", "ramp_fit", "persistence", "assign_wcs", "photom", "tweakreg", "resample"):
        assert f"  {step} " in text
    image = jwnb.open(tmp_path / "demo" / "practice_field_i2d.fits")
    assert np.isfinite(image.data).mean() > 0.5
    with Image.open(tmp_path / "demo" / "practice_field_i2d.png") as picture:
        assert min(picture.size) > 300
    assert len(list((tmp_path / "demo").glob("*_cal.fits"))) == 2
    assert len(list((tmp_path / "demo").glob("*_rate.fits"))) == 2
