"""dq_init against `jwst` on the same exposure and mask files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from conformance.peer_stage1 import run_jwst
from helpers import freeze, make_ramp, make_reference, set_keywords
from jwst.dq_init import DQInitStep
from stdatamodels.jwst.datamodels import GuiderRawModel, MaskModel

import jwnb
from jwnb import dq

pytestmark = pytest.mark.peer

SHAPE = (40, 48)


@pytest.fixture
def mask(tmp_path) -> Path:
    """Return the path of a mask whose bits mean something else than the standard ones, as reference files may."""
    rng = np.random.default_rng(4)
    model = make_reference(MaskModel, SHAPE, "mask", dq=np.zeros(SHAPE, np.uint32))
    path = tmp_path / "mask.fits"
    model.save(path)
    names = ("HOT", "DO_NOT_USE", "REFERENCE_PIXEL", "NOT_A_FLAG", "DEAD")
    table = np.array(
        [(i, 2**i, n, "") for i, n in enumerate(names)], dtype=[("BIT", "i4"), ("VALUE", "i4"), ("NAME", "S40"), ("DESCRIPTION", "S80")]
    )
    with fits.open(path, mode="update") as opened:
        opened["DQ"].data = rng.choice([0, 0, 1, 2, 3, 4, 8, 16, 18], SHAPE).astype(np.uint32)
        opened.append(fits.BinTableHDU(table, name="DQ_DEF"))
    return path


def compare(exposure: Any, mask: Any, **options: Any) -> Any:
    freeze(exposure)
    ours = jwnb.dq_init(exposure, reference=mask, **options)
    theirs = run_jwst(DQInitStep, exposure, options, mask=mask)
    assert type(ours) is type(theirs) and ours.meta.cal_step.dq_init == "COMPLETE" == theirs.meta.cal_step.dq_init
    for name in ("data", "pixeldq", "groupdq", "dq", "zeroframe"):
        if ours.hasattr(name):
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    return ours


def ramp(shape: tuple[int, ...] = (2, 3, *SHAPE), **changes: Any) -> Any:
    rng = np.random.default_rng(2)
    made = make_ramp(rng.uniform(0, 60000, shape), **changes)
    made.pixeldq = rng.choice([0, 1, 1024], shape[-2:]).astype(np.uint32)
    made.groupdq = rng.choice([0, 4], shape).astype(np.uint8)
    return made


def test_bits_of_the_file_are_translated(mask):
    ours = compare(ramp(), mask)
    assert (ours.pixeldq & dq.PIXEL["DEAD"]).any() and (ours.pixeldq & dq.PIXEL["REFERENCE_PIXEL"]).any()
    assert (ours.groupdq & dq.GROUP["DO_NOT_USE"]).any()


def test_a_subarray_gets_its_part(mask):
    compare(ramp((1, 2, 16, 20), **{"subarray.xstart": 9, "subarray.ystart": 5}), mask)


def test_zeroframe_stays(mask):
    exposure = ramp(**{"exposure.zero_frame": True})
    exposure.zeroframe = np.arange(2 * 40 * 48, dtype=np.float32).reshape(2, *SHAPE)
    compare(exposure, mask)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.uint8])
def test_flags_of_the_user_are_added(mask, tmp_path, dtype):
    path = tmp_path / "mine.fits"
    fits.writeto(path, np.random.default_rng(3).choice([0, 1, 64], SHAPE).astype(dtype))
    compare(ramp(), mask, user_supplied_dq=str(path))


@pytest.mark.parametrize("kind", ["FGS_ACQ1", "FGS_ID-IMAGE", "FGS_FINEGUIDE", "FGS_TRACK"])
def test_guide_star_exposures(mask, kind):
    raw = GuiderRawModel(data=np.ones((2, 2, 16, 20), np.float32))
    set_keywords(raw, (16, 20), **{"exposure.type": kind, "subarray.xstart": 3, "subarray.ystart": 7})
    raw.dq = np.random.default_rng(3).choice([0, 4], (16, 20)).astype(np.uint32)
    assert (compare(raw, mask).dq > 4).any()
