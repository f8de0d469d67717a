"""Data quality bits as typed constants, and what they are called.

The values are those of `stdatamodels.jwst.datamodels.dqflags`; `tests/test_dq.py` checks every one.
"""

import numpy as np
from astropy.nddata.bitmask import extend_bit_flag_map, interpret_bit_flags

from jwnb.errors import ParameterError

__all__ = ["GROUP", "PIXEL", "decode", "group", "not_good", "pixel"]

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


def not_good(text: str | int | None, *, option: str) -> np.uint32 | None:
    """Return the flags that are not among those called good, or None where flags do not matter.

    Parameters
    ----------
    text : str, int or None
        Names or numbers joined by "+" or ",", after "~" all but those.
    option : str
        What it is the value of, for the message.

    Raises
    ------
    ParameterError
        It cannot be read.
    """
    names = extend_bit_flag_map("JwstFlags", **{name: int(bit) for name, bit in PIXEL.items() if bit})
    try:
        good = interpret_bit_flags(text, flag_name_map=names)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ParameterError(f"{option}={text!r} cannot be read as DQ flags: {error}.") from error
    return None if good is None else np.uint32(~good & 0xFFFFFFFF)
