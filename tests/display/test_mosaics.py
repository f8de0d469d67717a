"""Figures of a mosaic show its exposures where they lie, and its sources."""

import numpy as np
import pytest
from astropy.table import QTable
from helpers_sources import apcorr, mosaic, vega
from helpers_stage3 import dithered
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from stdatamodels.jwst.datamodels import ImageModel

import jwnb
from jwnb.display import figures
from jwnb.display.mosaics import exposures_of, nice, short_name, tangent_offsets
from jwnb.errors import InputError, MissingFileError
from jwnb.models import Exposures
from jwnb.products import Products
from jwnb.wcs.frames import footprint, polygon


@pytest.fixture(scope="module")
def image():
    return mosaic()


@pytest.fixture(scope="module")
def cat(image):
    return jwnb.source_catalog(image, apcorr=apcorr(), abvegaoffset=vega(), ci1_star_threshold=1.75, ci2_star_threshold=1.5).cat


def lines(figure):
    return [line for line in figure.axes[0].get_lines() if line.get_label() != "_nolegend_" and len(line.get_xdata()) > 3]


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def drawn(figure, tmp_path):
    figure.savefig(tmp_path / "figure.png", dpi=40)
    return figure


def test_outlines_lie_where_the_exposures_look(tmp_path):
    images = dithered(3)
    figure = drawn(figures.footprints(images), tmp_path)
    outlines = lines(figure)
    assert [line.get_label().split()[0] for line in outlines] == ["1", "2", "3"]
    assert texts(figure)[:3] == ["1", "2", "3"]
    for line, model in zip(outlines, images, strict=True):
        corners = footprint(model.meta.wcs)
        moved = (corners[0] - footprint(images[0].meta.wcs)[0]) * 3600 * [np.cos(np.radians(corners[0, 1])), 1]
        drawn_move = line.get_xydata()[0] - outlines[0].get_xydata()[0]
        np.testing.assert_allclose(drawn_move, moved, atol=1e-5)
        np.testing.assert_array_equal(line.get_xydata()[0], line.get_xydata()[-1])
    axes = figure.axes[0]
    assert axes.xaxis_inverted(), "east is left"
    assert axes.get_aspect() == 1
    assert axes.get_xlabel() == "east (arcsec)"
    assert "3 exposures on the sky" in axes.get_title()


def test_numbers_keep_apart():
    figure = figures.footprints(dithered(3))
    places = np.array([text.xy for text in figure.axes[0].texts[:3]])
    apart = np.linalg.norm(places[:, None] - places, axis=2)[np.triu_indices(3, 1)]
    assert apart.min() > 1.0  # arcsec, where dithers are tenths


def test_a_mosaic_is_dashed_and_not_numbered(image):
    figure = figures.footprints([*dithered(2), image])
    assert [line.get_label()[:6] for line in lines(figure)] == ["1  jw0", "2  jw0", "mosaic"]
    assert lines(figure)[-1].get_linestyle() == "--"
    assert "2 exposures and 1 mosaic" in figure.axes[0].get_title()
    products = Products("image3", {"crf": Exposures(dithered(2)), "i2d": image})
    assert len(lines(figures.footprints(products))) == 3


def test_wide_fields_are_in_arcmin_and_long_lists_are_cut():
    corners = np.array([[0, 0], [0, 0.02], [0.02, 0.02], [0.02, 0]])
    images = [ImageModel((4, 4)) for _ in range(28)]
    for k, image in enumerate(images):
        image.meta.wcsinfo.s_region = polygon(corners + np.array([0.03 * k, 1.0]))
    figure = figures.footprints(images)
    assert figure.axes[0].get_xlabel() == "east (arcmin)"
    legend = figure.axes[0].get_legend()
    assert len(legend.get_texts()) == 26
    assert "2 more" in legend.get_title().get_text()
    assert texts(figure)[:28] == [str(k + 1) for k in range(28)]


def test_footprints_say_what_is_missing(tmp_path):
    with pytest.raises(InputError, match="neither a WCS nor an S_REGION"):
        figures.footprints(ImageModel((4, 4)))
    with pytest.raises(InputError, match="the list is empty"):
        figures.footprints([])
    with pytest.raises(MissingFileError):
        figures.footprints([tmp_path / "none.fits"])


def test_of_files_no_pixel_is_read(tmp_path, monkeypatch):
    paths = [jwnb.save(model, tmp_path / f"jw0000{k}_cal.fits") for k, model in enumerate(dithered(2))]
    asked = []
    take = Exposures.take
    monkeypatch.setattr(Exposures, "take", lambda self, k, *arrays: asked.append(arrays) or take(self, k, *arrays))
    figures.footprints(paths)
    assert asked == [(), ()]


def test_sources_are_outlined_and_labelled(image, cat, tmp_path):
    figure = drawn(figures.sources(image, cat), tmp_path)
    axes = figure.axes[0]
    stars, extended = axes.collections
    places = np.column_stack([cat["xcentroid"], cat["ycentroid"]])
    np.testing.assert_allclose(stars.get_offsets(), places[~cat["is_extended"]])
    np.testing.assert_allclose(extended.get_offsets(), places[cat["is_extended"]])
    assert to_hex(stars.get_edgecolor()[0]) != to_hex(extended.get_edgecolor()[0])
    first = cat[cat["is_extended"]][0]
    assert extended.get_widths()[0] == pytest.approx(5 * first["semimajor_sigma"].value, rel=1e-6)
    assert extended.get_heights()[0] / extended.get_widths()[0] == pytest.approx(1 - first["ellipticity"].value, rel=1e-6)
    assert extended.get_angles()[0] == pytest.approx(first["orientation"].value)
    assert {t.get_text() for t in figure.legends[0].get_texts()} == {
        f"star ({(~cat['is_extended']).sum()})", f"extended ({cat['is_extended'].sum()})"
    }  # fmt: skip
    labels = [text for text in axes.texts if text.get_text().isdigit()]
    assert len(labels) > 0.8 * len(cat)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [label.get_window_extent(renderer) for label in labels]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]), "labels do not lie on one another"


def test_the_brightest_get_labels(image, cat):
    figure = figures.sources(image, cat, labels=5)
    labels = {int(text) for text in texts(figure) if text.isdigit()}
    brightest = set(np.asarray(cat["label"])[np.argsort(-cat["isophotal_flux"].value)[:5]].tolist())
    assert labels
    assert labels <= brightest


def test_north_east_and_scale(image, cat):
    axes = figures.sources(image, cat).axes[0]
    where = {text.get_text(): np.array(text.get_position()) for text in axes.texts}
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    base = np.array(arrows[0].xyann)
    wcs, (rows, columns) = image.meta.wcs, image.data.shape
    x, y = (columns - 1) / 2, (rows - 1) / 2
    ra, dec = wcs(x, y)
    for letter, (east, north) in (("N", (0, 1)), ("E", (1, 0))):
        step = 1 / 3600
        there = wcs.invert(ra + east * step / np.cos(np.radians(dec)), dec + north * step, with_bounding_box=False)
        expected, got = np.array(there) - (x, y), where[letter] - base
        assert expected @ got / np.linalg.norm(expected) / np.linalg.norm(got) == pytest.approx(1, abs=1e-6)
    bar = next(line for line in axes.get_lines() if len(line.get_xdata()) == 2)
    said = float(next(text for text in where if text.endswith("arcsec")).split()[0])
    assert np.ptp(bar.get_xdata()) * np.hypot(
        *(np.array(wcs(x + 1, y)) - (ra, dec)) * [np.cos(np.radians(dec)), 1]
    ) * 3600 == pytest.approx(said, rel=0.01)
    assert max(bar.get_ydata()) < -0.5, "below the image, not on it"


def test_without_shapes_all_have_circles(image):
    found = jwnb.source_catalog(image, apcorr=apcorr(), abvegaoffset=vega(), starfinder="dao")
    figure = figures.sources(image, found)
    sizes = np.concatenate([part.get_widths() for part in figure.axes[0].collections])
    assert len(sizes) == len(found.cat)
    assert np.ptp(sizes) == 0


def test_catalogues_come_from_products_and_files(image, cat, tmp_path):
    copy = QTable(cat, copy=True)
    paths = jwnb.save(image, tmp_path / "field_i2d.fits"), jwnb.save(cat, tmp_path / "field_cat.ecsv")
    for figure in (figures.sources(Products("image3", {"i2d": image, "cat": copy})), figures.sources(*paths)):
        np.testing.assert_allclose(figure.axes[0].collections[0].get_offsets()[:, 0], cat["xcentroid"][~cat["is_extended"]], atol=1e-3)
    assert copy.colnames == cat.colnames


def test_large_mosaics_are_averaged_and_stay_in_place(image, cat, monkeypatch):
    monkeypatch.setattr("jwnb.display.mosaics._PIXELS", 100)
    picture = figures.sources(image, cat).axes[0].images[0]
    assert picture.get_array().shape == (76, 86)
    assert picture.get_extent() == [-0.5, 257.5, -0.5, 227.5]


def test_sources_say_what_is_missing(image, cat, tmp_path):
    with pytest.raises(InputError, match="no catalogue to draw"):
        figures.sources(image)
    with pytest.raises(InputError, match="have no mosaic"):
        figures.sources(Products("image3", {"cat": cat}))
    with pytest.raises(InputError, match="the catalogue is empty"):
        figures.sources(image, cat[:0])
    with pytest.raises(InputError, match="it is of another"):
        figures.sources(mosaic(shape=(100, 110)), cat)
    with pytest.raises(InputError, match="is no mosaic"):
        figures.sources(ImageModel((4, 4)), cat)
    with pytest.raises(InputError, match="no catalogue of source_catalog"):
        figures.sources(image, cat["label", "sharpness"])
    with pytest.raises(MissingFileError):
        figures.sources(image, tmp_path / "none.ecsv")


def test_exposures_of_products():
    images = dithered(2)
    kept = Products("image3", {"i2d": mosaic()}, kept={"tweakreg": Exposures(images)})
    assert exposures_of(kept, "tweakreg").items == tuple(images)
    with pytest.raises(InputError, match=r"keep=\('skymatch',\) keeps them"):
        exposures_of(kept, "skymatch")
    calibrated = [Products("image2", {"cal": image}) for image in images]
    assert exposures_of(calibrated).items == tuple(images)


def test_small_helpers():
    assert [nice(length) for length in (0.3, 1.0, 4.9, 70.0)] == [0.2, 1.0, 2.0, 50.0]
    assert short_name("jw09999001001_02101_00001_nrca1_cal.fits") == "jw09999001001_02101_00001_nrca1"
    places = np.array([[359.999, 80.0], [0.001, 80.0], [0.0, 80.001]])
    expected = [[-3.6 * np.cos(np.radians(80)), 0], [3.6 * np.cos(np.radians(80)), 0], [0, 3.6]]
    np.testing.assert_allclose(tangent_offsets(places, (0.0, 80.0)), expected, atol=1e-4)
