"""Fixtures that several folders of tests share."""

import pytest

import jwnb
from jwnb import sim


@pytest.fixture(scope="session")
def field(tmp_path_factory):
    """Two small dithered practice exposures with their references and truth."""
    return sim.imaging(
        tmp_path_factory.mktemp("field"), subarray="SUB160", dithers=2, readpatt="SHALLOW4", ngroups=7, stars=12, galaxies=2, seed=5
    )


@pytest.fixture
def pinned(field):
    """The references of `field` are in force."""
    with jwnb.references.use(offline=field.references):
        yield field


@pytest.fixture(scope="session")
def stage1(field):
    """The first exposure of `field` after detector1."""
    with jwnb.references.use(offline=field.references):
        return jwnb.detector1(field.uncal[0], options={"ramp_fit": {"save_opt": True}}, keep=("jump", "ramp"))


@pytest.fixture(scope="session")
def stage2(field, stage1):
    """The same after image2."""
    with jwnb.references.use(offline=field.references):
        return jwnb.image2(stage1.rate)
