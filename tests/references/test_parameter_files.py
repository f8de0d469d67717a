"""Parameter files in their forms."""

import asdf
import pytest

from jwnb.errors import InputError, MissingReferenceError
from jwnb.references import Entry, use, write_offline_set
from jwnb.references.parameters import GivenParameter, step_parameters


def write(path, **tree):
    asdf.AsdfFile(tree).write_to(path)
    return path


def jump_config(**parameters):
    return {"class": "jwst.jump.jump_step.JumpStep", "name": "jump", "parameters": parameters}


@pytest.fixture
def pinned(tmp_path):
    """A set with a parameter reference of a step, one of a pipeline, and one of the older form."""
    write(tmp_path / "jump.asdf", **jump_config(rejection_threshold=5.0, save_results=True, skip=False, output_dir=None))
    write(
        tmp_path / "detector1.asdf",
        **{
            "class": "jwst.pipeline.calwebb_detector1.Detector1Pipeline",
            "name": "Detector1Pipeline",
            "parameters": {"save_calibrated_ramp": True, "output_ext": ".fits"},
            "steps": [
                jump_config(rejection_threshold=6.0, after_jump_flag_time1=15.0),
                {"class": "jwst.step.CleanFlickerNoiseStep", "name": "clean_flicker_noise", "parameters": {"skip": False}},
            ],
        },
    )
    older = {"class": "jwst.tweakreg.TweakRegStep", "name": "tweakreg", "kernel_fwhm": 3.2, "sigma": 3.0, "abs_refcat": ["a", 1]}
    write(tmp_path / "tweakreg.asdf", parameters=older)
    entries = [
        Entry("pars-jumpstep", "jump.asdf", {"meta.instrument.detector": "NRCA1"}),
        Entry("pars-jumpstep", "N/A"),
        Entry("pars-detector1pipeline", "detector1.asdf"),
        Entry("pars-tweakregstep", "tweakreg.asdf"),
    ]
    write_offline_set(tmp_path, entries, name="practice")
    return tmp_path


def test_parameter_files_of_asdf_and_mappings_nest(pinned, make_exposure, no_crds):
    exposure = make_exposure()
    with use(parameters=pinned / "detector1.asdf"):
        assert step_parameters(exposure, "jump")["rejection_threshold"] == GivenParameter(6.0, "parameter file detector1.asdf")
        with use(parameters={"jump": {"rejection_threshold": 3}, "bkg_subtract": {"sigma": 2}}):
            inner = step_parameters(exposure, "jump")
            assert inner["rejection_threshold"] == GivenParameter(3, "parameters")
            assert inner["after_jump_flag_time1"].value == 15.0
            assert step_parameters(exposure, "background") == {"sigma": GivenParameter(2, "parameters")}
    assert step_parameters(exposure, "jump") == {}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("mine.toml", "[jump\n", "is not TOML"),
        ("mine.toml", "jump = 3\n", "jump = 3 is not a table of options"),
        ("mine.cfg", "", "is .asdf .* or .toml"),
        ("mine.asdf", "nothing", "cannot be read as ASDF"),
    ],
)
def test_a_bad_parameter_file_raises(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said), use(parameters=tmp_path / name):
        pass


def test_other_asdf_files_raise(tmp_path):
    with pytest.raises(InputError, match="has no parameters"), use(parameters=write(tmp_path / "a.asdf", model=1)):
        pass
    with pytest.raises(InputError, match="neither class nor name"), use(parameters=write(tmp_path / "b.asdf", parameters={"sigma": 1})):
        pass


def test_no_parameter_file_raises(tmp_path):
    with pytest.raises(MissingReferenceError, match="there is no parameter file"), use(parameters=tmp_path / "gone.toml"):
        pass
