"""What is done with the differences of one pixel, against plain numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jwnb.kernels.jump_pixels import JumpRules, median_of, normal_sizes, select

RULES = JumpRules(4.0, 5.0, 6.0, 10.0, 1000.0, 8.0, np.uint8(1), np.uint8(2), np.uint8(4))

numbers = st.lists(st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6, width=32), st.just(np.nan)), min_size=1, max_size=70)


@given(numbers)
@settings(max_examples=200, deadline=None)
def test_median_leaves_nan_out(values):
    array = np.array(values, np.float32)
    expected = np.nanmedian(array.astype(float)) if not np.isnan(array).all() else np.nan
    np.testing.assert_array_equal(median_of(array, np.empty((2, array.size), np.float32)), expected)


@pytest.mark.parametrize("kind", ["normal", "equal", "rising", "two", "periodic"])
@pytest.mark.parametrize("count", [257, 258, 1000, 4001])
def test_median_of_many(kind, count):
    rng = np.random.default_rng(count)
    ranks = np.arange(count)
    values = {
        "normal": rng.normal(100, 5, count), "equal": np.full(count, 3.0), "rising": ranks, "two": rng.choice([1.0, 2.0], count),
        "periodic": (ranks % (count // 64) == 0) * 1e6 + ranks,  # a sample of every so-manyth sees the large ones only
    }[kind].astype(np.float32)  # fmt: skip
    values[::50] = np.nan
    assert median_of(values, np.empty((2, count), np.float32)) == np.nanmedian(values.astype(float))


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=50), st.data())
@settings(max_examples=100, deadline=None)
def test_select_gives_each_rank(values, data):
    rank = data.draw(st.integers(0, len(values) - 1))
    array = np.array(values, np.float64)
    assert select(array, array.size, rank) == sorted(values)[rank]
    assert (array[:rank] <= array[rank]).all() and (array[rank:] >= array[rank]).all()


def sizes_left(values, noise2):
    """Take the worst size away again and again, looking at all of them each time."""
    left = np.abs(np.array(values, np.float64))
    left = left[~np.isnan(left)]
    limits = {2: RULES.three_groups, 3: RULES.four_groups}
    for turn in range(99):
        if left.size < 2:
            break
        rest = left[left < left.max()] if left.size >= 4 else left
        if not rest.size:
            break
        median = left.min() if left.size == 2 else np.median(rest)
        median = np.float64(np.float32(median)) if turn else median
        sigma = np.sqrt(median + noise2)
        if sigma == 0:
            break
        ratio = np.abs(left - median).astype(np.float32).astype(float) / sigma
        if not ratio.max() > limits.get(left.size, RULES.normal):
            break
        left = left[ratio < ratio.max()]
    return left


@given(numbers, st.sampled_from([0.0, 0.01, 2.0, 1e4]))
@settings(max_examples=300, deadline=None)
def test_the_worst_goes_first(values, noise2):
    diffs = np.array(values, np.float32)
    lowest, highest = normal_sizes(diffs, np.empty_like(diffs), noise2, RULES)
    sizes = np.abs(diffs[~np.isnan(diffs)])
    kept = np.sort(sizes[(sizes >= lowest) & (sizes <= highest)])
    np.testing.assert_array_equal(kept, np.sort(sizes_left(values, noise2)).astype(np.float32))


@pytest.mark.parametrize(
    ("values", "jump"),
    [([1, 1000], True), ([50, 100], False), ([10, 11, 12], False), ([10, 11, 900], True), ([7, 7, 7, 7], False), ([10, 11, 9, 800], True)],
)
def test_few_differences(values, jump):
    diffs = np.array(values, np.float32)
    _, highest = normal_sizes(diffs, np.empty_like(diffs), 25.0, RULES)
    assert (highest < max(values)) == jump
