"""Written files have the extensions, types and shapes of today's products: the rows of docs/features.md F-1 to F-11, F-31 to F-33."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import jwnb
from jwnb import sim
from jwnb.models import SUFFIXES

NINTS, NGROUPS, NY, NX = 2, 4, 160, 160
PLANE, CUBE, RAMP = (NY, NX), (NINTS, NY, NX), (NINTS, NGROUPS, NY, NX)
F32, U32, U16, U8, TABLE = "float32", "uint32", "uint16", "uint8", "table"

RATE = {"SCI": (F32, PLANE), "ERR": (F32, PLANE), "DQ": (U32, PLANE), "VAR_POISSON": (F32, PLANE), "VAR_RNOISE": (F32, PLANE)}
INTEGRATIONS = {name: (kind, CUBE) for name, (kind, _) in RATE.items()} | {"INT_TIMES": (TABLE, (NINTS,))}
TIMES = {"GROUP": (TABLE, (NINTS * NGROUPS,)), "INT_TIMES": (TABLE, (NINTS,))}
PRODUCTS: dict[str, dict[str, tuple[str, Any]]] = {
    "uncal": {"SCI": (U16, RAMP), "ZEROFRAME": (U16, CUBE), **TIMES},
    "ramp": {
        "SCI": (F32, RAMP), "PIXELDQ": (U32, PLANE), "GROUPDQ": (U8, RAMP), "ZEROFRAME": (F32, CUBE), "AVDRKCUR": (F32, PLANE), **TIMES,
    },
    "rate": RATE,
    "rateints": INTEGRATIONS,
    "cal": {**RATE, "VAR_FLAT": (F32, PLANE), "AREA": (F32, PLANE)},
    "calints": {**INTEGRATIONS, "VAR_FLAT": (F32, CUBE), "AREA": (F32, PLANE)},
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file of each product, written by the pipelines."""
    folder = tmp_path_factory.mktemp("products")
    raw = sim.imaging(
        folder / "raw", subarray="SUB160", dithers=2, readpatt="SHALLOW4", nints=NINTS, ngroups=NGROUPS, stars=3, galaxies=1, seed=4
    )
    with jwnb.references.use(offline=raw.references):
        stage1 = [jwnb.detector1(path, keep=("ramp",)) for path in raw.uncal]
        stage2 = [jwnb.image2(products.rate, skip=("resample",)) for products in stage1]
        written = [
            raw.uncal[0],
            *stage1[0].save(folder),
            *stage2[0].save(folder),
            *jwnb.image2(stage1[0].rateints).save(folder),
            *jwnb.image3(  # three faint stars are too few to align, or for a catalogue
                [products.cal for products in stage2], name="jw09999-o001_t001_nircam_clear-f200w", skip=("tweakreg", "source_catalog")
            ).save(folder),
        ]
    return {path.stem.split("_")[-1]: path for path in written}


def layout(path: Path) -> dict[str, tuple[str, Any]]:
    with fits.open(path) as hdus:
        assert hdus[0].data is None and hdus[1].name == "SCI" and hdus[-1].name == "ASDF"
        return {h.name: (h.data.dtype.newbyteorder("=").name, h.data.shape) if h.is_image else (TABLE, h.data.shape) for h in hdus[1:-1]}


@pytest.mark.parametrize("suffix", PRODUCTS)
def test_extensions(suffix: str, files: dict[str, Path]) -> None:
    assert layout(files[suffix]) == PRODUCTS[suffix]


def test_a_mosaic(files: dict[str, Path]) -> None:
    found = layout(files["i2d"])
    plane = found["SCI"][1]
    floats = ("SCI", "ERR", "WHT", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT")
    assert found == {name: (F32, plane) for name in floats} | {"CON": ("int32", (1, *plane)), "HDRTAB": (TABLE, (2,))}


def test_names(files: dict[str, Path]) -> None:
    for suffix in PRODUCTS:
        assert re.fullmatch(rf"jw\d{{11}}_\d{{2}}[1-5][0-9a-z]{{2}}_\d{{5}}_nrca1_{suffix}\.fits", files[suffix].name)
        assert suffix in SUFFIXES
    assert files["i2d"].name == "jw09999-o001_t001_nircam_clear-f200w_i2d.fits"


def test_suffixes_of_the_manual_are_known() -> None:
    manual = "uncal ramp rate rateints fitopt bsub bsubints cal calints crf crfints x1d x1dints i2d s2d s3d cat phot whtlt psfstack psfsub"
    assert set(manual.split()) <= set(SUFFIXES)


@pytest.mark.parametrize(
    ("suffix", "unit"), [("rate", "DN/s"), ("rateints", "DN/s"), ("cal", "MJy/sr"), ("calints", "MJy/sr"), ("i2d", "MJy/sr")]
)
def test_errors_are_the_root_of_the_variances_in_the_unit_of_the_data(suffix: str, unit: str, files: dict[str, Path]) -> None:
    with fits.open(files[suffix]) as hdus:
        assert hdus["SCI"].header["BUNIT"] == hdus["ERR"].header["BUNIT"] == unit
        total = sum(h.data.astype(float) for h in hdus if h.name.startswith("VAR_"))
        known = np.isfinite(hdus["SCI"].data) & np.isfinite(total)
        np.testing.assert_allclose(hdus["ERR"].data[known], np.sqrt(total[known]), rtol=1e-5)
        assert known.mean() > 0.5


def test_keywords_of_the_whole_product_are_in_the_primary_header(files: dict[str, Path]) -> None:
    for suffix in ("rate", "cal", "i2d"):
        primary, science = fits.getheader(files[suffix]), fits.getheader(files[suffix], "SCI")
        for keyword in ("TELESCOP", "INSTRUME", "DETECTOR", "FILTER", "EXP_TYPE", "DATAMODL", "R_LINEAR", "S_RAMP", "TGROUP"):
            assert keyword in primary and keyword not in science
        assert primary["FILENAME"] == files[suffix].name


def test_times_of_integrations_have_seven_columns(files: dict[str, Path]) -> None:
    scales = ("MJD_UTC", "BJD_TDB")
    names = ["integration_number", *(f"int_{when}_{scale}" for scale in scales for when in ("start", "mid", "end"))]
    for suffix in ("uncal", "ramp", "rateints", "calints"):
        assert fits.getdata(files[suffix], "INT_TIMES").names == names
