"""Catalogues from files."""

import re

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table

from jwnb.errors import InputError, MissingFileError, ParameterError
from jwnb.stage3.catalogs import at_epoch, read_catalog, read_catfile, read_reference_catalog
from jwnb.step import collecting_log

FORMATS = {"ecsv": "ascii.ecsv", "fits": "fits", "csv": "ascii.csv", "txt": "ascii", "cat": "ascii.commented_header"}
MAS = 1 / 3.6e6


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a table, or a text, and gives the path."""

    def write(table, name="stars.ecsv"):
        path = tmp_path / name
        if isinstance(table, str):
            path.write_text(table)
        else:
            table.write(path, format=FORMATS[path.suffix[1:]])
        return path

    return write


def sky(**columns):
    return Table({"RA": [150.1, 150.2, 150.3], "DEC": [2.1, 2.2, 2.3]} | columns)


# Of an image


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("names", [("x", "y"), ("xcentroid", "ycentroid"), ("X_CENTROID", "Y_CENTROID")])
def test_catalogues_of_every_kind(written, suffix, names):
    given = Table({"id": [7, 8], names[0]: [1.25, 2.5], names[1]: [3.5, 4.75], "flux": [10.0, 20.0], "other": ["a", "b"]})
    path = written(given, f"stars.{suffix}")
    read = read_catalog(path)
    assert set(read.colnames) == {"x", "y", "flux", "id"}
    np.testing.assert_array_equal(read["x"], [1.25, 2.5])
    np.testing.assert_array_equal(read["y"], [3.5, 4.75])
    np.testing.assert_array_equal(read["flux"], [10.0, 20.0])
    np.testing.assert_array_equal(read["id"], [7, 8])
    assert read["x"].dtype == np.float64
    assert read["x"].dtype.isnative
    assert read.meta["name"] == path.name


def test_x_comes_before_xcentroid(written):
    read = read_catalog(written(Table({"xcentroid": [9.0], "ycentroid": [9.0], "y": [2.0], "x": [1.0]})))
    assert (read["x"][0], read["y"][0]) == (1.0, 2.0)


def test_rows_without_position_are_left_out_and_noted(written):
    x = MaskedColumn([1.0, 2.0, np.nan, 4.0], mask=[False, True, False, False])
    path = written(Table({"x": x, "y": [1.0, 2.0, 3.0, np.inf], "flux": [1.0, 2.0, 3.0, 4.0]}))
    with collecting_log() as said:
        read = read_catalog(path)
    assert len(read) == 1
    assert read["flux"][0] == 1.0
    assert any("3 of 4 rows have no position" in line for line in said)


def test_columns_with_units(written):
    read = read_catalog(written(QTable({"x": [1.0, 2.0] * u.pix, "y": [3.0, 4.0] * u.pix, "flux": [1.0, 2.0] * u.Jy})))
    np.testing.assert_array_equal(read["x"], [1.0, 2.0])
    assert read["x"].unit is None


def test_a_catalogue_of_another_image(written):
    path = written(Table({"x": [1500.0, 90.0], "y": [3.0, 4.0]}))
    assert len(read_catalog(path, shape=(100, 100))) == 2
    with pytest.raises(InputError, match=r"no source of stars.ecsv lies on the image of 80×100 pixels: x goes from 90.0 to 1500.0"):
        read_catalog(path, shape=(100, 80))


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "a.ecsv", "empty file"), ("x,y\n", "a.csv", "no rows; its columns are x, y"), ("x y\n", "a.txt", "no rows|cannot be read"),
        ("# %ECSV 1.0\n# ---\n# nonsense\n", "a.ecsv", "cannot be read as a table"),
        ("SIMPLE  = nonsense", "a.fits", "cannot be read as a table"),
        ("RA,DEC\n1,2\n", "a.csv", "no columns x and y .*; its columns are RA, DEC."), ("10 20\n30 40\n", "a.txt", "must name the columns"),
        ("x,y,x\n1,2,3\n", "a.csv", r"more than one column 'x' \(x, x_1\)"),
        ("x y X\n1 2 3\n", "a.txt", r"more than one column 'x' \(x, X\)"),
        ("x,y\nnan,2\n3,nan\n", "a.csv", "no row of a.csv has a position: .* in all 2"),
        ("x,y\none,2\n", "a.csv", "Column x of a.csv does not hold numbers.*'one'"),
        ("x,y,weight\n1,2,-1\n1,2,1\n", "a.csv", "1 of 2 weights of a.csv are negative .* row 1"),
        ("\x00\x01\x02", "a.dat", "neither text nor FITS"),
        ("x,y\n1,2\n1\n3,4,5,6\n", "a.csv", "cannot be read as a table"),
    ],
)  # fmt: skip
def test_files_that_are_no_catalogue(written, text, name, message):
    with pytest.raises(InputError, match=message):
        read_catalog(written(text, name))


def test_columns_twice_in_fits(tmp_path):
    columns = [fits.Column(name, "D", array=np.ones(3)) for name in ("x", "y", "X")]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    with pytest.raises(InputError, match="more than one column 'x'"):
        read_catalog(tmp_path / "a.fits")


def test_several_values_in_a_row(written):
    with pytest.raises(InputError, match="2,. values in each row"):
        read_catalog(written(Table({"x": np.ones((3, 2)), "y": np.ones(3)}), "a.fits"))


def test_compressed_fits(tmp_path):
    Table({"x": [1.0], "y": [2.0]}).write(tmp_path / "a.fits.gz")
    assert read_catalog(tmp_path / "a.fits.gz")["y"][0] == 2.0


def test_the_first_of_several_tables(tmp_path):
    first, second = Table({"x": [1.0], "y": [2.0]}), Table({"x": [3.0], "y": [4.0]})
    fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(first), fits.table_to_hdu(second)]).writeto(tmp_path / "a.fits")
    assert read_catalog(tmp_path / "a.fits")["x"][0] == 1.0


@pytest.mark.parametrize("read", [read_catalog, read_reference_catalog, read_catfile])
def test_files_that_are_not_there(tmp_path, read):
    (tmp_path / "stars_cat.ecsv").touch()
    with pytest.raises(MissingFileError, match=r"does not exist. In the same folder: stars_cat.ecsv"):
        read(tmp_path / "star_cat.ecsv")
    with pytest.raises(MissingFileError, match=r"there is no folder"):
        read(tmp_path / "none" / "star_cat.ecsv")
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path)


# Which catalogue belongs to which image


def test_catfile(tmp_path):
    for name in ("one.ecsv", "deep/two.fits"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    path = tmp_path / "list.txt"
    path.write_text(
        f"# images\n\na_cal.fits  one.ecsv\nb_cal.fits\t{tmp_path / 'deep/two.fits'} \n  c_cal.fits\n#d_cal.fits x\na_cal.fits one.ecsv\n"
    )
    assert read_catfile(path) == {"a_cal.fits": tmp_path / "one.ecsv", "b_cal.fits": tmp_path / "deep/two.fits", "c_cal.fits": None}


def test_catfile_that_names_nothing(written):
    assert read_catfile(written("# nothing\n", "list.txt")) == {}
    assert read_catfile(written("", "list2.txt")) == {}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("a b c\n", InputError, "line 1 of list.txt has 3 columns: 'a b c'"),
        ("a one.ecsv\na two.ecsv\n", InputError, "two catalogues for a"),
        ("a one.ecsv\na\n", InputError, "two catalogues for a"), ("a on.ecsv\n", MissingFileError, "on.ecsv does not exist. .*one.ecsv"),
    ],
)  # fmt: skip
def test_catfiles_that_are_wrong(written, text, error, message):
    for name in ("one.ecsv", "two.ecsv"):
        written("", name)
    with pytest.raises(error, match=message):
        read_catfile(written(text, "list.txt"))


def test_a_catfile_that_is_no_text(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(InputError, match="not a text file"):
        read_catfile(tmp_path / "list.txt")


# Of the sky


@pytest.mark.parametrize("suffix", FORMATS)
def test_reference_catalogues_of_every_kind(written, suffix):
    given = sky(weight=[1.0, 2.0, 0.0], ref_epoch=[2016.0] * 3, pmra=[1.0, 2.0, 3.0], pmDE=[4.0, 5.0, 6.0], phot_g_mean_mag=[1.0, 2.0, 3.0])
    given.rename_columns(["RA", "DEC"], ["ra", "Dec"])
    read = read_reference_catalog(written(given, f"stars.{suffix}"))
    assert set(read.colnames) == {"RA", "DEC", "weight", "mag", "epoch", "pmra", "pmdec"}
    for own, name in (("RA", "ra"), ("DEC", "Dec"), ("pmdec", "pmDE"), ("epoch", "ref_epoch"), ("mag", "phot_g_mean_mag")):
        np.testing.assert_array_equal(np.asarray(read[own]), np.asarray(given[name]))
    assert read.meta == {"name": f"stars.{suffix}", "epoch": 2016.0}


def test_units_are_converted(written):
    table = QTable({"RA": [150.0, 151.0] * u.deg, "DEC": [60.0, 120.0] * u.arcmin, "pmra": [1.0, 2.0] * u.arcsec / u.yr, "pmdec": [1, 2]})
    table["RA"] = table["RA"].to(u.hourangle)
    read = read_reference_catalog(written(table))
    np.testing.assert_allclose(read["RA"], [150, 151], rtol=1e-14)
    np.testing.assert_allclose(read["DEC"], [1, 2], rtol=1e-14)
    np.testing.assert_allclose(read["pmra"], [1000, 2000])
    table["RA"] = [1, 2] * u.m
    table.write(written("", "b.ecsv"), format="ascii.ecsv", overwrite=True)
    with pytest.raises(InputError, match="Column RA of b.ecsv is in m, which is no deg"):
        read_reference_catalog(written("", "a.ecsv").with_name("b.ecsv"))


def test_source_catalogues_serve(written):
    places = SkyCoord([10.0, 350.0], [-5.0, 6.0], unit="deg")
    read = read_reference_catalog(written(QTable({"label": [1, 2], "sky_centroid": places})))
    np.testing.assert_allclose(read["RA"], [10, 350])
    np.testing.assert_allclose(read["DEC"], [-5, 6])
    both = QTable({"ra": [1.0, 2.0], "dec": [3.0, 4.0], "sky_centroid": places})
    with collecting_log() as said:
        read = read_reference_catalog(written(both, "both.ecsv"))
    np.testing.assert_array_equal(np.asarray(read["RA"]), [1, 2])
    assert any("sky_centroid: the last is not used" in line for line in said)


def test_epochs(written):
    assert read_reference_catalog(written(sky())).meta["epoch"] is None
    table = sky()
    table.meta["ref_epoch"] = "J2015.5"
    read = read_reference_catalog(written(table, "a.ecsv"))
    assert read.meta["epoch"] == 2015.5
    np.testing.assert_array_equal(np.asarray(read["epoch"]), [2015.5] * 3)
    read = read_reference_catalog(written(sky(epoch=["J2016.0", "2017.0", "B2018"]), "b.ecsv"))
    assert read.meta["epoch"] == 2017.0
    read = read_reference_catalog(written(sky(epoch=[np.nan] * 3), "c.ecsv"))
    assert read.meta["epoch"] is None


def test_ra_is_brought_to_the_circle(written):
    read = read_reference_catalog(written(Table({"ra": [-10.0, 360.0, 5.0], "dec": [0.0, 0.0, 0.0]})))
    np.testing.assert_allclose(read["RA"], [350, 0, 5])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (Table({"x": [1.0], "y": [2.0]}), "no columns RA and DEC, nor sky_centroid; its columns are x, y"),
        (Table({"RA": [1.0], "y": [2.0]}), "no columns RA and DEC"),
        (Table({"RA": [1.0], "ra": [1.0], "DEC": [2.0]}), r"more than one column 'ra' \(RA, ra\)"),
        (Table({"RA": ["10:00:00"], "DEC": ["2:00:00"]}), "Column RA of stars.ecsv does not hold numbers in deg but, first, '10:00:00'"),
        (Table({"RA": [1.0, 400.0], "DEC": [2.0, 3.0]}), "1 of 2 rows of stars.ecsv have RA out of range, the first 400"),
        (Table({"RA": [1.0, 40.0], "DEC": [-91.0, 99.0]}), "2 of 2 rows of stars.ecsv have DEC out of range, the first -91"),
        (Table({"RA": [np.nan], "DEC": [2.0]}), "no row of stars.ecsv has a position"),
        (sky(pmra=[1.0, 2.0, 3.0]), "both pmra and pmdec"), (sky(weight=[1.0, np.nan, 3.0]), "1 of 3 weights .* row 2"),
        (sky(epoch=[57388.0] * 3), "Epochs of stars.ecsv go from 57388 to 57388; decimal years"),
        (sky(epoch=["now"] * 3), "'now'.* is no decimal year"),
    ],
)  # fmt: skip
def test_reference_catalogues_that_are_wrong(written, table, message):
    with pytest.raises(InputError, match=message):
        read_reference_catalog(written(table))


# Proper motions


def with_motion(written, **columns):
    given = {"epoch": [2016.0, 2016.0, 2010.0], "pmra": [1000.0, -500.0, 0.0], "pmdec": [0.0, 200.0, 300.0]}
    return read_reference_catalog(written(sky(**(given | columns)), f"motion{len(columns)}.ecsv"))


def test_stars_move(written):
    table = with_motion(written)
    before = table.copy()
    moved = at_epoch(table, 2024.0)
    years = 2024 - np.array([2016, 2016, 2010])
    east = (moved["RA"] - table["RA"]) * np.cos(np.radians(table["DEC"])) / MAS
    north = (moved["DEC"] - table["DEC"]) / MAS
    np.testing.assert_allclose(east, table["pmra"] * years, atol=0.05)
    np.testing.assert_allclose(north, table["pmdec"] * years, atol=0.05)
    np.testing.assert_array_equal(np.asarray(moved["epoch"]), [2024.0] * 3)
    assert moved.meta["epoch"] == 2024.0
    assert moved.meta["motion"] == "to 2024.0000"
    assert all(np.array_equal(np.asarray(table[n]), np.asarray(before[n])) for n in table.colnames), "the table given is as it was"
    back = at_epoch(at_epoch(table, 2030.0), 2016.0)
    np.testing.assert_allclose(back["RA"][:2], table["RA"][:2], atol=0.01 * MAS)


def test_motion_over_the_pole_and_the_zero_of_ra():
    table = Table({"RA": [0.0, 10.0], "DEC": [0.0, 89.9999], "epoch": [2016.0] * 2, "pmra": [-1000.0, 0.0], "pmdec": [0.0, 1e4]})
    moved = at_epoch(table, 2026.0)
    assert moved["RA"][0] == pytest.approx(360 - 1e4 * MAS, abs=0.01 * MAS)
    assert moved["RA"][1] == pytest.approx(190)
    assert moved["DEC"][1] == pytest.approx(180 - 89.9999 - 1e5 * MAS, abs=0.1 * MAS)


def test_stars_whose_motion_is_not_known_stay(written):
    table = with_motion(written, pmra=[1000.0, np.nan, 0.0])
    moved = at_epoch(table, 2024.0)
    assert (moved["RA"][1], moved["DEC"][1], moved["epoch"][1]) == (150.2, 2.2, 2016.0)
    assert moved["RA"][0] > table["RA"][0]
    assert moved.meta["motion"] == "to 2024.0000; 1 of 3 stars without proper motion or epoch stay"
    still = at_epoch(with_motion(written, pmra=[np.nan] * 3, pmdec=[np.nan] * 3), 2024.0)
    assert still.meta["motion"].endswith("3 of 3 stars without proper motion or epoch stay")


@pytest.mark.parametrize(
    ("lacking", "message"),
    [(["epoch"], "no epoch"), (["pmra", "pmdec"], "no proper motions"), (["epoch", "pmra", "pmdec"], "no epoch and no proper motions")],
)
def test_catalogues_that_cannot_be_moved(written, lacking, message):
    table = with_motion(written)
    table.remove_columns(lacking)
    same = at_epoch(table, 2024.0)
    np.testing.assert_array_equal(np.asarray(same["RA"]), np.asarray(table["RA"]))
    assert re.fullmatch(f"none: the catalogue has {message}", same.meta["motion"])
    assert same.meta["epoch"] == table.meta["epoch"]


def test_years_that_are_none(written):
    with pytest.raises(ParameterError, match="decimal year"):
        at_epoch(with_motion(written), 59000.0)
