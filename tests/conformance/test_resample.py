"""resample against `jwst` on identical images, every pixel of the maps computed by both."""

import copy
import warnings
from pathlib import Path
from typing import Any

import asdf
import gwcs
import numpy as np
import pytest
from astropy.io import fits
from astropy.modeling.models import AffineTransformation2D, Pix2Sky_TAN, RotateNative2Celestial, Scale, Shift
from helpers_stage3 import dithered

from jwnb.stage3.output_grid import mean_pixel_area
from jwnb.stage3.resample import resample

pytestmark = pytest.mark.peer

FLOATS = ("data", "wht", "err", "var_rnoise", "var_poisson", "var_flat")
BITS = ("con", "dq")
# Written by jwst's containers and not keywords of the image, or not the step's business.
OTHERS = ("meta.wcs", "meta.jwnb", "meta.filename", "meta.date", "meta.asn", "meta.group_id", "meta.calibration_software", "history")


# Eight float32 roundings: images are drizzled alone and added, where jwst adds each pixel to the running mean.
ROUNDING = 1e-6


def peer(images: list[Any], **options: Any) -> Any:
    from jwst.resample import ResampleStep

    step = ResampleStep(**options)
    given = [image.copy() for image in images]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # `process` and not `run`: the latter asks CRDS for the context to record.
        return step.process(given if len(given) > 1 else given[0])


def assert_same(ours: Any, theirs: Any, *, rtol: float = ROUNDING, floor: float = 0.0) -> None:
    for name in BITS:
        a, b = getattr(ours, name), getattr(theirs, name)
        assert (a is None) == (b is None), name
        assert a is None or (a.dtype == b.dtype and np.array_equal(a, b)), name
    for name in FLOATS:
        a, b = getattr(ours, name), getattr(theirs, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert (a.dtype, a.shape) == (b.dtype, b.shape), name
            np.testing.assert_allclose(a, b, rtol=rtol, atol=floor * np.nanmedian(np.abs(b)), err_msg=name)


def assert_same_keywords(ours: Any, theirs: Any, *, rtol: float = 1e-12, close: dict[str, float] | None = None) -> None:
    a, b = (
        {k: v for k, v in m.to_flat_dict(include_arrays=False).items() if not k.startswith(OTHERS) and v is not None}
        for m in (ours, theirs)
    )
    assert set(a) == set(b)
    for key, value in b.items():
        if key == "meta.wcsinfo.s_region":
            assert a[key].split()[:2] == value.split()[:2]
            np.testing.assert_allclose([float(w) for w in a[key].split()[2:]], [float(w) for w in value.split()[2:]], rtol=0, atol=2e-9)
        elif isinstance(value, float):
            assert a[key] == pytest.approx(value, rel=(close or {}).get(key, rtol), abs=0), key
        else:
            assert a[key] == value, key


def assert_same_table(ours: Any, theirs: Any) -> None:
    assert ours.hdrtab.dtype == theirs.hdrtab.dtype
    for name in ours.hdrtab.dtype.names:
        assert np.array_equal(ours.hdrtab[name], theirs.hdrtab[name], equal_nan=ours.hdrtab[name].dtype.kind == "f"), name


@pytest.fixture(scope="module")
def images() -> list[Any]:
    """Four exposures that differ in what the rules of metadata and sky look at; the last two are one exposure."""
    made = dithered(4)
    made[1].meta.background.level, made[1].meta.background.subtracted = 0.3, False
    made[2].meta.background.level, made[2].meta.background.subtracted = 0.2, True
    made[2].meta.instrument.filter = "F150W"
    made[3].meta.exposure.measurement_time = None
    made[3].meta.observation.exposure_number = "3"
    return made


CENTRE = (150.000259, 2.197841)
OPTIONS: list[dict[str, Any]] = [
    {},
    *({"kernel": k} for k in ("gaussian", "point", "turbo", "lanczos2", "lanczos3")),
    {"weight_type": "exptime"},
    {"kernel": "lanczos2", "pixfrac": 0.5},
    {"kernel": "gaussian", "pixfrac": 0.001},
    {"weight_type": "exptime", "kernel": "turbo", "pixfrac": 0.7},
    *({"pixfrac": p} for p in (0.6, 0.01, 0.001, 0.0)),
    *({"fillval": f} for f in ("0", "INDEF", "-3.5")),
    *({"pixel_scale_ratio": r} for r in (0.6, 2.1)),
    {"pixel_scale_ratio": 1.7, "kernel": "gaussian"},
    *({"rotation": r} for r in (0.0, 30.0, -111.0)),
    {"output_shape": [70, 61]},
    {"output_shape": [70, 61], "kernel": "lanczos3"},
    {"crpix": [20.0, 30.0], "crval": CENTRE},
    {"crpix": [-20.0, 30.0], "crval": CENTRE, "output_shape": [90, 80], "rotation": 10.0},
    {"crval": (150.0004, 2.1978)},
    {"crpix": [50.0, 40.0]},
    {"enable_ctx": False},
    {"enable_err": False},
    {"report_var": False},
    {"blendheaders": False},
    {"propagate_dq": True},
    {"propagate_dq": True, "kernel": "point", "enable_err": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option(options: dict[str, Any], images: list[Any]) -> None:
    ours, theirs = resample(images, pixmap_tolerance=0, **options), peer(images, **options)
    # Lanczos kernels have weights of both signs: where they cancel what is left is rounding.
    assert_same(ours, theirs, **({"rtol": 20 * ROUNDING, "floor": 20 * ROUNDING} if "lanczos" in options.get("kernel", "") else {}))
    assert_same_keywords(ours, theirs)
    if options.get("blendheaders", True):
        assert_same_table(ours, theirs)
    else:
        assert not ours.hasattr("hdrtab")
    assert ours.meta.resample.pointings == 3
    x, y = np.meshgrid(*(np.linspace(0, n - 1, 7) for n in ours.data.shape[::-1]))
    back = ours.meta.wcs.invert(*theirs.meta.wcs(x, y, with_bounding_box=False), with_bounding_box=False)
    assert np.abs(np.array(back) - (x, y)).max() < 1e-6


@pytest.mark.parametrize("options", [{}, {"kernel": "point"}, {"pixel_scale_ratio": 0.7, "rotation": 12.0}], ids=str)
def test_one_image(options: dict[str, Any]) -> None:
    image = dithered(1)
    ours, theirs = resample(image[0], pixmap_tolerance=0, **options), peer(image, **options)
    assert_same(ours, theirs)
    assert_same_keywords(ours, theirs)
    assert not ours.hasattr("hdrtab") and not theirs.hasattr("hdrtab")


def test_more_images_than_bits_of_a_context_plane() -> None:
    images = dithered(34, (24, 20))
    ours, theirs = resample(images, pixmap_tolerance=0), peer(images)
    assert ours.con.shape[0] == 2
    assert (ours.con[0] < 0).any()  # the sign bit is the 32nd image
    assert_same(ours, theirs)


@pytest.mark.parametrize("missing", ["var_flat", "var_poisson"])
def test_an_image_without_one_of_the_variances(missing: str) -> None:
    images = dithered(2)
    del images[1].instance[missing]
    assert_same(resample(images, pixmap_tolerance=0), peer(images))


def test_pixels_that_are_nan_in_one_array_only() -> None:
    images = dithered(2)
    for k, name in enumerate(("data", "err", "var_rnoise", "var_poisson", "var_flat")):
        getattr(images[0], name)[10 * k + 20 : 10 * k + 24, 40:44] = np.nan
    images[1].var_rnoise[30:34, 30:34] = 0
    images[1].var_poisson[50:53, 30:34] = 0
    assert_same(resample(images, pixmap_tolerance=0), peer(images))


def test_a_bounding_box_within_the_image() -> None:
    images = [image.copy() for image in dithered(2)]
    images[0].meta.wcs.bounding_box = ((4.5, 90.5), (9.5, 80.5))
    assert_same(resample(images, pixmap_tolerance=0), peer(images))


def test_pixel_scale(images: list[Any]) -> None:
    """The ratio comes from the mean pixel area, in which the peer loses digits on small images: see the test of the area."""
    ours, theirs = resample(images, pixmap_tolerance=0, pixel_scale=0.05), peer(images, pixel_scale=0.05)
    ratio = ours.meta.resample.pixel_scale_ratio / theirs.meta.resample.pixel_scale_ratio
    assert abs(ratio - 1) < 2e-4
    assert_same_keywords(ours, theirs, close={"meta.resample.pixel_scale_ratio": 2e-4})
    for name in ("var_rnoise", "var_poisson", "var_flat"):
        setattr(ours, name, getattr(ours, name) * np.float32(ratio**2))
    ours.err = ours.err * np.float32(ratio)
    assert_same(ours, theirs)


def test_pixel_area_at_full_size() -> None:
    from stcal.resample.utils import compute_mean_pixel_area

    wcs = dithered(1, (2048, 2048))[0].meta.wcs
    assert mean_pixel_area(wcs, (2048, 2048)) == pytest.approx(compute_mean_pixel_area(wcs, (2048, 2048)), rel=3e-6)


def grid_file(path: Path, images: list[Any], kind: str) -> Path:
    fitted = copy.deepcopy(resample(images, rotation=20.0, pixel_scale_ratio=0.8).meta.wcs)
    tree: dict[str, Any] = {"wcs": fitted, "pixel_scale": 0.0247}
    if kind == "compound":
        plane = fitted.forward_transform
        scale = float(plane.cdelt.value[0]) * 1.1
        transform = (
            Shift(-50) & Shift(-45) | AffineTransformation2D(matrix=plane.pc.value) | Scale(scale) & Scale(scale) | Pix2Sky_TAN()
            | RotateNative2Celestial(*map(float, plane.crval.value), 180)
        )  # fmt: skip
        wcs = gwcs.WCS([(fitted.input_frame, transform), (fitted.output_frame, None)])
        wcs.bounding_box = ((-0.5, 99.5), (-0.5, 89.5))
        tree = {"wcs": wcs, "pixel_area": 0.00095}
    asdf.AsdfFile(tree).write_to(path)
    return path


@pytest.mark.parametrize("kind", ["fitted", "compound"])
@pytest.mark.parametrize("shape", [None, [90, 100]])
def test_a_given_grid(kind: str, shape: list[int] | None, images: list[Any], tmp_path: Path) -> None:
    path = grid_file(tmp_path / "grid.asdf", images, kind)
    options = {"output_wcs": str(path)} | ({} if shape is None else {"output_shape": shape})
    ours, theirs = resample(images, pixmap_tolerance=0, **options), peer(images, **options)
    assert_same(ours, theirs)
    # The linear fit to a compound WCS is only as good as its least squares.
    assert_same_keywords(ours, theirs, rtol=1e-12 if kind == "fitted" else 1e-8)


def test_files_have_the_same_extensions_and_keywords(images: list[Any], tmp_path: Path) -> None:
    ours, theirs = resample(images, pixmap_tolerance=0), peer(images)
    ours.save(tmp_path / "a_i2d.fits")
    theirs.save(tmp_path / "a_jwst_i2d.fits")
    with fits.open(tmp_path / "a_i2d.fits") as a, fits.open(tmp_path / "a_jwst_i2d.fits") as b:
        layout = [[(h.name, h.data.dtype if h.is_image and h.data is not None else None, np.shape(h.data)) for h in f[:-1]] for f in (a, b)]
        assert layout[0] == layout[1]
        ignored = {"DATE", "FILENAME", "CAL_VER", "CAL_VCS", "HISTORY", "COMMENT", "", "EXPTYPE"}
        for one, other in zip(a[:-1], b[:-1], strict=True):
            assert set(one.header) - ignored == set(other.header) - ignored
            for key in set(one.header) - ignored:
                if isinstance(other.header[key], float):
                    assert one.header[key] == pytest.approx(other.header[key], rel=1e-12), key
                elif key != "S_REGION":
                    assert one.header[key] == other.header[key], key


def test_what_interpolated_maps_change(images: list[Any]) -> None:
    """A shift by t pixels changes a pixel by t times what its neighbours differ, here some ten errors; float32 adds its rounding."""
    theirs = peer(images)
    for tolerance in (1e-3, 1e-6):
        bound = 20 * tolerance + 1e-5
        ours = resample(images, pixmap_tolerance=tolerance)
        inside = theirs.wht > 0.3 * np.nanmedian(theirs.wht)
        assert np.nanmax((np.abs(ours.data - theirs.data) / theirs.err)[inside]) < bound
        assert (ours.con != theirs.con).mean() < 1e-3
