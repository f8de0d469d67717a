"""The order of the chain, and what each link says."""

import threading
from contextvars import copy_context
from pathlib import Path

import pytest
from stdatamodels.jwst.datamodels import DarkModel

from jwnb.errors import InputError, MissingReferenceError
from jwnb.references import Entry, offline_set, prefetch, resolve, use, write_offline_set


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("mine.fits", "other.fits", "pinned.fits"):
        (tmp_path / name).touch()
    return tmp_path


def test_the_chain_in_its_order(files, crds_cache, make_exposure):
    crds_cache.write({"dark": "jwst_nircam_dark_0001.fits"})
    crds_cache.add("jwst_nircam_dark_0001.fits")
    write_offline_set(files, [Entry("dark", "pinned.fits")], name="practice", context="jwst_0001.pmap")
    exposure = make_exposure()

    def answer(given=None):
        found = resolve(exposure, "DARK", given)
        return found.source, found.path.name, found.name, found.context

    assert answer() == ("CRDS", "jwst_nircam_dark_0001.fits", "crds://jwst_nircam_dark_0001.fits", "jwst_0007.pmap")
    with use(offline=files):
        assert answer() == ("offline set", "pinned.fits", "pinned.fits", "jwst_0001.pmap")
        with use({"Dark": files / "other.fits"}):
            assert answer() == ("override", "other.fits", "other.fits", None)
            assert answer(files / "mine.fits") == ("argument", "mine.fits", "mine.fits", None)
            with use(offline=False):
                assert answer()[0] == "override"
        with use(offline=False):
            assert answer()[0] == "CRDS"
        assert answer()[0] == "offline set"
    assert answer()[0] == "CRDS"


def test_a_model_and_not_applicable_from_the_caller(make_exposure):
    model = DarkModel((2, 4, 4))
    found = resolve(make_exposure(), "dark", model)
    assert (found.source, found.model, found.path, found.name, found.applicable) == ("argument", model, None, "override://DarkModel", True)

    nothing = resolve(make_exposure(), "dark", "n/a")
    assert (nothing.source, nothing.name, nothing.applicable) == ("argument", "N/A", False)
    with use({"dark": "N/A"}):
        assert resolve(make_exposure(), "dark").source == "override"
        assert not resolve(make_exposure(), "dark").applicable


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("mone.fits", r"mone\.fits does not exist\. In the same folder: mine\.fits"),
        ("no/such/folder.fits", "there is no folder"),
        (".", r"is a folder.*use\(offline="),
    ],
)
def test_a_path_without_a_file_raises_and_helps(files, make_exposure, given, said):
    with pytest.raises(MissingReferenceError, match=said):
        resolve(make_exposure(), "dark", files / given)


def test_what_is_no_reference_at_all_raises(make_exposure):
    with pytest.raises(InputError, match="a dark reference is a model, a path or 'N/A'; a int was given"):
        resolve(make_exposure(), "dark", 3)


def test_a_relative_override_keeps_its_meaning(files, make_exposure, monkeypatch):
    monkeypatch.chdir(files)
    with use({"dark": "mine.fits"}):
        monkeypatch.chdir("/")
        assert resolve(make_exposure(), "dark").path == files / "mine.fits"


def test_the_block_ends_when_it_raises(files, make_exposure, no_crds):
    with pytest.raises(ZeroDivisionError), use({"dark": files / "mine.fits"}):
        1 / 0  # noqa: B018
    with pytest.raises(MissingReferenceError):
        resolve(make_exposure(), "dark")


def test_threads_do_not_disturb_each_other(files, make_exposure, no_crds):
    exposure = make_exposure()
    seen = {}
    inside, done = threading.Event(), threading.Event()

    def other():
        with use({"dark": files / "other.fits"}):
            inside.set()
            done.wait(10)
            seen["other"] = resolve(exposure, "dark").path.name

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    with use({"dark": files / "mine.fits"}):
        seen["mine"] = resolve(exposure, "dark").path.name
        # A thread that is given a copy of the context works with its settings.
        helper = threading.Thread(target=copy_context().run, args=(lambda: seen.update(helper=resolve(exposure, "dark").path.name),))
        helper.start()
        helper.join()
    done.set()
    thread.join()

    assert seen == {"other": "other.fits", "mine": "mine.fits", "helper": "mine.fits"}


def test_a_pinned_set_is_never_completed_from_crds(files, crds_cache, make_exposure):
    crds_cache.write({"gain": "jwst_nircam_gain_0001.fits"})
    crds_cache.add("jwst_nircam_gain_0001.fits")
    write_offline_set(files, [Entry("dark", "pinned.fits")], name="practice")

    with use(offline=files), pytest.raises(MissingReferenceError, match=r"'practice' .* has no gain reference\. It has: dark"):
        resolve(make_exposure(), "gain")


def test_entries_match_by_metadata_and_the_first_wins(files, make_exposure):
    pinned = write_offline_set(
        files,
        [
            Entry("dark", "mine.fits", {"meta.instrument.detector": "nrca1", "meta.exposure.type": ["NRC_CORON", "nrc_image"]}),
            Entry("dark", "other.fits", {"meta.instrument.detector": ["NRCA1", "NRCB1"], "meta.subarray.xsize": 32}),
            Entry("dark", "N/A", {"meta.instrument.detector": "NRCB2"}),
            Entry("dark", "gone.fits", {"meta.instrument.detector": "NRCB3"}),
        ],
        name="practice",
    )
    assert pinned == offline_set(files / "manifest.json")
    assert pinned.context == "practice"

    with use(offline=files):
        assert resolve(make_exposure("NRCA1"), "dark").path.name == "mine.fits"
        assert resolve(make_exposure("NRCB1"), "dark").path.name == "other.fits"
        assert not resolve(make_exposure("NRCB2"), "dark").applicable
        with pytest.raises(MissingReferenceError, match=r"names gone\.fits for dark, and there is no such file"):
            resolve(make_exposure("NRCB3"), "dark")
        with pytest.raises(MissingReferenceError, match="meta.instrument.detector is 'NRCA2', not 'nrca1'"):
            resolve(make_exposure("NRCA2"), "dark")


def test_the_environment_names_a_set(files, make_exposure, monkeypatch, no_crds):
    write_offline_set(files, [Entry("dark", "pinned.fits")], name="practice")
    monkeypatch.setenv("JWNB_OFFLINE_SET", str(files))

    assert resolve(make_exposure(), "dark").source == "offline set"
    with use(offline=False), pytest.raises(MissingReferenceError, match="CRDS"):
        resolve(make_exposure(), "dark")


def test_a_changed_manifest_is_read_again(files, make_exposure):
    write_offline_set(files, [Entry("dark", "pinned.fits")], name="practice")
    with use(offline=files):
        assert resolve(make_exposure(), "dark").path.name == "pinned.fits"
    write_offline_set(files, [Entry("dark", "other.fits")], name="practice")
    with use(offline=files):
        assert resolve(make_exposure(), "dark").path.name == "other.fits"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[1]", "is no manifest of an offline set"),
        ('{"format": "jwnb-offline-set", "version": 2, "references": []}', "version 2; this jwnb reads version 1"),
        ('{"format": "jwnb-offline-set", "version": 1, "references": [{"file": "x"}]}', '"reftype", "file" and "match"'),
    ],
)
def test_a_bad_manifest_raises(tmp_path, text, said):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=said):
        offline_set(tmp_path)


def test_no_manifest_raises(tmp_path):
    with pytest.raises(MissingReferenceError, match="is no offline set"), use(offline=tmp_path):
        pass


def test_prefetch_from_a_set(files, make_exposure):
    write_offline_set(files, [Entry("dark", "pinned.fits"), Entry("reset", "N/A")], name="practice")
    with use({"gain": files / "mine.fits"}, offline=files):
        found = prefetch(make_exposure(), ["dark", "reset", "gain", "flat"])

    assert [found[t].source for t in ("dark", "reset", "gain")] == ["offline set", "offline set", "override"]
    assert isinstance(found["flat"], MissingReferenceError)
