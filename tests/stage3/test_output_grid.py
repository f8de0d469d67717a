"""Grids of resampled images: areas, outlines and given WCS."""

from pathlib import Path

import asdf
import gwcs
import numpy as np
import pytest
import shapely
from astropy.modeling.models import Pix2Sky_TAN
from gwcs.fitswcs import FITSImagingWCSTransform
from helpers_stage3 import dithered
from stdatamodels.jwst.datamodels import ImageModel

from jwnb.errors import InputError, MissingFileError, ParameterError
from jwnb.stage3.output_grid import combined_region, given_grid, grid_around, mean_pixel_area, memory_free, outlines

SCALE = 0.031 / 3600


def tangent_wcs(n: int = 64, scale: float = SCALE) -> gwcs.WCS:
    frames = dithered(1)[0].meta.wcs
    middle = (n - 1) / 2
    transform = FITSImagingWCSTransform(
        Pix2Sky_TAN(), crpix=(middle, middle), crval=(150.0, 2.2), cdelt=[scale, scale], pc=np.array([[-1.0, 0], [0, 1]])
    )
    wcs = gwcs.WCS([(frames.input_frame, transform), (frames.output_frame, None)])
    wcs.bounding_box = ((-0.5, n - 0.5), (-0.5, n - 0.5))
    return wcs


@pytest.mark.parametrize("n", [32, 64, 2048])
def test_pixel_area_is_that_of_a_square_in_the_tangent_plane(n: int) -> None:
    half = np.radians(SCALE) * (n - 1) / 2
    exact = 4 * np.arcsin(half**2 / (1 + half**2)) / (n - 1) ** 2
    assert mean_pixel_area(tangent_wcs(n), (n, n)) == pytest.approx(exact, rel=3e-7 if n < 2048 else 1e-9)


def test_pixel_area_leaves_out_rows_off_the_sky() -> None:
    class Holed:
        bounding_box = None

        def __call__(self, x, y):
            ra, dec = tangent_wcs()(x, y)
            off = np.asarray(y) < 3
            return np.where(off, np.nan, ra), dec

    assert mean_pixel_area(Holed(), (64, 64)) == pytest.approx(np.radians(SCALE) ** 2, rel=1e-5)
    with pytest.raises(InputError, match="no sky positions"):
        mean_pixel_area(_Nowhere(), (64, 64))


class _Nowhere:
    bounding_box = None

    def __call__(self, x, y):
        return x * np.nan, y


def test_the_grid_holds_every_input() -> None:
    images = dithered(4)
    grid = grid_around([i.meta.wcsinfo.s_region for i in images], images[0])
    for image in images:
        corners = outlines(image.meta.wcsinfo.s_region)[0]
        x, y = grid.wcs.invert(*corners.T, with_bounding_box=False)
        assert x.min() > -1e-6 and y.min() > -1e-6
        assert x.max() < grid.shape[1] + 0.5 and y.max() < grid.shape[0] + 0.5
    assert grid.wcs.array_shape == grid.shape


def test_rotation_scale_and_reference_pixel_are_kept() -> None:
    images = dithered(2)
    regions = [i.meta.wcsinfo.s_region for i in images]
    grid = grid_around(
        regions, images[0], pixel_scale=0.05, rotation=0.0, crpix=(20.0, 30.0), crval=(150.0002, 2.1979), output_shape=(80, 90)
    )
    assert grid.shape == (90, 80)
    assert np.allclose(grid.wcs(20.0, 30.0), (150.0002, 2.1979), rtol=0, atol=1e-12)
    ra, dec = grid.wcs(np.array([20.0, 20.0]), np.array([30.0, 40.0]))
    assert ra[0] == pytest.approx(ra[1], abs=1e-9)
    assert (dec[1] - dec[0]) * 3600 == pytest.approx(0.5, rel=1e-6)


def test_two_inputs_across_zero_hours_make_a_small_grid() -> None:
    images = dithered(2, ra=359.99999)
    images[1] = dithered(2, ra=0.00001)[1]
    grid = grid_around([i.meta.wcsinfo.s_region for i in images], images[0])
    assert max(grid.shape) < 250


@pytest.mark.parametrize("key", ["roll_ref", "v3yangle"])
def test_missing_pointing_is_named(key: str) -> None:
    image = dithered(1)[0]
    setattr(image.meta.wcsinfo, key, None)
    with pytest.raises(InputError, match=key.upper()):
        grid_around([image.meta.wcsinfo.s_region], image)


def test_a_grid_off_the_inputs_raises() -> None:
    image = dithered(1)[0]
    with pytest.raises(InputError, match="would have"):
        grid_around([image.meta.wcsinfo.s_region], image, crpix=(-900.0, -900.0))


def test_region_is_the_union_within_the_frame() -> None:
    images = dithered(3)
    regions = [i.meta.wcsinfo.s_region for i in images]
    grid = grid_around(regions, images[0])

    def polygon(region: str) -> shapely.Polygon:
        return shapely.Polygon(np.column_stack(grid.wcs.invert(*outlines(region)[0].T, with_bounding_box=False)))

    expected = shapely.intersection(
        shapely.unary_union([polygon(r) for r in regions]), shapely.box(-0.5, -0.5, grid.shape[1] - 0.5, grid.shape[0] - 0.5)
    )
    ours = polygon(combined_region(regions, grid.wcs) or "")
    assert ours.symmetric_difference(expected).area < 0.5
    assert combined_region(regions, tangent_wcs(4)) is None


def test_separate_inputs_make_separate_polygons() -> None:
    near, far = dithered(1)[0], dithered(1, dec=2.21)[0]
    regions = [near.meta.wcsinfo.s_region, far.meta.wcsinfo.s_region]
    grid = grid_around(regions, near)
    assert len(outlines(combined_region(regions, grid.wcs) or "")) == 2


def test_a_given_grid(tmp_path: Path) -> None:
    wcs, path = tangent_wcs(), tmp_path / "grid.asdf"
    asdf.AsdfFile({"wcs": wcs, "pixel_area": 0.04}).write_to(path)
    grid = given_grid(path)
    assert (grid.shape, grid.pixel_scale, grid.pixel_scale_ratio) == ((64, 64), pytest.approx(0.2), None)
    assert given_grid(str(path), (30, 20)).shape == (20, 30)
    grid = given_grid(wcs)
    assert grid.pixel_scale == pytest.approx(0.031, rel=1e-5)
    assert grid.wcs is not wcs
    wcs.bounding_box = None
    with pytest.raises(ParameterError, match="output_shape"):
        given_grid(wcs)
    asdf.AsdfFile({"wcs": wcs, "pixel_shape": [12, 34], "pixel_scale": 0.03}).write_to(path)
    assert given_grid(path).shape == (34, 12)


def test_what_is_not_a_grid(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        given_grid(tmp_path / "none.asdf")
    asdf.AsdfFile({"something": 1}).write_to(tmp_path / "empty.asdf")
    with pytest.raises(InputError, match="no 'wcs'"):
        given_grid(tmp_path / "empty.asdf")
    with pytest.raises(InputError, match="right ascension"):
        given_grid(ImageModel())


def test_free_memory_is_known_here() -> None:
    free = memory_free()
    assert free is None or 0 < free < 1e5
