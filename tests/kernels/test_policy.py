"""The numba policy: several Python threads may run parallel kernels, whichever threading layer there is."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from jwnb import kernels

MANY_THREADS = """
import threading, numba, numpy as np
from jwnb.kernels.frames import subtract_from_groups
data, frame = np.ones((2, 5, 64, 64), np.float32), np.full((64, 64), 3, np.float32)
results = []
def work():
    for _ in range(50):
        results.append(float(subtract_from_groups(data, frame).sum()))
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print(numba.threading_layer(), len(results), set(results))
"""
HAS_TBB = any((Path(sys.prefix) / "lib").glob("libtbb.so.*"))


@pytest.mark.parametrize("layer", ["workqueue", pytest.param("tbb", marks=pytest.mark.skipif(not HAS_TBB, reason="tbb is not installed"))])
def test_threads_may_enter_parallel_kernels_at_once(layer):
    environment = os.environ | {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", MANY_THREADS], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == [layer, "200"]
    assert done.stdout.count(",") == 0, "every thread gets the same numbers"


def test_threads_are_limited_to_what_there_is():
    before = kernels.threads()
    try:
        kernels.use_threads(1)
        assert kernels.threads() == 1
        kernels.use_threads(10_000)
        assert kernels.threads() == numba.config.NUMBA_NUM_THREADS
    finally:
        kernels.use_threads(before)
