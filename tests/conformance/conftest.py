"""Practice exposures with a CRDS cache, and what both packages make of them, once for all tests."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from conformance.peer_crds import crds_cache, write_cache
from conformance.peer_image3 import Mosaics
from conformance.peer_pipelines import EXACT_MAPS, Both, run_jwst, run_stage1
from helpers import make_reference
from stdatamodels.jwst.datamodels import FlatModel, GainModel, MaskModel, ReadnoiseModel

import jwnb
from jwnb import sim
from jwnb.references import Entry, write_offline_set

# Without the extra `peer` there is nothing to compare with, and modules that import `jwst` cannot be collected.
collect_ignore_glob = [] if importlib.util.find_spec("jwst") else ["test_*.py"]

DATA = Path(os.environ.get("JWNB_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
GUIDE_STAR = DATA / "fgs" / "jw01019001001_gs-acq1_2022117003102_uncal.fits"


@dataclass(frozen=True)
class Observation:
    """A practice observation and a CRDS cache that answers with its references."""

    uncal: tuple[Path, ...]
    references: Path
    crds: Path


def bright_stars() -> Table:
    """Return stars about the middle of the field, the brightest of which saturate in the first groups."""
    flux = [3.0, 0.2, 2e-2, 1e-3, 2e-4, 5e-5, 1e-5]
    place = [(0.0, 0.0), (0.9, 0.5), (-0.8, 0.7), (0.6, -1.0), (-1.0, -0.6), (1.4, -0.2), (-0.2, 1.5)]
    return Table({
        "ra": [150.1 + dx / 3600 for dx, _ in place], "dec": [2.2 + dy / 3600 for _, dy in place], "flux": flux,
    })  # fmt: skip


def observe(folder: Path, **settings: object) -> Observation:
    """Make an observation of one exposure, unless said otherwise, and its cache."""
    given = {"subarray": "SUB160", "dithers": 1, "stars": bright_stars(), "galaxies": 2, "sky": 2.0, "cosmic_rays": 60.0, "seed": 11}
    made = sim.imaging(folder / "observation", **(given | settings))  # type: ignore[arg-type]
    return Observation(made.uncal, made.references, write_cache(folder / "crds", made.references))


@pytest.fixture(scope="session")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> Observation:
    """Two dithered exposures with reference pixels, averaged frames, first frames apart, two integrations."""
    return observe(tmp_path_factory.mktemp("averaged"), readpatt="SHALLOW4", ngroups=7, nints=2, dithers=2)


@pytest.fixture(scope="session")
def stage1_of_both(averaged: Observation, tmp_path_factory: pytest.TempPathFactory) -> list[Both]:
    """What detector1 of each package makes of `averaged`: with the calibrated ramp and the optional results of the first."""
    folder = tmp_path_factory.mktemp("stage1")
    with crds_cache(averaged.crds):
        first = run_stage1(averaged.uncal[0], folder / "0", {"ramp_fit": {"save_opt": True}}, ramp=True)
        return [first, run_stage1(averaged.uncal[1], folder / "1")]


@pytest.fixture(scope="session")
def stage2_of_both(averaged: Observation, stage1_of_both: list[Both], tmp_path_factory: pytest.TempPathFactory) -> list[Both]:
    """What image2 of each package makes of the rates of `jwst`: both start from the same pixels."""
    folder = tmp_path_factory.mktemp("stage2")
    made = []
    with crds_cache(averaged.crds):
        for k, both in enumerate(stage1_of_both):
            _, rate = both.pair("rate")
            run_jwst("Image2Pipeline", rate, folder / f"{k}/theirs")
            jwnb.image2(rate, options=EXACT_MAPS).save(folder / f"{k}/ours")
            made.append(Both(folder / f"{k}/ours", folder / f"{k}/theirs"))
    return made


@pytest.fixture(scope="session")
def integrations_of_both(averaged: Observation, stage1_of_both: list[Both], tmp_path_factory: pytest.TempPathFactory) -> Both:
    """What image2 of each package makes of the rateints of `jwst`."""
    folder = tmp_path_factory.mktemp("integrations")
    _, rateints = stage1_of_both[0].pair("rateints")
    with crds_cache(averaged.crds):
        run_jwst("Image2Pipeline", rateints, folder / "theirs")
        jwnb.image2(rateints).save(folder / "ours")
    return Both(folder / "ours", folder / "theirs")


@pytest.fixture(scope="session")
def mosaics(tmp_path_factory: pytest.TempPathFactory) -> Mosaics:
    """What image3 of each package makes of a field, case by case."""
    return Mosaics(tmp_path_factory.mktemp("stage3"))


@pytest.fixture(scope="session")
def mosaic_of_both(mosaics: Mosaics) -> Both:
    """What image3 of each package makes of an association with its defaults."""
    return mosaics.of("defaults")


@pytest.fixture(scope="session")
def mosaic_of_one_of_both(mosaics: Mosaics) -> Both:
    """What image3 of each package makes of one exposure."""
    return mosaics.of("one exposure")


@dataclass(frozen=True)
class GuideStar:
    """What both packages make of the real acquisition, the references, and the rows and columns of them that it covers."""

    both: Both
    references: Path
    window: tuple[slice, slice]


@pytest.fixture(scope="session")
def guide_star_of_both(tmp_path_factory: pytest.TempPathFactory) -> GuideStar:
    """What the guider pipeline of each package makes of a real acquisition; ours with what guider_cds gave."""
    if not GUIDE_STAR.exists():
        pytest.skip(f"the real guide star exposure is not there ({GUIDE_STAR}); set JWNB_TEST_DATA")
    folder = tmp_path_factory.mktemp("guider")
    references = _guide_star_references(folder / "references")
    with crds_cache(write_cache(folder / "crds", references, instrument="FGS")):
        run_jwst("GuiderPipeline", GUIDE_STAR, folder / "theirs")
        jwnb.guider(GUIDE_STAR, keep=("guider_cds",)).save(folder / "ours")
    header = fits.getheader(GUIDE_STAR)
    y, x = header["SUBSTRT2"] - 1, header["SUBSTRT1"] - 1
    window = slice(y, y + header["SUBSIZE2"]), slice(x, x + header["SUBSIZE1"])
    return GuideStar(Both(folder / "ours", folder / "theirs"), references, window)


def _guide_star_references(folder: Path) -> Path:
    """Write references of a whole FGS detector, with bad pixels, as a pinned set."""
    rng = np.random.default_rng(7)
    shape = (2048, 2048)
    made = {
        "mask": make_reference(MaskModel, shape, "mask", dq=(rng.random(shape) < 0.01).astype(np.uint32)),
        "gain": make_reference(GainModel, shape, "gain", data=rng.normal(1.8, 0.1, shape).astype(np.float32)),
        "readnoise": make_reference(ReadnoiseModel, shape, "readnoise", data=rng.normal(12.0, 1.0, shape).astype(np.float32)),
        "flat": make_reference(
            FlatModel, shape, "flat", data=rng.normal(1.0, 0.05, shape).astype(np.float32),
            err=np.full(shape, 0.01, np.float32), dq=np.where(rng.random(shape) < 0.003, 2**18 + 1, 0).astype(np.uint32),
        ),
    }  # fmt: skip
    folder.mkdir()
    for reftype, model in made.items():
        model.meta.instrument.name, model.meta.instrument.detector = "FGS", "GUIDER2"
        model.save(folder / f"{reftype}.fits")
    write_offline_set(folder, [Entry(t, f"{t}.fits", {"meta.instrument.detector": "GUIDER2"}) for t in made], name="guide star")
    return folder
