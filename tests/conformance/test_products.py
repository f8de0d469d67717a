"""Written files against those of `jwst`: extensions, types, keywords (rows F-1 to F-11 of the formats)."""

import re
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from conformance.conftest import Observation
from conformance.peer_pipelines import Both
from stdatamodels.jwst import datamodels

import jwnb

pytestmark = pytest.mark.peer


def product(fixture: str, find: Callable[[Any], Both], suffix: str, model_class: str) -> Any:
    return pytest.param(fixture, find, suffix, model_class, id=f"{suffix} ({fixture.removesuffix('_of_both')})")


PRODUCTS = [
    product("stage1_of_both", lambda made: made[0], "ramp", "RampModel"),  # F-3
    product("stage1_of_both", lambda made: made[0], "rate", "ImageModel"),  # F-5, F-6
    product("stage1_of_both", lambda made: made[0], "rateints", "CubeModel"),  # F-4
    product("stage1_of_both", lambda made: made[0], "fitopt", "RampFitOutputModel"),
    product("stage2_of_both", lambda made: made[0], "cal", "ImageModel"),  # F-9
    product("integrations_of_both", lambda made: made, "calints", "CubeModel"),  # F-8
    product("stage2_of_both", lambda made: made[0], "i2d", "ImageModel"),  # F-11, of one exposure
    product("mosaic_of_both", lambda made: made, "i2d", "ImageModel"),  # F-11, of several
    product("guide_star_of_both", lambda made: made.both, "cal", "GuiderCalModel"),
]
each_product = pytest.mark.parametrize(("fixture", "find", "suffix", "model_class"), PRODUCTS)

# Where our keywords may differ, and why. Everything else must be there, of the same type and value.
OTHER_VALUES = {
    "DATE": "when the file was written",
    "CAL_VER": "says that jwnb made it, and which release",
}
ONLY_OURS = {
    "S_BKDSUB": "image2 of jwst says nothing of background subtraction when it is given no backgrounds; we name what is left out",
    "S_SRCCAT": "image3 of jwst marks the catalogue step after it has saved the i2d; we name what is left out",
    "S_RESAMP": "image2 of jwst says nothing of resampling in calints; we name what is left out",
    "S_RAMP": "jwst saves fitopt before it marks the step",
}


# Products of which a keyword of ours is more than jwst's: elsewhere jwst has it too, or neither.
MORE_IN = {"fitopt": {"S_RAMP"}, "cal": {"S_BKDSUB"}, "calints": {"S_BKDSUB", "S_RESAMP"}, "i2d": {"S_BKDSUB", "S_SRCCAT"}}


def not_applicable(keyword: str, value: Any) -> bool:
    """Whether jwst says of a reference type that no reference of it was looked for, or that its step is for another mode.

    Its steps ask for the types of all modes; ours for those that the exposure needs.
    """
    return keyword.startswith("R_") and value == "N/A"


@pytest.fixture
def pair(request: pytest.FixtureRequest, fixture: str, find: Callable[[Any], Both], suffix: str) -> tuple[Path, Path]:
    return find(request.getfixturevalue(fixture)).pair(suffix)


@each_product
def test_name(pair: tuple[Path, Path], suffix: str, model_class: str) -> None:
    assert pair[0].name == pair[1].name
    assert fits.getheader(pair[0])["FILENAME"] == pair[0].name


@each_product
def test_extensions(pair: tuple[Path, Path], suffix: str, model_class: str) -> None:
    """Names, versions, order, kinds, types and dimensions."""
    ours, theirs = (layout(path) for path in pair)
    assert ours == theirs


def layout(path: Path) -> list[tuple[Any, ...]]:
    with fits.open(path) as hdus:
        return [
            (h.name, h.ver, type(h).__name__, h.header["BITPIX"], h.header.get("BZERO"), None if h.name in {"ASDF", "HDRTAB"} else h.shape)
            if h.is_image
            else (h.name, h.ver, type(h).__name__, len(h.data), None if h.name in {"ASDF", "HDRTAB"} else h.columns.dtype.descr)
            for h in hdus
        ]


@each_product
def test_keywords(pair: tuple[Path, Path], suffix: str, model_class: str) -> None:
    with fits.open(pair[0]) as ours, fits.open(pair[1]) as theirs:
        more = MORE_IN.get(suffix, set())
        problems = [line for mine, other in zip(ours, theirs, strict=True) for line in differences(mine, other, more)]
    assert more <= set(ONLY_OURS)
    assert not problems, "\n".join(problems)


def differences(ours: Any, theirs: Any, more: Collection[str]) -> list[str]:
    """Return a line for each keyword of an extension that is missing, superfluous, out of order, or of another type or value."""
    sized = re.compile("NAXIS1|TFORM[0-9]+|TTYPE[0-9]+|TFIELDS" if ours.name in {"ASDF", "HDRTAB"} else "$")
    skipped = {"HISTORY", "COMMENT", ""}
    mine, other = ({k: h.header[k] for k in h.header if k not in skipped and not sized.fullmatch(k)} for h in (ours, theirs))
    name = ours.name
    found = [f"{name} {k} only ours: {mine[k]!r}" for k in mine if k not in other and k not in more]
    found += [f"{name} {k} only theirs: {other[k]!r}" for k in other if k not in mine and not not_applicable(k, other[k])]
    both = [k for k in mine if k in other]
    if both != [k for k in other if k in mine]:
        found.append(f"{name}: the order of keywords differs")
    for key in both:
        if type(mine[key]) is not type(other[key]):
            found.append(f"{name} {key}: {mine[key]!r} is a {type(mine[key]).__name__}, theirs {other[key]!r}")
        elif key not in OTHER_VALUES and not same(mine[key], other[key], key):
            found.append(f"{name} {key}: {mine[key]!r}, theirs {other[key]!r}")
        if ours.header.comments[key] != theirs.header.comments[key]:
            found.append(f"{name} {key}: comment {ours.header.comments[key]!r}, theirs {theirs.header.comments[key]!r}")
    return found


def same(ours: Any, theirs: Any, key: str) -> bool:
    """Whether two values are the same: numbers to 1e-12 of their value, corners of a footprint to 2e-9 degrees."""
    if key == "S_REGION":
        a, b = ours.split(), theirs.split()
        return a[:2] == b[:2] and np.allclose([float(v) for v in a[2:]], [float(v) for v in b[2:]], rtol=0, atol=2e-9)
    return bool(np.isclose(ours, theirs, rtol=1e-12, atol=0)) if isinstance(theirs, float) else ours == theirs


@each_product
def test_columns_of_the_inputs_of_a_mosaic(pair: tuple[Path, Path], suffix: str, model_class: str) -> None:
    """HDRTAB has a row for each image; its columns are the keywords (values: `test_image3`)."""
    with fits.open(pair[0]) as ours, fits.open(pair[1]) as theirs:
        if "HDRTAB" not in theirs:
            assert "HDRTAB" not in ours
            return
        assert len(ours["HDRTAB"].data) == 2
        absent = {"S_TWKREG", "S_SKYMAT", "S_OUTLIR"}  # what jwst marks in the images, and we in the mosaic, while we lack the steps
        assert [n for n in theirs["HDRTAB"].columns.names if n not in absent] == ours["HDRTAB"].columns.names


@each_product
def test_what_made_it(pair: tuple[Path, Path], suffix: str, model_class: str) -> None:
    """CAL_VER names jwnb, whatever made the input; HISTORY has a line for each step in plain ASCII."""
    header = fits.getheader(pair[0])
    assert header["CAL_VER"] == f"jwnb {jwnb.__version__}" and header["CAL_VCS"] == "RELEASE"
    steps = [e["step"] for e in jwnb.ledger(jwnb.open(pair[0])) if e["software"]]
    history = [line for line in header["HISTORY"] if line.startswith("jwnb")]
    assert [line.split()[2] for line in history] == steps and steps
    assert all(line.isascii() and len(line) <= 72 for line in history)


@each_product
def test_it_opens_elsewhere(pair: tuple[Path, Path], suffix: str, model_class: str) -> None:
    """The data models of `jwst` open and validate it without a warning, as what it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with datamodels.open(pair[0]) as model:
            model.validate()
            assert type(model).__name__ == model_class == model.meta.model_type
            assert {k: v for k, v in model.meta.cal_step.instance.items() if v} == {
                k: v for k, v in jwnb.open(pair[0]).meta.cal_step.instance.items() if v
            }
    with datamodels.open(pair[1]) as theirs:
        assert type(theirs).__name__ == model_class


@each_product
def test_errors_are_roots_of_variances(pair: tuple[Path, Path], suffix: str, model_class: str) -> None:
    """F-6. Of rateints the error is that of the weighted mean of segments, whose variances are combined apart, as theirs."""
    with fits.open(pair[0]) as hdus:
        parts = [hdus[name].data.astype(np.float64) for name in ("VAR_POISSON", "VAR_RNOISE", "VAR_FLAT") if name in hdus]
        if "ERR" not in hdus or len(parts) < 2:
            assert suffix in {"ramp", "fitopt"} or model_class == "GuiderCalModel"
            return
        err, total = hdus["ERR"].data.astype(np.float64), np.sqrt(sum(parts))
    off = np.abs(err - total) / np.where(total > 0, total, 1.0)
    if suffix == "rateints":
        assert np.nanmean(off > 1e-6) < 0.02 and np.nanmax(off) < 0.1
    else:
        assert np.nanmax(off) < 1e-6


def test_raw_practice_files(averaged: Observation) -> None:
    """F-1, F-2: what stage 1 starts from has the name, extensions and types of the archive's files."""
    path = averaged.uncal[0]
    assert re.fullmatch(r"jw\d{5}\d{3}\d{3}_\d{2}[1-5][0-9a-z]{2}_\d{5}_[a-z0-9]+_uncal\.fits", path.name)
    with fits.open(path) as hdus:
        assert [h.name for h in hdus] == ["PRIMARY", "SCI", "ZEROFRAME", "GROUP", "INT_TIMES", "ASDF"]
        for name, shape in (("SCI", (2, 7, 160, 160)), ("ZEROFRAME", (2, 160, 160))):
            assert (hdus[name].data.dtype.name, hdus[name].shape) == ("uint16", shape)
        assert len(hdus["INT_TIMES"].data) == 2 and len(hdus["INT_TIMES"].columns) == 7
        assert len(hdus["GROUP"].data) == 14
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with datamodels.open(path) as model:
            model.validate()
            assert type(model) is datamodels.Level1bModel
