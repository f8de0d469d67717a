"""A real mosaic and the real WCS of all NIRCam detectors, where the shared data are there."""

import asdf
import numpy as np
import pytest
from helpers import set_keywords
from helpers_wcs import shared_data
from stdatamodels.jwst.datamodels import ImageModel

import jwnb
from jwnb import record
from jwnb.display import cards, figures
from jwnb.models import Exposures
from jwnb.stage3.output_grid import given_grid, grid_around, outlines
from jwnb.stage3.resample import planned_output
from jwnb.wcs.frames import footprint, polygon
from jwnb.wcs.pixelmap import image_to_image

DETECTORS = tuple(f"nrc{module}{k}" for module in "ab" for k in (1, 2, 3, 4, "long"))


@pytest.fixture(scope="module")
def mosaic():
    path = shared_data("imaging", "jw01288015001_04101_00001_mirimage_i2d.fits")
    if not path.exists():
        pytest.skip(f"the real mosaic is not there ({path}); set JWNB_TEST_DATA")
    return jwnb.open(path)


@pytest.fixture(scope="module")
def detectors():
    folder = shared_data("references", "nircam_gwcs")
    if not folder.exists():
        pytest.skip(f"the real WCS are not there ({folder}); set JWNB_TEST_DATA")
    found = {}
    for path in sorted(folder.glob("*.asdf")):
        name = next(d for d in DETECTORS if d in path.name.lower())
        with asdf.open(path, lazy_load=False, memmap=False) as tree:
            found[name] = tree["wcs"]
    assert set(found) == set(DETECTORS)
    return found


def exposure(name: str, wcs) -> ImageModel:
    image = ImageModel((2048, 2048))
    detector = name.upper()
    set_keywords(image, (2048, 2048), **{"instrument.detector": detector, "subarray.name": "FULL", "filename": f"jw1_1_1_{name}_cal.fits"})
    if wcs.bounding_box is None:
        wcs.bounding_box = ((-0.5, 2047.5), (-0.5, 2047.5))
    image.meta.wcs = wcs
    image.meta.wcsinfo.s_region = polygon(footprint(wcs))
    ra, dec = wcs(1023.5, 1023.5)
    for key, value in {"ra_ref": ra, "dec_ref": dec, "roll_ref": 0.0, "v3yangle": 0.0, "vparity": -1}.items():
        setattr(image.meta.wcsinfo, key, value if key == "vparity" else float(value))
    return image


def test_footprints_and_grids_of_all_detectors(detectors):
    images = [exposure(name, wcs) for name, wcs in detectors.items()]
    for image in images:
        sky = footprint(image.meta.wcs)
        size = np.hypot(np.ptp(sky[:, 0]) * np.cos(np.radians(sky[0, 1])), np.ptp(sky[:, 1])) * 3600
        wide = 130 if "LONG" in image.meta.instrument.detector else 65
        assert wide < size < 2 * wide, "a short-wave detector sees 64 arcsec, a long-wave one 129"
    short = [i for i in images if "LONG" not in i.meta.instrument.detector]
    grid = grid_around([i.meta.wcsinfo.s_region for i in short], short[0])
    assert 0.030 < grid.pixel_scale < 0.033
    for image in short:
        map_ = image_to_image(image.meta.wcs, grid.wcs, (2048, 2048))
        assert map_.error <= 1e-3
        inside = map_.rows(1000, 1010)
        assert np.isfinite(inside).all() and (inside > -2).all() and (inside < np.array(grid.shape[::-1]) + 2).all()
    planned_output(Exposures(short), memory_limit=20.0)
    figure = figures.footprints(images)
    assert len(figure.axes[0].texts) >= len(images)
    assert all("on the sky" in image_card.lower() for image_card in [cards.model_card(short[0])])


def test_card_footprint_and_grid_of_a_real_mosaic(mosaic):
    assert mosaic.data.shape == (129, 137)
    card = cards.model_card(mosaic)
    assert "F1130W" in card and "MIRI" in card and len(card) < 60_000
    (outline,) = outlines(polygon(footprint(mosaic.meta.wcs)))
    grid = given_grid(mosaic.meta.wcs)
    assert 0.10 < grid.pixel_scale < 0.12 and len(outline) == 4
    assert grid.shape == mosaic.data.shape
    whole = image_to_image(mosaic.meta.wcs, grid.wcs, mosaic.data.shape).full()
    assert np.abs(whole - np.moveaxis(np.indices(mosaic.data.shape)[::-1], 0, -1)).max() < 1e-3
    assert {e["step"] for e in record.ledger(mosaic)} >= {"resample", "photom"}
    figures.image_figure(mosaic)
