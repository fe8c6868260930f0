"""What signs in at Google's and Azure's storage is told to nobody, at no door."""

from __future__ import annotations

import logging
import traceback
from contextlib import contextmanager

import numpy as np
import pytest
from fsspec.config import conf

import napari_omezarr
from napari_omezarr import errors
from napari_omezarr.browsing import Listing
from napari_omezarr.browsing.share import python_snippet, s3_address
from napari_omezarr.location import Location, without_secrets
from napari_omezarr.store import open_store
from quick_retries import PIXELS, QUICK
from servers import faults
from servers.azure import BOX, SAS, SECRETS, AzureAccount
from servers.google import GoogleStorage, google_error

TOKEN = "PLANTED-T0KEN"


@contextmanager
def at_google(monkeypatch):
    with GoogleStorage() as server:
        server.tokens = {TOKEN: "rwl"}
        told = {"token": TOKEN, "endpoint_url": server.url, "project": "p"}
        monkeypatch.setitem(conf, "gs", told)
        yield server, server.place("a b.zarr"), google_error(403, "forbidden", TOKEN)


@contextmanager
def at_azure(monkeypatch, **how):
    with AzureAccount() as server:
        said = server.connection_string(**how)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", said)
        refusal = faults.s3_error(403, "AuthenticationFailed", Detail=said)
        yield server, f"az://{BOX}/a b.zarr", refusal


def save(address):
    napari_omezarr.write_image(PIXELS, address, axes="yx")


@pytest.mark.parametrize("how", ["google", "key", "signature", "link"])
def test_no_secret_is_told(how, monkeypatch, caplog, capfd, configuration):
    caplog.set_level(logging.DEBUG)
    signs = {"sas": SAS} if how == "signature" else {}
    at = at_google if how == "google" else at_azure
    with at(monkeypatch, **signs) as (server, address, refusal):
        save(address)
        if how == "link":
            address, account = f"{address}?{SAS}", f"BlobEndpoint={server.endpoint}/"
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account)
        place = Location.parse(address)
        layers = napari_omezarr.read_layers(address)
        np.testing.assert_array_equal(np.asarray(layers[0][0]), PIXELS)
        store = open_store(place, retry=QUICK)
        rows = Listing(place.parent).more().result(60).entries
        shown = [layers, napari_omezarr.open(address), rows, store, store.notes, place]
        shown += [without_secrets(place), s3_address(place), python_snippet(place)]
        shown += [napari_omezarr.read(address)]
        server.fault("*", refusal, forever=True)
        for work in (napari_omezarr.read_layers, save):
            with pytest.raises((errors.StoreError, errors.OptionError)) as caught:
                work(address)
            shown.append("".join(traceback.format_exception(caught.value)))
    shown += [caplog.text, *capfd.readouterr()]
    files = [file for file in configuration.rglob("*") if file.is_file()]
    told = repr(shown)
    told += "".join(file.read_text(errors="replace") + str(file) for file in files)
    assert not [secret for secret in (*SECRETS, TOKEN) if secret in told]
