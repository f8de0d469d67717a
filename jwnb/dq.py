"""Data quality bits as typed constants, and what they are called.

The values are those of `stdatamodels.jwst.datamodels.dqflags`; `tests/test_dq.py` checks every one.
"""

import numpy as np

__all__ = ["GROUP", "PIXEL", "decode", "group", "pixel"]

PIXEL: dict[str, np.uint32] = {}
GROUP: dict[str, np.uint8] = {}


def _fill() -> None:
    from stdatamodels.jwst.datamodels.dqflags import group as group_flags
    from stdatamodels.jwst.datamodels.dqflags import pixel as pixel_flags

    PIXEL.update({name: np.uint32(value) for name, value in pixel_flags.items()})
    GROUP.update({name: np.uint8(value) for name, value in group_flags.items()})


_fill()


def pixel(*names: str) -> np.uint32:
    """Return the 32-bit mask of the named PIXELDQ flags."""
    return np.uint32(np.bitwise_or.reduce([PIXEL[name] for name in names]))


def group(*names: str) -> np.uint8:
    """Return the 8-bit mask of the named GROUPDQ flags."""
    return np.uint8(np.bitwise_or.reduce([GROUP[name] for name in names]))


def decode(value: int) -> tuple[str, ...]:
    """Return the names of the bits that are set in `value`, lowest first.

    >>> decode(6)
    ('SATURATED', 'JUMP_DET')
    """
    return tuple(name for name, bit in PIXEL.items() if bit and int(value) & int(bit))
