"""Written files against those of `jwst`: extensions, types, keywords (rows F-1 to F-11 of the formats)."""

import re
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
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
    product("mosaic_of_one_of_both", lambda made: made, "i2d", "ImageModel"),  # the same of one
    product("mosaic_of_both", lambda made: made, "segm", "SegmentationMapModel"),
    product("mosaic_of_both", lambda made: made, "00001_nrcalong_a3001_crf", "ImageModel"),
    product("mosaic_of_both", lambda made: made, "00004_nrcalong_a3001_crf", "ImageModel"),
    product("guide_star_of_both", lambda made: made.both, "cal", "GuiderCalModel"),
]
each_product = pytest.mark.parametrize(("fixture", "find", "suffix", "model_class"), PRODUCTS)

# Where our keywords may differ, and why. Everything else must be there, of the same type and value.
OTHER_VALUES = {
    "DATE": "when the file was written",
    "CAL_VER": "says that jwnb made it, and which release",
    "CRDS_CTX": "of a segm: jwst saves it before it writes which context the references are from",
    "S_TWKREG": "of one exposure: jwst calls a step that there was nothing to do for FAILED, and we SKIPPED",
    "S_OUTLIR": "likewise",
}
ONLY_OURS = {
    "S_BKDSUB": "image2 of jwst says nothing of background subtraction when it is given no backgrounds; we name what is left out",
    "S_SRCCAT": "jwst saves the i2d before, and the segm while it makes the catalogue",
    "SCATFILE": "likewise: the i2d names its catalogue",
    "SEGMFILE": "likewise: the i2d names its segmentation map",
    "CRDS_VER": "of a segm, like CRDS_CTX",
    "S_RESAMP": "image2 of jwst says nothing of resampling in calints; we name what is left out",
    "S_RAMP": "jwst saves fitopt before it marks the step",
}


# Products (suffix, or suffix and fixture) of which a keyword of ours is more than jwst's: elsewhere jwst has it too, or neither.
MORE_IN = {
    "fitopt": {"S_RAMP"}, "cal (stage2)": {"S_BKDSUB"}, "calints": {"S_BKDSUB", "S_RESAMP"}, "i2d (stage2)": {"S_BKDSUB"},
    "i2d (mosaic)": {"S_SRCCAT", "SCATFILE", "SEGMFILE"}, "i2d (mosaic_of_one)": {"S_SRCCAT", "SCATFILE", "SEGMFILE"},
    "segm": {"S_SRCCAT", "CRDS_VER"},
}  # fmt: skip
# And of which a keyword has another value; the others in every product.
OTHER_IN = {"segm": {"CRDS_CTX"}, "i2d (mosaic_of_one)": {"S_TWKREG", "S_OUTLIR"}}
ALWAYS_OTHER = {"DATE", "CAL_VER"}


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
def test_keywords(pair: tuple[Path, Path], fixture: str, suffix: str, model_class: str) -> None:
    both_names = (suffix, f"{suffix} ({fixture.removesuffix('_of_both')})")
    more, other = (set().union(*(table.get(name, set()) for name in both_names)) for table in (MORE_IN, OTHER_IN))
    with fits.open(pair[0]) as ours, fits.open(pair[1]) as theirs:
        assert not (more & set(theirs[0].header)) and more <= set(ours[0].header)
        problems = [line for mine, their in zip(ours, theirs, strict=True) for line in differences(mine, their, more, ALWAYS_OTHER | other)]
    assert more <= set(ONLY_OURS) and ALWAYS_OTHER | other <= set(OTHER_VALUES)
    assert not problems, "\n".join(problems)


def differences(ours: Any, theirs: Any, more: Collection[str], another: Collection[str]) -> list[str]:
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
        elif key not in another and not same(mine[key], other[key], key):
            found.append(f"{name} {key}: {mine[key]!r}, theirs {other[key]!r}")
        if ours.header.comments[key] != theirs.header.comments[key]:
            found.append(f"{name} {key}: comment {ours.header.comments[key]!r}, theirs {theirs.header.comments[key]!r}")
    return found


def same(ours: Any, theirs: Any, key: str) -> bool:
    """Whether two values are the same: numbers to 1e-12 of their value, corners of a footprint to 2e-9 degrees."""
    if key == "S_REGION":
        words, numbers = zip(*((re.findall("[A-Z]+", text), re.findall(r"[-+.0-9e]+", text)) for text in (ours, theirs)), strict=True)
        return words[0] == words[1] and np.allclose(*(np.array(found, float) for found in numbers), rtol=0, atol=2e-9)
    return bool(np.isclose(ours, theirs, rtol=1e-12, atol=0)) if isinstance(theirs, float) else ours == theirs


@pytest.mark.parametrize(("fixture", "rows"), [("mosaic_of_both", 4), ("mosaic_of_one_of_both", 1)])
def test_inputs_of_a_mosaic(request: pytest.FixtureRequest, fixture: str, rows: int) -> None:
    """HDRTAB has a row for each image; its columns are the keywords."""
    ours, theirs = (fits.getdata(path, "HDRTAB") for path in request.getfixturevalue(fixture).pair("i2d"))
    assert len(ours) == len(theirs) == rows
    assert ours.names == theirs.names
    other = {"DATE", "CAL_VER"} | (OTHER_IN["i2d (mosaic_of_one)"] | {"FILENAME"} if rows == 1 else set())
    for name in set(ours.names) - other:
        assert ours.dtype[name] == theirs.dtype[name], name
        if ours.dtype[name].kind == "f":
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12, atol=1e-6 if name == "BKGLEVEL" else 0, err_msg=name)
        else:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_catalogue(mosaic_of_both: Both) -> None:
    """F-14: columns of the ECSV, in order, with type, unit and description, and what is said of how they were made."""
    ours, theirs = (Table.read(next(folder.glob("*_cat.ecsv"))) for folder in (mosaic_of_both.ours, mosaic_of_both.theirs))
    described = [[(c.info.name, c.info.dtype, c.info.unit, c.info.description) for c in table.itercols()] for table in (ours, theirs)]
    assert described[0][: len(theirs.colnames)] == described[1]
    more = described[0][len(theirs.colnames) :]
    assert (
        all(name.endswith("_flux_err_corr") and unit == "Jy" and "neighbouring pixels share" in text for name, _, unit, text in more)
        and len(more) == 5
    )
    assert set(ours.meta) == {*theirs.meta, "history", "filename"}
    for key in set(theirs.meta) - {"date", "version"}:
        assert str(ours.meta[key]) == str(theirs.meta[key]), key
    assert {*ours.meta["version"]} == {*theirs.meta["version"], "jwnb"} - {"jwst"}
    assert [line.split()[0] for line in ours.meta["history"]][-3:] == ["skymatch", "outlier_detection", "resample"]


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
            assert suffix in {"ramp", "fitopt"} or model_class in {"GuiderCalModel", "SegmentationMapModel"}
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
