"""Saving to S3 through napari's doors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.utils.notifications import NotificationSeverity
from npe2 import PluginManager
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication

from gui_steps import until
from napari_omezarr import read_layers
from napari_omezarr.demo.server import OWNER, READER
from napari_omezarr.errors import AccessDeniedError, TargetExistsError
from napari_omezarr.widgets.background_save import SaveRequest, preview_save, under_way
from napari_omezarr.widgets.browser.connection_editor import ConnectionEditor
from napari_omezarr.widgets.save_dock import SaveDock
from napari_omezarr.widgets.save_model import SaveAction, target_state

DATA = np.random.default_rng(8).integers(1, 250, (3, 40, 50)).astype(np.uint8)
PLACED = {"scale": (2, 0.5, 0.5), "units": ("um",) * 3, "axis_labels": ("z", "y", "x")}
SECRET = "demo-owner-secret"

pytestmark = pytest.mark.usefixtures("owner")


@pytest.fixture
def bucket(s3_server, s3_prefix, monkeypatch):
    """A prefix on the server, at whose endpoint ``s3://`` leads."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    return f"private/{s3_prefix}"


@pytest.fixture
def filled(viewer):
    PluginManager.instance().discover()
    viewer.add_image(DATA, name="DAPI", contrast_limits=(3, 99), **PLACED)
    viewer.add_labels(DATA // 90, name="cells", **PLACED)
    return viewer


def summary(address):
    return [(kind, options["name"]) for _, options, kind in read_layers(address)]


def in_background(qtbot, notifications, action):
    """Do something as a menu does it, and give the notification at its end."""
    QTimer.singleShot(0, action)
    until(qtbot, lambda: notifications and not under_way)
    return notifications[-1]


BOTH = [("image", "DAPI"), ("labels", "cells")]


def test_layers_are_saved_to_a_bucket_and_never_over_it(
    filled, bucket, qtbot, notifications
):
    address = f"s3://{bucket}/a.ome.zarr"
    assert filled.layers.save(address) == [address]
    assert summary(address) == BOTH
    data, options, _ = read_layers(address)[0]
    np.testing.assert_array_equal(np.asarray(data), DATA)
    assert options["units"] == ("micrometer",) * 3
    with pytest.raises(TargetExistsError):
        filled.layers.save(address)


def test_what_the_dialog_makes_of_the_address_is_saved_there(
    filled, bucket, qtbot, notifications
):
    for number, mangled in enumerate(("s3://", "s3:/")):
        notifications.clear()
        path = f"{Path.cwd()}/{mangled}{bucket}/b{number}.ome.zarr"
        record = in_background(
            qtbot, notifications, lambda p=path: filled.layers.save(p)
        )
        assert record.severity == NotificationSeverity.INFO, record.message
        assert summary(f"s3://{bucket}/b{number}.ome.zarr") == BOTH
    assert not (Path.cwd() / "s3:").exists()


def test_a_key_that_may_only_read_is_said_and_nothing_is_there(
    filled, bucket, qtbot, notifications, monkeypatch
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER.secret)
    address = f"s3://{bucket}/c.ome.zarr"
    layers = (filled.layers[0].as_layer_data_tuple(),)
    looked_at = target_state(
        preview_save(SaveRequest(layers, address, {}, frozenset()))
    )
    assert not looked_at.free  # nothing is there, but nothing can be put there
    assert looked_at.text.startswith("✖ ")
    with pytest.raises(AccessDeniedError) as caught:
        filled.layers.save(address)
    record = in_background(
        qtbot, notifications, lambda: filled.layers.save(f"s3://{bucket}/d.ome.zarr")
    )
    assert record.severity == NotificationSeverity.ERROR
    for text in (str(caught.value), record.message):
        assert bucket in text
        assert SECRET not in text
        assert READER.secret not in text


@pytest.mark.usefixtures("configuration")
def test_who_signs_in_at_a_refusal_saves_there(
    filled, s3_server, s3_prefix, qtbot, notifications, monkeypatch
):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    address = f"s3+{s3_server.endpoint}/private/{s3_prefix}/a.ome.zarr"
    record = in_background(qtbot, notifications, lambda: filled.layers.save(address))
    ((text, sign_in),) = record.actions
    assert text == "Sign in…"
    sign_in()
    (editor,) = filter(is_editor, QApplication.topLevelWidgets())
    qtbot.addWidget(editor)
    form = editor.form
    form.name.value, form.sign_in.value = "Lab", "keys"
    form.access_key.value, form.secret.value = OWNER.key, OWNER.secret
    until(qtbot, lambda: not editor.busy)
    QTimer.singleShot(0, editor.save)
    until(qtbot, lambda: notifications[-1].message.startswith("Saved to"))
    assert summary(f"{address}|profile:Lab") == BOTH


def is_editor(widget):
    return isinstance(widget, ConnectionEditor) and widget.isVisible()


def test_the_dock_saves_replaces_and_opens_in_a_bucket(
    filled, bucket, qtbot, configuration
):
    address = f"s3://{bucket}/e.ome.zarr"
    dock = SaveDock(filled)
    qtbot.addWidget(dock)

    def looked():
        until(qtbot, lambda: not dock.looking and not dock.busy)

    dock.view.target.line.set_address(address)
    looked()
    assert dock.view.target.state.text() == "✔ free"
    qtbot.keyClick(dock.view.target.line, Qt.Key.Key_Return)
    looked()
    assert dock.view.message.text() == f"Saved to {address}."
    dock.view.form["version"].value = "0.4"
    looked()
    assert dock.view.target.state.text().startswith("✖ exists: ")
    dock.view.target.buttons[SaveAction.REPLACE].click()
    assert address in dock.view.target.state.text()
    dock.view.target.buttons[SaveAction.CONFIRM_REPLACE].click()
    looked()
    assert dock.view.message.text() == f"Saved to {address}."
    dock.view.open.click()
    until(qtbot, lambda: len(filled.layers) == 4)
    assert filled.layers[-1].metadata["omezarr"]["version"] == "0.4"
    kept = "".join(f.read_text() for f in configuration.rglob("*") if f.is_file())
    assert f"s3://{bucket}" in kept
    assert SECRET not in kept
