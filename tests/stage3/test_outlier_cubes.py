"""Outliers among integrations."""

import numpy as np
import pytest
from stdatamodels.jwst.datamodels import CubeModel

from jwnb import dq
from jwnb.errors import InputError
from jwnb.stage3.outlier_cubes import compare_integrations

BAD = int(dq.PIXEL["DO_NOT_USE"])


def cube(integrations: int = 30) -> CubeModel:
    rng = np.random.default_rng(2)
    model = CubeModel((integrations, 12, 14))
    model.data = rng.normal(10, 0.1, (integrations, 12, 14)).astype(np.float32)
    model.err = np.full(model.data.shape, 0.1, np.float32)
    model.dq = np.zeros(model.data.shape, np.uint32)
    if integrations > 20:
        model.data[5, 6, 7] += 3
        model.data[20, 1, 2] -= 3
    return model


@pytest.mark.parametrize("width", [None, 0, 1, 7, 30])
def test_what_stands_out_of_the_integrations_is_found(width: int | None) -> None:
    found = compare_integrations(cube(), width=width, unusable=BAD, snr=10.0)
    assert np.argwhere(found.found).tolist() == [[5, 6, 7], [20, 1, 2]]
    assert found.table["plane"].tolist() == [5, 20] and found.table["x"].tolist() == [7, 2]


def test_a_source_that_changes_needs_a_window() -> None:
    model = cube()
    model.data += np.linspace(0, 9, 30, dtype=np.float32)[:, None, None]
    assert compare_integrations(model, width=None, unusable=BAD, snr=10.0).found.mean() > 0.5
    assert compare_integrations(model, width=5, unusable=BAD, snr=10.0).found[3:-3].sum() == 2


def test_flags_keep_values_out_of_the_median() -> None:
    model = cube(3)
    model.data[:2, 3, 3] = 50
    model.dq[:2, 3, 3] = BAD
    assert compare_integrations(model, width=None, unusable=BAD, snr=10.0).found[:, 3, 3].tolist() == [True, True, False]
    assert compare_integrations(model, width=None, unusable=0, snr=10.0).found[:, 3, 3].tolist() == [False, False, True]


def test_neighbours_in_the_same_integration() -> None:
    found = compare_integrations(cube(), width=7, unusable=BAD, snr=10.0, grow=1.0).found
    assert found.sum() == 10 and found[5, 5, 7] and not found[4, 6, 7]


def test_highest_values_left_out_of_the_median() -> None:
    model = cube(4)
    model.data[:2, 3, 3] = 50
    assert compare_integrations(model, width=None, unusable=BAD, snr=10.0).found[:, 3, 3].all()
    assert compare_integrations(model, width=None, unusable=BAD, snr=10.0, drop_high=2).found[:, 3, 3].tolist() == [
        True,
        True,
        False,
        False,
    ]


def test_errors_are_needed() -> None:
    model = cube()
    del model.instance["err"]
    with pytest.raises(InputError, match="ERR"):
        compare_integrations(model, width=None, unusable=BAD, snr=5.0)
