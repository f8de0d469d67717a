"""The order of the chain, and what each link says."""

from pathlib import Path

import pytest
from stdatamodels.jwst.datamodels import DarkModel

from jwnb.errors import InputError, MissingReferenceError
from jwnb.references import Entry, prefetch, resolve, use, write_offline_set


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


def test_a_pinned_set_is_never_completed_from_crds(files, crds_cache, make_exposure):
    crds_cache.write({"gain": "jwst_nircam_gain_0001.fits"})
    crds_cache.add("jwst_nircam_gain_0001.fits")
    write_offline_set(files, [Entry("dark", "pinned.fits")], name="practice")

    with use(offline=files), pytest.raises(MissingReferenceError, match=r"'practice' .* has no gain reference\. It has: dark"):
        resolve(make_exposure(), "gain")


def test_prefetch_from_a_set(files, make_exposure):
    write_offline_set(files, [Entry("dark", "pinned.fits"), Entry("reset", "N/A")], name="practice")
    with use({"gain": files / "mine.fits"}, offline=files):
        found = prefetch(make_exposure(), ["dark", "reset", "gain", "flat"])

    assert [found[t].source for t in ("dark", "reset", "gain")] == ["offline set", "offline set", "override"]
    assert isinstance(found["flat"], MissingReferenceError)
