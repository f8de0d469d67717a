"""What `use` puts in force: nested, ended, and apart in every thread."""

import threading
from contextvars import copy_context
from pathlib import Path

import pytest

from jwnb.errors import MissingReferenceError
from jwnb.references import Entry, resolve, use, write_offline_set


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("mine.fits", "other.fits", "pinned.fits"):
        (tmp_path / name).touch()
    return tmp_path


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


def test_the_environment_names_a_set(files, make_exposure, monkeypatch, no_crds):
    write_offline_set(files, [Entry("dark", "pinned.fits")], name="practice")
    monkeypatch.setenv("JWNB_OFFLINE_SET", str(files))

    assert resolve(make_exposure(), "dark").source == "offline set"
    with use(offline=False), pytest.raises(MissingReferenceError, match="CRDS"):
        resolve(make_exposure(), "dark")
