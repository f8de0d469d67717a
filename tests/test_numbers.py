"""Numbers and tables that the manual prints: the rows N-9, N-10, N-18, D-0 to D-34 and the classes of E-39 to E-95 (docs/features.md)."""

import numpy as np
import pytest
from helpers import make_ramp, make_reference
from helpers_stage3 import calibrated
from photutils.centroids import centroid_com
from stdatamodels.jwst import datamodels
from stdatamodels.jwst.datamodels import SaturationModel

import jwnb
from jwnb import dq
from jwnb.errors import ParameterError

# The master table of the manual, bit by bit; what today's products call a bit where that is another name.
BITS = """DO_NOT_USE SATURATED JUMP_DET DROPOUT OUTLIER PERSISTENCE AD_FLOOR CHARGELOSS RESERVED NON_SCIENCE DEAD HOT WARM LOW_QE RC
TELEGRAPH NONLINEAR BAD_REF_PIXEL NO_FLAT_FIELD NO_GAIN_VALUE NO_LIN_CORR NO_SAT_CHECK UNRELIABLE_BIAS UNRELIABLE_DARK UNRELIABLE_SLOPE
UNRELIABLE_FLAT OPEN ADJ_OPEN FLUX_ESTIMATED MSA_FAILED_OPEN OTHER_BAD_PIXEL REFERENCE_PIXEL""".split()

# Model classes of the manual that stdatamodels has under the same name.
CLASSES = """AmiLgModel AsnModel BarshadowModel CameraModel CollimatorModel OTEModel FOREModel IFUFOREModel CombinedSpecModel ContrastModel
CubeModel IFUCubeModel DarkModel DarkMIRIModel DisperserModel DistortionModel DistortionMRSModel FilteroffsetModel FlatModel
NirspecFlatModel NirspecQuadFlatModel FPAModel FringeModel GainModel ReadnoiseModel NIRCAMGrismModel NIRISSGrismModel
GuiderRawModel GuiderCalModel ImageModel IFUImageModel NirspecIFUCubeParsModel MiriIFUCubeParsModel IFUPostModel IFUSlicerModel
IPCModel IRS2Model LastFrameModel ResetModel Level1bModel LinearityModel MaskModel MSAModel PathlossModel PersistenceSatModel
TrapDensityModel SaturationModel PixelAreaModel NirspecSlitAreaModel NirspecMosAreaModel NirspecIfuAreaModel PsfMaskModel
StrayLightModel QuadModel RampModel RampFitOutputModel ReferenceFileModel ReferenceImageModel ReferenceCubeModel
ReferenceQuadModel RegionsModel ResolutionModel MiriResolutionModel RSCDModel SlitModel SlitDataModel SpecModel SpecwcsModel
WaveCorrModel WavelengthrangeModel SuperBiasModel ThroughputModel WfssBkgModel TrapParsModel TrapsFilledModel TsoPhotModel
MultiSlitModel MultiSpecModel MultiExposureModel""".split()


def test_flags_have_the_bits_of_the_master_table() -> None:
    assert [dq.decode(1 << bit) for bit in range(32)] == [(name,) for name in BITS]
    assert {name: int(flag) for name, flag in dq.PIXEL.items() if flag} == {name: 1 << bit for bit, name in enumerate(BITS)}


def test_groups_have_the_first_eight_bits() -> None:
    own = {name: int(flag) for name, flag in dq.GROUP.items() if flag}
    assert own == {name: 1 << bit for bit, name in enumerate(BITS[:8]) if name != "OUTLIER"}  # found between exposures, not groups


@pytest.mark.parametrize("name", CLASSES)
def test_the_standard_models_have_the_classes_of_the_manual(name: str) -> None:
    assert issubclass(getattr(datamodels, name), datamodels.JwstDataModel)


def test_centre_of_mass() -> None:
    """N-9: the image of the manual. Its rows come first there, x comes first here."""
    block = np.zeros((4, 4))
    block[1:4, 1:3] = 1
    np.testing.assert_allclose(centroid_com(block), (1.5, 2.0))


def used(good_bits: str | int) -> list[int]:
    """Return which of the DQ values 0 to 15 resample uses: an image of 16 blocks of them, that value being their brightness too."""
    image = calibrated((24, 24))
    image.dq = np.kron(np.arange(16, dtype=np.uint32).reshape(4, 4), np.ones((6, 6), np.uint32))
    image.data = image.dq.astype(np.float32)
    for name in ("err", "var_poisson", "var_rnoise", "var_flat"):
        setattr(image, name, np.ones((24, 24), np.float32))
    data = jwnb.resample(image, good_bits=good_bits, kernel="point").data
    values, counts = np.unique(data[np.isfinite(data)], return_counts=True)
    return values[counts >= 9].astype(int).tolist()


@pytest.mark.parametrize("bits", [6, "6", "2,4", "2+4", "SATURATED+JUMP_DET", "~4294967289"])
def test_good_bits(bits: str | int) -> None:
    """N-10: with bits 2 and 4 called good, pixels with 2, 4 or both count and those with 3 or 12 do not."""
    assert used(bits) == [0, 2, 4, 6]


@pytest.mark.parametrize("bits", ["4,8", "4+8", "12", 12])
def test_spellings_of_a_sum_of_bits(bits: str | int) -> None:
    assert used(bits) == [0, 4, 8, 12]


@pytest.mark.parametrize("bits", ["4,8+2", "7x", "~~4"])
def test_bits_that_cannot_be_read(bits: str) -> None:
    with pytest.raises(ParameterError, match="good_bits"):
        used(bits)


@pytest.mark.parametrize(
    ("step", "option", "value"),
    [
        ("refpix", "side_smoothing_length", 11),
        ("refpix", "side_gain", 1.0),
        ("refpix", "odd_even_columns", True),
        ("refpix", "use_side_ref_pixels", True),
        ("jump", "rejection_threshold", 4.0),
        ("ramp_fit", "save_opt", False),
    ],
)
def test_defaults(step: str, option: str, value: object) -> None:
    """N-18."""
    (found,) = (p for p in jwnb.describe(step) if p.name == option)
    assert found.default == value and type(found.default) is type(value)


def test_no_count_saturates_where_there_is_no_threshold() -> None:
    """N-18: 100000 DN stands in, which no group of 16 bits reaches; a group above even that is flagged."""
    shape = (12, 12)
    ramp = make_ramp(np.full((1, 3, *shape), 65535.0))
    ramp.data[0, 1, 5, 5] = 100001
    nan = np.full(shape, np.nan, np.float32)
    reference = make_reference(SaturationModel, shape, "saturation", data=nan, dq=np.zeros(shape, np.uint32))
    out = jwnb.saturation(ramp, saturation=reference, superbias="N/A", n_pix_grow_sat=0, use_readpatt=False)
    assert (out.pixeldq == dq.PIXEL["NO_SAT_CHECK"]).all()
    assert np.argwhere(out.groupdq & dq.GROUP["SATURATED"])[:, 1:].tolist() == [[1, 5, 5], [2, 5, 5]]
