"""Notebook cards: escaped, whole, without scripts, and never loading anything."""

from html.parser import HTMLParser

import numpy as np
import pytest
from helpers import make_image, make_ramp
from IPython.core.interactiveshell import InteractiveShell

from jwnb import record
from jwnb.display import register
from jwnb.display.cards import model_card, model_text, products_card
from jwnb.products import Products


class Balance(HTMLParser):
    """Checks that what is opened is closed, and collects the tags."""

    def __init__(self):
        super().__init__()
        self.stack, self.seen = [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        if tag not in {"img", "br"}:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def parsed(html):
    reader = Balance()
    reader.feed(html)
    assert reader.stack == []
    return reader


@pytest.fixture
def image():
    model = make_image(np.arange(64.0).reshape(8, 8), **{"target.catalog_name": "<b>M 31</b> & co"})
    model.dq[0, :4] = 3
    model.meta.filename = "x<script>_rate.fits"
    record.write(model, record.entry("jump", "COMPLETE", notes=["12 groups flagged"], seconds=0.25))
    record.write(model, record.entry("ipc", "SKIPPED", reason="no reference <N/A>"))
    return model


def test_values_are_escaped_and_there_is_no_script(image):
    html = model_card(image)
    assert "script" not in parsed(html).seen
    assert "<script>_rate" not in html
    assert "&lt;b&gt;M 31&lt;/b&gt; &amp; co" in html


def test_the_card_shows_ledger_flags_and_arrays(image):
    html = model_card(image)
    for text in ("12 groups flagged", "no reference &lt;N/A&gt;", "COMPLETE", "SKIPPED", "SATURATED", "DO_NOT_USE", "8 × 8", "float32"):
        assert text in html
    assert "93.8 % of pixels usable" in html
    assert "6.25" in html
    assert html.count("<style>") == 1
    assert html.count("data:image/png") == 1


def test_text_and_html_list_the_same_steps(image):
    text = model_text(image)
    for entry in record.ledger(image):
        assert entry["step"] in text
        assert entry["status"] in text


def test_a_card_does_not_make_arrays():
    image = make_image(np.ones((8, 8)))
    before = set(image.instance)
    model_card(image)
    assert set(image.instance) == before


def test_group_flags_are_counted():
    ramp = make_ramp(np.ones((1, 4, 8, 8)))
    ramp.groupdq[0, 3, :2] = 4
    html = model_card(ramp)
    assert "JUMP_DET group" in html
    assert "6.25" in html


def test_an_odd_model_has_a_card():
    from stdatamodels.jwst.datamodels import NrcImgPhotomModel, RampModel

    parsed(model_card(NrcImgPhotomModel()))
    parsed(model_card(RampModel()))


def test_products_show_pictures_steps_and_log(image):
    image.meta.filename = "x_rate.fits"
    products = Products("detector1", {"rate": image}, log=("12:00:00 INFO jump <COMPLETE>",))
    html = products_card(products)
    parsed(html)
    assert "x_rate.fits" in html
    assert "jump &lt;COMPLETE&gt;" in html
    assert products._repr_html_() == html or "x_rate.fits" in products._repr_html_()


def test_ipython_shows_models_as_cards(image):
    shell = InteractiveShell.instance()
    try:
        register(shell)
        bundle, _ = shell.display_formatter.format(image)
    finally:
        InteractiveShell.clear_instance()
    assert "jwnb-card" in bundle["text/html"]
    assert "jump" in bundle["text/plain"]


def test_ipython_shows_figures_without_pyplot(image):
    from matplotlib.figure import Figure

    shell = InteractiveShell.instance()
    try:
        register(shell)
        bundle, _ = shell.display_formatter.format(Figure(figsize=(1, 1)))
    finally:
        InteractiveShell.clear_instance()
    assert "image/png" in bundle
