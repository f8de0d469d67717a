"""Large references, read piece by piece."""

import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst.datamodels import DarkMIRIModel, DarkModel

from jwnb.errors import InputError, MissingReferenceError
from jwnb.references import resolve
from jwnb.references.opening import cache, lazy_reference, open_reference

NY, NX = 24, 32
DATA = np.random.default_rng(5).normal(size=(6, NY, NX)).astype(np.float32)


def dark(data=DATA, model_class=DarkModel):
    model = model_class(data=data)
    model.meta.instrument.name, model.meta.instrument.detector = "NIRCAM", "NRCA1"
    model.meta.description, model.meta.author, model.meta.pedigree = "made for a test", "tests", "DUMMY"
    model.meta.useafter, model.meta.reftype = "2015-01-01T00:00:00", "dark"
    model.meta.exposure.nframes, model.meta.exposure.groupgap = 4, 1
    model.meta.subarray.xstart = model.meta.subarray.ystart = 1
    model.meta.subarray.xsize, model.meta.subarray.ysize = NX, NY
    flags = (np.arange(NY * NX) % 7).astype(np.uint32).reshape(NY, NX)
    model.dq = flags if model_class is DarkModel else flags[np.newaxis, np.newaxis]
    return model


@pytest.fixture(params=["file", "model"])
def lazy(request, tmp_path, make_exposure):
    """The same dark as a file and as a model, for a piece of the detector."""
    exposure = make_exposure(x=5, y=3, nx=8, ny=6)
    dark().save(tmp_path / "dark.fits")
    given = tmp_path / "dark.fits" if request.param == "file" else dark()
    return lazy_reference(resolve(exposure, "dark", given), DarkModel, exposure)


@pytest.mark.parametrize("index", [None, 3, -1, slice(1, 5, 2), (2,)])
def test_planes_are_cut_and_native(lazy, index):
    expected = DATA[() if index is None else index][..., 2:8, 4:12]

    part = lazy.read("SCI", index)

    np.testing.assert_array_equal(part, expected)
    assert part.dtype == np.float32
    assert part.dtype.isnative


def test_names_are_of_extensions_or_attributes(lazy):
    np.testing.assert_array_equal(lazy.read("data", 0), lazy.read("SCI", 0))
    assert lazy.shape("SCI") == lazy.shape("data") == (6, 6, 8)
    assert lazy.shape("DQ") == (6, 8)
    assert "SCI" in lazy
    assert "dq" in lazy
    assert "ERR" not in lazy


def test_metadata_and_dq_are_there(lazy):
    assert (lazy.meta.exposure.nframes, lazy.meta.exposure.groupgap) == (4, 1)
    np.testing.assert_array_equal(lazy.dq(), dark().dq[2:8, 4:12])
    assert lazy.dq().dtype == np.uint32


def test_what_is_not_there_raises(lazy):
    with pytest.raises(InputError, match="has no ERR"):
        lazy.read("ERR")
    with pytest.raises(InputError, match="there is no plane 6"):
        lazy.read("SCI", 6)
    with pytest.raises(InputError, match="2 indices of planes"):
        lazy.read("SCI", (1, 2))


def test_planes_of_integrations(tmp_path, make_exposure):
    data = np.stack([DATA, DATA + 1])
    dark(data, DarkMIRIModel).save(tmp_path / "dark.fits")
    exposure = make_exposure(nx=NX, ny=NY)

    lazy = lazy_reference(resolve(exposure, "dark", tmp_path / "dark.fits"), DarkMIRIModel, exposure)

    np.testing.assert_array_equal(lazy.read("SCI", (1, 2)), data[1, 2])
    np.testing.assert_array_equal(lazy.read("SCI", (slice(None), 2)), data[:, 2])


def test_a_model_is_not_copied(make_exposure):
    model = dark()
    lazy = lazy_reference(resolve(make_exposure(), "dark", model), DarkModel, make_exposure())
    assert np.shares_memory(lazy.read("SCI", 2), model.data)


def test_nothing_is_kept_in_the_cache(tmp_path, make_exposure):
    dark().save(tmp_path / "dark.fits")
    cache.clear()
    exposure = make_exposure(nx=NX, ny=NY)
    lazy_reference(resolve(exposure, "dark", tmp_path / "dark.fits"), DarkModel, exposure).read("SCI")
    assert len(cache) == 0


def _gzipped(path):
    with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    return path.with_name(f"{path.name}.gz")


def _scaled(path):
    with fits.open(path) as hdus:
        stored = np.round(hdus["SCI"].data * 1000).astype(np.int16)
        hdus["SCI"] = fits.ImageHDU(stored, name="SCI")
        hdus["SCI"].header["BSCALE"] = 0.001
        hdus.writeto(path.with_name("scaled.fits"))
    return path.with_name("scaled.fits")


@pytest.mark.parametrize(("change", "tolerance"), [(_gzipped, 0), (_scaled, 0.00051)])
def test_files_that_are_not_plain_floats(tmp_path, make_exposure, change, tolerance):
    dark().save(tmp_path / "dark.fits")
    exposure = make_exposure(x=5, y=3, nx=8, ny=6)
    lazy = lazy_reference(resolve(exposure, "dark", change(tmp_path / "dark.fits")), DarkModel, exposure)
    np.testing.assert_allclose(lazy.read("SCI", 1), DATA[1, 2:8, 4:12], rtol=0, atol=tolerance)
    np.testing.assert_array_equal(lazy.dq(), dark().dq[2:8, 4:12])


def test_it_agrees_with_the_opened_reference(tmp_path, make_exposure):
    dark().save(tmp_path / "dark.fits")
    exposure = make_exposure(x=5, y=3, nx=8, ny=6)
    found = resolve(exposure, "dark", tmp_path / "dark.fits")

    opened, lazy = open_reference(found, DarkModel, exposure), lazy_reference(found, DarkModel, exposure)

    np.testing.assert_array_equal(lazy.read(), opened.data)
    np.testing.assert_array_equal(lazy.dq(), opened.dq)


def test_a_dark_of_another_subarray_raises(tmp_path, make_exposure):
    dark().save(tmp_path / "dark.fits")
    exposure = make_exposure(x=30, y=3, nx=8, ny=6)
    with pytest.raises(MissingReferenceError, match="does not cover"):
        lazy_reference(resolve(exposure, "dark", tmp_path / "dark.fits"), DarkModel, exposure)
