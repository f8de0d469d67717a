"""Every tutorial runs from start to end, offline, and is committed without outputs."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
BINDER_GIB = 2.0
# The most memory that the kernel had, by its own account: what the operating system says of child processes begins with this one's.
PEAK = "print(*[x.split()[1] for x in open('/proc/self/status') if x.startswith('VmHWM')])"


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_committed_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in notebook.cells if c.cell_type == "code")


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::ResourceWarning")  # of the libraries that run it
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_runs_within_a_binder(path, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", os.fspath(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK))
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": os.fspath(tmp_path)}}).execute()
    noise = [
        o for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream" and o.name == "stderr" and "it/s" not in o.text
    ]
    assert not noise, "nothing is printed over a cell"
    assert int(notebook.cells[-1].outputs[0].text) / 2**20 < BINDER_GIB
