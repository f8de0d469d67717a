"""Settings are checked and scoped."""

import pytest

import jwnb
from jwnb.errors import ParameterError


def test_a_block_sets_and_restores():
    before = jwnb.settings.get("progress")
    with jwnb.settings.using(progress=not before):
        assert jwnb.settings.get("progress") is not before
        with jwnb.settings.using(threads=1):
            assert jwnb.settings.get("progress") is not before
            assert jwnb.settings.get("threads") == 1
    assert jwnb.settings.get("progress") is before


def test_setting_for_the_session():
    before = jwnb.settings.get("thumbnail_pixels")
    jwnb.settings.set(thumbnail_pixels=128)
    assert jwnb.settings.get("thumbnail_pixels") == 128
    jwnb.settings.set(thumbnail_pixels=before)


@pytest.mark.parametrize("bad", [{"progress": 1}, {"threads": 0}, {"thumbnail_pixels": 5}, {"reference_cache_mb": -1}, {"colour": "red"}])
def test_bad_settings(bad):
    with pytest.raises(ParameterError):
        jwnb.settings.set(**bad)
