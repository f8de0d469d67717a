"""Steps of both packages by turns in one chain of stage 1, each handing its product to the next as a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance.conftest import Observation
from conformance.peer_crds import crds_cache
from conformance.peer_pipelines import Both, arrays, assert_same_arrays, quiet
from stdatamodels.jwst import datamodels

import jwnb

pytestmark = pytest.mark.peer

# Our name and, in `jwst`, the module and class.
CHAIN = (
    ("group_scale", "group_scale.GroupScaleStep"), ("dq_init", "dq_init.DQInitStep"), ("saturation", "saturation.SaturationStep"),
    ("ipc", "ipc.IPCStep"), ("superbias", "superbias.SuperBiasStep"), ("refpix", "refpix.RefPixStep"),
    ("linearity", "linearity.LinearityStep"), ("dark_current", "dark_current.DarkCurrentStep"), ("jump", "jump.JumpStep"),
    ("ramp_fit", "ramp_fitting.RampFitStep"), ("gain_scale", "gain_scale.GainScaleStep"),
)  # fmt: skip
AFTER_JUMP = [name for name, _ in CHAIN].index("jump")

# Which steps are ours.
CHAINS: dict[str, Callable[[int], bool]] = {
    "ours alone": lambda _: True,
    "ours first": lambda k: k % 2 == 0,
    "theirs first": lambda k: k % 2 == 1,
    "ours to jump": lambda k: k < AFTER_JUMP,
}


def run_chain(uncal: Path, folder: Path, is_ours: Callable[[int], bool]) -> Path:
    """Run the chain; leave the ramp after jump, the rate and the rateints in `folder`, and return it."""
    folder.mkdir()
    ramp = uncal
    for k, step in enumerate(CHAIN[: AFTER_JUMP + 1]):
        result = run_step(step, ramp, ours=is_ours(k))
        ramp = save(result, folder / ("exposure_ramp.fits" if k == AFTER_JUMP else f"exposure_{k}.fits"), ours=is_ours(k))
    fit = run_step(CHAIN[-2], ramp, ours=is_ours(AFTER_JUMP + 1))
    rate, rateints = (fit.rate, fit.rateints) if is_ours(AFTER_JUMP + 1) else fit
    for suffix, model in (("rate", rate), ("rateints", rateints)):
        path = save(model, folder / f"fitted_{suffix}s.fits", ours=is_ours(AFTER_JUMP + 1))
        save(run_step(CHAIN[-1], path, ours=is_ours(AFTER_JUMP + 2)), folder / f"exposure_{suffix}.fits", ours=is_ours(AFTER_JUMP + 2))
    return folder


def run_step(step: tuple[str, str], source: Path, *, ours: bool) -> Any:
    name, peer = step
    if ours:
        return getattr(jwnb, name)(source)
    import importlib

    module, step_class = peer.split(".")
    with quiet():
        return getattr(importlib.import_module(f"jwst.{module}"), step_class).call(str(source), configure_log=False)


def save(model: Any, path: Path, *, ours: bool) -> Path:
    if ours:
        return jwnb.save(model, path)
    with quiet():
        model.save(path)
    return path


@pytest.fixture(scope="module")
def theirs_alone(averaged: Observation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with crds_cache(averaged.crds):
        return run_chain(averaged.uncal[0], tmp_path_factory.mktemp("chain") / "theirs", lambda _: False)


@pytest.mark.parametrize("order", CHAINS)
def test_chains_are_equal(order: str, averaged: Observation, theirs_alone: Path, stage1_of_both: list[Both], tmp_path: Path) -> None:
    with crds_cache(averaged.crds):
        both = Both(run_chain(averaged.uncal[0], tmp_path / "mixed", CHAINS[order]), theirs_alone)
    for suffix in ("ramp", "rate", "rateints"):
        assert_same_arrays(both, suffix)
    for suffix in ("ramp", "rateints"):
        mine, other = (model_of(path).meta.cal_step.instance for path in both.pair(suffix))
        assert {k: v for k, v in mine.items() if v} == {k: v for k, v in other.items() if v}
    if order == "ours alone":  # through files or in memory: the same pixels
        kept = arrays(stage1_of_both[0].our("rateints"))
        for name, values in arrays(both.our("rateints")).items():
            np.testing.assert_array_equal(values, kept[name], err_msg=name)


def model_of(path: Path) -> Any:
    with datamodels.open(path) as model:
        return model.copy()


def test_the_ledger_tells_whose_steps_they_were(averaged: Observation, tmp_path: Path) -> None:
    with crds_cache(averaged.crds):
        ramp = averaged.uncal[0]
        for k, step in enumerate(CHAIN[1:4]):
            ramp = save(run_step(step, ramp, ours=k == 1), tmp_path / f"exposure_{k}.fits", ours=k == 1)
    told = {e["step"]: (e["status"], e["software"].split(" ")[0]) for e in jwnb.ledger(jwnb.open(ramp))}
    assert told == {"dq_init": ("COMPLETE", ""), "saturation": ("COMPLETE", "jwnb"), "ipc": ("SKIPPED", "")}
