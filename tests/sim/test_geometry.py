import numpy as np
import pytest
from stdatamodels.jwst.datamodels import DistortionModel

from jwnb.errors import ParameterError
from jwnb.sim.geometry import DETECTORS, Pointing, detector, distortion_transform

GRID = np.meshgrid(np.linspace(-2, 2049, 12), np.linspace(-2, 2049, 12))


@pytest.mark.parametrize("name", DETECTORS)
def test_pixels_and_back(name):
    det = detector(name)
    x, y = GRID
    v2, v3 = det.to_v2v3(x, y)
    back = det.to_pixel(v2, v3)
    np.testing.assert_allclose(back, GRID, atol=1e-8)
    model = distortion_transform(det)
    np.testing.assert_allclose(model(x, y), (v2, v3), atol=1e-10)
    there = model.inverse(v2, v3)
    assert np.hypot(there[0] - x, there[1] - y).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "pixel", "v2v3"),
    [  # evaluated by pysiaf 0.29, PRDOPSSOC-075: Siaf("NIRCam")["NRCA1_FULL"].sci_to_tel(1, 1), …
        ("NRCA1", (0, 0), (153.03831789613523, -559.3475891542461)),
        ("NRCALONG", (2047, 299), (20.960248090639936, -539.5435306542628)),
        ("NRCB3", (0, 0), (-22.559304811661363, -489.2112086310047)),
    ],
)
def test_agrees_with_the_aperture_file(name, pixel, v2v3):
    np.testing.assert_allclose(detector(name).to_v2v3(*pixel), v2v3, atol=1e-9)


@pytest.mark.parametrize("name", DETECTORS)
def test_subarrays_lie_where_their_reference_point_says(name):
    det = detector(name)
    for sub in det.subarrays.values():
        assert 1 <= sub.xstart and sub.xstart + sub.xsize <= 2049 and 1 <= sub.ystart and sub.ystart + sub.ysize <= 2049
        v2, v3 = det.to_v2v3(sub.xstart - 1 + sub.x_ref - 1, sub.ystart - 1 + sub.y_ref - 1)
        assert np.hypot(v2 - sub.v2_ref, v3 - sub.v3_ref) < 0.05, sub  # arcsec: the apertures have polynomials of their own


def test_orientation_and_scale():
    assert (detector("NRCA1").fastaxis, detector("NRCA1").slowaxis) == (-1, 2)
    assert (detector("NRCA2").fastaxis, detector("NRCA2").slowaxis) == (1, -2)
    assert (detector("NRCALONG").channel, detector("NRCALONG").module, detector("NRCB4").module) == ("LONG", "A", "B")
    assert np.sqrt(detector("NRCA1").pixel_area(1023.5, 1023.5)) == pytest.approx(0.0312, abs=2e-4)
    assert np.sqrt(detector("NRCBLONG").pixel_area(1023.5, 1023.5)) == pytest.approx(0.0630, abs=2e-4)


@pytest.mark.parametrize(("name", "seconds"), [("FULL", 10.73677), ("SUB640", 4.18584), ("SUB320", 1.06904), ("SUB160", 0.27864)])
def test_frame_times(name, seconds):
    assert detector("NRCB1").subarray(name).frame_time == pytest.approx(seconds, abs=1e-9)


def test_reference_pixels_only_at_the_frame_s_edges():
    full = detector("NRCA1").subarray("FULL").border()
    assert full.sum() == 2048**2 - 2040**2
    corner = detector("NRCA1").subarray("SUB160").border()  # at the upper right
    assert corner[-4:].all() and corner[:, -4:].all() and not corner[:-4, :-4].any()
    assert not detector("NRCALONG").subarray("SUB160").border().any()


def test_pointing_there_and_back():
    p = Pointing(98.5, -505.6, 150.1, -32.2, 37.3, va_scale=1.00007)
    v2, v3 = np.random.default_rng(0).uniform([[-100], [-700]], [[300], [-300]], (2, 20))
    ra, dec = p.to_sky(v2, v3)
    np.testing.assert_allclose(p.from_sky(ra, dec), (v2, v3), atol=1e-8)
    np.testing.assert_allclose(p.to_sky(98.5, -505.6), (150.1, -32.2), atol=1e-12)


def test_the_roll_is_the_position_angle_of_v3():
    p = Pointing(98.5, -505.6, 150.1, -32.2, 37.3)
    step = 0.1 / 3600
    ra, dec = p.to_sky(98.5, -505.6 + 0.1)
    east, north = (ra - 150.1) * np.cos(np.radians(-32.2)), dec + 32.2
    assert np.degrees(np.arctan2(east, north)) == pytest.approx(37.3, abs=1e-3)
    assert np.hypot(east, north) == pytest.approx(step, rel=1e-5)


def test_the_same_attitude_from_another_point():
    p = Pointing(98.5, -505.6, 359.99, 88.0, 350.0)
    q = p.at(0.0, 0.0)
    v2, v3 = np.array([10.0, -300, 500]), np.array([-600.0, 50, 0])
    np.testing.assert_allclose(q.to_sky(v2, v3), p.to_sky(v2, v3), atol=1e-11)
    assert (q.v2_ref, q.v3_ref) == (0.0, 0.0)


def test_unknown_names():
    with pytest.raises(ParameterError, match="NRCA9"):
        detector("NRCA9")
    with pytest.raises(ParameterError, match="SUB400P"):
        detector("NRCA1").subarray("SUB400P")


def test_distortion_reference_survives_a_file(tmp_path):
    from astropy import units as u

    det = detector("NRCA4")
    model = DistortionModel(model=distortion_transform(det), input_units=u.pix, output_units=u.arcsec)
    model.meta.instrument.name, model.meta.instrument.module, model.meta.instrument.channel = "NIRCAM", "A", "SHORT"
    model.meta.instrument.p_pupil, model.meta.reftype = "CLEAR|", "distortion"
    model.meta.description = model.meta.author = model.meta.pedigree = "test"
    model.meta.useafter = "2015-01-01T00:00:00"
    model.save(tmp_path / "d.asdf")
    with DistortionModel(tmp_path / "d.asdf", strict_validation=True) as back:
        np.testing.assert_array_equal(back.model(3.0, 4.0), model.model(3.0, 4.0))
        np.testing.assert_array_equal(back.model.inverse(50.0, -460.0), model.model.inverse(50.0, -460.0))
