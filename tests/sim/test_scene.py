import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from scipy.special import gammainc, gammaincinv

from jwnb.errors import ParameterError
from jwnb.sim.geometry import Pointing, detector
from jwnb.sim.optics import bandpass
from jwnb.sim.scene import ARCSEC2, Scene, checked_catalogue, image_of_scene, pixel_areas, random_galaxies, random_stars, sersic_blend

DET = detector("NRCA1")
SUB = DET.subarray("SUB160")
POINTING = Pointing(SUB.v2_ref, SUB.v3_ref, 150.1, 2.2, 37.0)
BAND = bandpass("F200W")
NO_STARS = checked_catalogue(Table({"ra": [], "dec": [], "flux": []}), "stars")


def place(x, y):
    return POINTING.to_sky(*DET.to_v2v3(SUB.xstart - 1 + x, SUB.ystart - 1 + y))


def one_galaxy(x=80.0, y=80.0, **changes):
    ra, dec = place(x, y)
    values = {"flux": 1e-5, "half_light_radius": 0.3, "sersic_index": 1.0, "axis_ratio": 0.5, "position_angle": 20.0} | changes
    return checked_catalogue(Table({"ra": [float(ra)], "dec": [float(dec)], **{k: [v] for k, v in values.items()}}), "galaxies")


def draw(stars=NO_STARS, galaxies=None, sky=0.0):
    galaxies = one_galaxy()[:0] if galaxies is None else galaxies
    return image_of_scene(Scene(stars, galaxies, sky), pointing=POINTING, det=DET, subarray=SUB, band=BAND)


def moments(image):
    y, x = np.indices(image.shape)
    f = image.sum()
    mx, my = (image * x).sum() / f, (image * y).sum() / f
    return mx, my, np.array([(image * (x - mx) ** 2).sum(), (image * (y - my) ** 2).sum(), (image * (x - mx) * (y - my)).sum()]) / f


@pytest.mark.parametrize("index", [0.5, 1.0, 1.7, 2.5, 4.0, 6.0])
def test_sersic_profiles(index):
    weight, width = sersic_blend(index)
    assert weight.sum() == pytest.approx(1.0, abs=1e-12)
    b = gammaincinv(2 * index, 0.5)
    for radius in (0.3, 1.0, 2.0, 4.0):
        inside = (weight * (1 - np.exp(-0.5 * (radius / width) ** 2))).sum()
        assert inside == pytest.approx(gammainc(2 * index, b * radius ** (1 / index)), abs=0.012 if index > 4 else 0.004)


def test_a_star_lies_where_it_should_with_its_flux():
    ra, dec = place(75.3, 82.6)
    image = draw(checked_catalogue(Table({"ra": [ra], "dec": [dec], "flux": [3e-6]}), "stars"))
    assert image.sum() == pytest.approx(3e-6, rel=3e-3)  # the halo reaches over the window's edge
    core = image[70:96, 62:89]
    y, x = np.indices(core.shape)
    weight = core * np.exp(-((x - 13.3) ** 2 + (y - 12.6) ** 2) / 18)
    assert (weight * x).sum() / weight.sum() + 62 == pytest.approx(75.3, abs=0.02)
    assert (weight * y).sum() / weight.sum() + 70 == pytest.approx(82.6, abs=0.02)


def test_a_galaxy_has_its_flux_size_and_angle():
    galaxy = one_galaxy(sersic_index=0.5, half_light_radius=0.4, axis_ratio=0.4, position_angle=25.0)
    image, star = draw(galaxies=galaxy), draw(checked_catalogue(galaxy["ra", "dec", "flux"], "stars"))
    assert image.sum() == pytest.approx(1e-5, rel=3e-3)
    x, y, shape = moments(image)
    assert (x, y) == (pytest.approx(80, abs=0.05), pytest.approx(80, abs=0.05))
    xx, yy, xy = shape - moments(star)[2]
    values, vectors = np.linalg.eigh([[xx, xy], [xy, yy]])
    sigma = 0.4 / np.sqrt(2 * np.log(2)) / np.sqrt(float(DET.pixel_area(1960, 1960)))
    np.testing.assert_allclose(np.sqrt(values), [0.4 * sigma, sigma], rtol=0.02)
    tip = vectors[:, 1]
    ra, dec = place(80 + tip[0] * np.array([0, 1]), 80 + tip[1] * np.array([0, 1]))
    angle = np.degrees(np.arctan2(np.diff(ra)[0] * np.cos(np.radians(2.2)), np.diff(dec)[0])) % 180
    assert angle == pytest.approx(25.0, abs=0.5)


def test_the_sky_is_even_in_surface_brightness():
    image = draw(sky=0.7)
    np.testing.assert_allclose(image / pixel_areas(DET, SUB), 0.7e6 * ARCSEC2, rtol=1e-12)
    y, x = np.mgrid[0:160:20, 0:160:20]
    np.testing.assert_allclose(pixel_areas(DET, SUB)[y, x], DET.pixel_area(x + SUB.xstart - 1, y + SUB.ystart - 1), rtol=1e-6)


def test_random_sources_are_the_same_through_another_filter():
    field = place(*np.random.default_rng(0).uniform(0, 160, (2, 300)))
    for make, columns in ((random_stars, ("ra", "dec")), (random_galaxies, ("ra", "dec", "half_light_radius", "axis_ratio"))):
        tables = [make(300, field, bandpass(name), np.random.default_rng(5)) for name in ("F200W", "F115W")]
        assert np.all(np.diff(tables[0]["flux"]) <= 0)
        assert np.all(tables[0]["flux"] > 0)
        assert {float(v) for v in tables[0]["ra"]} == {float(v) for v in tables[1]["ra"]}
        both = [t[np.argsort(t["ra"])] for t in tables]
        if make is random_stars:
            ratio = both[1]["flux"] / both[0]["flux"]
            assert 1.2 < np.median(ratio) < 2.5  # stars are bluer than they are red
            for name in columns:
                np.testing.assert_array_equal(both[0][name], both[1][name])


def test_catalogues_in_other_units():
    table = QTable({"ra": [1.0] * u.rad, "dec": [30.0] * u.arcmin, "flux": [5.0] * u.uJy})
    out = checked_catalogue(table, "stars")
    np.testing.assert_allclose([out["ra"][0], out["dec"][0], out["flux"][0]], [np.degrees(1), 0.5, 5e-6])
    assert out["flux"].unit == u.Jy


@pytest.mark.parametrize(
    ("kind", "columns", "match"),
    [
        ("stars", {"ra": [1.0], "dec": [2.0]}, "lacks flux"),
        ("stars", {"ra": [np.nan], "dec": [2.0], "flux": [1.0]}, "finite"),
        ("galaxies", {"ra": [1.0], "dec": [2.0], "flux": [1.0]}, "half_light_radius"),
    ],
)
def test_catalogues_that_cannot_be(kind, columns, match):
    with pytest.raises(ParameterError, match=match):
        checked_catalogue(Table(columns), kind)
    with pytest.raises(ParameterError, match="axis_ratio"):
        one_galaxy(axis_ratio=1.5)
