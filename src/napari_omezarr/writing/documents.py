"""The documents of a plan: what makes arrays and groups an OME-Zarr image."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from napari_omezarr.location import ARRAY_DOCUMENT, ZATTRS, label_name
from napari_omezarr.metadata import Affine
from napari_omezarr.tables import GROUP

from .annotations import TABLE, lists_of_tables
from .carrying import LABELS, parents
from .encode import ZarrDocument, group_documents, inline, zarr_format
from .plan import level_document
from .rendering import NAPARI, image_label_document, napari_document, omero_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.metadata import Axis

    from .annotations import TablePlan
    from .chunking import LevelPlan
    from .image_spec import ImageSpec
    from .options import Method, Version
    from .plan import ImagePlan, Plan

INTRINSIC = "physical"
"""The system that the levels lead to: pixel sizes in units, no rotation."""
WORLD = "world"
"""The system in which a rotated or sheared image is shown (0.6)."""

_METHODS = {
    "mean": "Each pixel is the mean of the finer pixels it stands for.",
    "nearest": "Each pixel is one of the finer pixels it stands for.",
    "max": "Each pixel is the largest of the finer pixels it stands for.",
    "mode": "Each pixel is the most frequent of the finer pixels it stands for.",
}

OURS = frozenset(
    {
        "version", "multiscales", "omero", "image-label", "labels", "plate", "well",
        "series", "scene", "bioformats2raw.layout",
    }
)  # fmt: skip
"""Keys of OME-Zarr: what is saved says them anew."""
_CREATOR = "_creator"
"""It lies beside those up to 0.4, and among them from 0.5 on."""


# The ``multiscales`` of a group, as each version writes them.


def multiscale_document(  # noqa: PLR0913 - what a multiscale says, by name
    version: Version,
    name: str,
    axes: Sequence[Axis],
    levels: Sequence[LevelPlan],
    method: Method,
    before: Mapping[str, Any] | None = None,
    *,
    is_kept: bool = False,
) -> dict[str, Any]:
    """Describe one image as a pyramid.

    Up to 0.5 only scale and translation can be said, so that each level's affine has
    to be diagonal; 0.6 gets a second system for the rest, and for what is mirrored.
    """
    old = before or {}
    document: dict[str, Any] = {k: v for k, v in old.items() if k not in _SAID_ANEW}
    document["name"] = name
    if version == "0.4":
        document = {"version": version, **document}
    affine = levels[0].affine
    # 0.6: the numbers of a scale have to be above 0 (its schema).
    plain = affine.is_diagonal and (version != "0.6" or min(affine.scale) > 0)
    outer = None if plain else _outer(affine)
    known = _axes_said(old)
    described = [{**known.get(axis.name, {}), **axis_document(axis)} for axis in axes]
    if version == "0.6":
        document |= _systems(described, outer)
    else:
        document["axes"] = described
    finest = (
        affine
        if outer is None
        else Affine.from_scale([abs(size) for size in affine.scale])
    )
    document["datasets"] = [
        dataset_document(version, level.path, finest.coarser(level.factors))
        for level in levels
    ]
    if is_kept:  # its levels are made as they were
        document |= {key: old[key] for key in _OF_LEVELS if key in old}
        return document
    document["type"] = method
    document["metadata"] = {"description": _METHODS[method]}
    return document


_OF_LEVELS = ("type", "metadata")
"""Says how coarser levels are made."""
_SAID_ANEW = frozenset(
    {
        "version", "name", "axes", "datasets", "coordinateTransformations",
        "coordinateSystems", *_OF_LEVELS,
    }
)  # fmt: skip


def _axes_said(multiscale: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Give what a multiscale says of its axes beyond what is said anew, by name."""
    axes: Any = multiscale.get("axes")
    systems = multiscale.get("coordinateSystems")
    if isinstance(systems, list) and systems and isinstance(systems[0], Mapping):
        axes = systems[0].get("axes")
    said = [a for a in axes or () if isinstance(a, Mapping)] if axes else []
    anew = ("name", "type", "unit")
    return {
        str(axis.get("name")): {k: v for k, v in axis.items() if k not in anew}
        for axis in said
    }


def axis_document(axis: Axis) -> dict[str, Any]:
    """Describe an axis; what is not known is left out."""
    document: dict[str, Any] = {"name": axis.name}
    if axis.type:
        document["type"] = axis.type
    if axis.unit and axis.type != "channel":
        document["unit"] = axis.unit
    return document


def _outer(affine: Affine) -> Affine:
    """Give what is left of a map once its pixel sizes are taken out."""
    sizes = Affine.from_scale([abs(size) for size in affine.scale])
    return affine @ sizes.inverse()


def _systems(axes: list[dict[str, Any]], outer: Affine | None) -> dict[str, Any]:
    systems: list[dict[str, Any]] = [{"name": INTRINSIC, "axes": axes}]
    if outer is None:
        return {"coordinateSystems": systems}
    systems.append({"name": WORLD, "axes": axes})
    transform = {
        "type": "affine",
        "affine": [list(row) for row in outer.rows],
        "input": {"name": INTRINSIC},
        "output": {"name": WORLD},
    }
    return {"coordinateSystems": systems, "coordinateTransformations": [transform]}


def dataset_document(version: Version, path: str, affine: Affine) -> dict[str, Any]:
    """Describe a level: a scale, and a translation where there is one."""
    scale = {"type": "scale", "scale": list(affine.scale)}
    steps: list[dict[str, Any]] = [scale]
    if any(affine.translation):
        steps.append({"type": "translation", "translation": list(affine.translation)})
    if version == "0.6":
        steps = [_sequence(path, steps)]
    return {"path": path, "coordinateTransformations": steps}


def _sequence(path: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
    ends = {"input": {"path": path}, "output": {"name": INTRINSIC}}
    if len(steps) == 1:
        return {**steps[0], **ends}
    return {"type": "sequence", "transformations": steps, **ends}


# All documents of a plan, in the order in which they are to be written.


def array_documents(plan: Plan) -> list[ZarrDocument]:
    """Give the documents of all arrays."""
    name = ARRAY_DOCUMENT[zarr_format(plan.options.version)]
    found = []
    for image in plan.images:
        for level in image.levels:
            path, attributes = image.array_path(level), _of_array(image.spec, level)
            content = level_document(plan, image, level)
            if "attributes" in content:
                content["attributes"] = attributes
            elif attributes:
                found.append(ZarrDocument(f"{path}/{ZATTRS}", attributes))
            found.append(ZarrDocument(f"{path}/{name}", content))
    return found


def _of_array(spec: ImageSpec, level: LevelPlan) -> dict[str, Any]:
    """Give the attributes of the array that a level was, if it was one."""
    origin = spec.origin
    if origin is None or list(origin.axes) != [axis.name for axis in spec.axes]:
        return {}
    return dict(origin.arrays.get(level.shape, {}))


def plan_documents(plan: Plan) -> tuple[ZarrDocument, ...]:
    """Give the documents of all arrays, then of groups, the root's last.

    A reader that comes while they are being written finds no image, or a whole
    one: the document that makes a group an image is written after all that it
    speaks of.
    """
    version = plan.options.version
    arrays = array_documents(plan)
    groups: list[ZarrDocument] = []
    groups += lists_of_tables(_lists(plan), version, plan.carried)
    of_labels = {e.image: e.extras[LABELS] for e in plan.carried if LABELS in e.extras}
    # Labels stand behind their image in the plan, and are written before it.
    for image in reversed(plan.images):
        if image.labels or image.path in of_labels:
            kept = of_labels.get(image.path, {})
            groups += _labels_group(image.path, image.labels, version, kept)
        groups += group_documents(image.path, image_attributes(plan, image), version)
    if plan.collection:
        groups += _collection(plan)
    carried = [each for held in plan.carried for each in held.consolidated(version)]
    others = [document for each in plan.tables for document in each.documents]
    others += carried
    above = _undescribed(carried, [*arrays, *groups, *others])
    documents = (*arrays, *(d for p in above for d in group_documents(p, {}, version)))
    documents += tuple(groups)
    if not plan.options.consolidated:
        return documents
    return consolidated(documents, version, others)


def _undescribed(
    carried: Sequence[ZarrDocument], known: Sequence[ZarrDocument]
) -> list[str]:
    """Give the groups above what is carried of which nobody has written a document.

    Without them in consolidated metadata zarr opens nothing at all.
    """
    above = {path for each in carried for path in parents(each.key)}
    return sorted(above - {each.key.rpartition("/")[0] for each in known} - {""})


def _lists(plan: Plan) -> list[TablePlan]:
    """Give the tables of the images that are written; others are listed already."""
    written = {image.path for image in plan.images}
    return [each for each in plan.tables if each.image in written]


def image_attributes(plan: Plan, image: ImagePlan) -> dict[str, Any]:
    """Give the attributes of a group that is an image, or a label image."""
    version = plan.options.version
    spec = image.spec
    original = spec.origin.attributes if spec.origin else {}
    extras = dict(spec.origin.extras) if spec.origin else {}
    block: dict[str, Any] = {
        key: value
        for key, value in original.items()
        if key not in OURS and key not in extras  # up to 0.4 they lie side by side
    }
    multiscale = multiscale_document(
        version,
        _name(spec) or plan.name,
        spec.axes,
        image.levels,
        image.method,
        _only_multiscale(original),
        is_kept=bool(image.kept),
    )
    block["multiscales"] = [multiscale]
    if _CREATOR not in (*block, *extras):  # who made the pixels is kept
        block[_CREATOR] = {"name": "napari-omezarr", "version": package_version()}
    if spec.label is not None:
        inside = bool(label_name(image.path))
        block["image-label"] = image_label_document(
            spec.label, version, _mapping(original, "image-label"), of_image=inside
        )
    else:
        previous = _mapping(original, "omero")
        position = {**spec.position, **(plan.options.position or {})}
        omero = omero_document(spec.displays, previous, spec.planes, position)
        if omero is not None:
            is_said = "version" in omero  # from 0.5 on it stands once, beside all of it
            stated = {"version": version} if is_said and version == "0.4" else {}
            block["omero"] = {k: v for k, v in omero.items() if k != "version"} | stated
    extras.pop(NAPARI, None)
    state = napari_document(spec, image.path, named=plan.collection)
    if image.features is not None and image.features.objects:
        state["labels"] = {**state.get("labels", {}), TABLE: image.features.name}
    beside = [each.name for each in plan.annotations if each.image == image.path]
    if beside:
        state[GROUP] = beside
    if "coordinateTransformations" in multiscale:
        # Others show the intrinsic system; here it comes back where it was.
        state["coordinate_system"] = WORLD
    return namespaced(version, block, extras | ({NAPARI: state} if state else {}))


def parted(attributes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a group's attributes into OME-Zarr's, and those that others added."""
    inner = attributes.get("ome")
    if isinstance(inner, Mapping) and inner:
        others = {key: value for key, value in attributes.items() if key != "ome"}
        return dict(inner), others
    ours = OURS if OURS.isdisjoint(attributes) else OURS | {_CREATOR}
    keys = [key for key in attributes if key in ours]
    others = {key: value for key, value in attributes.items() if key not in keys}
    return {key: attributes[key] for key in keys}, others


def _name(spec: ImageSpec) -> str:
    """Give what an image is called; labels go by their folder, and keep their name."""
    origin = spec.origin
    if spec.label is None or origin is None:
        return spec.name
    is_folder = origin.address.rstrip("/").rpartition("/")[2] == spec.name
    return origin.name if is_folder and origin.name else spec.name


def _only_multiscale(original: Mapping[str, Any]) -> Mapping[str, Any] | None:
    several = original.get("multiscales")
    if not isinstance(several, list) or len(several) != 1:
        return None
    return several[0] if isinstance(several[0], Mapping) else None


@cache
def package_version() -> str:
    """Give our version, as it is installed."""
    try:
        return metadata.version("napari-omezarr")
    except metadata.PackageNotFoundError:  # from a folder of sources
        return "unknown"


def namespaced(
    version: Version, block: Mapping[str, Any], extras: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Put the metadata where a version has them: below ``ome`` from 0.5 on."""
    others = {key: value for key, value in (extras or {}).items() if key != "ome"}
    if version == "0.4":
        return {**others, **block}
    return {**others, "ome": {"version": version, **block}}


def consolidated(
    documents: Sequence[ZarrDocument],
    version: Version,
    others: Sequence[ZarrDocument] = (),
) -> tuple[ZarrDocument, ...]:
    """Put all metadata into the root's document as well: opening is one request.

    Zarr v3 has them in the root's ``zarr.json``, v2 in ``.zmetadata``, which comes
    last: by itself it makes an image visible. ``others`` are written elsewhere.
    """
    if version == "0.4":
        # zarr looks for what is in a group in one go: it has to stand together.
        held = {each.key: each.content for each in (*documents, *others)}
        metadata = dict(sorted(held.items()))
        content = {"zarr_consolidated_format": 1, "metadata": metadata}
        return (*documents, ZarrDocument(".zmetadata", content))
    *below, root = documents
    return (
        *below,
        ZarrDocument(root.key, {**root.content, **inline((*below, *others))}),
    )


def labels_attributes(version: Version, names: Sequence[str]) -> dict[str, Any]:
    """Give the attributes of a ``labels`` group."""
    return namespaced(version, {"labels": list(names)})


def _labels_group(
    path: str, names: Sequence[str], version: Version, others: Mapping[str, Any]
) -> tuple[ZarrDocument, ...]:
    place = f"{path}/labels" if path else "labels"
    attributes = {**others, **labels_attributes(version, names)}
    return group_documents(place, attributes, version)


def _collection(plan: Plan) -> list[ZarrDocument]:
    """Give the groups of several images side by side (0.4, bioformats2raw.layout)."""
    version = plan.options.version
    paths = [image.path for image in plan.images if "/" not in image.path]
    above = [each.extras for each in plan.carried if not each.image]
    kept = {path: said for each in above for path, said in each.items()}
    series = namespaced(version, {"series": paths}, kept.get("OME"))
    layout = namespaced(version, {"bioformats2raw.layout": 3}, kept.get(""))
    return [
        *group_documents("OME", series, version),
        *group_documents("", layout, version),
    ]


def _mapping(attributes: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    value = attributes.get(key)
    return value if isinstance(value, Mapping) else None
