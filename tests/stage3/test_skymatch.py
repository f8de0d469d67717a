"""Sky matching: truth, edges, and what must not happen."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers_stage3 import DEC, RA, calibrated, dithered
from stdatamodels.jwst.datamodels import CubeModel

import jwnb
from jwnb import dq, models, record
from jwnb.errors import CalibrationWarning, InputError, MissingFileError, ParameterError, WrongExposureError
from jwnb.stage3.skymatch import skymatch

STEPS = (0.0, 0.1, -0.05, 0.07)


def skies(images, steps=STEPS):
    """Replace images by one sky of 1 with faint noise and stars, each with a step of its own."""
    rng = np.random.default_rng(8)
    stars = RA + rng.uniform(-2, 2, 20) / 3600, DEC + rng.uniform(-2, 2, 20) / 3600
    for image, step in zip(images, steps, strict=False):
        image.data = (1 + step + rng.normal(0, 0.005, image.data.shape)).astype(np.float32)
        x, y = (np.rint(v).astype(int) for v in image.meta.wcs.invert(*stars, with_bounding_box=False))
        seen = (x >= 0) & (y >= 0) & (x < image.data.shape[1]) & (y < image.data.shape[0])
        image.data[y[seen], x[seen]] += 50
    return images


def levels_of(images):
    return [image.meta.background.level for image in images]


def written(images, folder: Path):
    paths = []
    for image in images:
        image.save(folder / image.meta.filename)
        paths.append(folder / image.meta.filename)
    return paths


@pytest.mark.parametrize("statistic", ["mode", "median", "mean", "midpt"])
def test_steps_between_dithers_are_removed(statistic: str) -> None:
    """Steps of up to 10 % are removed to 0.1 % where exposures overlap."""
    images = skies(dithered(4, (200, 220)))
    made = skymatch(images, skystat=statistic, subtract=True)
    assert np.array(levels_of(made)) == pytest.approx(np.array(STEPS) - min(STEPS), abs=1e-3)
    medians = [float(np.nanmedian(image.data)) for image in made]
    assert max(medians) - min(medians) < 1e-3


@pytest.mark.parametrize(("method", "expected"), [
    ("local", [1.0, 1.1, 0.95, 1.07]), ("global", [0.95] * 4), ("match", [0.05, 0.15, 0.0, 0.12]), ("global+match", [1.0, 1.1, 0.95, 1.07]),
])  # fmt: skip
def test_methods(method: str, expected: list[float]) -> None:
    images = skies(dithered(4))
    recorded, subtracted = (skymatch(images, skymethod=method, skystat="median", subtract=s) for s in (False, True))
    assert levels_of(recorded) == pytest.approx(expected, abs=1.5e-3)
    assert levels_of(subtracted) == pytest.approx(levels_of(recorded), abs=1e-6)
    for image, a, b in zip(images, recorded, subtracted, strict=True):
        assert a.data is image.data
        np.testing.assert_allclose(b.data, image.data - b.meta.background.level, atol=1e-6)
        assert (a.meta.background.subtracted, b.meta.background.subtracted) == (False, True)
        assert a.meta.background.method == method
        assert a.meta.cal_step.skymatch == "COMPLETE"
        for name in ("err", "dq", "var_poisson"):
            assert getattr(b, name) is getattr(image, name)


def test_matching_up_and_down() -> None:
    images = skies(dithered(3))
    assert min(levels_of(skymatch(images))) == 0
    up = levels_of(skymatch(images, match_down=False))
    assert max(up) == 0
    assert up[2] - up[1] == pytest.approx(-0.15, abs=2e-3)


def test_detectors_of_one_exposure_get_one_level() -> None:
    images = skies([*dithered(2), calibrated(ra=RA + 1.5 / 3600, number=3)])
    images[2].meta.observation.exposure_number = images[1].meta.observation.exposure_number
    images[2].data -= np.float32(0.2)  # not to be evened out
    for method in ("match", "local", "global+match"):
        made = skymatch(images, skymethod=method)
        levels = levels_of(made)
        assert levels[1] == levels[2]
        assert record.node(made[1])["skymatch"]["together"] == [images[2].meta.filename]
    assert levels_of(skymatch(images, skymethod="local", skystat="median"))[1] == pytest.approx(0.75, abs=2e-3)


def test_flagged_pixels_and_those_out_of_limits_are_not_used() -> None:
    images = skies(dithered(2))
    for image in images:
        image.dq = np.zeros(image.data.shape, np.uint32)
        image.dq[:, ::2] = dq.PIXEL["JUMP_DET"]
        image.data[:, ::2] += 1
    assert levels_of(skymatch(images, skymethod="local", skystat="mean", dqbits="~JUMP_DET")) == pytest.approx([1.0, 1.1], abs=2e-3)
    assert levels_of(skymatch(images, skymethod="local", skystat="mean")) == pytest.approx([1.5, 1.6], abs=2e-3)
    assert levels_of(skymatch(images, skymethod="local", skystat="mean", upper=1.5)) == pytest.approx([1.0, 1.1], abs=2e-3)
    assert levels_of(skymatch(images, skymethod="local", skystat="mean", lower=1.5)) == pytest.approx([2.0, 2.1], abs=2e-3)


def test_paths_are_read_one_at_a_time_and_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = skies(dithered(4))
    paths = written(images, tmp_path)
    taken = []
    take = models.Exposures.take
    monkeypatch.setattr(models.Exposures, "take", lambda self, k, *arrays: taken.append((k, arrays)) or take(self, k, *arrays))
    made = skymatch(paths, subtract=True)
    assert [entry for entry in taken if entry[1]] == [(k, ("data", "dq")) for k in range(4)]
    monkeypatch.undo()
    expected = skymatch(images, subtract=True)
    for k in range(4):
        assert made[k].meta.background.level == expected[k].meta.background.level
        assert np.array_equal(made[k].data, expected[k].data, equal_nan=True)
        bare = made.take(k, "dq")
        assert bare.meta.background.level == expected[k].meta.background.level
        assert bare.instance.get("data") is None
        assert models.open(paths[k]).meta.background.level is None


def test_inputs_are_not_changed() -> None:
    images = skies(dithered(2))
    before = [image.copy() for image in images]
    skymatch(images, subtract=True)
    for image, earlier in zip(images, before, strict=True):
        assert np.array_equal(image.data, earlier.data, equal_nan=True)
        assert np.array_equal(image.dq, earlier.dq)
        assert image.meta.background.level is None
        assert image.meta.cal_step.skymatch is None


def test_what_is_kept_for_viewers(tmp_path: Path) -> None:
    images = skies(dithered(3))
    made = skymatch(images)
    kept = record.node(made[1])["skymatch"]
    assert kept["level"] == made[1].meta.background.level
    assert [one["exposure"] for one in kept["overlaps"]] == [[images[k].meta.filename] for k in (0, 2)]
    assert kept["overlaps"][0]["sky"] - kept["overlaps"][0]["other_sky"] == pytest.approx(0.1, abs=3e-3)
    side = np.sqrt(images[0].meta.photometry.pixelarea_arcsecsq * images[0].data.size)
    assert 0.7 * side < np.sqrt(kept["overlaps"][0]["area_arcsec2"]) < side
    entry = jwnb.ledger(made[1])[-1]
    assert (entry["step"], entry["status"]) == ("skymatch", "COMPLETE")
    saved = models.open(models.save(made[1], tmp_path / "a_cal.fits"))
    assert record.node(saved)["skymatch"]["overlaps"] == kept["overlaps"]


def test_a_second_subtraction_adds_up() -> None:
    images = skies(dithered(2))
    first = skymatch(images, subtract=True)
    second = skymatch(list(first), skymethod="local", skystat="median", subtract=True)
    assert levels_of(second) == pytest.approx([1.0, 1.1], abs=2e-3)
    assert float(np.nanmedian(second[1].data)) == pytest.approx(0, abs=1e-3)
    with pytest.raises(InputError, match="was subtracted earlier"):
        skymatch(list(first))
    again = skymatch(list(skymatch(images)), skymethod="local", skystat="median")
    assert levels_of(again) == pytest.approx([1.0, 1.1], abs=2e-3)


@pytest.mark.parametrize(("level", "subtracted", "keyword"), [(0.1, None, "BKGSUB"), (None, False, "BKGLEVEL")])
def test_half_of_what_was_done_earlier_is_not_guessed(level, subtracted, keyword: str) -> None:
    image = calibrated()
    image.meta.background.level, image.meta.background.subtracted = level, subtracted
    with pytest.raises(InputError, match=f"no {keyword}"):
        skymatch([image, calibrated(number=2)])


def test_no_overlap() -> None:
    images = skies([calibrated((60, 64), ra=RA + 30 * k / 3600, number=k + 1) for k in range(2)])
    made = skymatch(images, subtract=True)
    for image, one in zip(images, made, strict=True):
        assert one.meta.cal_step.skymatch == "SKIPPED"
        assert "overlaps" in jwnb.ledger(one)[-1]["reason"]
        assert one.meta.background.level is None
        assert one.data is image.data
    assert skymatch(images[0])[0].meta.cal_step.skymatch == "SKIPPED"
    assert levels_of(skymatch(images, skymethod="global+match", skystat="median")) == pytest.approx([1.0, 1.0], abs=2e-3)


def test_one_exposure_alone_is_left_and_the_others_are_matched() -> None:
    images = skies([*dithered(2), calibrated(ra=RA + 60 / 3600, number=3)])
    with pytest.warns(CalibrationWarning, match="no sky level for jw09999001001_02101_00003"):
        made = skymatch(images, subtract=True)
    assert [image.meta.cal_step.skymatch for image in made] == ["COMPLETE", "COMPLETE", "SKIPPED"]
    assert jwnb.ledger(made[2])[-1]["status"] == "SKIPPED"
    assert jwnb.ledger(made[2])[-1]["reason"]
    assert made[2].data is images[2].data
    assert levels_of(made) == [0.0, pytest.approx(0.1, abs=2e-3), None]


def test_sets_that_do_not_overlap_are_said() -> None:
    images = skies([calibrated((60, 64), ra=RA + east / 3600, number=k + 1) for k, east in enumerate((0, 0.2, 90, 90.2))])
    with pytest.warns(CalibrationWarning, match="2 sets of exposures"):
        levels = levels_of(skymatch(images, skystat="median"))
    assert levels[1] - levels[0] == pytest.approx(0.1, abs=3e-3)
    assert levels[3] - levels[2] == pytest.approx(0.12, abs=3e-3)


@pytest.mark.parametrize("how", ["flags", "nan"])
@pytest.mark.parametrize("method", ["local", "global", "match", "global+match"])
def test_an_exposure_without_a_usable_pixel(how: str, method: str) -> None:
    images = skies(dithered(3))
    if how == "flags":
        images[1].dq = np.full(images[1].dq.shape, dq.PIXEL["DO_NOT_USE"], np.uint32)
    else:
        images[1].data = np.full(images[1].data.shape, np.nan, np.float32)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = skymatch(images, skymethod=method)
    known = "global" in method
    assert [one.meta.cal_step.skymatch for one in made] == ["COMPLETE", "COMPLETE" if known else "SKIPPED", "COMPLETE"]
    assert bool(said) != known
    assert jwnb.ledger(made[0])[-1]["notes"]


def test_nothing_to_measure_at_all() -> None:
    images = dithered(2)
    for image in images:
        image.data = np.full(image.data.shape, np.nan, np.float32)
    for method in ("local", "global", "match", "global+match"):
        assert [one.meta.cal_step.skymatch for one in skymatch(images, skymethod=method)] == ["SKIPPED", "SKIPPED"]


def test_negative_skies() -> None:
    images = skies(dithered(2))
    for image in images:
        image.data -= np.float32(3)
    assert levels_of(skymatch(images, skymethod="local", skystat="median")) == pytest.approx([-2.0, -1.9], abs=2e-3)
    assert levels_of(skymatch(images)) == pytest.approx([0.0, 0.1], abs=2e-3)


def test_an_outline_of_many_vertices_and_images_without_keywords_of_a_group() -> None:
    images = skies(dithered(2))
    for image in images:
        image.meta.observation.exposure_number = None
    assert levels_of(skymatch(images, stepsize=20)) == pytest.approx([0.0, 0.1], abs=2e-3)


def test_levels_of_the_user(tmp_path: Path) -> None:
    images = skies(dithered(2))
    names = [image.meta.filename for image in images]
    file = tmp_path / "sky.txt"
    file.write_text(f"# levels\n{names[1].replace('_cal', '_crf')} 2.5\n/somewhere/{names[0]}\t-1e-1\n")
    for given in (file, str(file), {names[0]: -0.1, names[1].removesuffix("_cal.fits"): 2.5}):
        made = skymatch(images, skymethod="user", skylist=given, subtract=True)
        assert levels_of(made) == [-0.1, 2.5]
        np.testing.assert_allclose(made[1].data, images[1].data - 2.5, atol=1e-6)
        assert made[0].meta.background.method == "user"
    recorded = skymatch(images, skymethod="user", skylist=file)
    assert recorded[0].data is images[0].data
    with pytest.warns(CalibrationWarning, match="was taken from"):
        skymatch(list(made), skymethod="user", skylist=file, subtract=True)


@pytest.mark.parametrize(("text", "message"), [
    ("A 1\n", "1 levels for 2"), ("A 1\nC 2\n", "no level for"), ("A 1\nA_cal.fits 2\n", "more than one"), ("A 1\nB x\n", "a number"),
    ("A 1\nB\n", "a number"), ("A 1\nB nan\n", "a number"),
])  # fmt: skip
def test_lists_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    images = dithered(2)
    for image, name in zip(images, "AB", strict=True):
        image.meta.filename = f"{name}_cal.fits"
    file = tmp_path / "sky.txt"
    file.write_text(text)
    with pytest.raises(ParameterError, match=message):
        skymatch(images, skymethod="user", skylist=file)


def test_no_list() -> None:
    with pytest.raises(ParameterError, match="skylist"):
        skymatch(dithered(1), skymethod="user")
    with pytest.raises(MissingFileError, match="nowhere"):
        skymatch(dithered(1), skymethod="user", skylist="nowhere.txt")


@pytest.mark.parametrize("options", [
    {"dqbits": "NO_SUCH_FLAG"}, {"lower": 2.0, "upper": 1.0}, {"nclip": -1}, {"lsigma": 0.0}, {"binwidth": 0.0}, {"stepsize": 0},
    {"skymethod": "best"}, {"skystat": "max"}, {"skylist": 5},
])  # fmt: skip
def test_options_that_are_not_possible(options) -> None:
    with pytest.raises(ParameterError, match=next(iter(options))):
        skymatch(dithered(1), **({"skymethod": "user"} if "skylist" in options else {}) | options)


def test_what_it_is_not_for() -> None:
    cube = CubeModel((2, 20, 20))
    with pytest.raises(WrongExposureError, match="2-D"):
        skymatch(cube, skymethod="local")
    images = dithered(2)
    del images[1].meta.wcs
    with pytest.raises(InputError, match="assign_wcs"):
        skymatch(images)
    assert skymatch(images, skymethod="local")[1].meta.cal_step.skymatch == "COMPLETE"
