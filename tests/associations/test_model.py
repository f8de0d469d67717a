"""Association files."""

import json

import pytest

from jwnb import associations
from jwnb.errors import InputError, MissingFileError

LEVEL2 = {
    "asn_type": "image2",
    "asn_pool": "pool.csv",
    "products": [
        {"name": "a", "members": [{"expname": "a_rate.fits", "exptype": "SCIENCE"}, {"expname": "b_rate.fits", "exptype": "background"}]},
        {"members": [{"expname": "c_rate.fits", "exptype": "science"}]},
    ],
}


def test_json_and_yaml(tmp_path):
    for name, text in (
        ("x_asn.json", json.dumps(LEVEL2)),
        ("x_asn.yaml", "asn_type: image2\nproducts:\n- name: a\n  members:\n  - {expname: a_rate.fits, exptype: science}\n"),
    ):
        path = tmp_path / name
        path.write_text(text)
        asn = associations.load(path)
        assert asn.kind == "image2"
        assert asn.products[0].name == "a"
        assert asn.products[0].of("science") == [tmp_path / "a_rate.fits"]


def test_roles_are_lower_case_and_a_name_is_found(tmp_path):
    path = tmp_path / "x_asn.json"
    path.write_text(json.dumps(LEVEL2))
    asn = associations.load(path)
    assert asn.products[0].of("background") == [tmp_path / "b_rate.fits"]
    assert asn.products[1].name == "c_rate"
    assert asn.pool == "pool.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "no products"),
        ("[1, 2]", "no products"),
        ('{"products": [{"name": "a"}]}', "needs members"),
        ('{"products": [{"name": "a", "members": [{"expname": "b", "exptype": "psf"}]}]}', "no science member"),
        ("a: [b", "neither JSON nor YAML"),
    ],
)
def test_files_that_are_no_association(tmp_path, text, message):
    path = tmp_path / "x_asn.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        associations.load(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(MissingFileError):
        associations.load(tmp_path / "none_asn.json")


def test_catalogues_to_align_with(tmp_path):
    members = [
        {"expname": "a_cal.fits", "exptype": "science", "tweakreg_catalog": "a.ecsv"},
        {"expname": "b_cal.fits", "exptype": "science"},
    ]
    (tmp_path / "asn.json").write_text(json.dumps({"asn_id": "a3001", "products": [{"name": "p", "members": members}]}))
    asn = associations.load(tmp_path / "asn.json")
    assert [m.tweakreg_catalog for m in asn.products[0].members] == [tmp_path / "a.ecsv", None]
    assert asn.identifier == "a3001"
