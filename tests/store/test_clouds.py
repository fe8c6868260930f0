"""Google's and Azure's storage, signed in through gcsfs and adlfs, on emulators.

They run with ``make test-clouds``, which gets the emulators; elsewhere they are
skipped and say what is missing.
"""

from __future__ import annotations

import fsspec
import numpy as np
import pytest

from napari_omezarr import read_layers, write_image
from napari_omezarr.browsing import Listing
from napari_omezarr.errors import (
    AccessDeniedError,
    NodeNotFoundError,
    SignInNeededError,
    TargetExistsError,
)
from napari_omezarr.location import Location
from servers import clouds

PIXELS = np.random.default_rng(0).integers(0, 999, (2, 6, 60, 80)).astype("u2")


@pytest.fixture(scope="module")
def google():
    if clouds.MISSING_GOOGLE:
        pytest.skip(clouds.MISSING_GOOGLE)
    with clouds.google_storage() as address:
        yield address


@pytest.fixture(scope="module")
def azure(tmp_path_factory):
    if clouds.MISSING_AZURE:
        pytest.skip(clouds.MISSING_AZURE)
    with clouds.azure_storage(tmp_path_factory.mktemp("azure")) as address:
        yield address


@pytest.fixture(params=["gs", "az"])
def cloud(request, monkeypatch):
    """The address of a bucket, in an environment that is signed in there."""
    address = request.getfixturevalue({"gs": "google", "az": "azure"}[request.param])
    fsspec.get_filesystem_class(request.param).clear_instance_cache()
    if request.param == "gs":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address.rstrip("/"))
    else:
        sign_in = clouds.connection_string(address)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", sign_in)
        fsspec.filesystem("az").mkdir(clouds.BUCKET)
    return f"{request.param}://{clouds.BUCKET}"


def test_what_is_written_is_what_is_read(cloud):
    address = f"{cloud}/written a+b.ome.zarr"
    write_image(PIXELS, address, axes="czyx")
    for channel, (data, _, _) in enumerate(read_layers(address)):
        np.testing.assert_array_equal(np.asarray(data), PIXELS[channel])
    with pytest.raises(TargetExistsError):
        write_image(PIXELS, address, axes="czyx")


def test_an_image_is_one_row_of_its_bucket(cloud):
    write_image(PIXELS, f"{cloud}/rows/one.zarr", axes="czyx")
    page = Listing(Location.parse(f"{cloud}/rows")).more().result(30)
    assert [entry.name for entry in page.entries] == ["one.zarr"]


def test_what_is_listed_is_what_is_there_now(cloud):
    for count in (1, 2):
        write_image(PIXELS[0], f"{cloud}/now/{count}.zarr", axes="zyx")
        page = Listing(Location.parse(f"{cloud}/now")).more().result(30)
        assert len(page.entries) == count


def test_nothing_there_is_no_refusal(cloud):
    with pytest.raises(NodeNotFoundError):
        read_layers(f"{cloud}/nothing.zarr")


def test_a_wrong_key_is_said_and_not_shown(azure, monkeypatch):
    fsspec.get_filesystem_class("az").clear_instance_cache()
    sign_in = clouds.connection_string(azure, clouds.WRONG_KEY)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", sign_in)
    with pytest.raises(AccessDeniedError) as raised:
        read_layers(f"az://{clouds.BUCKET}/a.zarr")
    assert clouds.WRONG_KEY not in repr(raised.getrepr())


@pytest.mark.skipif(bool(clouds.MISSING_AZURE), reason=clouds.MISSING_AZURE or "there")
def test_without_an_account_azure_says_how_to_name_it():
    fsspec.get_filesystem_class("az").clear_instance_cache()
    with pytest.raises(SignInNeededError, match="which account"):
        read_layers(f"az://{clouds.BUCKET}/a.zarr")
