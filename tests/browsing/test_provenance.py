"""Licence and description, wherever somebody wrote them."""

from __future__ import annotations

import json

import pytest

from napari_omezarr.browsing import describe
from napari_omezarr.browsing.details import CRATE, Provenance, licence_name, provenance
from napari_omezarr.location import Location
from small_images import put_image

BY = "https://creativecommons.org/licenses/by/4.0/"


def crate(*nodes, about="./"):
    head = {"@id": CRATE, "about": {"@id": about}}
    return json.dumps({"@graph": [head, *nodes]}).encode()


@pytest.mark.parametrize(
    ("attributes", "document", "licence", "description"),
    [
        ({}, None, "", ""),
        (
            {"license": BY, "description": "An  egg\n"},
            None,
            "CC BY 4.0",
            "An egg",
        ),
        ({"ome": {"multiscales": [{"description": "A cell"}]}}, None, "", "A cell"),
        ({"multiscales": [{"metadata": {"description": "By mean"}}]}, None, "", ""),
        ({"multiscales": [{"rights": "ours"}]}, None, "ours", ""),
        ({"multiscales": "odd", "ome": 5, "license": {"a": 1}}, b"{", "", ""),
        ({}, b"[1]", "", ""),
        ({}, crate({"@id": "./", "license": BY, "description": "X"}), "CC BY 4.0", "X"),
        (
            {},
            crate(
                {"@id": "root", "license": [{"@id": "#mine"}]},
                {"@id": "#mine", "name": "My licence"},
                about="root",
            ),
            "My licence",
            "",
        ),
        ({"licence": "own"}, crate({"@id": "./", "license": BY}), "own", ""),
        ({}, crate({"@id": "./", "license": {"@id": BY}}), "CC BY 4.0", ""),
    ],
)
def test_what_is_said_is_found(attributes, document, licence, description):
    assert provenance(attributes, document) == Provenance(licence, description)


def test_licences_have_short_names():
    zero = "http://creativecommons.org/publicdomain/zero/1.0/"
    assert licence_name(zero) == "CC0 1.0"
    assert licence_name(BY.replace("by", "by-nc-sa")) == "CC BY-NC-SA 4.0"
    assert licence_name("MIT") == "MIT"


def test_an_image_is_described_with_its_crate(tmp_path):
    put_image(tmp_path / "x.zarr", "0.5")
    node = {"@id": "./", "license": {"@id": BY}, "description": "Cells"}
    (tmp_path / "x.zarr" / CRATE).write_bytes(crate(node))
    found = describe(Location.parse(tmp_path / "x.zarr"))
    assert (found.licence, found.description) == ("CC BY 4.0", "Cells")
