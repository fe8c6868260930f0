"""Plans are values: what they say can be checked without writing anything."""

from __future__ import annotations

import itertools
import math

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.errors import LossError, OptionError, UnsupportedDataError
from napari_omezarr.metadata import Affine, Axis
from napari_omezarr.pyramid import coarser_box
from napari_omezarr.writing import WriteOptions, plan_write, write_image, write_layers
from napari_omezarr.writing.chunking import (
    CHUNK_BYTES,
    LevelPlan,
    write_passes,
)
from napari_omezarr.writing.plan import plan_layers

TYPES = {"t": "time", "c": "channel"}


def layer(shape, names, dtype="uint16", scale=None, kind="image", **options):
    """A layer whose pixels nobody could hold in memory."""
    data = da.zeros(shape, dtype=dtype, chunks=[min(size, 64) for size in shape])
    placed = {"axis_labels": tuple(names), "scale": scale or (1.0,) * len(shape)}
    return data, {"name": "one", **placed, **options}, kind


def plan(*layers, object_store=False, **choices):
    options = WriteOptions(**choices)
    return plan_layers(layers, "many", options, object_store=object_store)


def test_levels_go_on_until_no_side_is_longer_than_256():
    image = plan(layer((2000, 3000), "yx")).images[0]
    assert [level.shape for level in image.levels] == [
        (2000, 3000), (1000, 1500), (500, 750), (250, 375), (125, 188),
    ]  # fmt: skip


def test_a_small_image_has_one_level():
    assert len(plan(layer((256, 256), "yx")).images[0].levels) == 1


def test_z_waits_until_the_voxel_is_about_as_fine_there():
    image = plan(layer((64, 1024, 1024), "zyx", scale=(2, 0.5, 0.5))).images[0]
    assert [level.factors for level in image.levels] == [
        (1, 1, 1), (1, 2, 2), (1, 4, 4),
    ]  # fmt: skip
    deeper = plan(layer((64, 1024, 1024), "zyx", scale=(2, 0.5, 0.5)), levels=4)
    assert deeper.images[0].levels[-1].factors == (2, 8, 8)


def test_time_and_channels_are_never_shrunk():
    image = plan(layer((40, 3, 20, 900, 900), "tczyx")).images[0]
    assert {level.shape[:2] for level in image.levels} == {(40, 3)}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "names", "scale"),
    [
        ((4000, 4000), "yx", (1, 1)),
        ((300, 2000, 2000), "zyx", (1, 1, 1)),
        ((300, 2000, 2000), "zyx", (5, 1, 1)),
        ((90, 2, 30, 1000, 1000), "tczyx", (1, 1, 1, 1, 1)),
    ],
)
def test_chunks_are_about_a_megabyte(shape, names, scale, dtype):
    level = plan(layer(shape, names, dtype, scale)).images[0].levels[0]
    size = math.prod(level.chunks) * np.dtype(dtype).itemsize
    assert CHUNK_BYTES / 2 <= size <= CHUNK_BYTES


def test_planes_of_a_coarse_stack_are_chunks_of_their_own():
    flat = plan(layer((300, 2000, 2000), "zyx", scale=(5, 1, 1))).images[0]
    cube = plan(layer((300, 2000, 2000), "zyx", scale=(1, 1, 1))).images[0]
    assert flat.levels[0].chunks[0] == 1
    assert min(cube.levels[0].chunks) >= 64
    asked = plan(layer((300, 2000, 2000), "zyx"), layout="plane").images[0]
    assert asked.levels[0].chunks[0] == 1


def test_shards_only_where_an_object_store_would_hold_many_objects():
    many = layer((600, 4000, 4000), "zyx")
    few = layer((60, 1000, 1000), "zyx")
    assert plan(many).images[0].levels[0].shards is None
    assert plan(few, object_store=True).images[0].levels[0].shards is None
    sharded = plan(many, object_store=True)
    assert sharded.images[0].levels[0].shards is not None
    assert sharded.objects < plan(many).objects / 7
    old = plan(many, object_store=True, version="0.4").images[0]
    assert old.levels[0].shards is None


def test_shards_are_whole_chunks_at_every_level():
    image = plan(layer((500, 900, 3100), "zyx"), shards=True).images[0]
    assert image.levels[0].shards
    for level in image.levels:
        unit = level.shards or level.chunks
        parts = [s // c for s, c in zip(unit, level.chunks, strict=True)]
        whole = zip(unit, level.chunks, strict=True)
        assert all(shard % chunk == 0 for shard, chunk in whole)
        # A shard of one chunk would be a chunk with an index behind it.
        assert (math.prod(parts) > 1) == (level.shards is not None)
        assert level.shards or level.objects == 1


def size(level, itemsize=2):
    return math.prod(level.unit) * itemsize


@pytest.mark.parametrize("object_store", [False, True])
@pytest.mark.parametrize(
    ("shape", "names", "scale"),
    [
        ((2000, 2048, 2048), "zyx", (2, 0.4, 0.4)),
        ((50000, 64, 64), "tyx", (1, 1, 1)),
        ((400, 3, 40, 512, 512), "tczyx", (1, 1, 4, 1, 1)),
        ((300, 1500, 1500), "zyx", (1, 1, 1)),
        ((90, 6, 100, 100), "tcyx", (1, 1, 1, 1)),
    ],
)
def test_objects_of_every_level_are_of_a_sensible_size(
    shape, names, scale, object_store
):
    found = plan(layer(shape, names, scale=scale), object_store=object_store)
    for level in found.images[0].levels:
        whole = math.prod(level.shape) * 2
        assert size(level) >= min(2**17, whole / 4)
        assert level.objects <= max(4, 8 * whole / 2**20)
    counts = [level.objects for level in found.images[0].levels]
    assert found.objects_by_level == tuple(counts)
    if len(counts) > 1:
        rest = found.objects - sum(counts)
        each = " + ".join(f"{count:,}" for count in counts)
        assert f"({each} by level and {rest:,} of metadata)" in found.summary()


def test_shards_are_proposed_where_a_disk_would_get_very_many_files():
    many = plan(layer((900, 4000, 4000), "zyx"))
    assert any("shards" in note for note in many.notes)
    assert not plan(layer((900, 4000, 4000), "zyx"), shards=False).notes
    old = plan(layer((900, 4000, 4000), "zyx"), version="0.4")
    assert any("version 0.5" in note for note in old.notes)
    assert not plan(layer((60, 1000, 1000), "zyx")).notes


def test_sizes_can_be_given_by_name_or_in_order():
    ours = layer((100, 2000, 2000), "zyx")
    named = plan(ours, chunks={"z": 10}, shards={"z": 20, "y": 1024, "x": 1024})
    assert named.images[0].levels[0].chunks[0] == 10
    assert named.images[0].levels[0].shards[0] == 20
    listed = plan(ours, chunks=(8, 128, 128), factors=(1, 4, 4))
    assert listed.images[0].levels[0].chunks == (8, 128, 128)
    assert listed.images[0].levels[1].shape == (100, 500, 500)


@pytest.mark.parametrize(
    "choices",
    [
        {"version": "0.3"},
        {"chunks": (0, 1, 1)},
        {"chunks": (5, 5)},
        {"version": "0.4", "shards": True},
        {"chunks": {"x": 100}, "shards": {"x": 250}},
        {"codec": "zip"},
        {"codec": "gzip", "level": 40},
        {"codec": "none", "level": 1},
        {"levels": 0},
        {"label_method": "mean"},
        {"image_method": "mode"},
        {"existing": "maybe"},
        {"workers": 0},
        {"colour": "red"},
    ],
)
def test_choices_that_cannot_be_are_refused_before_anything_happens(choices, tmp_path):
    with pytest.raises(OptionError):
        plan_write([layer((9, 300, 300), "zyx")], tmp_path / "a.zarr", **choices)


@pytest.mark.parametrize("dtype", ["complex64", "U5", "longdouble", "datetime64[s]"])
def test_pixels_that_ome_zarr_cannot_show_are_refused(dtype):
    array = np.zeros((4, 4), dtype)
    with pytest.raises(UnsupportedDataError, match="cannot be saved"):
        plan((array, {"name": "odd"}, "image"))


def test_nothing_to_save_is_said():
    with pytest.raises(OptionError, match="no image"):
        plan()
    with pytest.raises(OptionError, match="no pixels"):
        plan((np.zeros((0, 5)), {"name": "empty"}, "image"))


def test_vectors_are_said_not_dropped(tmp_path):
    vectors = (np.zeros((3, 2, 2)), {"name": "arrows"}, "vectors")
    found = plan(layer((9, 9), "yx"), vectors)
    assert "arrows is left out" in found.losses[0]
    with pytest.raises(LossError, match="arrows"):
        write_layers([layer((9, 9), "yx"), vectors], tmp_path / "a.zarr")
    assert list(tmp_path.iterdir()) == []


def test_rotation_is_a_loss_up_to_0_5_and_none_in_0_6():
    turned = layer((9, 9), "yx", rotate=30)
    assert "rotation" in plan(turned, version="0.5").losses[0]
    assert plan(turned, version="0.6").losses == ()
    flat = plan(turned, version="0.4", accept_losses=True).images[0]
    assert flat.levels[0].affine.is_diagonal


def test_layers_on_one_grid_become_channels_in_order():
    one = layer((4, 9, 9), "zyx", scale=(2, 1, 1))
    found = plan(one, (*one[:1], {**one[1], "name": "two"}, "image"))
    spec = found.images[0].spec
    assert [display.name for display in spec.displays] == ["one", "two"]
    assert [axis.name for axis in spec.axes] == ["c", "z", "y", "x"]
    assert found.images[0].levels[0].affine.scale == (1, 2, 1, 1)


def test_channels_stand_behind_time():
    one = layer((4, 9, 9), "tyx")
    assert [a.name for a in plan(one, one).images[0].spec.axes] == list("tcyx")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (layer((5, 9, 9), "zyx"), "5 x 9 x 9"),
        (layer((4, 9, 9), "zyx", dtype="uint8"), "uint8"),
        (layer((4, 9, 9), "zyx", scale=(2, 1, 1)), "pixel sizes"),
        (layer((4, 9, 9), "tyx"), "names or units"),
        (layer((4, 9, 9), "cyx"), "channels of its own"),
    ],
)
def test_what_cannot_be_merged_becomes_an_image_and_says_why(other, reason):
    found = plan(layer((4, 9, 9), "zyx"), other)
    assert found.collection
    assert reason in found.images[1].reason
    assert any(reason in note for note in found.notes)


def test_labels_join_the_image_whose_grid_they_have():
    small = layer((9, 9), "yx")
    large = layer((20, 30), "yx")
    labels = layer((20, 30), "yx", "int32", kind="labels")
    found = plan(small, large, labels)
    assert [image.path for image in found.images] == ["0", "1", "1/labels/one"]
    elsewhere = layer((7, 7), "yx", "int32", kind="labels")
    assert plan(small, elsewhere).images[1].reason


def test_labels_have_as_many_levels_as_their_image():
    image = layer((3, 900, 700), "cyx")
    labels = layer((900, 700), "yx", "int8", kind="labels")
    both = plan(image, labels).images
    assert [lv.shape[1:] for lv in both[0].levels] == [
        lv.shape for lv in both[1].levels
    ]
    assert [lv.affine.scale[1:] for lv in both[0].levels] == [
        lv.affine.scale for lv in both[1].levels
    ]


def test_axes_are_put_in_the_order_of_the_specification():
    found = plan(layer((7, 8, 9, 10), "zytx", scale=(2, 3, 4, 5))).images[0]
    assert [axis.name for axis in found.spec.axes] == list("tzyx")
    assert found.spec.shape == (9, 7, 8, 10)
    assert found.levels[0].affine.scale == (4, 2, 3, 5)
    assert "order" in found.spec.notes[0]


def test_more_axes_than_the_specification_allows_are_said():
    found = plan(layer((2, 2, 2, 2, 8, 8), "abtzyx"))
    assert any("other programs" in note for note in found.notes)


def test_the_summary_is_one_line_with_the_numbers():
    text = plan(layer((100, 2000, 2000), "zyx")).summary()
    assert "objects" in text
    assert "MB" in text
    assert "levels" in text


def test_the_digest_names_what_decides_on_stored_bytes():
    ours = layer((100, 500, 500), "zyx")
    digest = plan(ours).digest
    assert plan(ours).digest == digest
    named = plan((ours[0], {**ours[1], "name": "other"}, "image"))
    assert named.digest == digest
    for choices in ({"level": 7}, {"chunks": (1, 100, 100)}, {"image_method": "max"}):
        assert plan(ours, **choices).digest != digest


def test_memory_does_not_grow_with_the_image():
    small = plan(layer((200, 1000, 1000), "zyx"))
    huge = plan(layer((20, 4000, 50000, 50000), "tzyx"))
    assert huge.memory <= 2 * small.memory
    assert huge.memory <= WriteOptions().memory * 1.1
    assert huge.blocks > 10000 * small.blocks


@st.composite
def images(draw):
    """Shapes, chunks, shards and factors of every odd kind, with little memory."""
    ndim = draw(st.integers(2, 5))
    names = "tczyx"[-ndim:]
    shape = tuple(draw(st.integers(1, 70)) for _ in names)
    chunks = {name: draw(st.integers(1, 20)) for name in names}
    times = {name: draw(st.integers(1, 3)) for name in names}
    clipped = {n: min(chunks[n], s) for n, s in zip(names, shape, strict=True)}
    shards = {name: clipped[name] * times[name] for name in names}
    factors = {name: draw(st.integers(1, 3)) for name in names}
    factors["x"] = max(2, factors["x"])
    return (
        layer(shape, names),
        {
            "chunks": chunks,
            "shards": draw(st.sampled_from([None, shards])),
            "factors": factors,
            "levels": draw(st.integers(1, 4)),
            "memory": draw(st.sampled_from([1, 10**4, 10**6, 10**9])),
        },
    )


@settings(max_examples=60, deadline=None)
@given(images())
def test_no_two_blocks_touch_the_same_object_and_together_they_are_all(case):
    ours, choices = case
    image = plan(ours, **choices).images[0]
    for write_pass in image.passes:
        blocks = list(itertools.islice(write_pass.blocks(), 3000))
        for level in image.levels[write_pass.first : write_pass.last + 1]:
            seen, volume = set(), 0
            for block in blocks:
                bounds = block
                for finer in image.levels[
                    write_pass.first : image.levels.index(level) + 1
                ]:
                    bounds = coarser_box(bounds, finer.step, finer.shape)
                volume += math.prod(stop - start for start, stop in bounds)
                touched = set(
                    itertools.product(
                        *(
                            range(start // unit, -(-stop // unit))
                            for (start, stop), unit in zip(
                                bounds, level.unit, strict=True
                            )
                        )
                    )
                )
                assert not touched & seen
                seen |= touched
            if len(blocks) == write_pass.count:
                assert volume == math.prod(level.shape)
    assert [each.first for each in image.passes[1:]] == [
        each.last + 1 for each in image.passes[:-1]
    ]
    assert image.passes[-1].last == len(image.levels) - 1


@settings(deadline=None)
@given(st.lists(st.sampled_from([1, 2, 3]), min_size=2, max_size=3), st.integers(0, 50))
def test_a_coarse_pixel_lies_at_the_mean_of_its_finer_pixels(factors, index):
    finest = Affine.from_translation([7.0] * len(factors)) @ Affine.from_scale(
        [0.5] * len(factors)
    )
    coarse = finest.coarser(factors)
    finer = np.array([[index * f, index * f + f - 1] for f in factors]).mean(axis=1)
    np.testing.assert_allclose(coarse([index] * len(factors)), finest(finer))


def test_blocks_are_whole_chunks_of_the_source_where_that_fits():
    level = LevelPlan(
        "0", (100, 800), (10, 100), None, (1, 1), (1, 1), Affine.identity(2)
    )
    write_pass = write_passes([level], 2, 10**8, (1, 400))[0]
    assert write_pass.block[1] % 400 == 0


def test_axes_know_their_types():
    found = plan(
        layer((2, 3, 8, 8), ("time", "c", "y", "x"), units=("s", "", "um", "um"))
    )
    assert found.images[0].spec.axes == (
        Axis("time", "time", "second"),
        Axis("c", "channel"),
        Axis("y", "space", "micrometer"),
        Axis("x", "space", "micrometer"),
    )


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ({"chunks": np.int64(8)}, {"chunks": 8}),
        ({"chunks": np.array([1, 8, 8])}, {"chunks": [1, 8, 8]}),
        ({"shards": np.int16(16), "chunks": 8}, {"shards": 16, "chunks": 8}),
        ({"levels": np.int64(2)}, {"levels": 2}),
        ({"codec": "zstd", "level": np.int8(3)}, {"codec": "zstd", "level": 3}),
        ({"factors": np.array([1, 2, 2])}, {"factors": [1, 2, 2]}),
        ({"chunks": {"y": np.int64(8)}}, {"chunks": {"y": 8}}),
        ({"scale": np.array([1, 2, 3])}, {"scale": [1, 2, 3]}),
        ({"translation": np.float32(2)}, {"translation": 2}),
        ({"units": np.array(["nm"] * 3)}, {"units": ["nm"] * 3}),
        ({"axes": np.array(list("zyx"))}, {"axes": "zyx"}),
        ({"version": 0.4}, {"version": "0.4"}),
    ],
)
def test_numbers_and_lists_of_numpy_are_as_those_of_python(tmp_path, said, plain):
    pixels = np.arange(768, dtype="u2").reshape(3, 16, 16)
    for name, options in (("numpy", said), ("python", plain)):
        saved = write_image(
            pixels, tmp_path / f"{name}.zarr", **{"axes": "zyx", **options}
        )
        assert len(repr(saved)) < 300  # it is what a notebook shows
    stored = []
    for root in (tmp_path / "numpy.zarr", tmp_path / "python.zarr"):
        files = [file for file in root.rglob("*") if file.is_file()]
        stored.append({file.relative_to(root): file.read_bytes() for file in files})
    metadata, others = stored
    assert [*map(str, metadata)] == [*map(str, others)]
    for file, body in metadata.items():
        assert body.replace(b"numpy", b"python") == others[file], file
