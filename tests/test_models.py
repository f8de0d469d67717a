"""Opening, sharing and saving."""

import gzip
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from helpers import make_image, make_ramp
from stdatamodels.jwst import datamodels
from stdatamodels.jwst.datamodels import GuiderRawModel, ImageModel, Level1bModel, RampModel

import jwnb
from jwnb.errors import InputError, MissingFileError
from jwnb.models import Exposures, let_go, product_name, share


def write_uncal(path, kind="NRC_IMAGE"):
    model = Level1bModel(data=np.ones((1, 2, 8, 8), np.uint16))
    model.meta.exposure.type = kind
    model.meta.telescope = "JWST"
    model.save(path)
    return path


def test_an_uncal_opens_as_a_ramp_with_planes(tmp_path):
    ramp = jwnb.open(write_uncal(tmp_path / "a_uncal.fits"))
    assert isinstance(ramp, RampModel)
    assert ramp.data.dtype == np.float32
    assert ramp.data.dtype.isnative
    assert ramp.pixeldq.shape == (8, 8)
    assert ramp.groupdq.shape == (1, 2, 8, 8)
    assert ramp.meta.filename == "a_uncal.fits"


def test_a_raw_guide_star_exposure_opens_as_one(tmp_path):
    assert isinstance(jwnb.open(write_uncal(tmp_path / "a_uncal.fits", "FGS_ACQ1")), GuiderRawModel)


def test_an_uncal_model_becomes_a_ramp_and_others_stay():
    assert isinstance(jwnb.open(Level1bModel(data=np.ones((1, 2, 8, 8), np.uint16))), RampModel)
    image = make_image(np.ones((8, 8)))
    assert jwnb.open(image) is image


def test_share_shares_arrays_and_nothing_else():
    image = make_image(np.ones((8, 8)))
    image.meta.jwnb = {"ledger": []}
    other = share(image)
    other.meta.instrument.filter = "F090W"
    other.data = other.data * 2
    assert other.err is image.err
    assert image.meta.instrument.filter == "F200W"
    assert np.all(image.data == 1)


def test_an_image_opens_again_as_it_was(tmp_path):
    image = make_image(np.arange(64.0).reshape(8, 8))
    again = jwnb.open(jwnb.save(image, tmp_path / "new" / "b_rate.fits"))
    assert isinstance(again, ImageModel)
    np.testing.assert_array_equal(again.data, image.data)
    assert again.meta.filename == "b_rate.fits"
    assert image.meta.filename == "jw00001001001_01101_00001_nrca1_rate.fits"


def test_unreadable_files_are_named_with_what_is_wrong(tmp_path):
    whole = write_uncal(tmp_path / "a_uncal.fits")
    bad = tmp_path / "bad_uncal.fits"
    bad.write_bytes(whole.read_bytes()[:-3000])
    with pytest.raises(InputError, match=r"bad_uncal.fits is truncated: its \d+ bytes are not a whole number"):
        jwnb.open(bad)
    bad.write_bytes(whole.read_bytes()[: 2880 * 4])
    with pytest.raises(InputError, match=r"truncated: its headers ask for \d+ bytes and it has \d+"):
        jwnb.open(bad)
    bad.write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        jwnb.open(bad)
    bad.write_text("<html>not found</html>")
    with pytest.raises(InputError, match="not a FITS file"):
        jwnb.open(bad)
    with pytest.raises(InputError, match="is a folder"):
        jwnb.open(tmp_path)
    with pytest.raises(MissingFileError, match="Did you mean 'a_uncal.fits'"):
        jwnb.open(tmp_path / "a_uncal.fit")


def test_another_telescope_is_refused(tmp_path):
    path = write_uncal(tmp_path / "a_uncal.fits")
    from astropy.io import fits

    fits.setval(path, "TELESCOP", value="HST")
    with pytest.raises(InputError, match="HST"):
        jwnb.open(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot write"):
        jwnb.save(make_image(np.ones((8, 8))), tmp_path / "b_rate.fits")


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write"):
        jwnb.save(make_image(np.ones((8, 8))), tmp_path / "file" / "b_rate.fits")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = jwnb.save(make_image(np.ones((8, 8))), tmp_path / "b_rate.fits")
    before = path.read_bytes()

    def full(self, target, *args, **kwargs):
        with open(target, "wb") as stream:
            stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ImageModel, "save", full)
    with pytest.raises(InputError, match="No space left on device"):
        jwnb.save(make_image(np.zeros((8, 8))), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["b_rate.fits"]


@pytest.mark.skipif(sys.platform != "linux", reason="a full disk is made with a file-size limit")
def test_a_file_size_limit_is_like_a_full_disk(tmp_path):
    code = textwrap.dedent(f"""
        import resource, signal, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import numpy as np, jwnb
        from helpers import make_image
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        image = make_image(np.ones((512, 512)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            jwnb.save(image, {str(tmp_path / "b_rate.fits")!r})
        except jwnb.errors.InputError as error:
            print("refused:", error)
    """)
    done = subprocess.run([sys.executable, "-c", "import jwnb.errors\n" + code], capture_output=True, text=True, check=True)
    assert "refused: cannot write" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_killed_while_saving_leaves_no_half_product(tmp_path):
    code = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import numpy as np, jwnb
        from helpers import make_image
        from stdatamodels.jwst.datamodels import ImageModel
        write = ImageModel.save
        def dying(self, path, *args, **kwargs):
            write(self, path, *args, **kwargs)
            os.kill(os.getpid(), 9)
        ImageModel.save = dying
        jwnb.save(make_image(np.ones((8, 8))), {str(tmp_path / "b_rate.fits")!r})
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -9
    assert not (tmp_path / "b_rate.fits").exists()


def test_the_extension_must_be_one_that_can_be_written(tmp_path):
    with pytest.raises(InputError, match=r"end in .fits or .asdf"):
        jwnb.save(make_image(np.ones((8, 8))), tmp_path / "b.txt")


@pytest.mark.parametrize(
    ("name", "suffix", "expected"),
    [
        ("jw01_nrca1_uncal.fits", "rate", "jw01_nrca1_rate.fits"),
        ("jw01_nrca1_rateints.fits", "calints", "jw01_nrca1_calints.fits"),
        ("out/x_cal.fits", "i2d", "x_i2d.fits"),
        ("my_field", "i2d", "my_field_i2d.fits"),
        ("x_ami-oi.fits", "aminorm-oi", "x_aminorm-oi.fits"),
        ("m_ratey.fits", "cal", "m_ratey_cal.fits"),
    ],
)
def test_product_names(name, suffix, expected):
    assert product_name(name, suffix) == expected


def test_exposures_open_when_asked(tmp_path):
    path = jwnb.save(make_image(np.ones((8, 8))), tmp_path / "b_rate.fits")
    several = Exposures([path, make_image(np.zeros((8, 8)))])
    assert len(several) == 2
    assert several[0] is not several[0]
    assert several.names == ["b_rate.fits", "jw00001001001_01101_00001_nrca1_rate.fits"]
    with pytest.raises(MissingFileError):
        Exposures([tmp_path / "c_rate.fits"])


def test_a_ramp_keeps_its_tables_and_zeroframe(tmp_path):
    ramp = make_ramp(np.ones((2, 3, 8, 8)))
    ramp.zeroframe = np.ones((2, 8, 8), np.float32)
    again = jwnb.open(jwnb.save(ramp, tmp_path / "r_ramp.fits"))
    np.testing.assert_array_equal(again.zeroframe, ramp.zeroframe)


def test_arrays_that_were_read_from_fits_come_in_the_machines_byte_order(tmp_path):
    ramp = RampModel(data=np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4))
    ramp.save(tmp_path / "jw01_ramp.fits")
    with datamodels.open(tmp_path / "jw01_ramp.fits") as foreign:
        assert not foreign.data.dtype.isnative
        for opened in (jwnb.open(tmp_path / "jw01_ramp.fits"), jwnb.open(foreign)):
            assert opened.data.dtype.isnative
            np.testing.assert_array_equal(opened.data, ramp.data)
        assert not foreign.data.dtype.isnative
    assert jwnb.open(ramp) is ramp


def test_what_was_added_to_a_models_schema_is_shared_and_saved(tmp_path):
    image = make_image(np.ones((8, 8)))
    image.add_schema_entry("hdrtab", {"fits_hdu": "HDRTAB", "datatype": [{"name": "SEEN", "datatype": "int32"}]})
    image.hdrtab = np.array([(3,)], dtype=[("SEEN", "i4")])
    path = jwnb.save(share(share(image)), tmp_path / "x_i2d.fits")
    again = jwnb.save(jwnb.open(path), tmp_path / "y_i2d.fits")
    for written in (path, again):
        with datamodels.open(written) as read:
            assert list(read.hdrtab["SEEN"]) == [3]


def test_a_shared_copy_lets_go_of_what_is_replaced(tmp_path):
    import weakref

    first = jwnb.open(jwnb.save(make_image(np.ones((8, 8))), tmp_path / "b_rate.fits"))
    other = share(first)
    array = weakref.ref(first.data)
    other.instance["data"] = np.zeros((8, 8), np.float32)
    let_go(first)
    assert array() is None


@pytest.fixture
def three(tmp_path):
    """Two files and a model in memory between them."""
    images = [make_image(np.full((8, 8), float(k)), filename=f"jw{k}_cal.fits") for k in range(3)]
    for image in images:
        image.dq = np.ones((8, 8), np.uint32)
        image.meta.wcsinfo.s_region = "POLYGON ICRS 1 2 3 4"
    paths = [jwnb.save(image, tmp_path / image.meta.filename) for image in images]
    return Exposures([paths[0], images[1], paths[2]])


def test_take_reads_only_what_is_named(three):
    whole, part = three[0], three.take(0, "dq", "var_flat")
    assert "data" not in part.instance and "err" not in part.instance
    np.testing.assert_array_equal(part.dq, whole.dq)
    assert part.dq.dtype == np.uint32 and three.take(0, "data").data.dtype.isnative
    assert part.to_flat_dict(include_arrays=False) == whole.to_flat_dict(include_arrays=False)
    assert three.take(1) is three.items[1]
    part.meta.filename = "mine"
    assert three.take(0).meta.filename == "jw0_cal.fits"


def test_changes_are_made_again_whenever_a_file_is_opened(three):
    def brighter(model):
        model.meta.background.level = (model.meta.background.level or 0.0) + 1.0
        if "data" in model.instance:
            model.data = model.data + 10.0

    twice = three.changed([brighter] * 3).changed([brighter, brighter, None])
    assert [m.meta.background.level for m in twice] == [2.0, 2.0, 1.0]
    assert [float(m.data[0, 0]) for m in twice] == [20.0, 21.0, 12.0]
    assert [float(twice.take(k, "data").data[0, 0]) for k in range(3)] == [20.0, 21.0, 12.0]
    assert twice.take(0, "dq").meta.background.level == 2.0
    assert [m.meta.background.level for m in three] == [None] * 3, "what was given stays as it is"
    assert twice[1] is twice[1], "a model in memory is changed once"


def test_exposures_under_other_names(three):
    named = three.named(["a_crf.fits", "b_crf.fits", "c_crf.fits"])
    assert [m.meta.filename for m in named] == named.names == ["a_crf.fits", "b_crf.fits", "c_crf.fits"]
    assert named[1:].names == ["b_crf.fits", "c_crf.fits"] and named[1:][1].meta.filename == "c_crf.fits"
    assert three.names == ["jw0_cal.fits", "jw1_cal.fits", "jw2_cal.fits"]


@pytest.mark.parametrize("name", ["a_cal.fits.gz", "a_cal.fits"])
def test_compressed_files_are_opened(name, tmp_path):
    image = make_image(np.arange(64.0).reshape(8, 8))
    whole = jwnb.save(image, tmp_path / "whole_cal.fits").read_bytes()
    path = tmp_path / name
    path.write_bytes(gzip.compress(whole))
    np.testing.assert_array_equal(jwnb.open(path).data, image.data)
    np.testing.assert_array_equal(Exposures([path]).take(0, "data").data, image.data)
    path.write_bytes(gzip.compress(whole)[:-2000])
    with pytest.raises(InputError, match=r"a_cal\.fits"):
        jwnb.open(path)
