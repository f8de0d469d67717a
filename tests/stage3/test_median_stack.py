"""The median of images that are not held."""

import os
import tempfile
import warnings

import numpy as np
import pytest

from jwnb.errors import InputError
from jwnb.stage3 import median_stack as module
from jwnb.stage3.median_stack import MedianStack


@pytest.mark.parametrize("block", [1, 5000, 10**8])
def test_median_of_images_on_parts_of_a_grid(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    rng = np.random.default_rng(0)
    whole = np.full((5, 23, 31), np.nan, np.float32)
    with MedianStack((23, 31)) as stack:
        for k, (row, column, ny, nx) in enumerate([(0, 0, 23, 31), (3, 4, 10, 20), (12, 0, 11, 9), (5, 20, 1, 11), (3, 4, 10, 20)]):
            image = rng.normal(size=(ny, nx)).astype(np.float32)
            image[rng.random(image.shape) < 0.2] = np.nan
            whole[k, row : row + ny, column : column + nx] = image
            stack.add(image, row=row, column=column)
        median, counts = stack.median()
        low, _ = stack.median(drop_high=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert np.array_equal(median, np.nanmedian(whole, axis=0), equal_nan=True)
    assert np.array_equal(counts, np.isfinite(whole).sum(axis=0))
    assert (low[counts > 1] < median[counts > 1]).all()


def test_what_stands_outside_an_image() -> None:
    with MedianStack((4, 4)) as stack:
        stack.add(np.full((4, 4), 5, np.float32))
        stack.add(np.full((2, 2), 9, np.float32), row=2, column=2, outside=0.0)
        median, counts = stack.median()
    assert median[3, 3] == 7 and median[0, 0] == 2.5 and (counts == 2).all()


def test_no_image_at_all() -> None:
    with MedianStack((3, 2)) as stack:
        median, counts = stack.median()
    assert np.isnan(median).all() and not counts.any()


def test_nothing_is_left_behind(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tmp_path))

    def break_off() -> None:
        with MedianStack((4, 4)) as stack:
            stack.add(np.zeros((4, 4), np.float32))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said() -> None:
    class Full:
        def seek(self, _place: int) -> None: ...

        def write(self, _data: object) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    with MedianStack((4, 4)) as stack:
        stack._file.close()
        stack._file = Full()
        with pytest.raises(InputError, match="TMPDIR"):
            stack.add(np.zeros((4, 4), np.float32))
