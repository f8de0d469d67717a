"""The ledger in `meta.jwnb`."""

import numpy as np
from helpers import make_image, make_ramp
from stdatamodels.jwst.datamodels import ImageModel

from jwnb import record


def test_a_new_model_has_an_empty_ledger():
    assert record.ledger(make_image(np.ones((4, 4)))) == []
    assert record.node(make_image(np.ones((4, 4)))) == {}


def test_entries_are_added_in_order_and_history_gets_a_line():
    image = make_image(np.ones((4, 4)))
    record.write(image, record.entry("jump", "COMPLETE"))
    record.write(image, record.entry("ramp_fit", "SKIPPED", reason="because"))
    assert [(e["step"], e["status"]) for e in record.ledger(image)] == [("jump", "COMPLETE"), ("ramp_fit", "SKIPPED")]
    lines = [h["description"] for h in image.instance["history"]["entries"]]
    assert lines[1].endswith("ramp_fit SKIPPED: because")


def test_history_lines_fit_a_card_and_are_ascii():
    image = make_image(np.ones((4, 4)))
    record.write(image, record.entry("jump", "SKIPPED", reason="σ" * 200))
    (line,) = [h["description"] for h in image.instance["history"]["entries"]]
    assert len(line) <= 72
    assert line.isascii()


def test_what_is_remembered_is_not_shared_with_the_model_it_came_from():
    first = make_image(np.ones((4, 4)))
    record.remember(first, "events", [1])
    second = make_image(np.ones((4, 4)))
    record.carry(first, second)
    record.remember(second, "events", [1, 2])
    assert record.node(first)["events"] == [1]


def test_carrying_brings_unknown_extensions_and_keeps_the_targets_own():
    ramp = make_ramp(np.ones((1, 2, 4, 4)))
    ramp.instance["extra_fits"] = {"MINE": {"header": [["A", 1, ""]]}}
    record.write(ramp, record.entry("jump", "COMPLETE"))
    image = ImageModel((4, 4))
    record.carry(ramp, image)
    assert image.instance["extra_fits"]["MINE"]["header"] == [["A", 1, ""]]
    assert [e["step"] for e in record.ledger(image)] == ["jump"]
    record.carry(image, image)
    assert len(record.ledger(image)) == 1


def test_lines_of_history_are_not_shared_with_the_model_they_came_from():
    ramp = make_ramp(np.ones((1, 2, 4, 4)))
    record.write(ramp, record.entry("jump", "COMPLETE"))
    image = ImageModel((4, 4))
    record.carry(ramp, image)
    record.write(image, record.entry("ramp_fit", "COMPLETE"))
    assert [len(m.instance["history"]["entries"]) for m in (ramp, image)] == [1, 2]


def test_the_count_of_extensions_of_the_file_before_is_not_carried():
    ramp = make_ramp(np.ones((1, 2, 4, 4)))
    ramp.instance["extra_fits"] = {"PRIMARY": {"header": [["NEXTEND", 1, ""], ["MINE", 2, ""]]}}
    image = ImageModel((4, 4))
    record.carry(ramp, image)
    assert image.instance["extra_fits"]["PRIMARY"]["header"] == [["MINE", 2, ""]]
    assert len(ramp.instance["extra_fits"]["PRIMARY"]["header"]) == 2
