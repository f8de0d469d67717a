"""The command line is made from the signatures; its exit codes are 0, 1 and 64."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import make_ramp

import jwnb
from jwnb import cli
from jwnb.errors import NoScienceDataError
from jwnb.step import find_step


@pytest.fixture
def ramp_file(tmp_path):
    ramp = make_ramp(np.ones((1, 3, 8, 8)), **{"exposure.nframes": 4, "exposure.frame_divisor": 8})
    return jwnb.save(ramp, tmp_path / "jw01_nrca1_ramp.fits")


def test_a_step_runs_and_says_what_it_wrote(ramp_file, tmp_path, capsys):
    assert cli.main(["run", "group_scale", str(ramp_file), "--output-dir", str(tmp_path / "out")]) == 0
    written = tmp_path / "out" / "jw01_nrca1_group_scale.fits"
    assert capsys.readouterr().out.strip() == str(written)
    assert np.all(jwnb.open(written).data == 2)


def test_options_are_typed_and_checked(ramp_file, capsys):
    assert cli.main(["run", "jump", str(ramp_file), "--rejection-threshold", "high"]) == 1
    assert "rejection_threshold='high' is not a float" in capsys.readouterr().err
    assert cli.main(["run", "jump", str(ramp_file), "--rejection-treshold", "5"]) == 1
    assert "unrecognized arguments: --rejection-treshold" in capsys.readouterr().err


def test_mistakes_are_one_line_without_a_traceback(tmp_path, capsys):
    for words in (["run", "detector", "x.fits"], ["run", "detector1", str(tmp_path / "none_uncal.fits")], ["rum"], ["run", "jump"], []):
        assert cli.main(words) == 1
        error = capsys.readouterr().err
        assert error.startswith("jwnb: error: ")
        assert "Traceback" not in error
        assert len(error.strip().splitlines()) == 1


def test_a_broken_file_is_one_line(tmp_path, capsys):
    (tmp_path / "b_uncal.fits").write_bytes(b"SIMPLE  =" + b"\0" * 2871)
    assert cli.main(["run", "detector1", str(tmp_path / "b_uncal.fits")]) == 1
    assert "b_uncal.fits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(NoScienceDataError("nothing fell on NRS2"), 64), (RuntimeError("boom"), 1), (KeyboardInterrupt(), 1)]
)
def test_exit_codes(ramp_file, monkeypatch, capsys, error, code):
    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr(type(find_step("jump")), "function", property(lambda self: broken), raising=False)
    assert cli.main(["run", "jump", str(ramp_file)]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_debug_gives_the_traceback(ramp_file, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("boom")

    monkeypatch.setattr(type(find_step("jump")), "function", property(lambda self: broken), raising=False)
    with pytest.raises(RuntimeError, match="boom"):
        cli.main(["run", "jump", str(ramp_file), "--debug"])


def test_params_lists_every_option_with_its_meaning(capsys):
    assert cli.main(["params", "detector1"]) == 0
    text = capsys.readouterr().out
    for p in find_step("jump").parameters:
        assert f"--jump.{p.name.replace('_', '-')}" in text
        assert p.meaning in text


def test_params_of_an_exposure_says_where_values_come_from(ramp_file, tmp_path, capsys):
    (tmp_path / "mine.toml").write_text("[jump]\nrejection_threshold = 7.0\n")
    assert cli.main(["params", "jump", str(ramp_file), "--parameters", str(tmp_path / "mine.toml"), "--no-pars"]) == 0
    assert "7.0 from parameter file" in capsys.readouterr().out


def test_help_names_the_options(capsys):
    with pytest.raises(SystemExit) as done:
        cli.main(["run", "detector1", "--help"])
    assert done.value.code == 0
    assert "--jump.rejection-threshold" in capsys.readouterr().out
    assert cli.main(["run"]) == 0
    assert "detector1" in capsys.readouterr().out


def test_it_runs_as_a_program():
    done = subprocess.run([sys.executable, "-m", "jwnb.cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"jwnb {jwnb.__version__}"


def test_a_reader_that_has_seen_enough_is_no_error():
    piped = f"{sys.executable} -m jwnb.cli params detector1 | head -1"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
