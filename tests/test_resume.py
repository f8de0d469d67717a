"""A run that was broken off goes on."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import jwnb
from jwnb import resume
from jwnb.models import Exposures

STEPS = {"skip": ("tweakreg", "source_catalog")}


@pytest.fixture(scope="module")
def cal(field, tmp_path_factory):
    """The cal files of `field`."""
    with jwnb.references.use(offline=field.references):
        rates = [jwnb.detector1(path).rate for path in field.uncal]
        folder = tmp_path_factory.mktemp("cal")
        return [p for rate in rates for p in jwnb.image2(rate, skip=("resample",)).save(folder)]


@pytest.fixture(scope="module")
def whole(field, cal):
    """The products of a run that was not broken off."""
    with jwnb.references.use(offline=field.references):
        return jwnb.image3(cal, **STEPS)


def assert_same(ours, whole):
    for name in ("data", "err", "wht", "con", "var_flat"):
        np.testing.assert_array_equal(getattr(ours.i2d, name), getattr(whole.i2d, name))
    assert len(ours.crf) == len(whole.crf)
    for a, b in zip(ours.crf, whole.crf, strict=True):
        np.testing.assert_array_equal(a.dq, b.dq)
        np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize("when", ["crf", "resample"])
def test_killed_and_resumed(when, pinned, cal, whole, tmp_path):
    """The process is killed (not asked to stop) as soon as the first crf is written, or where it begins to resample."""
    stop = {
        "crf": "models.save = lambda m, p, save=models.save: (save(m, p), os.kill(os.getpid(), signal.SIGKILL))",
        "resample": "coadd.Coadd.__init__ = lambda *_: os.kill(os.getpid(), signal.SIGKILL)",
    }[when]
    code = (
        f"import os, signal, sys, jwnb\nfrom jwnb import models\nfrom jwnb.stage3 import coadd\n{stop}\n"
        f"with jwnb.references.use(offline=sys.argv[1]):\n    jwnb.image3(sys.argv[3:], resume=sys.argv[2], **{STEPS!r})\n"
    )
    folder = tmp_path / "work"
    done = subprocess.run([sys.executable, "-c", code, pinned.references, folder, *cal], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [p.name.endswith("_crf.fits") for p in sorted(folder.glob("*.fits"))] == [True] * (1 if when == "crf" else 2)
    ours = jwnb.image3(cal, resume=folder, **STEPS)
    assert any("goes on from the 2 exposures" in line for line in ours.log) == (when == "resample")
    assert any("outlier_detection COMPLETE" in line for line in ours.log) == (when == "crf")
    assert_same(ours, whole)


def test_other_choices_or_inputs_begin_anew(pinned, cal, whole, tmp_path):
    first = jwnb.image3(cal, resume=tmp_path, **STEPS)
    assert_same(first, whole)
    again = jwnb.image3(cal, resume=tmp_path, **STEPS)
    assert any("goes on" in line for line in again.log)
    assert_same(again, whole)
    smaller = jwnb.image3(cal, resume=tmp_path, options={"resample": {"pixel_scale_ratio": 0.7}}, **STEPS)
    assert any("goes on" in line for line in smaller.log) and smaller.i2d.shape > whole.i2d.shape
    other = jwnb.image3(cal, resume=tmp_path, options={"outlier_detection": {"grow": 1.0}}, **STEPS)
    assert not any("goes on" in line for line in other.log)
    fewer = jwnb.image3(cal[:1], resume=tmp_path, run=("skymatch", "outlier_detection"), **STEPS)
    assert not any("goes on" in line for line in fewer.log)


def test_fingerprints(cal, tmp_path):
    files = Exposures(cal)
    same = resume.fingerprint(files, {"options": {}})
    assert same == resume.fingerprint(Exposures(list(cal)), {"options": {}})
    assert same != resume.fingerprint(files, {"options": {"resample": {"pixfrac": 0.5}}})
    assert same != resume.fingerprint(files[:1], {"options": {}})
    model = jwnb.open(cal[0])
    in_memory = resume.fingerprint(Exposures([model]), {})
    model.data = model.data + 1
    assert in_memory != resume.fingerprint(Exposures([model]), {})
    moved = os.stat(cal[0]).st_mtime_ns
    os.utime(cal[0], ns=(time.time_ns(), moved + 1))
    assert same != resume.fingerprint(files, {"options": {}})


def test_a_damaged_state_is_no_state(cal, tmp_path):
    images = Exposures(cal).named(["a_crf.fits", "b_crf.fits"])
    resume.store(tmp_path, "this", images)
    assert resume.load(tmp_path, "this").names == ["a_crf.fits", "b_crf.fits"]
    assert resume.load(tmp_path, "that") is None
    (tmp_path / "b_crf.fits").unlink()
    assert resume.load(tmp_path, "this") is None
    (tmp_path / "image3-state.json").write_text("{")
    assert resume.load(tmp_path, "this") is None
    assert resume.load(tmp_path / "nowhere", "this") is None
