"""Figures show what they are given."""

import io

import numpy as np
import pytest
from helpers import make_image, make_ramp

from jwnb.display.figures import before_after, image_figure, ramp_figure
from jwnb.errors import ParameterError


def drawn(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    return buffer.getvalue()


def test_an_image_is_drawn_under_its_name():
    figure = image_figure(make_image(np.random.default_rng(1).normal(size=(32, 32))))
    assert drawn(figure).startswith(b"\x89PNG")
    assert "rate.fits" in figure.axes[0].get_title()


def test_before_and_after_show_the_difference():
    first, second = make_image(np.ones((16, 16))), make_image(np.full((16, 16), 3.0))
    figure = before_after(first, second, titles=("raw", "done"))
    assert [a.get_title() for a in figure.axes] == ["raw", "done", "difference"]
    assert "median 2" in figure.axes[2].get_xlabel()
    drawn(figure)
    with pytest.raises(ParameterError, match="cannot be compared"):
        before_after(first, make_image(np.ones((8, 8))))


def test_a_ramp_shows_flags_and_the_fit():
    counts = np.cumsum(np.ones((1, 6, 4, 4)) * 100, axis=1)
    counts[0, 3:, 1, 2] += 500
    ramp = make_ramp(counts)
    ramp.groupdq[0, 3, 1, 2] = 4
    ramp.groupdq[0, 5, 1, 2] = 2
    figure = ramp_figure(ramp, x=2, y=1, rate=make_image(np.full((4, 4), 10.0)))
    labels = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert labels == ["good", "jump_det", "saturated", "slope 10 DN/s"]
    segments = [line for line in figure.axes[0].get_lines() if line.get_color() == "#1a7f4b"]
    assert len(segments) == 2
    drawn(figure)
