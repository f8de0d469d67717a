"""One description of each parameter."""

from typing import Annotated, Literal

import pytest

from jwnb.errors import ParameterError
from jwnb.parameters import Param, nearest, parameter_table


def example(
    x: int,
    *,
    width: Annotated[float, Param(min=0, exclusive=True, unit="pix")] = 1.0,
    order: Annotated[int | None, Param(min=1, max=10)] = None,
    flag: bool = True,
    mode: Literal["a", "b"] | None = "a",
    size: tuple[int, int] | None = None,
    names: tuple[str, ...] = (),
    either: int | Literal["all"] = "all",
) -> None:
    """Do nothing.

    Parameters
    ----------
    x : int
        Not an option.
    width : float
        How wide.
    order, flag : int
        Both
        of them.
    mode : str
        Which.
    size : tuple
        Rows, columns.
    names : tuple
        Any.
    either : int
        Or.

    Returns
    -------
    None
        width : not this one
    """


TABLE = {p.name: p for p in parameter_table(example)}


def test_what_is_read():
    assert list(TABLE) == ["width", "order", "flag", "mode", "size", "names", "either"]
    assert TABLE["width"].meaning == "How wide."
    assert TABLE["order"].meaning == TABLE["flag"].meaning == "Both of them."
    assert TABLE["width"].range == "0 < value"
    assert TABLE["order"].range == "1 ≤ value ≤ 10"
    assert TABLE["mode"].range == "'a', 'b'"
    assert TABLE["width"].unit == "pix"


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("width", 2, 2.0),
        ("order", None, None),
        ("order", 3.0, 3),
        ("flag", False, False),
        ("mode", None, None),
        ("mode", "b", "b"),
        ("size", [1, 2], (1, 2)),
        ("names", ["q"], ("q",)),
        ("either", 4, 4),
        ("either", "all", "all"),
    ],
)
def test_good_values(name, given, expected):
    checked = TABLE[name].check(given, where="example")
    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("name", "given"),
    [("width", 0), ("width", "1"), ("width", float("nan")), ("order", 0), ("order", 2.5), ("flag", 1), ("mode", "c"), ("size", (1,)),
     ("size", (1, "x")), ("names", "q"), ("either", "some"), ("order", True)],
)  # fmt: skip
def test_bad_values(name, given):
    with pytest.raises(ParameterError, match=f"example: {name}="):
        TABLE[name].check(given, where="example")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [("width", "2.5", 2.5), ("order", "none", None), ("order", "7", 7), ("flag", "no", False), ("mode", "b", "b"), ("size", "3,4", (3, 4)),
     ("names", "a b", ("a", "b")), ("either", "5", 5), ("either", "all", "all")],
)  # fmt: skip
def test_words_of_a_command_line(name, text, expected):
    assert TABLE[name].parse(text, where="example") == expected


def test_words_that_are_no_value():
    with pytest.raises(ParameterError, match="--width: width='wide' is not a float"):
        TABLE["width"].parse("wide", where="--width")


def test_nearest():
    assert nearest("linearty", ["linearity", "jump"]) == " Did you mean 'linearity'?"
    assert nearest("zzz", ["linearity", "jump"]) == ""
