"""The rules of docs/architecture.md that a machine can check, for every module and every step."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jwnb
from jwnb.pipelines import PIPELINE_NAMES, find_pipeline, steps_of
from jwnb.step import STEP_NAMES, Halo, describe, find_step

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "jwnb"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_MODULE, LONGEST_BODY = 700, 80

# Which folders a folder must not import: imports run one way.
FORBIDDEN = {
    "kernels": ("jwnb.step", "jwnb.models", "jwnb.stage", "jwnb.wcs", "jwnb.references", "jwnb.pipelines", "jwnb.display", "stdatamodels"),
    "stage1": ("jwnb.pipelines", "jwnb.plan", "jwnb.display", "jwnb.cli", "jwnb.stage2", "jwnb.stage3"),
    "stage2": ("jwnb.pipelines", "jwnb.plan", "jwnb.display", "jwnb.cli", "jwnb.stage3"),
    "stage3": ("jwnb.pipelines", "jwnb.plan", "jwnb.display", "jwnb.cli"),
    "wcs": ("jwnb.pipelines", "jwnb.plan", "jwnb.display", "jwnb.cli", "jwnb.stage"),
    "references": ("jwnb.pipelines", "jwnb.plan", "jwnb.display", "jwnb.cli", "jwnb.stage"),
}
OWN_STRINGS_WITHOUT_TESTS = {"__init__", "_version"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node


def body_length(node):
    """Lines of a function without its signature and docstring."""
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    return node.end_lineno - first.lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE
    assert ast.get_docstring(ast.parse(text)), "a module says in one line what it is for"
    long = {n.name: body_length(n) for n in functions(path) if body_length(n) > LONGEST_BODY}
    assert not long
    assert path.stem != "utils"
    bad = [n.name for n in functions(path) if n.name.startswith("do_") or n.name == "process"]
    assert not bad
    folder = path.relative_to(PACKAGE).parts[0]
    wrong = [m for m in imported(path) if m.startswith(FORBIDDEN.get(folder, ())) or m.startswith("ipywidgets")]
    assert not wrong
    assert len(path.relative_to(PACKAGE).parts) <= 2, "folders are one level deep"


@pytest.mark.parametrize("path", [p for p in MODULES if p.stem not in OWN_STRINGS_WITHOUT_TESTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_has_its_test(path):
    place = path.relative_to(PACKAGE)
    assert (ROOT / "tests" / place.parent / f"test_{place.name.removeprefix('_')}").exists()


@pytest.mark.parametrize("name", STEP_NAMES)
def test_steps(name):
    made = find_step(name)
    function = getattr(jwnb, name)
    assert function.step is made
    assert made.name == name
    scope = made.reach({})
    assert isinstance(scope, Halo) or scope in {"pixel", "rows", "frame"}
    positional = [p for p in inspect.signature(made.body).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert len(positional) == 1, "what it works on; all else is keyword-only"
    if made.status is not None:
        from stdatamodels.jwst.datamodels import ImageModel

        assert made.status in ImageModel().schema["properties"]["meta"]["properties"]["cal_step"]["properties"]


@pytest.mark.parametrize("name", STEP_NAMES)
def test_every_parameter_is_described_once(name):
    made = find_step(name)
    documented = set(re.findall(r"^\s{4}(\w+(?:, \w+)*) :", made.body.__doc__, re.M))
    documented = {n for group in documented for n in group.split(", ")}
    parameters = describe(made.name)
    assert {p.name for p in parameters} <= documented
    for p in parameters:
        assert p.meaning, f"{p.name} has no text"
        if p.reference is not None:
            assert (p.name == "reference") == (len(made.references) == 1), "one reference is called `reference`, several by type"
            assert p.name in {"reference", p.reference.reftype}
        else:
            assert p.type is not inspect.Parameter.empty
            if p.type is float:
                assert p.min is not None or p.max is not None, f"{p.name} needs a range"
            if p.default is not None:
                p.check(p.default, where=name)


@pytest.mark.parametrize("name", STEP_NAMES)
def test_docstrings_have_the_sections(name):
    text = inspect.cleandoc(find_step(name).body.__doc__)
    for section in ("Parameters", "Returns"):
        assert re.search(rf"^{section}\n-+$", text, re.M), f"{name} has no {section} section"


@pytest.mark.parametrize("name", PIPELINE_NAMES)
def test_pipelines_share_one_signature(name):
    parameters = inspect.signature(find_pipeline(name)).parameters
    assert {"skip", "run", "options", "keep"} <= set(parameters)
    assert getattr(jwnb, name) is find_pipeline(name)
    assert steps_of(name)


def test_importing_is_light():
    code = "import sys, jwnb; print([m for m in ('stdatamodels', 'astropy', 'numba', 'scipy', 'matplotlib', 'crds') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_loads():
    for name in jwnb.__all__:
        assert getattr(jwnb, name) is not None


def test_the_function_wins_over_a_module_of_the_same_name():
    import jwnb.record

    assert callable(jwnb.ledger)
    assert callable(jwnb.cutout)
    assert callable(jwnb.open)


def test_nothing_is_printed_and_the_root_logger_is_left_alone():
    offenders = [str(p) for p in MODULES if p.stem not in {"cli", "demo"} and re.search(r"^\s*print\(", p.read_text(), re.M)]
    assert not offenders
    roots = [str(p) for p in MODULES if re.search(r"logging\.(basicConfig|info|warning|getLogger\(\))", p.read_text())]
    assert not roots


def test_numba_is_reached_through_the_kernels_only():
    offenders = [str(p) for p in MODULES if p.parent.name != "kernels" and any(m.startswith("numba") for m in imported(p))]
    assert not offenders
