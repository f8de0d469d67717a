import warnings

import numpy as np
import pytest
from astropy.modeling.models import Identity
from astropy.table import Table, vstack
from gwcs import WCS
from gwcs.coordinate_frames import Frame2D
from helpers_alignment import DEC, DITHERS, ERRORS, Sky, observe, off_truth, star_field, visits
from stdatamodels.jwst.datamodels import CubeModel

import jwnb
from jwnb.errors import CalibrationWarning, InputError, MissingFileError, ParameterError, WrongExposureError
from jwnb.record import ledger, node
from jwnb.stage3.tweakreg import tweakreg

PIXEL = 0.1545  # arcsec
NOBODY = Sky(np.zeros(0), np.zeros(0), np.zeros(0))


def told(images, k):
    return node(images[k])["tweakreg"]


def said(images):
    return ledger(images[0])[-1]["notes"]


def unmoved(ours, images):
    """Every WCS and keyword is as it was, and nothing but the record is new."""
    return all(
        ours[k].meta.wcs is image.meta.wcs and ours[k].meta.wcsinfo.instance == image.meta.wcsinfo.instance
        for k, image in enumerate(images)
    )


@pytest.fixture(scope="module")
def sky():
    return star_field()


@pytest.fixture(scope="module")
def field(sky):
    return visits(sky, 3)


@pytest.fixture(scope="module")
def images(field):
    return field[0]


@pytest.fixture
def catalogue(tmp_path):
    def write(table, name="sky.fits"):
        table.write(tmp_path / name)
        return tmp_path / name

    return write


def test_errors_of_pointing_are_taken_out(field):
    images, truths = field
    before = [np.abs(off_truth(image, truth)).max() for image, truth in zip(images, truths, strict=True)]
    ours = tweakreg(images)
    assert min(before[1:]) > 0.35
    for k, truth in enumerate(truths):
        assert np.abs(off_truth(ours[k], truth)).max() < 0.1 * PIXEL
        assert ours[k].meta.cal_step.tweakreg == "COMPLETE"
    assert told(ours, 0)["status"] == "reference"
    second = told(ours, 1)
    assert (second["status"], second["geometry"], second["reason"]) == ("aligned", "rshift", "")
    assert second["shift_east"] == pytest.approx(ERRORS[1][0], abs=0.01)
    assert second["shift_north"] == pytest.approx(ERRORS[1][1], abs=0.01)
    assert second["rotation"] == pytest.approx(ERRORS[1][2], abs=0.005)
    assert second["scale"] == pytest.approx(1, abs=1e-6)
    assert second["rms_before"] > 0.4 > 0.05 > second["rms_after"]
    assert second["rms_after_pixels"] == pytest.approx(second["rms_after"] / PIXEL, rel=0.01)


def test_bright_stars_end_within_a_tenth_of_a_pixel(catalogue):
    """Stars of a signal-to-noise of more than 50, compared with where they truly are."""
    any_flux = star_field(seed=8)
    bright = Sky(any_flux.ra, any_flux.dec, np.full_like(any_flux.flux, 6000.0))
    ours = tweakreg(visits(bright, 2)[0], abs_refcat=catalogue(bright.table()))
    assert all(told(ours, k)["rms_after_pixels"] < 0.1 for k in range(2))


def test_with_a_catalogue_they_lie_on_the_sky(field, sky, catalogue):
    images, truths = field
    ours = tweakreg(images, abs_refcat=catalogue(sky.table()))
    for k, truth in enumerate(truths):
        # 5 mas for pixels of 31 mas; these are five times as large.
        assert np.abs(off_truth(ours[k], truth)[4]).max() < 0.025
        assert told(ours, k)["status"] == "aligned"
        assert ours[k].meta.wcs.name == "FIT-LVL3-sky.fits"


def test_record_belongs_to_the_stars(images):
    ours = tweakreg(images)
    record = told(ours, 1)
    x, y = (record["catalog"][axis][record["matched"]] for axis in ("x", "y"))
    ra, dec = ours[1].meta.wcs(x, y)
    east = (record["reference_ra"] - ra) * np.cos(np.radians(DEC)) * 3600
    np.testing.assert_allclose(record["residual_x"], east, atol=1e-4)
    np.testing.assert_allclose(record["residual_y"], (record["reference_dec"] - dec) * 3600, atol=1e-4)
    assert record["nfitted"] == len(x) <= record["nmatches"]
    assert len(record["catalog"]["flux"]) == len(record["catalog"]["x"])


def test_input_is_not_changed_and_arrays_are_shared(images):
    before = [(image.meta.wcs, dict(image.meta.wcsinfo.instance)) for image in images]
    ours = tweakreg(images)
    for k, (image, (wcs, info)) in enumerate(zip(images, before, strict=True)):
        assert image.meta.wcs is wcs
        assert image.meta.wcsinfo.instance == info
        assert "v2v3corr" not in wcs.available_frames
        assert "tweakreg" not in node(image)
        assert ours[k].data is image.data


def test_paths_and_files_keep_all(images, tmp_path):
    paths = [jwnb.save(image, tmp_path / image.meta.filename) for image in images[:2]]
    ours = tweakreg([str(path) for path in paths])
    saved = jwnb.open(jwnb.save(ours[1], tmp_path / "aligned_cal.fits"))
    direct = tweakreg(images[:2])[1]
    assert saved.meta.wcs(10, 20) == direct.meta.wcs(10, 20)
    record, expected = node(saved)["tweakreg"], node(direct)["tweakreg"]
    assert record["rungs"] == [{"stage": "relative", "geometry": "rshift", "reason": ""}]
    assert np.array_equal(record["catalog"]["x"], expected["catalog"]["x"])
    assert np.array_equal(record["matched"], expected["matched"])
    assert saved.meta.wcsinfo.s_region == direct.meta.wcsinfo.s_region != images[1].meta.wcsinfo.s_region
    assert saved.meta.wcsinfo.instance["a_order"] >= 1
    light = ours.take(1)
    assert light.meta.wcs(10, 20) == direct.meta.wcs(10, 20)


def test_a_simpler_geometry_is_said(images):
    with pytest.warns(CalibrationWarning, match=r"by shift only \(general: it turns by .*; rscale, rshift: it turns by"):
        ours = tweakreg(images[:2], fitgeometry="general", max_rotation=0.02)
    record = told(ours, 1)
    assert record["geometry"] == "shift"
    assert [rung["geometry"] for rung in record["rungs"]] == ["general", "rscale", "rshift", "shift"]


def test_one_group_is_skipped(images):
    ours = tweakreg(images[:1])
    assert ledger(ours[0])[-1]["status"] == "SKIPPED"
    assert "one group" in ledger(ours[0])[-1]["reason"]
    assert ours[0].meta.cal_step.tweakreg == "SKIPPED"
    assert unmoved(ours, images[:1])


@pytest.mark.parametrize(("stars", "reason"), [(0, "it has no stars"), (2, "are needed")])
def test_no_stars_and_two_stars(sky, stars, reason):
    few = Sky(sky.ra[:stars], sky.dec[:stars], sky.flux[:stars])
    images = visits(few, 2)[0]
    with pytest.warns(CalibrationWarning, match=f"nothing could be aligned.*{reason}"):
        ours = tweakreg(images)
    assert unmoved(ours, images)
    for k in range(2):
        assert ours[k].meta.cal_step.tweakreg == "SKIPPED"
        assert reason in ledger(ours[k])[-1]["reason"]


def test_an_image_without_a_good_pixel(images):
    blind = observe(NOBODY, number=3)[0]
    blind.data = np.full_like(blind.data, np.nan)
    with pytest.warns(CalibrationWarning, match="jw09999001001_02101_3 keeps its WCS: it has no stars"):
        ours = tweakreg([*images[:2], blind])
    assert told(ours, 1)["status"] == "aligned"
    assert told(ours, 2)["status"] == "kept"
    assert ours[2].meta.wcs is blind.meta.wcs


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda sky: star_field(seed=77).table(), "are needed"),
        (lambda sky: star_field(1500, seed=78, apart=1.0).table(), r"from the reference after it; up to 0\.2 is believed"),
        (lambda sky: star_field(seed=77, ra=210.0, dec=-50.0).table(), "nothing of the reference lies in its field"),
        (lambda sky: sky.table(east=5.0), "it shifts by 5 arcsec"),
        (lambda sky: sky.table(every=30), "are needed"),
    ],
    ids=["other stars", "many other stars", "another field", "far off", "few stars"],
)
def test_a_wrong_catalogue_leaves_every_wcs(images, sky, catalogue, wrong, reason):
    with pytest.warns(CalibrationWarning, match=rf"nothing could be aligned with sky\.fits, and every WCS is as it was \(.*{reason}"):
        ours = tweakreg(images[:2], abs_refcat=catalogue(wrong(sky)))
    assert unmoved(ours, images[:2])
    for k in range(2):
        assert ours[k].meta.cal_step.tweakreg == "SKIPPED"
        assert told(ours, k)["status"] == "kept"
        assert told(ours, k)["reason"]


def test_doubled_sources_of_a_catalogue(field, sky, catalogue):
    images, truths = field
    ours = tweakreg(images[:2], abs_refcat=catalogue(vstack([sky.table(), sky.table(east=0.05, north=0.02)])))
    for k in range(2):
        assert np.abs(off_truth(ours[k], truths[k])).max() < 0.06


def test_a_crowded_field():
    images, truths = visits(star_field(1500, apart=0.3), 2)
    ours = tweakreg(images)
    assert np.abs(off_truth(ours[1], truths[1])).max() < 0.1 * PIXEL


def test_images_that_share_nothing(sky):
    far = star_field(ra=150.2, seed=6)
    both = Sky(*(np.concatenate([getattr(s, name) for s in (sky, far)]) for name in ("ra", "dec", "flux")))
    images = [observe(both, number=k + 1, dither=d, error=ERRORS[k])[0] for k, d in enumerate([*DITHERS[:2], (719.5, 2.0)])]
    with pytest.warns(CalibrationWarning, match="02101_3 keeps its WCS: nothing of the reference lies in its field"):
        ours = tweakreg(images)
    assert told(ours, 1)["status"] == "aligned"
    assert unmoved(ours[2:], images[2:])
    with pytest.warns(CalibrationWarning, match="nothing could be aligned"):
        ours = tweakreg(images[1:])
    assert unmoved(ours, images[1:])
    ours = tweakreg(images, expand_refcat=True)
    assert "lie in 2 parts" in said(ours)[-1]


def test_proper_motions_up_to_the_observation(field, sky, catalogue):
    images, truths = field
    table = sky.table()
    rng = np.random.default_rng(2)
    pm = rng.normal(30, 5, (2, len(table)))
    years = 2024.4153 - 2016.0
    table["RA"] -= pm[0] / 3.6e6 * years / np.cos(np.radians(table["DEC"]))
    table["DEC"] -= pm[1] / 3.6e6 * years
    plain = catalogue(table, "plain.fits")
    table["pmra"], table["pmdec"], table["epoch"] = pm[0], pm[1], 2016.0
    ours = tweakreg(images[:1], abs_refcat=catalogue(table))
    assert np.abs(off_truth(ours[0], truths[0])[4]).max() < 0.025
    assert said(ours) == ["sky.fits: proper motions to 2024.4153"]
    still = tweakreg(images[:1], abs_refcat=plain)
    assert np.abs(off_truth(still[0], truths[0])[4]).max() > 0.2
    assert said(still) == ["plain.fits: proper motions none: the catalogue has no epoch and no proper motions"]


def test_the_catalogue_service_is_asked_about_the_field(images, sky, monkeypatch):
    asked = {}

    def answer(ra, dec, radius, *, catalog, epoch):
        asked.update(ra=ra, dec=dec, radius=radius, catalog=catalog, epoch=epoch)
        return sky.table()

    monkeypatch.setattr("jwnb.stage3.tweakreg.query_gaia", answer)
    ours = tweakreg(images[:2], abs_refcat="gaiadr3")
    assert asked["catalog"] == "GAIADR3"
    assert asked["epoch"] == pytest.approx(2024.4153, abs=1e-3)
    assert (asked["ra"], asked["dec"]) == pytest.approx((150.0, 2.2), abs=0.01)
    for image in images[:2]:
        ra, dec = (image.meta.wcs(*corner)[k] for k, corner in ((0, (0, 0)), (1, (399, 399))))
        assert np.hypot(ra - asked["ra"], dec - asked["dec"]) < asked["radius"] < 0.02
    assert ours[1].meta.wcs.name == "FIT-LVL3-gaiadr3"


def test_detectors_move_with_their_exposure_or_their_guide_star(sky):
    images = [observe(sky, number=k + 1, dither=DITHERS[k], error=ERRORS[1 if k else 0])[0] for k in range(3)]
    images.append(observe(sky, number=3, dither=DITHERS[2], error=ERRORS[1], detector=2)[0])
    ours = tweakreg(images)
    assert [told(ours, k)["group"][-1] for k in range(4)] == ["1", "2", "3", "3"]
    for k, image in enumerate(images):
        image.meta.guidestar.gs_id = "N1" if k < 1 else "N2"
    images[3].meta.guidestar.gs_id = None
    with (
        pytest.warns(CalibrationWarning, match="02101_3 keeps"),
        pytest.warns(CalibrationWarning, match="nrca2_cal.fits has no guide star"),
    ):
        ours = tweakreg(images, group_by="guide star")
    visit = "jw09999001001 on guide star"
    assert [told(ours, k)["group"] for k in range(4)] == [f"{visit} N1", f"{visit} N2", f"{visit} N2", "jw09999001001_02101_3"]
    moved = [(told(ours, k)["shift_east"], told(ours, k)["shift_north"], told(ours, k)["rotation"]) for k in (1, 2)]
    np.testing.assert_allclose(moved[0], moved[1], atol=0.01)
    np.testing.assert_allclose(moved[0], ERRORS[1], atol=0.03)


def test_own_catalogues(images, catalogue, tmp_path):
    found = told(tweakreg(images[:2]), 1)["catalog"]
    catalogue(Table({"x": found["x"][:50], "y": found["y"][:50]}), "own.fits")
    catfile = tmp_path / "list.txt"
    catfile.write_text(f"{images[1].meta.filename} own.fits\n")
    ours = tweakreg(images[:2], use_custom_catalogs=True, catfile=catfile)
    assert [len(told(ours, k)["catalog"]["x"]) for k in range(2)] == [len(told(tweakreg(images[:2]), 0)["catalog"]["x"]), 50]
    assert np.isnan(told(ours, 1)["catalog"]["flux"]).all()
    assert len(told(tweakreg(images[:2], catfile=catfile), 1)["catalog"]["x"]) > 50
    catfile.write_text("# nothing\n")
    with pytest.warns(CalibrationWarning, match="names no catalogue"):
        tweakreg(images[:2], use_custom_catalogs=True, catfile=catfile)


def test_sip_keywords(images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = tweakreg(images[:2], sip_approx=False)
    assert "a_order" not in ours[1].meta.wcsinfo.instance
    ours = tweakreg(images[:2], sip_degree=2, sip_inv_degree=2)
    assert ours[1].meta.wcsinfo.instance["a_order"] == 2
    with pytest.warns(CalibrationWarning, match="SIP approximation errs by up to"):
        tweakreg(images[:2], sip_max_pix_error=1e-9)


def test_options_of_the_finder_reach_it(images, monkeypatch):
    given = {}

    def finder(model, **options):
        given.update(options)
        assert model.data.shape == (400, 400)
        return Table({"x": np.zeros(0), "y": np.zeros(0), "flux": np.zeros(0)})

    monkeypatch.setattr("jwnb.stage3.tweakreg.find_stars", finder)
    options = {"starfinder": "segmentation", "npixels": 7, "connectivity": "4", "kron_params": (2.5, 1.4), "deblend": False, "peakmax": 9.0}
    with pytest.warns(CalibrationWarning):
        tweakreg(images[:2], **options)
    assert {name: given[name] for name in options} == {**options, "connectivity": 4}


def test_bad_options(images):
    with pytest.raises(ParameterError, match=r"separation=1 must be more than 1.414 times tolerance=0.9"):
        tweakreg(images, tolerance=0.9)
    with pytest.raises(ParameterError, match=r"abs_separation=1 must"):
        tweakreg(images, abs_tolerance=0.9, abs_refcat="GAIADR3")
    with pytest.raises(MissingFileError, match=r"abs_refcat='GAIADR4' is neither a file nor .* Did you mean 'GAIADR3'\?"):
        tweakreg(images, abs_refcat="GAIADR4")


def test_bad_input(images):
    without = images[1].copy()
    del without.meta.instance["wcs"]
    with pytest.raises(InputError, match="has no WCS"):
        tweakreg([images[0], without])
    other = images[1].copy()
    other.meta.wcsinfo.roll_ref = None
    with pytest.raises(InputError, match="lacks ROLL_REF"):
        tweakreg([images[0], other])
    strange = images[1].copy()
    strange.meta.instance["wcs"] = WCS([(Frame2D(name="detector"), Identity(2)), (Frame2D(name="world"), None)])
    strange.meta.wcs.bounding_box = ((-0.5, 399.5), (-0.5, 399.5))
    with pytest.raises(InputError, match="cannot be corrected"):
        tweakreg([images[0], strange])
    cube = CubeModel((2, 8, 8))
    cube.update(images[1])
    cube.meta.observation.exposure_number = "7"
    with pytest.raises(WrongExposureError, match="2-D images"):
        tweakreg([images[0], cube])
