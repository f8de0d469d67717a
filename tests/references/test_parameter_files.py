"""Parameter files in their forms."""

import pytest
from helpers_references import write

from jwnb.errors import InputError, MissingReferenceError
from jwnb.references import use
from jwnb.references.parameters import GivenParameter, step_parameters


def test_parameter_files_of_asdf_and_mappings_nest(parameter_set, make_exposure, no_crds):
    exposure = make_exposure()
    with use(parameters=parameter_set / "detector1.asdf"):
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
