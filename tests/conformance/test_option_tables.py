"""No option or reference of the steps of `jwst` is missing in docs/features.md."""

import pytest
from jwst import step as peer
from jwst.stpipe import Step
from test_docs import step_tables

from jwnb.step import STEP_NAMES, describe

pytestmark = pytest.mark.peer

CLASSES = {c.class_alias: c for c in vars(peer).values() if isinstance(c, type) and getattr(c, "class_alias", None)}
CLASSES["background"] = CLASSES["bkg_subtract"]
CLASSES["subtract_images"] = Step  # a step of the manual, which `jwst` 3.0.0 has no more
OF_ALL_STEPS = {"output_ext"}  # some steps write it out again


def options(step: str) -> set[str]:
    lines = (line.strip() for line in CLASSES[step].spec.splitlines())
    return {line.split("=")[0].strip() for line in lines if "=" in line and not line.startswith("#")} - OF_ALL_STEPS


@pytest.mark.parametrize("step", STEP_NAMES)
def test_every_option_stands_in_the_table(step: str) -> None:
    named = [option for option, *_ in step_tables()[step] if option != "–" and not option.startswith("ref: ")]
    assert sorted(named) == sorted(options(step))


@pytest.mark.parametrize("step", STEP_NAMES)
def test_every_reference_stands_in_the_table(step: str) -> None:
    named = [option.removeprefix("ref: ") for option, *_ in step_tables()[step] if option.startswith("ref: ")]
    assert sorted(named) == sorted(CLASSES[step].reference_file_types)


@pytest.mark.parametrize("step", STEP_NAMES)
def test_options_of_the_same_name_have_the_same_default(step: str) -> None:
    theirs = CLASSES[step]()
    same = [option for option, here, _ in step_tables()[step] if here == "same"]
    ours = {p.name: p.default for p in describe(step)}
    for option in same:
        assert ours[option] == getattr(theirs, option) or (ours[option] is None and getattr(theirs, option) == ""), option
