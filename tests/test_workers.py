"""Work spread over processes."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jwnb import settings, workers

LARGE = workers._LARGE // 8 + 1


def jobs(count, seen=None):
    shared = np.arange(LARGE, dtype=float)
    for k in range(count):
        if seen is not None:
            seen.append(k)
        yield k, [((shared, np.full(LARGE, float(k))), {}), ((np.ones(3), k), {})]


@pytest.mark.parametrize("number", [1, 2])
def test_results_come_in_order(number):
    with settings.using(workers=number):
        made = list(workers.spread(np.add, jobs(4)))
    assert [tag for tag, _ in made] == [0, 1, 2, 3]
    for k, (large, small) in made:
        np.testing.assert_array_equal(large, np.arange(LARGE) + k)
        np.testing.assert_array_equal(small, np.ones(3) + k)


def test_no_more_than_one_group_is_taken_ahead():
    seen: list[int] = []
    with settings.using(workers=2):
        results = workers.spread(np.add, jobs(5, seen))
        next(results)
        assert seen == [0, 1]
        results.close()


def test_files_go_with_what_was_in_them(tmp_path):
    put = workers._Scratch(tmp_path)
    first, second = np.zeros(LARGE), np.ones((2, LARGE), np.float32)
    a, b, again = put(first), put(second), put(first)
    assert a is again and len(list(tmp_path.iterdir())) == 2
    make, arguments = b.__reduce__()
    np.testing.assert_array_equal(make(*arguments), second)
    del a, again
    gc.collect()
    assert len(list(tmp_path.iterdir())) == 1
    assert put(3) == 3 and put(np.ones(4)).shape == (4,)


def test_what_goes_wrong_there_is_raised_here():
    with settings.using(workers=2), pytest.raises(ValueError, match="broadcast"):
        list(workers.spread(np.add, [(0, [((np.ones(3), np.ones(4)), {})])]))


def test_number_of_workers(monkeypatch):
    with settings.using(workers=3):
        assert workers.number_of_workers() == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert workers.number_of_workers() == workers._MOST


def test_a_script_without_a_guard_is_not_run_again(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np\nfrom jwnb import settings, workers\nprint('once')\n"
        "with settings.using(workers=2):\n    print(list(workers.spread(np.add, [(0, [((1, 2), {})])])))\n"
    )
    done = subprocess.run([sys.executable, os.fspath(script)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["once", "[(0, [3])]"] or done.stdout.split("\n")[:2] == ["once", "[(0, [np.int64(3)])]"]
