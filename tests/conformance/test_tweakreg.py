"""tweakreg against `jwst` on identical images."""

import copy
import warnings
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from helpers_alignment import DITHERS, ERRORS, SHAPE, observe, star_field, visits

from jwnb.errors import CalibrationWarning
from jwnb.record import ledger, node
from jwnb.stage3.tweakreg import tweakreg

pytestmark = pytest.mark.peer

ARCSEC_PER_PIXEL = 0.1545


def peer(images: list[Any], **options: Any) -> list[Any]:
    from jwst.tweakreg import TweakRegStep

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # `process` and not `run`: the latter asks CRDS for the context to record.
        library = TweakRegStep(**options).process(images)  # which copies them
        made = []
        with library:
            for model in library:
                made.append(model)
                library.shelve(model, modify=False)
    return made


def assert_same(ours: Any, theirs: Any) -> None:
    """Same WCS, name, S_REGION and SIP keywords; the positions are compared all over each image."""
    x, y = np.meshgrid(*(np.linspace(-0.5, n - 0.5, 7) for n in SHAPE[::-1]))
    for k, one in enumerate(theirs):
        mine = ours[k]
        (ra, dec), (their_ra, their_dec) = (m.meta.wcs(x, y, with_bounding_box=False) for m in (mine, one))
        apart = np.hypot((ra - their_ra) * np.cos(np.radians(dec)), dec - their_dec) * 3600 / ARCSEC_PER_PIXEL
        assert apart.max() < 1e-6
        assert mine.meta.wcs.available_frames == one.meta.wcs.available_frames
        assert mine.meta.wcs.name == one.meta.wcs.name
        assert np.array_equal(mine.meta.wcs.bounding_box.bounding_box(), one.meta.wcs.bounding_box.bounding_box())
        assert mine.meta.cal_step.tweakreg == one.meta.cal_step.tweakreg
        a, b = mine.meta.wcsinfo.instance, one.meta.wcsinfo.instance
        assert set(a) == set(b)
        for key, value in b.items():
            if key == "s_region":
                assert a[key].split()[:2] == value.split()[:2]
                np.testing.assert_allclose([float(w) for w in a[key].split()[2:]], [float(w) for w in value.split()[2:]], rtol=0, atol=2e-9)
            elif isinstance(value, float):
                assert a[key] == pytest.approx(value, rel=1e-6, abs=1e-14), key
            else:
                assert a[key] == value, key


def moved(ours: Any, images: list[Any]) -> list[bool]:
    return [ours[k].meta.wcs is not image.meta.wcs for k, image in enumerate(images)]


@pytest.fixture(scope="module")
def sky() -> Any:
    return star_field()


@pytest.fixture(scope="module")
def images(sky: Any) -> list[Any]:
    return visits(sky, 3)[0]


@pytest.fixture(scope="module")
def catalogue(sky: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("catalogue") / "sky.fits"
    sky.table(east=0.3, north=-0.2).write(path)
    return str(path)


@pytest.fixture(scope="module")
def pairs(sky: Any) -> list[Any]:
    """Two detectors in each of two exposures."""
    return [observe(sky, number=k + 1, dither=DITHERS[k], error=ERRORS[k], detector=d)[0] for k in range(2) for d in (1, 2)]


@pytest.fixture(scope="module")
def wide() -> Any:
    return star_field(500, width=170.0, seed=9)


@pytest.fixture(scope="module")
def row(wide: Any) -> list[Any]:
    """Images side by side: each lies on the next, and the last not on the first."""
    steps = ((0.0, 0.0), (28.0, 5.0), (56.0, -5.0), (-28.0, 3.0))
    return [observe(wide, number=k + 1, dither=steps[k], error=ERRORS[k])[0] for k in range(4)]


@pytest.mark.parametrize(
    "options",
    [
        {"fitgeometry": "shift", "nclip": 0},
        {"fitgeometry": "rscale", "minobj": 80, "searchrad": 1.0, "separation": 0.4, "tolerance": 0.2},
        {"fitgeometry": "general", "nclip": 5, "sigma": 1.2, "sip_degree": 3, "sip_inv_degree": 2, "sip_npoints": 16},
        {"use2dhist": False, "xoffset": 0.1, "yoffset": -0.2, "sip_approx": False},
        {"use2dhist": False, "enforce_user_order": True, "sip_max_pix_error": 0.5, "sip_max_inv_pix_error": 0.5},
        {"expand_refcat": True},
        {"expand_refcat": True, "enforce_user_order": True},
        {"starfinder": "dao", "brightest": 80, "snr_threshold": 20.0, "sharplo": 0.2, "roundlo": -1.0, "roundhi": 1.0},
    ],
    ids=str,
)
def test_options(images: list[Any], options: dict[str, Any]) -> None:
    given = images if "expand_refcat" in options else images[:2]
    ours = tweakreg(given, **options)
    assert sum(moved(ours, given)) == len(given) - 1
    assert_same(ours, peer(given, **options))


def test_detectors_of_an_exposure_move_together(pairs: list[Any]) -> None:
    ours = tweakreg(pairs)
    assert moved(ours, pairs) == [False, False, True, True]
    assert_same(ours, peer(pairs))


def test_images_side_by_side(row: list[Any]) -> None:
    """In the order of the area shared, each is aligned with those before; with the first alone only its neighbours are."""
    ours = tweakreg(row, expand_refcat=True)
    assert sum(moved(ours, row)) == 3
    assert_same(ours, peer(row, expand_refcat=True))
    with pytest.warns(CalibrationWarning, match="keeps its WCS"):
        alone = tweakreg(row)
    assert moved(alone, row) == [False, True, False, True]
    assert_same(alone, peer(row))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"abs_fitgeometry": "shift", "abs_nclip": 4, "abs_sigma": 1.5},
        {"abs_fitgeometry": "rscale", "abs_use2dhist": False, "enforce_user_order": True},
        {"abs_fitgeometry": "general", "abs_searchrad": 2.0, "abs_separation": 0.8, "abs_tolerance": 0.5},
    ],
    ids=str,
)
def test_catalogue(images: list[Any], catalogue: str, options: dict[str, Any]) -> None:
    given = images if not options else images[:2]
    ours = tweakreg(given, abs_refcat=catalogue, **options)
    assert all(moved(ours, given))
    assert_same(ours, named(peer(given, abs_refcat=catalogue, **options)))


def test_one_image_and_a_catalogue(images: list[Any], catalogue: str) -> None:
    ours = tweakreg(images[1], abs_refcat=catalogue)
    assert_same(ours, named(peer(images[1:2], abs_refcat=catalogue)))


def test_detectors_and_a_catalogue(pairs: list[Any], catalogue: str) -> None:
    ours = tweakreg(pairs, abs_refcat=catalogue)
    assert all(moved(ours, pairs))
    assert_same(ours, named(peer(pairs, abs_refcat=catalogue)))


def test_weights_of_a_catalogue(images: list[Any], sky: Any, tmp_path: Any) -> None:
    table = sky.table()
    table["weight"] = np.random.default_rng(3).uniform(0.2, 3, len(table))
    path = tmp_path / "weighted.fits"
    table.write(path)
    ours = tweakreg(images[:1], abs_refcat=str(path))
    assert_same(ours, named(peer(images[:1], abs_refcat=str(path))))


def test_own_catalogues(images: list[Any], tmp_path: Any) -> None:
    """Of three images, one by x and y, one by centroids; the third has none in the list."""
    lines, before = [], tweakreg(images)
    for k, columns in enumerate((("x", "y"), ("xcentroid", "ycentroid"))):
        found = node(before[k])["tweakreg"]["catalog"]
        Table({columns[0]: found["x"][:70], columns[1]: found["y"][:70]}).write(tmp_path / f"{k}.fits")
        lines.append(f"{images[k].meta.filename} {k}.fits")
    catfile = tmp_path / "cats.txt"
    catfile.write_text("\n".join([*lines, images[2].meta.filename]))
    options = {"use_custom_catalogs": True, "catfile": str(catfile)}
    ours = tweakreg(images, **options)
    assert [len(node(ours[k])["tweakreg"]["catalog"]["x"]) for k in range(2)] == [70, 70]
    assert_same(ours, peer(images, **options))


def test_catalogues_that_the_images_name(images: list[Any], tmp_path: Any) -> None:
    found = node(tweakreg(images)[1])["tweakreg"]["catalog"]
    path = tmp_path / "second.fits"
    Table({"x": found["x"][10:80], "y": found["y"][10:80]}).write(path)
    named_ones = [image.copy() for image in images[:2]]
    named_ones[1].meta.tweakreg_catalog = str(path)
    catfile = tmp_path / "cats.txt"
    catfile.write_text("another_cal.fits \n")
    options = {"use_custom_catalogs": True, "catfile": str(catfile)}
    ours = tweakreg(named_ones, **options)
    assert len(node(ours[1])["tweakreg"]["catalog"]["x"]) == 70
    assert_same(ours, peer(named_ones, **options))


def test_a_wcs_corrected_before(images: list[Any], catalogue: str) -> None:
    once = tweakreg(images[:2])
    again = [once[k] for k in range(2)]
    ours = tweakreg(again, abs_refcat=catalogue)
    assert_same(ours, named(peer(again, abs_refcat=catalogue)))


def test_what_leaves_the_wcs_alone(images: list[Any], sky: Any, tmp_path: Any) -> None:
    """One group; too few matches; a catalogue with too few stars: both packages change nothing."""
    path = tmp_path / "few.fits"
    sky.table(every=40).write(path)
    for given, options in ((images[:1], {}), (images[:2], {"minobj": 190}), (images[:1], {"abs_refcat": str(path)})):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = tweakreg(given, **options)
        theirs = peer(given, **options)
        for k, image in enumerate(given):
            assert ours[k].meta.wcs is image.meta.wcs
            assert np.array_equal(theirs[k].meta.wcs(3, 4), image.meta.wcs(3, 4))
            assert ours[k].meta.wcsinfo.instance == theirs[k].meta.wcsinfo.instance == image.meta.wcsinfo.instance
            assert ledger(ours[k])[-1]["reason"]


def named(theirs: list[Any]) -> list[Any]:
    """Give their WCS the catalogue's file name; they write its whole path."""
    for model in theirs:
        wcs = copy.copy(model.meta.wcs)
        prefix, _, path = (wcs.name or "").partition("FIT-LVL3-")
        if path:
            wcs.name = f"{prefix}FIT-LVL3-{path.rsplit('/', 1)[-1]}"
        model.meta.instance["wcs"] = wcs
    return theirs
