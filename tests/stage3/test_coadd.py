"""Adding images onto a grid, one at a time."""

import numpy as np
import pytest
from helpers import make_image

from jwnb.errors import InputError
from jwnb.stage3.coadd import Coadd, Options, bytes_needed, exposure_weight, used_section
from jwnb.stage3.drizzling import drizzle_alone


class NoWCS:
    bounding_box = None


def image(value: float, noise: float):
    model = make_image(np.full((6, 8), value))
    for name, variance in (("var_rnoise", noise), ("var_poisson", 2 * noise), ("var_flat", 0.0)):
        setattr(model, name, np.full((6, 8), variance, np.float32))
    model.err = np.full((6, 8), np.sqrt(3 * noise), np.float32)
    model.meta.exposure.measurement_time = 10.0 * value
    model.instance["meta"]["wcs"] = NoWCS()
    return model


def straight():
    y, x = np.mgrid[:6, :8].astype(float)
    return np.dstack([x, y])


def add(coadd: Coadd, model) -> None:
    frame = coadd.prepared(model, straight())
    coadd.add(frame, [drizzle_alone(*given, **how) for given, how in frame.jobs])


def test_inverse_variance_weights_the_mean_and_the_variances() -> None:
    coadd = Coadd((6, 8), 2, Options(weight_type="ivm", unusable=1))
    add(coadd, image(1.0, 0.25))
    add(coadd, image(3.0, 0.5))
    weights = np.array([4.0, 2.0])
    np.testing.assert_allclose(coadd.data, np.average([1, 3], weights=weights), rtol=1e-6)
    np.testing.assert_allclose(coadd.weight, weights.sum(), rtol=1e-6)
    np.testing.assert_array_equal(coadd.context[0], 3)
    error, variances = coadd.finish(1.0)
    read = (weights**2 @ [0.25, 0.5]) / weights.sum() ** 2
    np.testing.assert_allclose(variances["var_rnoise"], read, rtol=1e-5)
    np.testing.assert_allclose(error**2, 3 * read, rtol=1e-5)


def test_exposure_time_weights() -> None:
    coadd = Coadd((6, 8), 2, Options(weight_type="exptime", unusable=1))
    add(coadd, image(1.0, 0.25))
    add(coadd, image(3.0, 0.25))
    np.testing.assert_allclose(coadd.data, (1 * 10 + 3 * 30) / 40, rtol=1e-6)


def test_flagged_and_nan_pixels_take_no_part() -> None:
    model = image(2.0, 0.25)
    model.dq[1, 2] = 1
    model.data[3, 4] = np.nan
    coadd = Coadd((6, 8), 1, Options(unusable=1))
    add(coadd, model)
    coadd.finish(1.0)
    assert np.isnan(coadd.data[1, 2]) and coadd.weight[1, 2] == 0 and coadd.context[0, 1, 2] == 0
    assert np.isnan(coadd.data[3, 4])
    assert np.isfinite(coadd.data).sum() == 46


def test_a_background_that_was_not_subtracted_is() -> None:
    model = image(2.0, 0.25)
    model.meta.background.level, model.meta.background.subtracted = 0.5, False
    coadd = Coadd((6, 8), 1, Options(unusable=1))
    add(coadd, model)
    np.testing.assert_allclose(coadd.data, 1.5)


def test_weights_by_time_need_a_time() -> None:
    model = image(1.0, 0.25)
    model.meta.exposure.measurement_time = None
    assert exposure_weight(model) is None
    with pytest.raises(InputError, match="neither TMEASURE nor EFFEXPTM"):
        Coadd((6, 8), 1, Options(weight_type="exptime")).prepared(model, straight())


def test_memory_grows_with_the_output_and_with_the_context() -> None:
    small = bytes_needed((100, 100), 1, Options())
    assert bytes_needed((200, 100), 1, Options()) == 2 * small
    assert bytes_needed((100, 100), 33, Options()) - small == 4 * 100 * 100
    assert bytes_needed((100, 100), 1, Options(variances=False)) < small


def test_the_used_section_is_that_of_the_box() -> None:
    wcs = NoWCS()
    assert used_section(wcs, (6, 8)) == (0, 7, 0, 5)
