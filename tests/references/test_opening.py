"""Opened references: cut, shared, checked."""

import gc

import numpy as np
import pytest
from helpers_references import NX, NY, numbered, prepared
from stdatamodels.jwst.datamodels import (
    DarkMIRIModel,
    DarkModel,
    DistortionModel,
    GainModel,
    IPCModel,
    MaskModel,
    SaturationModel,
    SuperBiasModel,
)

from jwnb import settings
from jwnb.errors import InputError, MissingReferenceError
from jwnb.references import resolve
from jwnb.references.opening import ReferenceCache, cache, lazy_reference, open_reference, require_finite

FLAGS = [(0, 1, "DO_NOT_USE", ""), (1, 2, "HOT", ""), (2, 4, "DEAD", "")]
DQ_DEF = np.array(FLAGS, dtype=[("BIT", "<u4"), ("VALUE", "<u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")])


def test_arrays_of_the_frame_are_cut_as_views(bias, make_exposure):
    exposure = make_exposure(x=11, y=6, nx=16, ny=8)

    whole = open_reference(resolve(exposure, "superbias", bias), SuperBiasModel, make_exposure(nx=NX, ny=NY))
    cut = open_reference(resolve(exposure, "superbias", bias), SuperBiasModel, exposure)

    for name in ("data", "err", "dq"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name)[5:13, 10:26])
        assert np.shares_memory(getattr(cut, name), getattr(whole, name))
    assert (cut.meta.subarray.xstart, cut.meta.subarray.ystart, cut.meta.subarray.xsize, cut.meta.subarray.ysize) == (11, 6, 16, 8)
    assert (whole.meta.subarray.xstart, whole.meta.subarray.xsize) == (1, NX)
    assert cut.data.dtype == np.float32
    assert cut.data.dtype.isnative


def test_what_is_not_of_the_frame_stays(make_exposure):
    model = prepared(IPCModel(data=numbered(3, 3)), keywords=False)
    opened = open_reference(resolve(make_exposure(), "ipc", model), IPCModel, make_exposure(x=5, y=5, nx=8, ny=8))
    assert opened is model


def test_whole_leaves_the_reference_as_it_is(bias, make_exposure):
    exposure = make_exposure(x=2000, y=2000, nx=16, ny=8)
    opened = open_reference(resolve(exposure, "superbias", bias), SuperBiasModel, exposure, whole=True)
    assert opened.data.shape == (NY, NX)


@pytest.mark.parametrize(("x", "y"), [(40, 1), (1, 30)])
def test_a_reference_that_does_not_cover_the_exposure_raises(bias, make_exposure, x, y):
    exposure = make_exposure(x=x, y=y, nx=16, ny=16)
    said = rf"bias\.fits does not cover.*48×40 pixels from \(1, 1\).*16×16 pixels from \({x}, {y}\)"
    with pytest.raises(MissingReferenceError, match=said):
        open_reference(resolve(exposure, "superbias", bias), SuperBiasModel, exposure)


@pytest.mark.parametrize(
    ("instrument", "detector", "said"), [("MIRI", "NRCA1", "instrument NIRCAM.*of MIRI"), ("NIRCAM", "NRCB1", "detector NRCA1.*of NRCB1")]
)
def test_a_reference_of_another_detector_raises(bias, make_exposure, instrument, detector, said):
    exposure = make_exposure(detector, instrument=instrument, nx=NX, ny=NY)
    for opener in (open_reference, lazy_reference):
        with pytest.raises(MissingReferenceError, match=said):
            opener(resolve(exposure, "superbias", bias), SuperBiasModel, exposure)


@pytest.mark.parametrize(("stated", "fits"), [("NRCA1|NRCB1|", True), ("ANY", True), ("NRCA2|NRCA3|", False)])
def test_files_for_several_detectors_list_them(make_exposure, stated, fits):
    gain = prepared(GainModel(data=numbered(24, 32)), nx=32, ny=24, detector="ANY" if stated == "ANY" else "NRCA1")
    gain.meta.instrument.instance["p_detector"] = stated
    exposure = make_exposure("NRCB1")
    if fits:
        assert open_reference(resolve(exposure, "gain", gain), GainModel, exposure) is gain
    else:
        with pytest.raises(MissingReferenceError, match="detector NRCA2"):
            open_reference(resolve(exposure, "gain", gain), GainModel, exposure)


def test_what_crds_selects_is_not_second_guessed(crds_cache, make_exposure):
    crds_cache.write({"gain": "jwst_nircam_gain_0001.fits"})
    prepared(GainModel(data=numbered(24, 32)), nx=32, ny=24).save(crds_cache.add("jwst_nircam_gain_0001.fits"))
    exposure = make_exposure("NRCB1")
    assert open_reference(resolve(exposure, "gain"), GainModel, exposure).data[0, 1] == 1


def test_references_are_opened_once_and_again_when_the_file_changes(bias, make_exposure):
    exposure = make_exposure(nx=NX, ny=NY)
    first = open_reference(resolve(exposure, "superbias", bias), SuperBiasModel, exposure)
    assert open_reference(resolve(exposure, "superbias", bias), SuperBiasModel, exposure) is first
    assert cache.nbytes >= first.data.nbytes

    prepared(SuperBiasModel(data=np.full((NY, NX), 3, np.float32))).save(bias)
    assert open_reference(resolve(exposure, "superbias", bias), SuperBiasModel, exposure).data[0, 0] == 3


def test_the_cache_lets_go_of_the_oldest(tmp_path):
    store = ReferenceCache()
    paths = [tmp_path / f"gain{i}.fits" for i in range(3)]
    for i, path in enumerate(paths):
        prepared(GainModel(data=np.full((256, 256), i, np.float32))).save(path)  # 0.26 MB each
    with settings.using(reference_cache_mb=0.6):
        first, second = (store.open(path, (GainModel,)) for path in paths[:2])
        assert store.open(paths[0], (GainModel,)) is first
        store.open(paths[2], (GainModel,))
        assert len(store) == 2
        assert store.nbytes <= 600_000
        assert store.open(paths[0], (GainModel,)) is first
        assert store.open(paths[1], (GainModel,)) is not second
    with settings.using(reference_cache_mb=0.1):
        assert store.open(paths[2], (GainModel,)).data[0, 0] == 2
        assert len(store) == 0


def test_asdf_references_are_opened_and_let_go_of_without_a_warning(tmp_path, make_exposure):
    from astropy import units as u
    from astropy.modeling.models import Shift

    model = DistortionModel(model=Shift(1.5))
    prepared(model, keywords=False)
    model.meta.instrument.module, model.meta.instrument.channel = "A", "SHORT"
    model.meta.instrument.p_pupil = "CLEAR|"
    model.meta.exposure.type = "NRC_IMAGE"
    model.meta.input_units, model.meta.output_units = u.pix, u.arcsec
    model.save(tmp_path / "distortion.asdf")

    opened = open_reference(resolve(make_exposure(), "distortion", tmp_path / "distortion.asdf"), DistortionModel, make_exposure())
    assert opened.model(1.0) == 2.5
    del opened
    cache.clear()
    gc.collect()


def test_models_in_the_byte_order_of_fits_are_put_right(bias, make_exposure):
    exposure = make_exposure(nx=NX, ny=NY)
    with SuperBiasModel(bias) as foreign:
        assert not foreign.data.dtype.isnative
        for opened in (
            open_reference(resolve(exposure, "superbias", foreign), SuperBiasModel, exposure),
            open_reference(resolve(exposure, "superbias", bias), SuperBiasModel, exposure),
        ):
            assert opened.data.dtype.isnative
            assert opened.err.dtype.isnative
            np.testing.assert_array_equal(opened.data, numbered(NY, NX))
        assert lazy_reference(resolve(exposure, "superbias", foreign), SuperBiasModel, exposure).read().dtype.isnative
        assert not foreign.data.dtype.isnative


def test_of_several_classes_the_files_own_is_taken(tmp_path, make_exposure):
    path = tmp_path / "dark.fits"
    prepared(DarkMIRIModel(data=numbered(1, 2, 24, 32)), instrument="MIRI", detector="MIRIMAGE", nx=32, ny=24).save(path)
    exposure = make_exposure("MIRIMAGE", instrument="MIRI")
    classes = (DarkModel, DarkMIRIModel)

    assert type(open_reference(resolve(exposure, "dark", path), classes, exposure)) is DarkMIRIModel
    assert lazy_reference(resolve(exposure, "dark", path), classes, exposure).model_class is DarkMIRIModel


def test_a_model_of_another_kind_raises(make_exposure):
    exposure = make_exposure()
    with pytest.raises(InputError, match="dark reference is a DarkModel .* a SaturationModel was given"):
        open_reference(resolve(exposure, "dark", SaturationModel((24, 32))), DarkModel, exposure)


def test_what_is_no_reference_file_raises(tmp_path, make_exposure):
    path = tmp_path / "dark.fits"
    path.write_text("not FITS")
    for opener in (open_reference, lazy_reference):
        with pytest.raises(InputError, match=r"dark reference cannot be used: .*dark\.fits is not a FITS file"):
            opener(resolve(make_exposure(), "dark", path), DarkModel, make_exposure())


def test_dq_bits_are_translated(tmp_path, make_exposure):
    path = tmp_path / "mask.fits"
    model = prepared(MaskModel(dq=np.zeros((24, 32), np.uint32)), nx=32, ny=24)
    model.dq[1, 2], model.dq[3, 4] = 1 | 2048, 1024
    model.dq_def = DQ_DEF
    model.save(path)

    dq = open_reference(resolve(make_exposure(), "mask", path), MaskModel, make_exposure()).dq

    assert (dq[1, 2], dq[3, 4], np.count_nonzero(dq)) == (1 | 2048, 1024, 2)
    lazy = lazy_reference(resolve(make_exposure(), "mask", path), MaskModel, make_exposure())
    np.testing.assert_array_equal(lazy.dq(), dq)
    assert lazy.read("DQ")[3, 4] == 4


def test_require_finite():
    array = np.full((3, 4), np.nan, np.float32)
    with pytest.raises(MissingReferenceError, match="gain reference has no finite value"):
        require_finite(array, "gain")
    array[2, 3] = 1
    assert require_finite(array, "gain") is array
