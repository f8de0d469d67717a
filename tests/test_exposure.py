"""Which pipelines an exposure goes through."""

import numpy as np
import pytest
from helpers import make_image, make_ramp

import jwnb
from jwnb.errors import InputError, WrongExposureError
from jwnb.exposure import PIPELINES, check_exposure, check_groups


@pytest.mark.parametrize(
    ("kind", "chain"),
    [
        ("NRC_IMAGE", ("detector1", "image2", "image3")),
        ("FGS_FOCUS", ("detector1", "image2")),
        ("NRC_DARK", ("dark1",)),
        ("NRC_FLAT", ("detector1",)),
        ("MIR_MRS", ("detector1", "spec2", "spec3")),
        ("NIS_SOSS", ("detector1", "spec2", "tso3")),
        ("NRC_TSIMAGE", ("detector1", "image2", "tso3")),
        ("MIR_LYOT", ("detector1", "image2", "coron3")),
        ("NIS_AMI", ("detector1", "image2", "ami3")),
        ("FGS_ACQ1", ("guider",)),
        ("NRS_BRIGHTOBJ", ("detector1", "spec2", "tso3")),
    ],
)
def test_table(kind, chain):
    assert jwnb.pipelines_for(make_image(np.ones((4, 4)), **{"exposure.type": kind})) == chain


# The manual's table, rows; of its pipelines calwebb_tso1 is detector1 here.
MANUAL = {
    "detector1 image2 image3": "FGS_IMAGE MIR_IMAGE NRC_IMAGE NIS_IMAGE",
    "detector1 image2": "FGS_FOCUS MIR_TACQ NRC_TACQ NRC_TACONFIRM NRC_FOCUS NIS_TACQ NIS_TACONFIRM NIS_FOCUS NRS_IMAGE NRS_TACQ "
    "NRS_TACONFIRM NRS_BOTA NRS_TASLIT NRS_CONFIRM NRS_FOCUS NRS_MIMF",
    "detector1": "FGS_SKYFLAT FGS_INTFLAT MIR_FLATIMAGE MIR_FLATMRS NRC_FLAT NRC_LED NIS_LAMP NRS_AUTOWAVE NRS_AUTOFLAT NRS_LAMP",
    "dark1": "FGS_DARK MIR_DARK NRC_DARK NIS_DARK NRS_DARK",
    "detector1 spec2 spec3": "MIR_MRS MIR_LRS-FIXEDSLIT NRC_WFSS NIS_WFSS NRS_FIXEDSLIT NRS_IFU NRS_MSASPEC",
    "detector1 spec2 tso3": "MIR_LRS-SLITLESS NRC_TSGRISM NIS_SOSS NRS_BRIGHTOBJ",
    "detector1 image2 tso3": "NRC_TSIMAGE",
    "detector1 image2 coron3": "MIR_LYOT MIR_4QPM NRC_CORON",
    "detector1 image2 ami3": "NIS_AMI",
}


@pytest.mark.parametrize(("kind", "chain"), [(kind, chain) for chain, kinds in MANUAL.items() for kind in kinds.split()])
def test_every_row_of_the_manual(kind, chain):
    image = make_image(np.ones((4, 4)))
    image.instance["meta"]["exposure"]["type"] = kind  # past the schema, which has MIR_DARK and NRS_BOTA no more
    assert jwnb.pipelines_for(image) == tuple(chain.split())


def test_time_series_imaging_ends_in_tso3():
    image = make_image(np.ones((4, 4)), **{"exposure.type": "MIR_IMAGE", "visit.tsovisit": True})
    assert jwnb.pipelines_for(image)[-1] == "tso3"


def test_a_missing_type_is_named():
    with pytest.raises(InputError, match="EXP_TYPE"):
        jwnb.pipelines_for(make_image(np.ones((4, 4)), **{"exposure.type": None}))


@pytest.mark.parametrize(
    ("spelling", "today"),
    [
        ("NRS_IMAGING", "NRS_IMAGE"),
        ("NRS_MSA", "NRS_MSASPEC"),
        ("NRS_FIXEDSLT", "NRS_FIXEDSLIT"),
        ("NRS_AUTOWAVECAL", "NRS_AUTOWAVE"),
        ("MIR4QPM", "MIR_4QPM"),
        ("MIR_FLAT", "MIR_FLATIMAGE"),
    ],
)
def test_spellings_of_the_manual(spelling, today):
    image = make_image(np.ones((4, 4)))  # the schema has today's spelling only, so past it
    image.instance["meta"]["exposure"]["type"] = spelling
    assert jwnb.pipelines_for(image) == PIPELINES[today]


def test_an_unknown_type_gets_the_nearest():
    image = make_image(np.ones((4, 4)))
    image.instance["meta"]["exposure"]["type"] = "NRC_IMAG"
    with pytest.raises(WrongExposureError, match="Did you mean 'NRC_IMAGE'"):
        jwnb.pipelines_for(image)


def test_keywords_that_disagree_with_the_array():
    check_groups(make_ramp(np.ones((2, 3, 4, 4))))
    with pytest.raises(InputError, match="NGROUPS says 7 and SCI holds 3"):
        check_groups(make_ramp(np.ones((2, 3, 4, 4)), **{"exposure.ngroups": 7}))
    with pytest.raises(InputError, match="NINTS says 1 and SCI holds 2"):
        check_groups(make_ramp(np.ones((2, 3, 4, 4)), **{"exposure.nints": 1}))


def test_a_segment_of_a_long_exposure_is_whole():
    segment = {"exposure.nints": 100, "exposure.integration_start": 11, "exposure.integration_end": 12}
    check_groups(make_ramp(np.ones((2, 3, 4, 4)), **segment))


def test_an_array_that_was_taken_away_is_not_there():
    ramp = make_ramp(np.ones((1, 2, 4, 4)))
    ramp.instance["zeroframe"] = None
    check_exposure(ramp)
