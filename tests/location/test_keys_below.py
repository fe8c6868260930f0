"""No key that others chose names a file outside the folder it is put behind."""

from __future__ import annotations

import ntpath
import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.location import is_below, label_name

PIECES = st.sampled_from(
    ["..", ".", "/", "\\", "a", "0", "C:", "c:", " ", "con", "NUL.txt", "\0", "?", ":s"]
)
ROOTS = {ntpath: "D:\\down\\copy.zarr", posixpath: "/down/copy.zarr"}


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=7).map("".join), st.sampled_from([ntpath, posixpath]))
def test_what_is_below_stays_below_by_the_systems_own_rules(key, system):
    if not is_below(key, windows=system is ntpath):
        return
    root = ROOTS[system]
    path = system.normpath(system.join(root, key))
    assert system.commonpath([root, path]) == root
    assert "\0" not in key


@pytest.mark.parametrize(
    "key",
    [
        *("/etc/passwd", "//etc", "..", "a/../..", "a/..", "..\\b", "a\\..\\..\\b"),
        *("\\\\server\\share\\x", "\\x", "a\0b"),
    ],
)
def test_keys_that_lead_out_of_every_system(key):
    assert not is_below(key, windows=False)
    assert not is_below(key, windows=True)


@pytest.mark.parametrize(
    "key",
    [
        *("C:/x", "C:x", "a/con", "AUX.json", "0/lpt1.txt", "a:stream", "x.", "x "),
        *("a?", "nul ", "com\xb9", "CONIN$", "a|b", "a\tb", "prn .txt"),
    ],
)
def test_keys_that_are_something_else_on_windows(key):
    assert is_below(key, windows=False)
    assert not is_below(key, windows=True)


@pytest.mark.parametrize(
    "key",
    ["", "zarr.json", "0/c/0/0", "0/0.0.0", "a..b/...c", "console", "./x", "a//b"],
)
def test_keys_of_zarr_are_below(key):
    assert is_below(key, windows=False)
    assert is_below(key, windows=True)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("s3://bucket/image.zarr/labels/cells/", "cells"),
        ("C:\\data\\image.zarr\\labels\\cells", "cells"),
        ("labels/cells", "cells"),
        ("s3://bucket/labels/study/image.zarr", ""),
        ("s3://bucket/image.zarr/labels", ""),
        ("labels", ""),
        ("", ""),
    ],
)
def test_a_label_image_is_known_by_the_folder_it_lies_in(address, name):
    assert label_name(address) == name
