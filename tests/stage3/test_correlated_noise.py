"""What is predicted of drizzled noise, against drizzled noise."""

import numpy as np
import pytest
from drizzle.resample import Drizzle
from stdatamodels.jwst.datamodels import ImageModel

from jwnb.stage3.correlated_noise import Correlation, correlation_of


def told(kernel: str, pixfrac: float, ratio: float) -> Correlation:
    model = ImageModel()
    model.meta.resample.kernel, model.meta.resample.pixfrac, model.meta.resample.pixel_scale_ratio = kernel, pixfrac, ratio
    return correlation_of(model)


def drizzled(kernel: str, pixfrac: float, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Drizzle white noise with an ERR of one, inputs turned and shifted so that their pixels fall on the output in any way."""
    n, count = 220, 6
    y, x = np.indices((n, n), float)
    size = int(n / ratio)
    out = Drizzle(kernel=kernel, out_shape=(size, size), fillval="NAN", disable_ctx=True)
    for angle in np.linspace(0.03, 0.12, count):
        left, low = rng.uniform(0, 1, 2)
        place = np.dstack([np.cos(angle) * x - np.sin(angle) * y + left + 12, np.sin(angle) * x + np.cos(angle) * y + low - 6]) / ratio
        noise = (rng.normal(size=(n, n)) * ratio * np.sqrt(count)).astype(np.float32)
        ones = np.ones((n, n), np.float32)
        out.add_image(noise, exptime=1.0, pixmap=place, pixfrac=pixfrac, pixel_scale_ratio=ratio, weight_map=ones)
    inner = slice(int(40 / ratio), int(180 / ratio))
    return out.out_img[inner, inner].astype(float)


@pytest.mark.filterwarnings("ignore:.*not a flux-conserving")
@pytest.mark.parametrize(("kernel", "pixfrac", "ratio"), [
    ("square", 1.0, 1.0), ("square", 1.0, 0.5), ("square", 0.8, 0.7), ("turbo", 1.0, 0.6), ("point", 1.0, 1.4), ("gaussian", 1.0, 0.5),
    ("lanczos3", 1.0, 0.7),
])  # fmt: skip
def test_covariances_are_those_of_drizzled_noise(kernel: str, pixfrac: float, ratio: float) -> None:
    noise = drizzled(kernel, pixfrac, ratio, np.random.default_rng(1))
    table = told(kernel, pixfrac, ratio).table
    reach = min(3, len(table))
    rows, columns = noise.shape
    tolerance = 0.03 * table[0, 0] + 4 * table[0, 0] / np.sqrt(noise.size) * (ratio**-1)
    for dy in range(reach):
        for dx in range(reach):
            measured = np.nanmean(noise[dy:, dx:] * noise[: rows - dy, : columns - dx])
            assert measured == pytest.approx(table[dy, dx], abs=tolerance), (dy, dx)


@pytest.mark.parametrize(("pixfrac", "ratio"), [(1.0, 1.0), (0.6, 0.5), (0.5, 1.2)])
def test_squares_are_those_of_casertano_and_fruchter(pixfrac: float, ratio: float) -> None:
    correlation = told("square", pixfrac, ratio)
    assert correlation.along[0] + 2 * correlation.along[1:].sum() == pytest.approx(1, abs=1e-4)
    for side in (2, 5, 12):
        length = side * ratio  # in input pixels
        if length < pixfrac:
            continue
        weights = np.pad(np.ones((side, side)), 4)
        expected = side**2 * (1 - pixfrac / (3 * length)) ** 2
        assert correlation.variance_of_sum(weights) == pytest.approx(expected, rel=1e-3)


def test_medians_of_correlated_noise() -> None:
    rng = np.random.default_rng(7)
    noise = drizzled("square", 1.0, 0.5, rng)
    correlation = told("square", 1.0, 0.5)
    side = 12
    n = min(noise.shape) // side
    medians = [np.median(noise[side * j : side * (j + 1), side * i : side * (i + 1)]) for j in range(n) for i in range(n)]
    uncorrelated = np.pi / 2 * noise.var() / side**2
    assert np.var(medians) / uncorrelated == pytest.approx(correlation.of_median(np.ones((side, side), bool)), rel=0.12)
    assert Correlation(np.ones(1)).of_median(np.ones((3, 3), bool)) == pytest.approx(1)


def test_an_image_that_was_not_drizzled_has_no_correlation() -> None:
    assert correlation_of(ImageModel()).along.tolist() == [1.0]
    assert told("square", 0.0, 0.7).along.tolist() == [1.0]
