"""Resampling: truth, edges, and what must not happen."""

from pathlib import Path

import numpy as np
import pytest
from helpers_stage3 import calibrated, dithered
from stdatamodels.jwst.datamodels import CubeModel

from jwnb import dq, models, record, settings
from jwnb.errors import InputError, ParameterError, WrongExposureError
from jwnb.stage3 import resample as module
from jwnb.stage3.resample import group_of, resample

STARS = ((150.00022, 2.19775), (150.0001, 2.1981), (150.0004, 2.1980))


def starfield(images, fwhm: float = 2.5):
    """Replace the sky of images by three stars of 100 MJy/sr·pixel on nothing, and return their sky positions."""
    nx, ny = images[0].data.shape[::-1]
    px = np.array([0.3, 0.55, 0.7]) * nx
    py = np.array([0.35, 0.7, 0.45]) * ny
    ra, dec = images[0].meta.wcs(px, py)
    for image in images:
        cx, cy = image.meta.wcs.invert(ra, dec, with_bounding_box=False)
        yy, xx = np.indices(image.data.shape)
        sigma = fwhm / 2.3548
        image.data = sum(
            100 / (2 * np.pi * sigma**2) * np.exp(-((xx - a) ** 2 + (yy - b) ** 2) / 2 / sigma**2) for a, b in zip(cx, cy, strict=True)
        ).astype(np.float32)
        image.dq = np.zeros(image.data.shape, np.uint32)
        for name in ("err", "var_poisson", "var_rnoise", "var_flat"):
            setattr(image, name, np.full(image.data.shape, 0.01, np.float32))
    return ra, dec


@pytest.mark.parametrize(
    ("kernel", "pixfrac", "ratio", "off"),
    [("square", 1.0, 1.0, 0.03), ("square", 0.7, 0.6, 0.05), ("turbo", 1.0, 1.0, 0.03), ("point", 1.0, 1.0, 0.2)],  # point: rounded
)
def test_stars_keep_their_flux_and_place(kernel: str, pixfrac: float, ratio: float, off: float) -> None:
    images = dithered(4)
    ra, dec = starfield(images)
    product = resample(images, kernel=kernel, pixfrac=pixfrac, pixel_scale_ratio=ratio)
    x, y = product.meta.wcs.invert(ra, dec)
    area = images[0].meta.photometry.pixelarea_arcsecsq
    for a, b in zip(x, y, strict=True):
        i, j, h = round(float(a)), round(float(b)), round(8 / ratio)
        stamp = product.data[j - h : j + h + 1, i - h : i + h + 1].astype(float)
        yy, xx = np.indices(stamp.shape) - h
        flux = stamp.sum()
        assert flux * product.meta.photometry.pixelarea_arcsecsq == pytest.approx(100 * area, rel=0.01)
        assert (stamp * xx).sum() / flux + i == pytest.approx(a, abs=off)
        assert (stamp * yy).sum() / flux + j == pytest.approx(b, abs=off)


def test_a_flat_sky_stays_flat_and_errors_shrink() -> None:
    images = dithered(4)
    for image in images:
        image.data = np.full(image.data.shape, 3.0, np.float32)
    product = resample(images)
    seen = product.wht > 0
    assert np.allclose(product.data[seen], 3.0, rtol=1e-5)
    four = np.array([bin(c).count("1") for c in product.con[0].ravel()]).reshape(product.data.shape) == 4
    assert four.sum() > 1000
    single = np.nanmedian(images[0].err)
    # Four images and no shrinking of pixels: half the error but for weights and correlation.
    assert np.nanmedian(product.err[four]) == pytest.approx(single / 2, rel=0.1)
    assert np.isnan(product.data[~seen]).all() and np.isnan(product.err[~seen]).all() and not product.con[0][~seen].any()


def test_the_sum_of_variances_is_the_error_squared() -> None:
    product = resample(dithered(2))
    total = product.var_rnoise + product.var_poisson + product.var_flat
    assert np.allclose(product.err**2, total, rtol=1e-5, equal_nan=True)


def test_flagged_and_nan_pixels_are_left_out() -> None:
    images = dithered(2)
    images[0].data[40:50, 40:50] = 1e6
    images[0].dq[40:45, 40:50] |= dq.PIXEL["DO_NOT_USE"]
    images[0].var_flat[45:48, 40:50] = np.nan
    images[0].dq[48:50, 40:50] |= dq.PIXEL["NON_SCIENCE"]
    assert np.nanmax(resample(images).data) < 10
    assert np.nanmax(resample(images, good_bits="~DO_NOT_USE").data) > 1e5


def test_good_bits_none_still_leaves_out_do_not_use() -> None:
    images = dithered(1)
    images[0].data[40:50, 40:50] = 1e6
    images[0].dq[:] = 0
    images[0].dq[40:50, 40:50] = dq.PIXEL["DO_NOT_USE"]
    assert np.nanmax(resample(images, good_bits=None).data) < 10
    images[0].dq[40:50, 40:50] = dq.PIXEL["JUMP_DET"]
    assert np.nanmax(resample(images, good_bits=None).data) > 1e5
    assert np.nanmax(resample(images, good_bits=0).data) < 10
    assert np.nanmax(resample(images, good_bits=4).data) > 1e5


def test_dq_is_that_of_the_pixels_that_went_in() -> None:
    images = dithered(2)
    product = resample(images, propagate_dq=True)
    assert product.dq.dtype == np.uint32
    assert set(np.unique(product.dq)) == {0, int(dq.PIXEL["JUMP_DET"])}
    assert not product.dq[product.wht == 0].any()
    assert resample(images).dq is None


def test_inputs_are_not_changed() -> None:
    images = dithered(2)
    before = [i.copy() for i in images]
    resample(images)
    for image, earlier in zip(images, before, strict=True):
        for name in ("data", "dq", "err", "var_poisson", "var_rnoise", "var_flat"):
            assert np.array_equal(getattr(image, name), getattr(earlier, name), equal_nan=name != "dq")
        assert image.meta.cal_step.resample is None
        assert image.meta.wcsinfo.instance == earlier.meta.wcsinfo.instance


def test_paths_are_opened_one_at_a_time_and_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = dithered(5)
    paths = []
    for image in images:
        path = tmp_path / image.meta.filename
        image.save(path)
        paths.append(path)
    alive: list[int] = []
    peak = [0]

    class Watched(models.Exposures):
        def __getitem__(self, index):
            import gc
            import weakref

            model = super().__getitem__(index)
            alive.append(1)
            weakref.finalize(model, alive.pop)
            gc.collect()
            peak[0] = max(peak[0], len(alive))
            return model

    expected = resample([models.open(path) for path in paths])
    ours = resample(Watched(paths))
    assert peak[0] <= 2  # the one that the parameters are chosen for, and the one at work
    for name in ("data", "wht", "err", "con"):
        assert np.array_equal(getattr(ours, name), getattr(expected, name), equal_nan=True)


def test_processes_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    images = dithered(3)
    expected = resample(images)
    monkeypatch.setattr(module, "_WORTHWHILE", 1)
    with settings.using(workers=2):
        ours = resample(images)
    for name in ("data", "wht", "err", "con", "var_flat"):
        assert np.array_equal(getattr(ours, name), getattr(expected, name), equal_nan=True)


def test_one_image_or_its_path_or_a_list_of_it(tmp_path: Path) -> None:
    image = calibrated()
    image.copy().save(tmp_path / "one_cal.fits")
    a, b, c = resample(image), resample(tmp_path / "one_cal.fits"), resample([image])
    assert np.array_equal(a.data, b.data, equal_nan=True) and np.array_equal(a.data, c.data, equal_nan=True)
    assert not a.hasattr("hdrtab") and not b.hasattr("hdrtab") and len(c.hdrtab) == 1
    assert a.meta.filename == "jw09999001001_02101_00001_nrca1_i2d.fits"
    assert a.meta.cal_step.resample == "COMPLETE"
    assert record.ledger(a)[-1]["step"] == "resample"


def test_a_region_that_is_missing_is_made_from_the_wcs() -> None:
    image = calibrated()
    region = image.meta.wcsinfo.s_region
    expected = resample(image)
    image.meta.wcsinfo.s_region = None
    assert resample(image).meta.wcsinfo.s_region == expected.meta.wcsinfo.s_region
    assert expected.meta.wcsinfo.s_region.startswith(region[:12])


def test_the_pixel_map_may_be_interpolated() -> None:
    images = dithered(3, (160, 160))
    exact, near = resample(images, pixmap_tolerance=0), resample(images)
    assert np.array_equal(np.isnan(exact.data), np.isnan(near.data))
    inside = exact.wht > 0.5 * np.median(exact.wht)
    assert np.nanmax(np.abs(exact.data - near.data)[inside]) < 0.1 * np.nanmedian(exact.err)


def test_an_output_too_large_raises_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_args, **_named):
        raise AssertionError("an array was made")

    monkeypatch.setattr(module, "Coadd", never)
    with pytest.raises(InputError, match=r"\d+ x \d+ pixels at .* GiB; memory_limit is"):
        resample(dithered(1), pixel_scale_ratio=0.2, memory_limit=1e-4)
    with pytest.raises(InputError, match="there are free"):
        resample(dithered(1), pixel_scale_ratio=1e-5)


def test_wrong_inputs() -> None:
    with pytest.raises(WrongExposureError, match="2-D"):
        resample(CubeModel((2, 8, 8)))
    image = calibrated()
    image.meta.wcs = None
    with pytest.raises(InputError, match="assign_wcs"):
        resample(image)
    with pytest.raises(InputError, match="no exposure"):
        resample([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fillval": "zero"}, "fillval"),
        ({"good_bits": "~NO_SUCH_FLAG"}, "good_bits"),
        ({"kernel": "tophat"}, "kernel"),
        ({"weight_type": None}, "weight_type"),
        ({"pixfrac": 1.5}, "pixfrac"),
        ({"output_shape": (0, 5)}, "output_shape"),
        ({"single": True}, "single"),
    ],
)
def test_impossible_options(options, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        resample(calibrated(), **options)


def test_exptime_needs_a_time() -> None:
    image = calibrated()
    image.meta.exposure.measurement_time = image.meta.exposure.exposure_time = None
    with pytest.raises(InputError, match="weight_type"):
        resample(image, weight_type="exptime")


@pytest.mark.parametrize("name", ["var_rnoise", "var_flat", "err", "dq"])
def test_a_missing_array_is_no_obstacle(name: str) -> None:
    image = calibrated()
    del image.instance[name]
    product = resample(image)
    assert np.isfinite(product.data).any() and np.isfinite(product.err).any()
    if name.startswith("var"):
        assert np.isnan(getattr(product, name)).all()


def test_detectors_of_one_exposure_count_once() -> None:
    images = dithered(2)
    images[1].meta.observation.exposure_number = images[0].meta.observation.exposure_number
    product = resample(images)
    assert product.meta.resample.pointings == 1
    assert product.meta.exposure.exposure_time == images[0].meta.exposure.exposure_time
    assert group_of(images[0]) == "jw09999001001_02101_1"
    images[0].meta.observation.visit_number = None
    assert group_of(images[0]) is None


def test_a_pixel_shrunk_to_nothing_is_a_point() -> None:
    expected = resample(calibrated(), kernel="point").data
    for kernel in ("square", "turbo", "lanczos2"):
        assert np.array_equal(resample(calibrated(), kernel=kernel, pixfrac=0.001).data, expected, equal_nan=True)


def test_lanczos_knows_no_pixfrac() -> None:
    product = resample(calibrated(), kernel="lanczos3", pixfrac=0.5)
    assert np.array_equal(product.data, resample(calibrated(), kernel="lanczos3").data, equal_nan=True)
    notes = record.ledger(product)[-1]["notes"]
    assert "does not conserve flux" in notes[0] and "pixfrac" in notes[1]
