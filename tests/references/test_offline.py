"""Pinned sets and their manifests."""

from pathlib import Path

import pytest

from jwnb.errors import InputError, MissingReferenceError
from jwnb.references import Entry, offline_set, resolve, use, write_offline_set


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("mine.fits", "other.fits", "pinned.fits"):
        (tmp_path / name).touch()
    return tmp_path


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
