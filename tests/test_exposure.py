"""Which pipelines an exposure goes through."""

import numpy as np
import pytest
from helpers import make_image, make_ramp

import jwnb
from jwnb.errors import InputError, WrongExposureError
from jwnb.exposure import PIPELINES, check_groups


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


def test_every_row_of_the_manual_has_an_entry():
    kinds = """FGS_IMAGE FGS_FOCUS FGS_DARK FGS_SKYFLAT FGS_INTFLAT MIR_IMAGE MIR_MRS MIR_LRS-FIXEDSLIT MIR_LRS-SLITLESS MIR_LYOT
    MIR_4QPM MIR_TACQ MIR_DARK MIR_FLATIMAGE MIR_FLATMRS NRC_IMAGE NRC_CORON NRC_WFSS NRC_TSIMAGE NRC_TSGRISM NRC_TACQ NRC_TACONFIRM
    NRC_FOCUS NRC_DARK NRC_FLAT NRC_LED NIS_IMAGE NIS_WFSS NIS_SOSS NIS_AMI NIS_TACQ NIS_TACONFIRM NIS_FOCUS NIS_DARK NIS_LAMP
    NRS_FIXEDSLIT NRS_IFU NRS_MSASPEC NRS_BRIGHTOBJ NRS_IMAGE NRS_TACQ NRS_TACONFIRM NRS_BOTA NRS_TASLIT NRS_CONFIRM NRS_FOCUS NRS_MIMF
    NRS_DARK NRS_AUTOWAVE NRS_AUTOFLAT NRS_LAMP""".split()
    assert [k for k in kinds if k not in PIPELINES] == []


def test_time_series_imaging_ends_in_tso3():
    image = make_image(np.ones((4, 4)), **{"exposure.type": "MIR_IMAGE", "visit.tsovisit": True})
    assert jwnb.pipelines_for(image)[-1] == "tso3"


def test_a_missing_type_is_named():
    with pytest.raises(InputError, match="EXP_TYPE"):
        jwnb.pipelines_for(make_image(np.ones((4, 4)), **{"exposure.type": None}))


def test_a_spelling_of_the_manual():
    image = make_image(np.ones((4, 4)))  # the schema has today's spelling only, so past it
    image.instance["meta"]["exposure"]["type"] = "NRS_IMAGING"
    assert jwnb.pipelines_for(image) == ("detector1", "image2")


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
