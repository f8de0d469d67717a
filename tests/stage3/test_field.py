"""What is asked of exposures before they are made into one image."""

import pytest
from helpers_stage3 import DEC, RA, calibrated, dithered

from jwnb.errors import InputError
from jwnb.models import Exposures
from jwnb.stage3 import resample as module
from jwnb.stage3.field import check_field, footprint_sketch


def test_images_of_one_field_are_taken() -> None:
    check_field(Exposures(dithered(3)), {}, mix_filters=False)


def test_different_filters_are_refused_unless_asked_for() -> None:
    images = dithered(4)
    images[2].meta.instrument.filter = "F150W"
    with pytest.raises(InputError, match=r"F200W \(3\), F150W \(1\); F150W is that of .*_00003_nrca1_cal.fits.*mix_filters=True"):
        check_field(Exposures(images), {}, mix_filters=False)
    check_field(Exposures(images), {}, mix_filters=True)


def test_a_pupil_counts_as_a_filter() -> None:
    images = dithered(2)
    images[1].meta.instrument.pupil = "F162M"
    with pytest.raises(InputError, match="F200W/F162M"):
        check_field(Exposures(images), {}, mix_filters=False)


def test_an_image_elsewhere_is_named_and_drawn_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_args, **_named):
        raise AssertionError("an array was made")

    monkeypatch.setattr(module, "Coadd", never)
    images = [*dithered(3), calibrated(ra=RA + 40, dec=DEC + 20, number=4)]
    with pytest.raises(InputError) as caught:
        check_field(Exposures(images), {}, mix_filters=False)
    text = str(caught.value)
    assert "the output image would have" in text and "GiB" in text
    picture = text[text.index("Where they lie") :].splitlines()
    assert "4: jw09999001001_02101_00004_nrca1_cal.fits lies" in picture[-1] and "deg from the middle" in picture[-1]
    assert "4" in picture[1], "it lies to the north-east: left and up"
    assert picture[1].index("4") < 5


def test_a_grid_of_half_a_terabyte() -> None:
    with pytest.raises(InputError, match=r"\d+ x \d+ pixels at .* GiB; there are free"):
        check_field(Exposures(dithered(2)), {"pixel_scale": 1e-5}, mix_filters=False)


def test_the_sketch_puts_east_left_and_north_up() -> None:
    def square(ra: float, dec: float) -> str:
        return f"POLYGON ICRS  {ra} {dec} {ra + 0.01} {dec} {ra + 0.01} {dec + 0.01} {ra} {dec + 0.01}"

    lines = footprint_sketch([square(359.98, 0.0), square(0.02, 0.0), square(0.0, 0.03)], ["west", "east", "north"]).splitlines()
    rows = {mark: next(k for k, line in enumerate(lines[1:]) if mark in line) for mark in "123"}
    columns = {mark: lines[1:][row].index(mark) for mark, row in rows.items()}
    assert rows["3"] < rows["1"] == rows["2"]
    assert columns["2"] < columns["3"] < columns["1"]
    assert "arcmin across" in lines[0]
