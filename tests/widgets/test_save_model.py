"""What the save dock understands and says, without a window."""

from __future__ import annotations

import os

import numpy as np
import pytest

from napari_omezarr.errors import OptionError
from napari_omezarr.location import Location
from napari_omezarr.widgets.background_save import (
    SavePreview,
    SaveRequest,
    preview_save,
)
from napari_omezarr.widgets.save_model import (
    SaveAction,
    confirmation,
    options_of,
    plan_text,
    progress_text,
    remember,
    remembered,
    roles,
    stored_text,
    target_state,
    warnings_text,
)
from napari_omezarr.writing import Progress, StoredSize, plan_write, write_image

DATA = np.zeros((4, 30, 40), np.uint8)
NAMES = {"axis_labels": ("z", "y", "x")}


def layer(name, kind="image", data=DATA, **options):
    return data, {"name": name, **NAMES, **options}, kind


@pytest.mark.parametrize(
    ("field", "text", "option"),
    [
        ("chunks", "auto", None),
        ("chunks", "", None),
        ("chunks", "1 64 256 256", (1, 64, 256, 256)),
        ("chunks", "1, 64x256 x 256", (1, 64, 256, 256)),
        ("chunks", "z=1 x=256", {"z": 1, "x": 256}),
        ("shards", "none", False),
        ("levels", " 3 ", 3),
        ("levels", "auto", None),
        ("level", "-2", -2),
        ("units", "z=um, y=um", {"z": "um", "y": "um"}),
        ("axis_names", "", None),
        ("name", "  ", None),
        ("codec", "auto", None),
        ("version", "0.4", "0.4"),
        ("merge", False, False),
    ],
)
def test_texts_become_options(field, text, option):
    wanted = {} if option is None else {field: option}
    assert options_of({field: text}) == wanted


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("chunks", "big"),
        ("chunks", "z=1 256"),
        ("levels", "two"),
        ("units", "um"),
        ("factors", "1.5 2"),
    ],
)
def test_what_is_not_understood_is_said(field, text):
    with pytest.raises(OptionError) as caught:
        options_of({field: text})
    assert caught.value.action


def test_choices_are_remembered(configuration):
    assert remembered() == {}
    remember({"version": "0.4", "folder": "s3://b/x"})
    assert remembered() == {"version": "0.4", "folder": "s3://b/x"}
    (configuration / "save.json").write_text("broken")
    assert remembered() == {}


def test_each_layer_is_told_its_role():
    layers = [layer("a"), layer("b"), layer("big", data=np.zeros((4, 9, 9), np.uint8))]
    layers += [layer("cells", "labels"), layer("odd", "labels", data=DATA[:, :9, :7])]
    plan = plan_write(layers, "/x/embryo.ome.zarr")
    found = roles(plan)
    assert found["a"] == "channel 0 of embryo"
    assert found["b"] == "channel 1 of embryo"
    assert found["big"] == "image: it is 4 x 9 x 9 and not 4 x 30 x 40"
    assert found["cells"] == "labels of embryo"
    assert found["odd"].startswith("labels alone: odd is 4 x 9 x 7")


def test_a_plan_is_said_in_one_line():
    plan = plan_write([layer("a")], "/x/a.zarr", chunks=(1, 10, 10), shards=(2, 20, 20))
    text = plan_text(plan)
    assert text.endswith("1 level · 0.5, sharded, zstd")
    assert f"{plan.objects:,} objects · about" in text


def test_too_many_objects_are_warned_of():
    huge = np.broadcast_to(np.uint8(0), (4000, 1000, 1000))
    plan = plan_write([layer("a", data=huge)], "/x/a.zarr", chunks=(1, 64, 64))
    assert "slow to store" in warnings_text(plan)
    assert not warnings_text(plan_write([layer("a")], "/x/a.zarr"))


def test_progress_has_a_rate_and_the_time_left():
    first, now = Progress(10, 110, 10**6, 11 * 10**6), Progress(60, 110, 6 * 10**6, 0)
    assert progress_text(now, first, 10.0) == "54 % · 500 kB/s · 0:10 left"
    assert progress_text(first, first, 0.0) == "9 %"
    begun = Progress(10, 110, 3 * 10**6, 11 * 10**6)
    assert progress_text(begun, first, 4.0) == "24 % · 500 kB/s · 0:20 left"
    assert progress_text(now, first, 40000.0).endswith("11:06:40 left")
    again = Progress(61, 110, 6 * 10**6, 0)
    assert progress_text(again, now, 1.0) == "55 % · 0:49 left"


def test_what_is_stored_is_counted():
    assert stored_text(StoredSize(1, 999)) == "1 object, 999 bytes"
    assert stored_text(StoredSize(1204, 2_100_000_000)) == "1,204 objects, 2.1 GB"


def asked(tmp_path, layers, name="a.ome.zarr", in_use=(), **options):
    address = str(tmp_path / name) if name else ""
    return preview_save(SaveRequest(tuple(layers), address, options, frozenset(in_use)))


@pytest.mark.skipif(os.name != "posix", reason="needs a folder that is no folder")
def test_a_place_is_free_only_if_something_could_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    told = {
        name: target_state(asked(tmp_path, [layer("a")], name=name))
        for name in ("n" * 260 + ".zarr", "file/a.ome.zarr")
    }
    assert [state.free for state in told.values()] == [False, False]
    assert all(state.text.startswith("✖ ") for state in told.values())
    assert "longer name" in next(iter(told.values())).text
    deep = asked(tmp_path, [layer("a")], name="not/there/yet/a.zarr")
    assert target_state(deep).free
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_free_place_and_an_image_there(tmp_path):
    from napari_omezarr import write_layers

    found = asked(tmp_path, [layer("a")])
    assert target_state(found).free
    assert not target_state(asked(tmp_path, [layer("a")], name="")).text
    write_layers([layer("a")], tmp_path / "a.ome.zarr")
    state = target_state(asked(tmp_path, [layer("a")]))
    assert state.actions == (SaveAction.REPLACE, SaveAction.BESIDE)
    assert state.text.startswith("✖ exists: ")
    labels = target_state(asked(tmp_path, [layer("cells", "labels")]))
    assert labels.actions == (
        SaveAction.ADD_LABELS,
        SaveAction.REPLACE,
        SaveAction.BESIDE,
    )
    sure = confirmation(asked(tmp_path, [layer("a")]))
    assert "This removes" in sure.text
    assert str(tmp_path) in sure.text
    assert sure.actions == (SaveAction.CONFIRM_REPLACE, SaveAction.KEEP)


def test_what_an_open_layer_reads_is_never_offered_to_be_replaced(tmp_path):
    from napari_omezarr import read_layers, write_layers

    place = tmp_path / "a.ome.zarr"
    write_layers([layer("a")], place)
    for state in (
        target_state(asked(tmp_path, read_layers(place))),
        target_state(asked(tmp_path, [layer("b")], in_use=[str(place)])),
    ):
        assert "being read" in state.text
        assert state.actions == (SaveAction.BESIDE,)
    cells = [layer("cells", "labels")]
    state = target_state(asked(tmp_path, cells, in_use=[str(place)]))
    assert state.actions == (SaveAction.ADD_LABELS, SaveAction.BESIDE)


def test_what_adding_labels_comes_to_is_said_before(tmp_path):
    from napari_omezarr import write_layers

    place = tmp_path / "a.ome.zarr"
    write_layers([layer("a")], place, levels=2)
    cells = [layer("cells", "labels")]
    for in_use in ([], [str(place)]):
        state = target_state(asked(tmp_path, cells, in_use=in_use))
        assert "Adding the labels to it: 5 objects (1 + 1 by level" in state.text
    data, options, kind = layer("cells", "labels")
    state = target_state(asked(tmp_path, [(data[..., :-3], options, kind)]))
    assert "These labels do not fit the image" in state.text
    assert SaveAction.ADD_LABELS not in state.actions


@pytest.mark.parametrize(
    ("name", "layers", "options", "said"),
    [
        ("a.ozx", [layer("a")], {"version": "0.4"}, "zip file holds"),
        ("a.zarr", [layer("a", data=DATA.astype(complex))], {}, "complex128"),
        ("a.zarr", [layer("a")], {"chunks": (1, 2)}, "do not fit the 3 axes"),
        ("a.zarr", [layer("a")], {"version": "0.4", "shards": True}, "no shards"),
    ],
)
def test_what_cannot_be_saved_is_said(tmp_path, name, layers, options, said):
    found = asked(tmp_path, layers, name, **options)
    assert found.plan is None
    assert said in found.problem
    assert target_state(found).text == f"✖ {found.problem}"


def test_a_place_that_is_no_zarr_is_said(tmp_path):
    (tmp_path / "a.ome.zarr").mkdir()
    (tmp_path / "a.ome.zarr" / "thesis.txt").touch()
    state = target_state(asked(tmp_path, [layer("a")]))
    assert "no OME-Zarr" in state.text
    assert state.actions == ()
    assert target_state(SavePreview()).text == ""


def test_the_name_that_an_image_gets_is_said_where_it_is_another(tmp_path):
    """An existing folder that is typed is not where it goes, but what it is called."""
    (tmp_path / "data").mkdir()
    typed = asked(tmp_path, [layer("a")], name="data")
    assert target_state(typed).text == "✔ data.ome.zarr is free"
    write_image(np.ones((4, 4), np.uint8), tmp_path / "data.ome.zarr", "yx")
    typed = asked(tmp_path, [layer("a")], name="data")
    assert target_state(typed).text.startswith("✖ data.ome.zarr exists: ")
    named = asked(tmp_path, [layer("a")], name="b.ome.zarr")
    assert target_state(named).text == "✔ free"


def test_a_replacement_that_broke_off_can_only_be_finished(tmp_path):
    place = Location.parse(tmp_path / "a.ome.zarr")
    plan = asked(tmp_path, [layer("a")]).plan
    broken_off = SavePreview(plan, place, unfinished=True)
    assert target_state(broken_off).actions == (SaveAction.RESUME, SaveAction.REMOVE)
    switching = SavePreview(plan, place, unfinished=True, switching=True)
    assert target_state(switching).actions == (SaveAction.FINISH,)


def test_a_request_shows_no_secret():
    request = SaveRequest((layer("a"),), "s3://key:hidden@b/x", {}, frozenset())
    assert "hidden" not in repr(request)
