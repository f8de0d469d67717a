"""Selection by the real CRDS client, from a cache and from real rules."""

import logging
import os
import re
import shutil
from pathlib import Path

import pytest
from stdatamodels.jwst.datamodels import RampModel

from jwnb.errors import MissingReferenceError
from jwnb.pieces import cutout
from jwnb.references import crds_client, prefetch, resolve, use

CONTEXT = "jwst_0007.pmap"


def test_a_file_of_the_cache_is_found_and_named(crds_cache, make_exposure):
    crds_cache.write({"dark": "jwst_nircam_dark_0001.fits"})
    path = crds_cache.add("jwst_nircam_dark_0001.fits")

    found = resolve(make_exposure(), "dark")

    assert (found.source, found.path, found.name, found.context) == ("CRDS", path, "crds://jwst_nircam_dark_0001.fits", CONTEXT)
    assert found.applicable


@pytest.mark.parametrize(
    "rule",
    ["N/A", "selector = Match({('NRCA1',): 'N/A'})\n", "selector = Match({('NRCA1',): UseAfter({'2015-01-01 00:00:00': 'N/A'})})\n"],
)
def test_not_applicable_in_each_place_where_crds_says_it(crds_cache, make_exposure, rule):
    crds_cache.write({"reset": rule})

    found = resolve(make_exposure(), "reset")

    assert (found.applicable, found.path, found.name, found.context) == (False, None, "N/A", CONTEXT)


def test_no_match_raises_with_what_crds_said(crds_cache, make_exposure):
    crds_cache.write({"dark": "jwst_nircam_dark_0001.fits"})

    with pytest.raises(MissingReferenceError, match=r"no dark reference.*jwst_0007.pmap.*NRCBLONG' is not in.*reference="):
        resolve(make_exposure("NRCBLONG"), "dark")


def test_a_type_that_the_context_does_not_know_raises(crds_cache, make_exposure):
    crds_cache.write({"dark": "N/A"})

    with pytest.raises(MissingReferenceError, match="no flat reference"):
        resolve(make_exposure(), "flat")


def test_use_after_dates_select(crds_cache, make_exposure):
    crds_cache.write({"dark": "selector = Match({('NRCA1',): UseAfter({'2015-01-01 00:00:00': 'jwst_nircam_dark_0001.fits', "
                              "'2024-06-01 11:59:59': 'jwst_nircam_dark_0002.fits'})})\n"})  # fmt: skip
    for name in ("jwst_nircam_dark_0001.fits", "jwst_nircam_dark_0002.fits"):
        crds_cache.add(name)
    later = make_exposure()
    earlier = make_exposure()
    earlier.meta.observation.time = "11:00:00.000"

    assert [resolve(e, "dark").path.name for e in (earlier, later)] == ["jwst_nircam_dark_0001.fits", "jwst_nircam_dark_0002.fits"]


def test_a_chosen_file_that_is_not_in_the_cache_raises(crds_cache, make_exposure):
    crds_cache.write({"dark": "jwst_nircam_dark_0001.fits"})

    with pytest.raises(MissingReferenceError, match=r"dark_0001\.fits was chosen, but is not in the cache .*: .*server-less"):
        resolve(make_exposure(), "dark")


def test_contexts_by_argument_and_environment(crds_cache, make_exposure, monkeypatch):
    for serial in ("0007", "0008", "0009"):
        crds_cache.write({"dark": f"jwst_nircam_dark_{serial}.fits"}, f"jwst_{serial}.pmap")
        crds_cache.add(f"jwst_nircam_dark_{serial}.fits")
    exposure = make_exposure()

    assert resolve(exposure, "dark").context == "jwst_0007.pmap"
    monkeypatch.setenv("CRDS_CONTEXT", "jwst_0008.pmap")
    assert resolve(exposure, "dark").context == "jwst_0008.pmap"
    with use(context="jwst_0009.pmap"):
        assert resolve(exposure, "dark").path.name == "jwst_nircam_dark_0009.fits"
    assert resolve(exposure, "dark").path.name == "jwst_nircam_dark_0008.fits"


def test_a_context_that_is_not_there_raises(crds_cache, make_exposure, capsys):
    crds_cache.write({"dark": "N/A"})

    with use(context="jwst_1234.pmap"), pytest.raises(MissingReferenceError, match="context jwst_1234.pmap is not in the cache"):
        resolve(make_exposure(), "dark")
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("no_crds")
def test_without_any_configuration_the_error_says_what_to_set(make_exposure):
    with pytest.raises(MissingReferenceError, match=r"CRDS_PATH.*CRDS_SERVER_URL.*reference=.*offline="):
        resolve(make_exposure(), "dark")


@pytest.mark.usefixtures("no_crds")
def test_an_empty_cache_without_server_raises_and_does_not_exit(make_exposure, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CRDS_PATH", str(tmp_path))

    with pytest.raises(MissingReferenceError, match="CRDS cannot be asked"):
        resolve(make_exposure(), "dark")
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("no_crds")
def test_an_unreachable_server_raises(make_exposure, monkeypatch, tmp_path):
    monkeypatch.setenv("CRDS_PATH", str(tmp_path))
    monkeypatch.setenv("CRDS_SERVER_URL", "http://localhost:9")

    with pytest.raises(MissingReferenceError, match="CRDS cannot be asked"):
        resolve(make_exposure(), "dark")


def test_prefetch_asks_once_for_all(crds_cache, make_exposure, monkeypatch):
    crds_cache.write({"dark": "jwst_nircam_dark_0001.fits", "gain": "jwst_nircam_gain_0001.fits", "reset": "N/A"})
    for name in ("jwst_nircam_dark_0001.fits", "jwst_nircam_gain_0001.fits"):
        crds_cache.add(name)
    asked = []
    real = crds_client._ask
    monkeypatch.setattr(crds_client, "_ask", lambda *a: asked.append(a[1]) or real(*a))
    exposure = make_exposure()

    with use({"gain": "N/A"}):
        found = prefetch(exposure, ["dark", "gain", "reset", "flat"])

    assert asked == [("dark", "reset", "flat")]
    assert [found[t].applicable for t in ("dark", "gain", "reset")] == [True, False, False]
    assert isinstance(found["flat"], MissingReferenceError)
    # What processing writes down does not make it another exposure; what selects does.
    exposure.meta.cal_step.dq_init = "COMPLETE"
    exposure.meta.filename = "another.fits"
    resolve(exposure, "dark")
    assert len(asked) == 1
    exposure.meta.instrument.detector = "NRCB1"
    resolve(exposure, "dark")
    assert len(asked) == 2


def test_cutouts_ask_as_their_exposure_and_only_once(crds_cache, make_exposure, monkeypatch):
    crds_cache.write({"gain": "N/A"})
    asked = []
    real = crds_client._ask
    monkeypatch.setattr(crds_client, "_ask", lambda *a: asked.append(a[0]) or real(*a))

    for x in (0, 3, 9):
        assert not resolve(cutout(make_exposure(), x=(x, x + 8)), "gain").applicable

    assert len(asked) == 1
    assert not any(name.startswith("meta.subarray.x") for name in asked[0])
    assert asked[0]["meta.instrument.detector"] == "NRCA1"


def test_a_file_by_its_crds_name(crds_cache, make_exposure):
    crds_cache.write({"dark": "N/A"})
    path = crds_cache.add("jwst_nircam_dark_0031.fits")

    found = resolve(make_exposure(), "dark", "crds://jwst_nircam_dark_0031.fits")
    assert (found.source, found.path, found.name) == ("argument", path, "crds://jwst_nircam_dark_0031.fits")
    with pytest.raises(MissingReferenceError, match="crds://jwst_nircam_dark_0032.fits"):
        resolve(make_exposure(), "dark", "crds://jwst_nircam_dark_0032.fits")


def test_the_client_says_nothing_on_the_screen(crds_cache, make_exposure, capfd, caplog):
    crds_cache.write({"dark": "N/A"})

    with caplog.at_level(logging.DEBUG, "jwnb"):
        resolve(make_exposure(), "dark")

    assert capfd.readouterr() == ("", "")


# Real rules (of 2013 to 2015), with real headers of 2022.

DATA = Path(os.environ.get("JWNB_TEST_DATA", Path(__file__).parents[3] / "shared/data"))


@pytest.fixture
def real_rules(crds_cache):
    if not (DATA / "crds_mappings").is_dir():
        pytest.skip("the real CRDS rules are not here (JWNB_TEST_DATA)")
    for mapping in (DATA / "crds_mappings").glob("jwst_*"):
        shutil.copy(mapping, crds_cache.folder / "mappings/jwst")
    return crds_cache


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        (
            "headers/jw01075001001_03105_00009_nrca2_uncal.fits",
            {"superbias": "superbias_0002", "linearity": "linearity_0021", "distortion": None, "flat": "Unknown|not in"},
        ),
        ("headers/fgs_acq1_guider1.fits", {"mask": "mask_0002", "wcsregions": None, "dark": "Unknown reference type"}),
        ("headers/fgs_acq1_guider2.fits", {"mask": "mask_0003", "wcsregions": None}),
    ],
)
def test_real_rules_select_by_real_headers(real_rules, product, expected):
    with RampModel(DATA / product) as exposure:
        instrument = exposure.meta.instrument.name.lower()
        for part in filter(None, expected.values()):
            real_rules.add(f"jwst_{instrument}_{part}.fits")
        with use(context="jwst_0061.pmap"):
            found = prefetch(exposure, expected)

    for reftype, part in expected.items():
        if isinstance(found[reftype], MissingReferenceError):
            assert re.search(part, str(found[reftype]))
        elif part is None:
            assert found[reftype].name == "N/A"
        else:
            assert found[reftype].name == f"crds://jwst_{instrument}_{part}.fits"


def test_real_rules_select_for_other_exposures(real_rules, make_exposure):
    for name in ("jwst_miri_dark_0034.fits", "jwst_miri_dark_0040.fits"):
        real_rules.add(name)
    exposure = make_exposure("MIRIMAGE", instrument="MIRI")
    exposure.meta.exposure.readpatt = "FAST"
    names = []
    for subarray in ("SUB128", "FULL"):
        exposure.meta.subarray.name = subarray
        with use(context="jwst_0061.pmap"):
            names.append(resolve(exposure, "dark").path.name)

    assert names == ["jwst_miri_dark_0040.fits", "jwst_miri_dark_0034.fits"]
