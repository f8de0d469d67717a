import numpy as np
import pytest

from jwnb.errors import ParameterError
from jwnb.kernels.gaussians import draw_gaussians
from jwnb.sim.geometry import detector
from jwnb.sim.optics import FILTERS, bandpass, encircled_energy, point_spread, radius_enclosing


def drawn(name, det, size=801):
    psf = point_spread(bandpass(name), detector(det))
    middle = (size - 1) / 2
    place = np.broadcast_to([middle, middle], (psf.weight.size, 2))
    return psf, draw_gaussians((size, size), np.column_stack([place, psf.weight, psf.covariance]))


@pytest.mark.parametrize("name", FILTERS)
def test_flux_is_kept_in_every_filter(name):
    det = "NRCA1" if FILTERS[name][2] == "SHORT" else "NRCALONG"
    psf, image = drawn(name, det)
    assert psf.weight.sum() == pytest.approx(1.0, abs=1e-12)
    assert image.sum() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("name", "det", "arcsec"), [("F115W", "NRCA1", 0.040), ("F200W", "NRCA1", 0.066), ("F444W", "NRCALONG", 0.145)])
def test_width_is_that_of_the_telescope(name, det, arcsec):
    _, image = drawn(name, det, 201)
    profile = image[100]
    above = np.interp(profile.max() / 2, profile[100:106][::-1], np.arange(6)[::-1])
    scale = np.sqrt(float(detector(det).pixel_area(1023.5, 1023.5)))
    assert 2 * above * scale == pytest.approx(arcsec, rel=0.12)


def test_encircled_energy_is_that_of_the_image():
    psf, image = drawn("F444W", "NRCALONG")
    y, x = np.indices(image.shape) - 400
    for radius in (6.0, 15.0, 60.0):
        assert image[np.hypot(x, y) <= radius].sum() == pytest.approx(encircled_energy(psf, radius), abs=6e-3)
    assert encircled_energy(psf, radius_enclosing(("F444W", "NRCALONG"), 0.8)) == pytest.approx(0.8, abs=1e-6)


def test_sensitivity_and_wheels():
    # An AB magnitude of 28.0 makes about one electron a second in F200W.
    assert bandpass("F200W").electrons_per_jansky == pytest.approx(10 ** (0.4 * (28.0 - 8.90)), rel=0.1)
    assert (bandpass("F162M").filter, bandpass("F162M").pupil) == ("F150W2", "F162M")
    with pytest.raises(ParameterError, match="F999W"):
        bandpass("F999W")


def test_convolution_adds_variances():
    psf = point_spread(bandpass("F200W"), detector("NRCA1"))
    wide = type(psf)(np.array([0.25, 0.75]), np.array([[400.0, 300.0, 50.0], [0.4, 0.4, 0.1]]))
    both = wide.convolved_with(psf)
    assert both.weight.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(both.weight @ both.covariance, wide.weight @ wide.covariance + psf.weight @ psf.covariance, rtol=1e-10)
    assert both.weight.size < wide.weight.size * psf.weight.size
