import numpy as np
import pytest

from jwnb.kernels.gaussians import draw_gaussians


def twin(shape, components, oversample=25):
    """The mean of the Gaussians over many points in each pixel."""
    ny, nx = shape
    points = (np.arange(oversample) + 0.5) / oversample - 0.5
    y = (np.arange(ny)[:, None] + points).ravel()[:, None]
    x = (np.arange(nx)[:, None] + points).ravel()[None, :]
    image = np.zeros((ny * oversample, nx * oversample))
    for x0, y0, flux, xx, yy, xy in components:
        inverse = np.linalg.inv([[xx, xy], [xy, yy]])
        dx, dy = x - x0, y - y0
        q = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
        image += flux * np.exp(-q / 2) / (2 * np.pi * np.sqrt(xx * yy - xy**2))
    return image.reshape(ny, oversample, nx, oversample).mean(axis=(1, 3))


@pytest.mark.parametrize(
    ("component", "tolerance"),
    [
        ((11.3, 9.8, 2.0, 0.1, 0.1, 0.0), 2e-3),  # far narrower than a pixel: integrated exactly, the twin is the coarse one
        ((11.3, 9.8, 2.0, 1.3, 1.3, 0.0), 2e-5),
        ((11.3, 9.8, 2.0, 2.0, 5.0, 0.0), 2e-5),
        ((11.3, 9.8, 2.0, 4.0, 2.0, 1.2), 2e-4),
        ((-1.5, 9.8, 2.0, 4.0, 2.0, -1.2), 2e-4),  # outside, its wing inside
    ],
)
def test_pixels_hold_the_integral(component, tolerance):
    image = draw_gaussians((20, 24), np.array([component]))
    np.testing.assert_allclose(image, twin((20, 24), [component]), atol=tolerance * component[2], rtol=0)


@pytest.mark.parametrize("covariance", [(0.05, 0.05, 0.0), (0.3, 0.2, 0.1), (0.8, 0.8, 0.2), (30.0, 2.0, 5.0), (40.0, 40.0, 0.0)])
def test_flux_is_kept(covariance):
    rng = np.random.default_rng(1)
    parts = np.array([(*rng.uniform(70, 80, 2), 3.0, *covariance) for _ in range(10)])
    assert draw_gaussians((150, 150), parts).sum() == pytest.approx(30.0, rel=1e-3)


def test_order_and_threads_do_not_matter_and_nothing_far_away_is_drawn():
    parts = np.array([(5.0, 5.0, 1.0, 1.0, 1.0, 0.0), (900.0, 5.0, 1.0, 1.0, 1.0, 0.3), (5.0, -900.0, 1.0, 1.0, 1.0, 0.3)])
    image = draw_gaussians((12, 12), parts)
    np.testing.assert_array_equal(image, draw_gaussians((12, 12), parts[:1]))
    np.testing.assert_array_equal(draw_gaussians((12, 12), np.zeros((0, 6))), np.zeros((12, 12)))
