"""gain_scale against `jwst` on the same rates and references."""

from typing import Any

import numpy as np
import pytest
from conformance.peer_stage1 import run_jwst
from helpers import freeze, make_reference, set_keywords
from jwst.gain_scale import GainScaleStep
from stdatamodels.jwst.datamodels import CubeModel, GainModel, ImageModel

import jwnb

pytestmark = pytest.mark.peer

SHAPE = (16, 24)
ARRAYS = ("data", "err", "var_poisson", "var_rnoise", "dq")


def rates(model_class: type, factor: float | None) -> Any:
    rng = np.random.default_rng(3)
    shape = SHAPE if model_class is ImageModel else (3, *SHAPE)
    planes = {name: rng.normal(5, 2, shape).astype(np.float32) for name in ("data", "err", "var_poisson", "var_rnoise")}
    planes["data"][..., 2, 3] = np.nan
    model = model_class(**planes, dq=rng.integers(0, 9, shape).astype(np.uint32))
    set_keywords(model, SHAPE, filename="jw00001001001_01101_00001_nrca1_rate.fits")
    model.meta.exposure.gain_factor = factor
    return model


def reference(factor: float | None) -> Any:
    model = make_reference(GainModel, SHAPE, "gain", data=np.full(SHAPE, 1.8, np.float32))
    model.meta.exposure.gain_factor = factor
    return model


@pytest.mark.parametrize("model_class", [ImageModel, CubeModel])
@pytest.mark.parametrize(("own", "theirs"), [(2.0, None), (None, 1.7), (1.0, 3.0), (2.0000001, 3.0)])
def test_rates_are_scaled(model_class: type, own: float | None, theirs: float | None) -> None:
    ours = jwnb.gain_scale(freeze(rates(model_class, own)), reference=freeze(reference(theirs)))
    peer = run_jwst(GainScaleStep, rates(model_class, own), gain=reference(theirs))
    assert type(ours) is type(peer)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(ours, name), getattr(peer, name), err_msg=name)
        assert getattr(ours, name).dtype == getattr(peer, name).dtype
    assert ours.meta.exposure.gain_factor == peer.meta.exposure.gain_factor == (own or theirs)
    assert ours.meta.cal_step.gain_scale == peer.meta.cal_step.gain_scale == "COMPLETE"


def test_without_a_factor_it_is_skipped() -> None:
    ours = jwnb.gain_scale(rates(ImageModel, None), reference=reference(None))
    peer = run_jwst(GainScaleStep, rates(ImageModel, None), gain=reference(None))
    assert ours.meta.cal_step.gain_scale == peer.meta.cal_step.gain_scale == "SKIPPED"
    np.testing.assert_array_equal(ours.data, peer.data)
    assert "GAINFACT" in jwnb.ledger(ours)[-1]["reason"]
