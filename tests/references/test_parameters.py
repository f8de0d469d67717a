"""Parameters from parameter references and parameter files, and which of them wins."""

from helpers_references import jump_config, write

from jwnb.references import use
from jwnb.references.parameter_files import PIPELINE_CLASSES, STEP_CLASSES, pars_reftype
from jwnb.references.parameters import GivenParameter, pipeline_parameters, step_parameters


def test_a_steps_reference_is_read_and_named(parameter_set, make_exposure, no_crds):
    with use(offline=parameter_set):
        found = step_parameters(make_exposure(), "jump")

    source = "pars-jumpstep (jump.asdf)"
    # What only concerns jwst's files is left out.
    assert found == {"rejection_threshold": GivenParameter(5.0, source), "skip": GivenParameter(False, source)}


def test_the_older_form_is_read(parameter_set, make_exposure, no_crds):
    with use(offline=parameter_set):
        found = step_parameters(make_exposure(), "tweakreg")
    assert {option: given.value for option, given in found.items()} == {"kernel_fwhm": 3.2, "sigma": 3.0, "abs_refcat": ["a", 1]}
    assert type(found["abs_refcat"].value) is list


def test_no_reference_means_no_parameters(parameter_set, make_exposure, no_crds):
    with use(offline=parameter_set):
        assert step_parameters(make_exposure("NRCB1"), "jump") == {}  # N/A
        assert step_parameters(make_exposure(), "ramp_fit") == {}  # not in the set
        assert step_parameters(make_exposure(), "my_own_step") == {}  # not known to CRDS
        assert pipeline_parameters(make_exposure(), "image2") == {}
    assert step_parameters(make_exposure(), "jump") == {}  # no CRDS


def test_a_pipelines_reference_is_by_step(parameter_set, make_exposure, no_crds):
    with use(offline=parameter_set):
        found = pipeline_parameters(make_exposure(), "detector1")

    source = "pars-detector1pipeline (detector1.asdf)"
    assert found == {
        "detector1": {"save_calibrated_ramp": GivenParameter(True, source)},
        "jump": {"rejection_threshold": GivenParameter(6.0, source), "after_jump_flag_time1": GivenParameter(15.0, source)},
        "clean_flicker_noise": {"skip": GivenParameter(False, source)},
    }


def test_a_parameter_file_wins_over_references(parameter_set, make_exposure, no_crds):
    (parameter_set / "mine.toml").write_text("[jump]\nrejection_threshold = 4.5\n[ramp_fit]\nalgorithm = 'LIKELY'\n")
    exposure = make_exposure()

    with use(offline=parameter_set, parameters=parameter_set / "mine.toml"):
        step, pipeline = step_parameters(exposure, "jump"), pipeline_parameters(exposure, "detector1")

    mine = "parameter file mine.toml"
    assert step["rejection_threshold"] == GivenParameter(4.5, mine)
    assert step["skip"].source == "pars-jumpstep (jump.asdf)"
    merged = step | pipeline["jump"]
    assert merged["rejection_threshold"] == GivenParameter(4.5, mine)
    assert merged["after_jump_flag_time1"].value == 15.0
    assert pipeline["ramp_fit"] == {"algorithm": GivenParameter("LIKELY", mine)}


def test_references_of_parameters_can_be_switched_off(parameter_set, make_exposure, monkeypatch, no_crds):
    exposure = make_exposure()
    with use(offline=parameter_set), use(pars=False):
        assert step_parameters(exposure, "jump") == {}
        assert pipeline_parameters(exposure, "detector1") == {}
        with use({"dark": "N/A"}):  # what is not said is as outside
            assert step_parameters(exposure, "jump") == {}
    monkeypatch.setenv("STPIPE_DISABLE_CRDS_STEPPARS", "true")
    with use(offline=parameter_set):
        assert step_parameters(exposure, "jump") == {}


def test_references_from_crds(crds_cache, make_exposure):
    crds_cache.write({"pars-jumpstep": "jwst_nircam_pars-jumpstep_0001.asdf", "pars-rampfitstep": "N/A"})
    path = crds_cache.add("jwst_nircam_pars-jumpstep_0001.asdf")
    path.unlink()
    write(path, **jump_config(rejection_threshold=5.5))
    exposure = make_exposure()

    found = step_parameters(exposure, "jump")

    assert found == {"rejection_threshold": GivenParameter(5.5, "pars-jumpstep (jwst_nircam_pars-jumpstep_0001.asdf)")}
    assert step_parameters(exposure, "ramp_fit") == {}
    assert step_parameters(exposure, "dq_init") == {}  # the context has no such type


def test_types_are_named_after_the_classes():
    assert [pars_reftype(name) for name in ("jump", "dark_current", "detector1", "dark1", "mine")] == [
        "pars-jumpstep",
        "pars-darkcurrentstep",
        "pars-detector1pipeline",
        "pars-darkpipeline",
        None,
    ]
    assert len(set(STEP_CLASSES.values())) == len(STEP_CLASSES)
    assert not set(STEP_CLASSES) & set(PIPELINE_CLASSES)
