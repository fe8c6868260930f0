"""What can be done with a row: links as seen, tables, copies; by keyboard and mouse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pytest
import qtpy
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QObject, Qt, Slot
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QFileDialog

from browser_steps import go, quiet, row, rows, settled, shown_browser
from gui_steps import until
from napari_omezarr.browsing import Copied, CopyProgress, Viewer
from napari_omezarr.demo.server import OWNER
from napari_omezarr.location import Location
from napari_omezarr.widgets.browser.controls import PlaceLine
from napari_omezarr.widgets.browser.forms import CopyForm, TableForm, join_features
from napari_omezarr.widgets.qt_async import app_events, pending
from napari_omezarr.widgets.transfers import copied_text, progress_text
from servers.faults import Stalled
from servers.proxy import Proxy, before_buckets
from small_images import pixels, put_image, put_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot
    from qtpy.QtCore import QUrl

    from napari_omezarr.demo.server import S3Server
    from napari_omezarr.widgets.browser.browser import Browser
    from servers.http import FileServer

ROOT = "test-actions"
PLANTED = "pl4nted-s3cret"


class Opened(QObject):
    """The links that a browser was asked to open."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    @Slot("QUrl")
    def take(self, url: QUrl) -> None:
        self.links.append(bytes(url.toEncoded()).decode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    put_image(folder / "embryo.zarr", "0.5")
    put_labels(folder / "embryo.zarr", "0.5", cells=pixels((4, 16, 24)))
    (folder / "cells.tsv").write_text("label_id\tarea\n1\t10\n7\t70\n")
    return folder


@pytest.fixture(scope="module")
def proxy(s3_server, folder: Path) -> Iterator[Proxy]:
    with before_buckets(s3_server, folder, ROOT) as proxy:
        yield proxy


@pytest.fixture
def links() -> Iterator[list[str]]:
    opened = Opened()
    for scheme in ("http", "https"):
        # The two bindings spell it differently.
        slot = (opened, "take") if qtpy.PYSIDE6 else (opened.take,)
        QDesktopServices.setUrlHandler(scheme, *slot)
    yield opened.links
    for scheme in ("http", "https"):
        QDesktopServices.unsetUrlHandler(scheme)


@pytest.fixture
def model() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def browser(qtbot: QtBot, model: ViewerModel, proxy: Proxy) -> Iterator[Browser]:
    proxy.clear()
    browser = shown_browser(qtbot, model)
    go(qtbot, browser, f"s3+{proxy.url}/public/{ROOT}|anonymous:true")
    browser.tree.choose(row(browser, "embryo.zarr"))
    settled(qtbot, browser)
    yield browser
    quiet(qtbot)


def action(browser: Browser, menu: str, text: str) -> Any:
    menus = {
        "copy": browser.row_actions.copy_menu,
        "more": browser.buttons.more_menu,
        "web": browser.row_actions.share.menu,
    }
    return next(a for a in menus[menu].actions() if a.text() == text)


def press(qtbot: QtBot, browser: Browser, menu: str, text: str) -> None:
    action(browser, menu, text).trigger()
    until(qtbot, lambda: not browser.details.busy)
    settled(qtbot, browser)


def clipboard() -> str:
    return QApplication.clipboard().text()


@pytest.mark.parametrize(
    "name", ["ome-ngff-validator", "vizarr", "neuroglancer", "itk-vtk-viewer"]
)
def test_a_public_image_opens_in_a_web_viewer(
    browser: Browser, qtbot: QtBot, proxy: Proxy, links: list[str], name: str
) -> None:
    press(qtbot, browser, "web", name)
    (link,) = links
    assert link.startswith(Viewer(name).address)
    assert f"{proxy.url}/public/{ROOT}/embryo.zarr" in unquote(link)
    assert browser.status.label.text().startswith("Opened in the browser.")
    assert not browser.errors.isVisible()


def test_links_show_what_one_sees(
    browser: Browser, qtbot: QtBot, model: ViewerModel, links: list[str]
) -> None:
    press(qtbot, browser, "copy", "Link to neuroglancer, with this view")
    assert "embryo.zarr is not open in napari." in browser.errors.sentence.text()
    browser.row_actions.open.trigger()
    until(qtbot, lambda: len(model.layers) == 3)
    settled(qtbot, browser)
    camera = model.scene.camera
    camera.center, camera.zoom = (0, 3, 5), 8
    model.dims.set_point(0, 1.0)
    first = model.layers[0]
    first.contrast_limits, first.colormap = (20, 120), "red"
    model.layers[1].visible = False
    press(qtbot, browser, "copy", "Link to neuroglancer, with this view")
    state = json.loads(unquote(clipboard().partition("#!")[2]))
    names = list(state["dimensions"])
    assert dict(zip(names, state["position"], strict=True)) == pytest.approx(
        {"x": 5, "y": 3, "z": 1}
    )
    assert state["dimensions"]["x"] == [1e-6, "m"]
    assert state["crossSectionScale"] == pytest.approx(1 / 8)
    one, two, cells = state["layers"]
    assert one["shaderControls"]["contrast"]["range"] == [20, 120]
    assert one["shaderControls"]["color"] == "#ff0000"
    assert (one["localDimensions"], one["localPosition"]) == ({"c'": [1, ""]}, [0])
    assert (one["visible"], two["visible"]) == (True, False)
    assert cells["source"] == f"{one['source']}labels/cells/"
    press(qtbot, browser, "web", "vizarr, with this view")
    said = parse_qs(urlsplit(links[0]).query)
    # vizarr puts the corner of a pixel where its centre is.
    assert json.loads(said["viewState"][0]) == {"zoom": 3.0, "target": [5.25, 3.25]}
    matrix = json.loads(said["model_matrix"][0])
    assert (matrix[0], matrix[3], matrix[5], matrix[7]) == (0.5, 0, 0.5, 0)


def test_links_show_the_plane_and_the_layers_that_one_sees(
    browser: Browser, qtbot: QtBot, model: ViewerModel
) -> None:
    browser.row_actions.open.trigger()
    until(qtbot, lambda: len(model.layers) == 3)
    settled(qtbot, browser)
    # The axes of the image come last where another layer has more.
    model.add_image(np.zeros((2, 2, 2, 2)))
    first, _, cells = model.layers[:3]
    first.colormap, first.contrast_limits = "gray_r", (20, 120)
    cells.visible = False
    model.dims.order = (0, 2, 1, 3)

    def state() -> Any:
        press(qtbot, browser, "copy", "Link to neuroglancer, with this view")
        return json.loads(unquote(clipboard().partition("#!")[2]))

    found = state()
    assert found["displayDimensions"] == ["x", "z", "y"]
    one, _ = found["layers"]
    assert one["shaderControls"] == {
        "contrast": {"range": [120, 20]},
        "color": "#ffffff",
    }
    model.dims.ndisplay = 3
    assert state()["layout"] == "3d"


def test_a_private_image_gets_no_link(
    browser: Browser,
    qtbot: QtBot,
    proxy: Proxy,
    links: list[str],
    owner: None,
) -> None:
    go(qtbot, browser, f"s3+{proxy.url}/private/{ROOT}/embryo.zarr")
    press(qtbot, browser, "web", "vizarr")
    assert links == []
    assert "is not public: it asks for a sign-in" in browser.errors.sentence.text()
    press(qtbot, browser, "copy", "Python")
    assert "embryo.zarr" in clipboard()
    assert OWNER.secret not in clipboard()


def test_a_signed_link_opens_one_object_and_no_image(
    browser: Browser, qtbot: QtBot, proxy: Proxy, folder: Path, owner: None
) -> None:
    go(qtbot, browser, f"s3+{proxy.url}/private/{ROOT}")
    browser.tree.choose(row(browser, "embryo.zarr"))
    assert not action(browser, "copy", "Signed link, for an hour").isEnabled()
    browser.buttons.show_files.setChecked(True)
    settled(qtbot, browser)
    browser.tree.choose(row(browser, "cells.tsv"))
    assert not action(browser, "copy", "Link to vizarr, with this view").isEnabled()
    press(qtbot, browser, "copy", "Signed link, for an hour")
    with urlopen(clipboard(), timeout=30) as answer:
        assert answer.read() == (folder / "cells.tsv").read_bytes()
    signature = parse_qs(urlsplit(clipboard()).query)["X-Amz-Signature"][0]
    shown = (browser.status.label.text(), browser.header.address.text())
    assert not [text for text in shown if signature in text or OWNER.secret in text]


def test_a_public_object_needs_no_signature(browser: Browser, qtbot: QtBot) -> None:
    browser.buttons.show_files.setChecked(True)
    settled(qtbot, browser)
    browser.tree.choose(row(browser, "cells.tsv"))
    press(qtbot, browser, "copy", "Signed link, for an hour")
    assert "Nobody signs in" in browser.errors.sentence.text()


def test_the_panel_is_turned_to_a_closer_look(browser: Browser, qtbot: QtBot) -> None:
    details = browser.details
    for text, pane in (
        ("Validate", details.validation),
        ("Raw metadata", details.metadata),
        ("View a chunk, speed test", details.chunk),
    ):
        press(qtbot, browser, "more", text)
        assert pane.isVisible()
    assert details.metadata.text.toPlainText()


def form(browser: Browser, kind: type[Any]) -> Any:
    return browser.findChildren(kind)[-1]


def test_a_table_goes_to_the_labels_that_it_is_about(
    browser: Browser, qtbot: QtBot, model: ViewerModel, proxy: Proxy
) -> None:
    data = np.array([[1, 7], [7, 0]])
    features = pd.DataFrame({"index": [7, 9], "kind": ["a", "b"], "area": [0, 0]})
    model.add_layer(Labels(data, name="others"))
    model.add_layer(Labels(data, name="cells", features=features))
    press(qtbot, browser, "more", "Labels table…")
    table: TableForm = form(browser, TableForm)
    assert table.layer.currentText() == "cells"
    address = f"s3+{proxy.url}/public/{ROOT}/cells.tsv|anonymous:true"
    qtbot.keyClicks(table.place.line, address)
    qtbot.keyClick(table.place.line, Qt.Key.Key_Return)
    until(qtbot, lambda: not table.busy)
    # Enter looks first, and adds nothing.
    assert table.message.text().startswith("2 rows, 2 columns.")
    assert list(model.layers["cells"].features.columns) == ["index", "kind", "area"]
    shown = table.preview.model()
    texts = [[shown.index(r, c).data() for c in range(2)] for r in range(2)]
    assert texts == [["1", "10"], ["7", "70"]]
    assert table.preview.rowHeight(0) > table.fontMetrics().height() + 4
    qtbot.keyClick(table.place.line, Qt.Key.Key_Return)
    assert table.message.text() == "Added 1 column about 2 labels to cells."
    assert table.column.currentText() == "label_id"
    got = model.layers["cells"].features.set_index("index")
    assert list(got.columns) == ["kind", "area"]
    assert got.loc[7, "area"] == 70
    assert got.loc[7, "kind"] == "a"
    assert got.loc[1, "area"] == 10
    assert len(model.layers["others"].features.columns) == 0
    table.close()


@pytest.fixture
def table(qtbot: QtBot, model: ViewerModel) -> TableForm:
    model.add_layer(Labels(np.array([[3, 5]]), name="cells"))
    form = TableForm(model, Location.parse)
    form.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    qtbot.addWidget(form)
    form.show()
    return form


def added(qtbot: QtBot, table: TableForm, path: Path | str) -> str:
    table.place.take_chosen(str(path))
    table.add_button.click()
    until(qtbot, lambda: not table.busy)
    if "Add takes" in table.message.text():
        table.add_button.click()
    return table.message.text()


def test_the_column_of_the_labels_is_chosen_where_no_name_tells(
    qtbot: QtBot, model: ViewerModel, table: TableForm, tmp_path: Path
) -> None:
    file = tmp_path / "t.csv"
    file.write_text("row,nucleus,area\n1,3,0.5\n2,5,0.7\n")
    assert added(qtbot, table, file).startswith("Choose the column")
    table.column.setCurrentText("nucleus")
    table.add_button.click()
    assert list(model.layers[0].features["index"]) == [3, 5]
    assert list(model.layers[0].features["area"]) == [0.5, 0.7]


def test_columns_are_chosen_by_their_titles(
    qtbot: QtBot, model: ViewerModel, table: TableForm, tmp_path: Path
) -> None:
    file = tmp_path / "t.csv"
    file.write_text("label,area,round,kind\n3,0.51234567,0.7,a\n5,2,1,b\n")
    table.place.take_chosen(str(file))
    table.add_button.click()
    until(qtbot, lambda: not table.busy)
    assert table.preview.model().index(0, 1).data() == "0.512346"
    table.preview.selectColumn(2)
    table.add_button.click()
    assert list(model.layers[0].features.columns) == ["index", "round"]
    # Another address is looked at anew.
    table.place.take_chosen(str(tmp_path / "other.csv"))
    assert table.preview.isHidden()
    assert table.add_button.text() == "&Look"


def test_a_table_that_does_not_fit_says_why(
    qtbot: QtBot, model: ViewerModel, table: TableForm, tmp_path: Path
) -> None:
    (tmp_path / "names.tsv").write_text("name\tarea\na\t0.5\n")
    said = added(qtbot, table, tmp_path / "names.tsv")
    assert said == "✖ No column of this table holds whole numbers."
    table.add_button.click()
    assert "does not say which label a row is about" in table.message.text()
    assert added(qtbot, table, tmp_path / "none.csv").startswith("✖ There is no")
    assert added(qtbot, table, "ftp://no.where/t.csv").startswith("✖")
    model.layers.clear()
    (tmp_path / "t.csv").write_text("label,area\n1,3\n")
    said = added(qtbot, table, tmp_path / "t.csv")
    assert said == "✖ There is no layer of labels. Open one first."
    assert "no layer of labels" in TableForm(model, Location.parse).message.text()


@pytest.mark.parametrize("ending", ["tsv", "csv", "parquet"])
def test_a_table_comes_from_this_computer_the_web_or_a_bucket(
    qtbot: QtBot,
    model: ViewerModel,
    table: TableForm,
    proxy: Proxy,
    s3_server: S3Server,
    http_server: FileServer,
    tmp_path: Path,
    ending: str,
) -> None:
    file = tmp_path / f"measured.{ending}"
    frame = pd.DataFrame({"label": [3, 5], "area": [0.5, 0.7], "kind": ["a", "b"]})
    if ending == "parquet":
        frame.to_parquet(file)
    else:
        frame.to_csv(file, sep="," if ending == "csv" else "\t", index=False)
    s3_server.put(f"public/{ROOT}/{file.name}", file.read_bytes())
    for place in (
        str(file),
        f"{http_server.url}/{file.name}",
        f"s3+{proxy.url}/public/{ROOT}/{file.name}|anonymous:true",
    ):
        model.layers[0].features = {}
        said = added(qtbot, table, place)
        assert said == "Added 2 columns about 2 labels to cells."
        got = model.layers[0].features.set_index("index")
        assert list(got.loc[5]) == [0.7, "b"]


def test_features_are_joined_by_the_label() -> None:
    before = pd.DataFrame({"index": [1, 2], "area": [5, 6]})
    after = join_features(before, {"index": np.array([2, 3, 3]), "area": [60, 7, 8]})
    assert list(after["index"]) == [1, 2, 3]
    assert list(after["area"])[1:] == [60, 7]
    assert np.isnan(after["area"][0])
    fresh = join_features(pd.DataFrame(), {"index": np.array([1]), "area": [5]})
    assert fresh.to_dict("list") == {"index": [1], "area": [5]}


@pytest.fixture
def copying(qtbot: QtBot) -> Iterator[Callable[..., CopyForm]]:
    def show(**options: Any) -> CopyForm:
        made = CopyForm(Location.parse, **options)
        made.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        qtbot.addWidget(made)
        made.show()
        return made

    yield show
    until(qtbot, lambda: not pending)


def files(folder: Path) -> dict[str, bytes]:
    every = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in every}


def test_an_image_is_downloaded_byte_for_byte_and_resumed(
    browser: Browser, qtbot: QtBot, proxy: Proxy, folder: Path, tmp_path: Path
) -> None:
    press(qtbot, browser, "more", "Download…")
    copy: CopyForm = form(browser, CopyForm)
    assert copy.source.line.text().endswith("embryo.zarr")
    assert "anonymous" not in copy.source.line.text()
    copy.target.take_chosen(str(tmp_path))
    assert copy.target.line.text() == f"{tmp_path}/embryo.zarr"
    proxy.fault("*/0/c/0/0/1/*", Stalled(), forever=True)
    copy.start_button.click()
    # Sixteen go at a time, so some of them are there while others stall.
    until(qtbot, lambda: list(tmp_path.rglob("c/0/*")))
    until(qtbot, lambda: any("/0/c/0/0/1/" in r.path for r in proxy.requests))
    assert copy.cancel_button.text() == "Cancel"
    qtbot.keyClick(copy, Qt.Key.Key_Escape)
    assert copy.isVisible()
    assert copy.message.text().startswith("Cancelled.")
    proxy.clear()
    proxy.release()
    until(qtbot, lambda: not pending)
    assert not (tmp_path / "embryo.zarr" / "zarr.json").exists()
    assert copy.start_button.text() == "&Resume"
    qtbot.keyClick(copy.start_button, Qt.Key.Key_Space)
    until(qtbot, lambda: not copy.busy)
    assert copy.message.text().startswith("Copied ")
    assert files(tmp_path / "embryo.zarr") == files(folder / "embryo.zarr")
    copy.close()


def test_a_folder_is_uploaded_to_where_one_is(
    browser: Browser,
    qtbot: QtBot,
    folder: Path,
    proxy: Proxy,
    owner: None,
    s3_prefix: str,
    tmp_path: Path,
    copying: Callable[..., CopyForm],
) -> None:
    place = Location.parse(f"s3+{proxy.url}/private/{s3_prefix}")
    up = copying(folder=place)
    up.source.take_chosen(str(folder / "embryo.zarr"))
    assert up.target.line.text() == (place / "embryo.zarr").display
    up.start_button.click()
    until(qtbot, lambda: not up.busy)
    assert up.message.text().startswith("Copied "), up.message.text()
    across = copying(source=place / "embryo.zarr")
    across.target.set_place(place / "second.zarr")
    across.copy()
    until(qtbot, lambda: not across.busy)
    down = copying(source=place / "second.zarr")
    down.target.line.set_address(str(tmp_path / "back.zarr"))
    down.copy()
    until(qtbot, lambda: not down.busy)
    assert files(tmp_path / "back.zarr") == files(folder / "embryo.zarr")
    down.copy()
    until(qtbot, lambda: not down.busy)
    assert down.message.text().startswith("✖ Something is already at ")


def test_the_dock_uploads_into_the_place_that_it_shows(
    browser: Browser, qtbot: QtBot
) -> None:
    press(qtbot, browser, "more", "Upload here…")
    copy: CopyForm = form(browser, CopyForm)
    assert copy.source.line.text() == ""
    copy.source.take_chosen("/data/new.zarr")
    assert copy.target.line.text().endswith(f"/public/{ROOT}/new.zarr")
    assert copy.target.place().anonymous
    copy.start_button.click()
    until(qtbot, lambda: not copy.busy)
    assert copy.message.text().startswith("✖")
    copy.close()


def test_what_was_written_appears_among_the_rows(
    browser: Browser,
    qtbot: QtBot,
    copying: Callable[..., CopyForm],
    folder: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "below" / "deep").mkdir(parents=True)
    go(qtbot, browser, str(tmp_path))
    below = row(browser, "below")
    browser.tree.expand(below)
    browser.tree.choose(below)
    settled(qtbot, browser)
    assert rows(browser, below) == ["deep"]
    for target in (tmp_path / "below" / "new.zarr", tmp_path / "new.zarr"):
        copy = copying(source=Location.parse(folder / "embryo.zarr"))
        copy.target.take_chosen(str(target))
        copy.copy()
        until(qtbot, lambda copy=copy: not copy.busy)
        settled(qtbot, browser)
        if target.parent != tmp_path:
            assert rows(browser, below) == ["deep", "new.zarr"]
            assert rows(browser) == ["below"]
    assert rows(browser) == ["below", "new.zarr"]
    # The row that was chosen still is; elsewhere nothing is asked for.
    assert browser.tree.entry is not None
    assert browser.tree.entry.name == "below"
    app_events().written.emit("s3://elsewhere/new.zarr")
    assert not browser.tree.rows.busy


def test_what_is_no_address_is_said_and_no_signature_is_shown(
    copying: Callable[..., CopyForm],
) -> None:
    signed = Location.parse(
        f"https://host.org/a.zarr?X-Amz-Signature={PLANTED}&X-Amz-Credential=k"
    )
    copy = copying(source=signed)
    assert PLANTED not in copy.source.line.text()
    assert copy.source.place() == signed
    copy.target.line.set_address("ftp://no.where")
    copy.copy()
    assert copy.message.text().startswith("✖")
    assert PLANTED not in copy.message.text()
    assert not copy.busy


def test_words_of_a_copy(tmp_path: Path) -> None:
    known = progress_text(CopyProgress(2, 10, 1_000_000, 4_000_000), 2.0)
    assert known == "1 MB of 4 MB, 500 kB/s, 2 of 10 objects"
    assert progress_text(CopyProgress(2, 10, 5000, 0), 0.0) == "2 of 10 objects, 5 kB"
    done = Copied(Location.parse(str(tmp_path)), 3, 1000, 7)
    assert copied_text(done).endswith(f"to {tmp_path}; 7 there from before.")


@pytest.mark.parametrize("folders", [True, False])
def test_places_of_this_computer_are_chosen(
    qtbot: QtBot, tmp_path: Path, folders: bool
) -> None:
    line = PlaceLine("From", Location.parse, folders=folders)
    qtbot.addWidget(line)
    line.show()
    line.browse.click()
    dialog = line.findChild(QFileDialog)
    modes = QFileDialog.FileMode
    assert dialog.fileMode() == (modes.Directory if folders else modes.ExistingFile)
    with qtbot.waitSignal(line.chosen, timeout=60_000):
        dialog.fileSelected.emit(str(tmp_path))
    dialog.close()
    assert line.place() == Location.parse(str(tmp_path))


def test_without_a_viewer_there_are_no_labels_and_no_view(
    qtbot: QtBot, proxy: Proxy
) -> None:
    browser = shown_browser(qtbot)
    go(qtbot, browser, f"s3+{proxy.url}/public/{ROOT}/embryo.zarr|anonymous:true")
    for menu, text, said in (
        ("more", "Labels table…", "There is no viewer with labels."),
        ("copy", "Link to vizarr, with this view", "is not open in napari."),
    ):
        press(qtbot, browser, menu, text)
        assert said in browser.errors.sentence.text()
    browser.stop()
    settled(qtbot, browser)
