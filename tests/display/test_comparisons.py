"""Figures of several exposures show what the steps found."""

import numpy as np
import pytest
from helpers_alignment import observe, star_field, visits
from helpers_outliers import starfield
from helpers_stage3 import dithered
from matplotlib.colors import to_hex
from matplotlib.quiver import Quiver

import jwnb
from jwnb.display import figures
from jwnb.display.comparisons import _borders
from jwnb.errors import CalibrationWarning, InputError, ParameterError
from jwnb.models import Exposures
from jwnb.products import Products
from jwnb.record import node, remember

ORANGE = "#d55e00"


@pytest.fixture(scope="module")
def aligned():
    return jwnb.tweakreg(visits(star_field(80), 3)[0])


@pytest.fixture(scope="module")
def matched():
    images = dithered(3)
    rng = np.random.default_rng(2)
    for image, step in zip(images, (0.0, 0.3, -0.2), strict=True):
        image.data = rng.normal(1.0 + step, 0.02, image.shape).astype(np.float32)
    return jwnb.skymatch(images)


@pytest.fixture(scope="module")
def hit():
    return starfield(2.5, shape=(80, 90), stars=12, hits=0.001)


@pytest.fixture(scope="module")
def cleaned(hit):
    return jwnb.outlier_detection(hit.images)


def drawn(figure, tmp_path):
    figure.savefig(tmp_path / "figure.png", dpi=40)
    return figure


def panels(figure):
    """Title, field and histogram of each exposure."""
    return [(part._suptitle.get_text(), *part.axes) for part in figure.subfigs]


def arrows(axes):
    return [part for part in axes.collections if isinstance(part, Quiver)]


def test_residuals_of_each_exposure(aligned, tmp_path):
    (one, *others) = panels(drawn(figures.alignment(aligned), tmp_path))
    assert "the reference" in one[0]
    assert not arrows(one[1])
    assert len(one[1].get_lines()[1].get_xdata()) == len(node(aligned[0])["tweakreg"]["catalog"]["x"])
    for k, (title, field, histogram) in enumerate(others, start=1):
        record = node(aligned[k])["tweakreg"]
        (quiver,) = arrows(field)
        np.testing.assert_allclose(quiver.U, record["residual_x"])
        np.testing.assert_allclose(quiver.V, record["residual_y"])
        assert f"{record['geometry']}, {record['nfitted']} stars fitted" in title
        assert f"→ {record['rms_after'] * 1000:.2g} mas" in title
        assert field.xaxis_inverted()
        assert [patch.get_xy()[1:-1:2, 1].sum() for patch in histogram.patches] == [record["nfitted"]] * 2
        assert {text.get_text().split(":")[0] for text in histogram.get_legend().get_texts()} == {"east", "north"}


def test_arrows_lie_on_the_stars_and_share_a_scale(aligned):
    parts = panels(figures.alignment(aligned))[1:]
    assert len({arrows(field)[0].scale for _, field, _ in parts}) == 1
    for k, (_, field, _) in enumerate(parts, start=1):
        stars, tails = field.get_lines()[1].get_xydata(), arrows(field)[0].get_offsets()
        rows = node(aligned[k])["tweakreg"]["matched"]
        # The reference, which the tails are at, is where the star is but for the residual.
        residual = np.column_stack([node(aligned[k])["tweakreg"][f"residual_{name}"] for name in "xy"])
        np.testing.assert_allclose(tails - stars[rows], residual, atol=2e-3)


def test_those_worst_aligned_come_first(aligned):
    figure = figures.alignment(aligned, number=1)
    worst = max((1, 2), key=lambda k: node(aligned[k])["tweakreg"]["rms_after"])
    assert [title.split()[0] for title, *_ in panels(figure)] == [str(worst + 1)]
    assert "1 among 3" in figure._suptitle.get_text()
    with pytest.raises(ParameterError, match="at least 1"):
        figures.alignment(aligned, number=0)


def test_a_kept_wcs_says_why():
    sky = star_field(80)
    blank, _ = observe(star_field(1), number=3, noise=1.0)
    with pytest.warns(CalibrationWarning):
        images = jwnb.tweakreg([*visits(sky, 2)[0], blank])
    title, field, text = panels(figures.alignment(images))[2]
    assert "WCS kept" in title
    assert not arrows(field)
    assert text.texts[0].get_text().replace("\n", " ") == node(images[2])["tweakreg"]["reason"]


def test_skies_before_and_after(matched, tmp_path):
    levels, steps = drawn(figures.sky_levels(matched), tmp_path).axes
    dots = next(line for line in levels.get_lines() if line.get_marker() == "o")
    np.testing.assert_allclose(dots.get_ydata(), [matched[k].meta.background.level for k in range(3)])
    assert levels.get_ylabel() == "sky level (MJy/sr)"
    assert "match; not subtracted" in levels.get_title()
    before, after = (line.get_ydata() for line in steps.get_lines() if line.get_label().startswith(("before", "after")))
    assert len(before) == len(after) == 6
    np.testing.assert_allclose(before[:2], [-0.3, 0.2], atol=0.01)  # of the first to the second and third
    assert np.abs(after).max() < 0.01


def test_renamed_exposures_are_found(matched):
    renamed = matched.named([name.replace("_cal", "_a3001_crf") for name in matched.names])
    assert len(figures.sky_levels(renamed).axes) == 2
    with pytest.raises(InputError, match="give all that were matched together"):
        figures.sky_levels(matched[:2])


def test_skies_that_were_not_matched_in_pairs():
    images = dithered(3)
    images[1].data = images[1].data + np.float32(0.5)
    _, steps = figures.sky_levels(jwnb.skymatch(images, skymethod="local")).axes
    before, after = (line.get_ydata() for line in steps.get_lines() if line.get_label().startswith(("before", "after")))
    assert before[1] == pytest.approx(0.5, abs=0.05)
    assert np.abs(after).max() < 1e-6
    given = jwnb.skymatch(images, skymethod="user", skylist={name: 0.1 * k for k, name in enumerate(Exposures(images).names)})
    (only,) = figures.sky_levels(given).axes
    np.testing.assert_allclose(only.get_lines()[1].get_ydata(), [0, 0.1, 0.2])


def test_the_strongest_outliers_are_shown_in_every_exposure(hit, cleaned, tmp_path):
    figure = drawn(figures.outliers(cleaned, number=3, before=hit.images), tmp_path)
    assert len(figure.axes) == 3 * 4
    told = [node(cleaned[k])["outlier_detection"] for k in range(4)]
    _, owner, x, y = max(
        (sigma, k, x, y) for k, record in enumerate(told) for sigma, x, y in zip(record["sigma"], record["x"], record["y"], strict=True)
    )
    label = figure.axes[0].get_ylabel()
    assert f"in {owner + 1} at\nx={x}, y={y}" in label
    framed = [axes for axes in figure.axes[:4] if to_hex(axes.spines["left"].get_edgecolor()) == ORANGE]
    assert [axes.get_title() for axes in framed] == [str(owner + 1)]
    cut_out = framed[0].images[0].get_array()
    assert cut_out.shape == (21, 21)
    assert cut_out[10, 10] == pytest.approx(hit.images[owner].data[y, x])
    borders = framed[0].collections[0].get_segments()
    assert any(np.allclose(one, [[9.5, 9.5], [10.5, 9.5]]) or np.allclose(one, [[9.5, 9.5], [9.5, 10.5]]) for one in borders)


def test_kept_values_stand_in_for_what_became_nan(hit, cleaned):
    with_values, with_before = (figures.outliers(cleaned, number=1, before=before).axes for before in (None, hit.images))
    for axes, other in zip(with_values, with_before, strict=True):
        a, b = (np.ma.filled(part.images[0].get_array(), np.nan) for part in (axes, other) if part.images)
        np.testing.assert_allclose(a, b)
        assert axes.images[0].get_clim() == other.images[0].get_clim()


def test_many_exposures_are_cut_to_those_that_cover_the_place(hit, cleaned, monkeypatch):
    monkeypatch.setattr("jwnb.display.comparisons._WIDEST", 2)
    figure = figures.outliers(cleaned, number=2)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == 4
    assert sum(to_hex(axes.spines["left"].get_edgecolor()) == ORANGE for axes in shown) == 2


def test_places_outside_are_said(hit, cleaned, tmp_path):
    images = [image.copy() for image in cleaned]
    table = dict(node(images[0])["outlier_detection"])
    chosen = {"x": [0], "y": [0], "value": [9.0], "median": [0.0], "difference": [9.0], "sigma": [1e4]}
    remember(images[0], "outlier_detection", table | {name: np.array(value) for name, value in chosen.items()})
    figure = drawn(figures.outliers(images, number=1), tmp_path)
    assert {axes.texts[0].get_text() for axes in figure.axes if not axes.images} == {"outside"}
    assert figure.axes[0].images[0].get_array()[10, 10] == 9.0
    assert np.ma.getmaskarray(figure.axes[0].images[0].get_array())[:10].all(), "nothing beyond the edge"


def test_files_give_the_same_and_nothing_changes(cleaned, tmp_path):
    before = [image.copy() for image in cleaned]
    paths = [jwnb.save(image, tmp_path / f"jw0000{k}_crf.fits") for k, image in enumerate(cleaned)]
    figures_ = (
        figures.outliers(cleaned, number=2),
        figures.outliers(paths, number=2),
        figures.outliers(Products("x", {"crf": cleaned}), number=2),
    )
    pictures = [[np.ma.filled(axes.images[0].get_array(), np.nan) for axes in figure.axes if axes.images] for figure in figures_]
    for other in pictures[1:]:
        np.testing.assert_array_equal(pictures[0], other)
    for image, old in zip(cleaned, before, strict=True):
        np.testing.assert_array_equal(image.data, old.data)
        np.testing.assert_array_equal(image.dq, old.dq)


@pytest.mark.parametrize(("name", "step"), [("alignment", "tweakreg"), ("sky_levels", "skymatch"), ("outliers", "outlier_detection")])
def test_missing_results_are_explained(name, step):
    figure = getattr(figures, name)
    images = dithered(2)
    with pytest.raises(InputError, match=f"2 of 2 exposures .* have no result of {step} to draw; run jwnb.{step}"):
        figure(images)
    images[0].meta.cal_step.resample = "COMPLETE"
    with pytest.raises(InputError, match="is a mosaic; the figure is of the exposures"):
        figure(images)
    with pytest.raises(InputError, match="the list is empty"):
        figure([])


def test_a_skipped_step_gives_its_reason(hit):
    with pytest.raises(InputError, match="outlier_detection was skipped: there is one image"):
        figures.outliers(jwnb.outlier_detection(hit.images[:1]))


def test_nothing_to_draw(hit, cleaned):
    none = [image.copy() for image in cleaned]
    for image in none:
        empty = {name: np.zeros(0) for name in ("x", "y", "value", "median", "difference", "sigma")}
        remember(image, "outlier_detection", {"n_flagged": 0, "n_pixels": 1, **empty})
    with pytest.raises(InputError, match="no outlier was flagged"):
        figures.outliers(none)
    with pytest.raises(InputError, match="before= has 1 exposures and there are 4"):
        figures.outliers(cleaned, before=hit.images[:1])
    remember(none[0], "outlier_detection", {**node(none[0])["outlier_detection"], "plane": np.zeros(0)})
    with pytest.raises(InputError, match="cubes of integrations"):
        figures.outliers(none)


def test_borders_go_round_flagged_pixels():
    flags = np.zeros((4, 5), bool)
    flags[1, 2:4] = True
    segments = {tuple(map(tuple, np.sort(np.array(one), axis=0))) for one in _borders(flags)}
    expected = {((1.5, 0.5), (2.5, 0.5)), ((2.5, 0.5), (3.5, 0.5)), ((1.5, 1.5), (2.5, 1.5)), ((2.5, 1.5), (3.5, 1.5)),
                ((1.5, 0.5), (1.5, 1.5)), ((3.5, 0.5), (3.5, 1.5))}  # fmt: skip
    assert segments == expected
    assert not _borders(np.zeros((3, 3), bool))
