import pytest
from astropy.table import Table

from jwnb import sim

SETTINGS = {
    "subarray": "SUB160", "dithers": 2, "readpatt": "SHALLOW4", "ngroups": 5, "stars": 12, "galaxies": 3, "sky": 2.0,
    "pointing_error": 0.03, "roll_error": 0.01, "seed": 11, "nints": 2,
}  # fmt: skip


@pytest.fixture(scope="session")
def settings():
    return dict(SETTINGS)


@pytest.fixture(scope="session")
def practice(tmp_path_factory):
    return sim.imaging(tmp_path_factory.mktemp("practice"), **SETTINGS)


@pytest.fixture(scope="session")
def bright_star():
    """A star in the middle of the field, bright but far from saturation in a short exposure."""
    return Table({"ra": [150.1], "dec": [2.2], "flux": [3e-4]})


@pytest.fixture(scope="session")
def uncal(practice):
    """Read the first exposure whole, so that no test keeps the file open."""
    from stdatamodels.jwst.datamodels import Level1bModel

    with Level1bModel(practice.uncal[0], strict_validation=True) as model:
        yield model.copy()
