"""The step decorator: parameters, references, status, ledger, history."""

import inspect
import threading
from typing import Annotated, Literal

import numpy as np
import pytest
from helpers import freeze, make_image, make_ramp, make_reference
from stdatamodels.jwst.datamodels import GainModel, ImageModel, RampModel

import jwnb
from jwnb import record
from jwnb.errors import CalibrationWarning, FrameScopeError, InputError, MissingReferenceError, ParameterError, WrongExposureError
from jwnb.step import STEPS, FailStep, Param, Reference, SkipStep, describe, halo, note, share, step


@pytest.fixture(autouse=True)
def own_steps():
    """Steps made by these tests disappear with them."""
    before = dict(STEPS)
    yield
    STEPS.clear()
    STEPS.update(before)


@pytest.fixture
def scale():
    @step("scale", scope="pixel", status="linearity", needs=("meta.exposure.group_time",))
    def scale(
        ramp: RampModel,
        *,
        reference: GainModel = Reference("gain"),
        factor: Annotated[float, Param(min=0, max=10)] = 2.0,
        how: Literal["up", "down"] = "up",
        outcome: str = "fine",
    ) -> RampModel:
        """Multiply a ramp.

        Parameters
        ----------
        ramp : RampModel
            Shape (nints, ngroups, ny, nx).
        reference : GainModel
            Multiplied in too.
        factor : float
            By how much,
            on two lines.
        how : str
            Multiply or divide.
        outcome : str
            What happens.
        """
        if outcome == "skip":
            raise SkipStep("nothing to scale")
        if outcome == "fail":
            raise FailStep("the scale broke")
        note(f"scaled by {factor}", degraded=outcome == "degraded")
        out = share(ramp)
        out.data = ramp.data * np.float32(factor if how == "up" else 1 / factor) * reference.data
        return out

    return scale


@pytest.fixture
def ramp():
    return freeze(make_ramp(np.ones((1, 3, 8, 8))))


@pytest.fixture
def gain():
    return make_reference(GainModel, (8, 8), "gain", data=np.full((8, 8), 3.0, np.float32))


def test_a_step_leaves_its_input_alone_and_shares_what_it_does_not_change(scale, ramp, gain):
    out = scale(ramp, reference=gain)
    assert np.all(out.data == 6)
    assert np.all(ramp.data == 1)
    assert out.groupdq is ramp.groupdq
    assert record.node(ramp) == {}
    assert ramp.meta.cal_step.linearity is None


def test_what_was_done_is_written_down(scale, ramp, gain):
    out = scale(ramp, reference=gain, factor=4)
    (line,) = jwnb.ledger(out)
    assert line["step"] == "scale"
    assert line["status"] == out.meta.cal_step.linearity == "COMPLETE"
    assert line["parameters"] == {"factor": 4.0, "how": "up", "outcome": "fine"}
    assert line["sources"]["factor"] == "caller"
    assert line["sources"]["how"] == "default"
    assert line["notes"] == ["scaled by 4.0"]
    assert line["references"]["gain"] == out.meta.ref_file.gain.name == gain.override_handle
    assert line["seconds"] >= 0
    (entry,) = out.instance["history"]["entries"]
    assert entry["description"] == f"jwnb {jwnb.__version__} scale COMPLETE"


def test_the_ledger_survives_saving(scale, ramp, gain, tmp_path):
    out = scale(ramp, reference=gain)
    path = jwnb.save(out, tmp_path / "x_ramp.fits")
    assert jwnb.ledger(jwnb.open(path)) == jwnb.ledger(out)


def test_skipping_gives_a_copy_marked_with_the_reason(scale, ramp, gain):
    out = scale(ramp, reference=gain, outcome="skip")
    assert out is not ramp
    assert out.data is ramp.data
    assert out.meta.cal_step.linearity == "SKIPPED"
    assert jwnb.ledger(out)[-1]["reason"] == "nothing to scale"


def test_a_reference_that_is_not_applicable_skips_the_step(scale, ramp):
    out = scale(ramp, reference="N/A")
    assert out.meta.cal_step.linearity == "SKIPPED"
    assert out.meta.ref_file.gain.name == "N/A"
    assert "gain reference is not applicable" in jwnb.ledger(out)[-1]["reason"]


def test_failing_warns_and_marks(scale, ramp, gain):
    with pytest.warns(CalibrationWarning, match="the scale broke"):
        out = scale(ramp, reference=gain, outcome="fail")
    assert out.meta.cal_step.linearity == "FAILED"


def test_a_degraded_result_warns_and_leaves_a_line(scale, ramp, gain):
    with pytest.warns(CalibrationWarning, match="scaled by"):
        out = scale(ramp, reference=gain, outcome="degraded")
    assert jwnb.ledger(out)[-1]["notes"] == ["scaled by 2.0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"facter": 1.0}, r"no option 'facter'\. Did you mean 'factor'"),
        ({"factor": 11.0}, r"factor=11.0 is out of range; expected 0 ≤ value ≤ 10"),
        ({"factor": "much"}, "factor='much' is not a float"),
        ({"factor": None}, "factor=None is not a float"),
        ({"factor": True}, "factor=True is not a float"),
        ({"how": "upp"}, "how='upp' is not one of 'up', 'down'. Did you mean 'up'"),
    ],
)
def test_bad_options_are_refused_with_what_was_expected(scale, ramp, gain, options, message):
    with pytest.raises(ParameterError, match=message):
        scale(ramp, reference=gain, **options)


def test_another_product_is_refused(scale, gain):
    with pytest.raises(WrongExposureError, match=r"takes a RampModel .*given a ImageModel \(jw00001001001_01101_00001_nrca1_rate.fits\)"):
        scale(make_image(np.ones((8, 8))), reference=gain)


def test_a_missing_keyword_is_named(scale, gain):
    ramp = make_ramp(np.ones((1, 3, 8, 8)))
    ramp.meta.exposure.group_time = None
    with pytest.raises(InputError, match="needs the keyword TGROUP"):
        scale(ramp, reference=gain)


def test_a_missing_reference_raises_before_anything_else(scale, ramp):
    with pytest.raises(MissingReferenceError, match=r"nothere.fits does not exist"):
        scale(ramp, reference="nothere.fits")


def test_a_path_is_taken_too(scale, ramp, gain, tmp_path):
    path = jwnb.save(ramp, tmp_path / "x_ramp.fits")
    assert np.all(scale(path, reference=gain).data == 6)
    assert np.all(scale(str(path), reference=gain).data == 6)


def test_exposures_decide_by_type_or_function(ramp):
    @step("only_miri", scope="pixel", exposures={"MIRI"})
    def only_miri(ramp: RampModel) -> RampModel:
        """Do nothing."""
        return share(ramp)

    @step("never", scope="pixel", exposures=lambda model: f"never for {model.meta.instrument.name}")
    def never(ramp: RampModel) -> RampModel:
        """Do nothing."""
        return share(ramp)

    with pytest.raises(WrongExposureError, match="it is for MIRI, and this is NRC_IMAGE of NIRCAM"):
        only_miri(ramp)
    with pytest.raises(WrongExposureError, match="never for NIRCAM"):
        never(ramp)


def test_a_frame_step_refuses_a_cutout(ramp):
    @step("whole", scope="frame")
    def whole(ramp: RampModel) -> RampModel:
        """Do nothing."""
        return share(ramp)

    assert whole(ramp).data is ramp.data
    with pytest.raises(FrameScopeError, match="jwnb.Runner"):
        whole(jwnb.cutout(ramp, x=(0, 4), y=(0, 4)))


def test_the_record_goes_over_to_another_class(ramp, gain, scale):
    @step("to_image", scope="pixel", status="ramp_fit")
    def to_image(ramp: RampModel) -> ImageModel:
        """Make an image."""
        image = ImageModel(data=ramp.data[0, -1])
        image.update(ramp)
        return image

    out = to_image(scale(ramp, reference=gain))
    assert [e["step"] for e in jwnb.ledger(out)] == ["scale", "to_image"]
    assert out.meta.cal_step.linearity == out.meta.cal_step.ramp_fit == "COMPLETE"


def test_steps_done_elsewhere_are_read_from_the_header(ramp):
    ramp = share(ramp)
    ramp.meta.cal_step.superbias = "COMPLETE"
    (line,) = jwnb.ledger(ramp)
    assert (line["step"], line["status"], line["software"]) == ("superbias", "COMPLETE", "")


def test_precedence_of_parameters(scale, ramp, gain):
    with jwnb.references.use(parameters={"scale": {"factor": 5.0, "how": "down"}}):
        out = scale(ramp, reference=gain, how="up")
    assert jwnb.ledger(out)[-1]["parameters"]["factor"] == 5.0
    assert jwnb.ledger(out)[-1]["sources"]["how"] == "caller"
    assert "parameter file" in jwnb.ledger(out)[-1]["sources"]["factor"] or "parameters" in jwnb.ledger(out)[-1]["sources"]["factor"]


def test_the_signature_that_people_see_is_wider_than_the_body(scale):
    signature = inspect.signature(scale)
    assert "str" in str(signature.parameters["ramp"].annotation)
    assert signature.parameters["reference"].default is None
    assert signature.parameters["factor"].default == 2.0


def test_describe_reads_the_signature_and_the_docstring(scale, ramp):
    reference, factor, how, _ = describe(scale)
    assert reference.reference.reftype == "gain"
    assert (factor.name, factor.default, factor.min, factor.max) == ("factor", 2.0, 0, 10)
    assert factor.meaning == "By how much, on two lines."
    assert how.choices == ("up", "down")
    with jwnb.references.use(parameters={"scale": {"factor": 5.0}}):
        factor = describe(scale, ramp)[1]
    assert factor.value == 5.0
    assert factor.source != "default"


def test_a_non_ascii_reason_can_be_saved(ramp, tmp_path):
    @step("greek", scope="pixel")
    def greek(ramp: RampModel) -> RampModel:
        """Skip."""
        raise SkipStep("σ is too large " + "x" * 100)

    path = jwnb.save(greek(ramp), tmp_path / "x_ramp.fits")
    assert jwnb.ledger(jwnb.open(path))[-1]["reason"].startswith("σ is too large")


def test_notes_of_threads_do_not_mix(ramp):
    @step("noisy", scope=halo(1))
    def noisy(ramp: RampModel, *, tag: str = "") -> RampModel:
        """Note a tag."""
        barrier.wait(timeout=10)
        note(tag)
        return share(ramp)

    barrier, results = threading.Barrier(2), {}
    workers = [threading.Thread(target=lambda t=t: results.update({t: noisy(ramp, tag=t)})) for t in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {t: jwnb.ledger(r)[-1]["notes"] for t, r in results.items()} == {"a": ["a"], "b": ["b"]}


def test_an_unknown_step_gets_the_nearest_name():
    with pytest.raises(ParameterError, match="Did you mean 'linearity'"):
        describe("linearty")


def test_an_option_of_a_parameter_reference_that_is_not_had_is_said(scale, ramp, gain):
    with jwnb.references.use(parameters={"scale": {"snowballs": True, "maximum_cores": "all", "edge_size": 25}}):
        with pytest.warns(CalibrationWarning, match="snowballs=True of .* is not an option of scale here"):
            out = scale(ramp, reference=gain)
    notes = jwnb.ledger(out)[-1]["notes"]
    assert any("maximum_cores='all'" in n for n in notes)
    assert any("edge_size=25" in n for n in notes)
    with jwnb.references.use(parameters={"scale": {"edge_size": 25, "snowballs": False}}):
        scale(ramp, reference=gain)  # nothing that changes the result: noted, not warned of


def test_the_setting_for_threads_holds_while_a_step_runs(ramp):
    from jwnb import kernels

    seen = []

    @step("counting", scope="pixel")
    def counting(ramp: RampModel) -> RampModel:
        """Look at the number of threads."""
        seen.append(kernels.threads())
        return share(ramp)

    before = kernels.threads()
    with jwnb.settings.using(threads=1):
        counting(ramp)
    counting(ramp)
    assert seen == [1, before]
    assert kernels.threads() == before
