"""Practice exposures with a CRDS cache, and what both packages make of them, once for all tests."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from astropy.table import Table
from conformance.peer_crds import crds_cache, write_cache
from conformance.peer_pipelines import EXACT_MAPS, Both, run_jwst, run_stage1

import jwnb
from jwnb import sim


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
