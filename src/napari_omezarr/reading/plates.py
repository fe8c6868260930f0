"""Plates and wells: one lazy mosaic of fields, each found out when it is looked at."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from napari_omezarr.errors import (
    AccessDeniedError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
)
from napari_omezarr.metadata import (
    Image,
    ImageLabel,
    Labels,
    Plate,
    Well,
    parse_document,
    well_key,
    with_wells,
)
from napari_omezarr.pyramid import Level, Pyramid, Resized

from .image import (
    find_levels,
    image_keys,
    make_pyramid,
    open_array,
    open_image,
    open_multiscale,
)
from .nodes import (
    ArrayNode,
    GroupNode,
    array_key,
    ask,
    group_keys,
    join_path,
    kind_of,
    parse_json,
    parse_node,
    primed,
    together,
)
from .plate_fields import UNREADABLE, FieldChoice, field_counts, images_of, misfits
from .plate_layout import PlateToLay, SeenField, Template, mosaics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_omezarr.metadata import Multiscale, PlateWell
    from napari_omezarr.pyramid import Pixels

    from .nodes import Answers, Opening, Questions

_WELLS_TRIED = (1, 2, 8, 64)
"""How many wells are asked at once while none before had an image."""
_REQUESTS = 12
"""How many requests opening a plate over a network may take, whatever its size."""
_NO_WELL = "The plate lists no well in these rows and columns."
_MOST_WELLS = 400
"""How many wells are looked at in advance where that takes no requests."""
_MOST_FIELDS = 1000
_MOST_TOGETHER = 4096
"""Fields that are shown together where nobody says how; of more, one of each well."""
_MOST_LABELS = 8
"""How many label images of a plate are shown."""


# Which wells and fields.


def with_chosen_wells(
    opening: Opening, plate: GroupNode, answers: Answers
) -> GroupNode:
    """Read of a plate with more wells than are shown those that the options name."""
    options = opening.options
    key = group_keys(plate.path, plate.zarr_format)[0]
    body = answers.get(key)
    if options.rows is options.columns is options.wells is None:
        return plate
    if not isinstance(body, bytes):  # of consolidated metadata
        return plate
    rows, columns = (
        None if names is None else {str(name) for name in names}
        for names in (options.rows, options.columns)
    )
    kept = with_wells(body, rows, columns, options.wells or ())
    if kept is None:
        raise OptionError(_NO_WELL, url=opening.location.display)
    found = parse_node(plate.path, {key: kept}, plate.zarr_format)
    return found if isinstance(found, GroupNode) else plate


def chosen_wells(opening: Opening, kind: Plate) -> Plate:
    """Give a plate of the rows, the columns and the wells that the options name.

    Of one that lists more wells than are shown, and of which nothing is chosen, it
    has the rows and the columns of the first ones.
    """
    options = opening.options
    if options.rows is options.columns is options.wells is None:
        return _first_wells(opening, kind) if kind.is_cut else kind
    rows = _named(opening, "row", options.rows, kind.rows)
    columns = _named(opening, "column", options.columns, kind.columns)
    wells = [w for w in kind.wells if w.row in rows and w.column in columns]
    if options.wells is not None:
        wells = _wells_named(opening, kind, wells, options.wells)
        rows = sorted({well.row for well in wells})
        columns = sorted({well.column for well in wells})
    if not wells:
        raise OptionError(_NO_WELL, url=opening.location.display)
    return _with_places(kind, wells, rows, columns)


def _first_wells(opening: Opening, kind: Plate) -> Plate:
    rows = sorted({well.row for well in kind.wells})
    columns = sorted({well.column for well in kind.wells})
    along = [
        f"{names[shown[0]]} to {names[shown[-1]]}"
        for shown, names in ((rows, kind.rows), (columns, kind.columns))
    ]
    opening.warnings.append(
        f"The plate has more wells than are shown at once: these are of rows "
        f"{along[0]}, columns {along[1]}. Choose rows, columns or wells for others."
    )
    return _with_places(kind, kind.wells, rows, columns)


def _with_places(
    kind: Plate,
    wells: Sequence[PlateWell],
    rows: Sequence[int],
    columns: Sequence[int],
) -> Plate:
    """Give a plate of some wells, with these rows and columns alone."""
    if list(rows) == list(range(len(rows))) and list(columns) == [*range(len(columns))]:
        return dataclasses.replace(
            kind,
            rows=kind.rows[: len(rows)],
            columns=kind.columns[: len(columns)],
            wells=tuple(wells),
        )
    down = {number: n for n, number in enumerate(rows)}
    along = {number: n for n, number in enumerate(columns)}
    return dataclasses.replace(
        kind,
        rows=tuple(kind.rows[n] for n in rows),
        columns=tuple(kind.columns[n] for n in columns),
        wells=tuple(
            dataclasses.replace(w, row=down[w.row], column=along[w.column])
            for w in wells
        ),
    )


def _wells_named(
    opening: Opening, kind: Plate, wells: Sequence[PlateWell], names: Sequence[str]
) -> list[PlateWell]:
    """Give the wells of some names, as the plate spells them or as people do."""
    paths = [f"{kind.rows[well.row]}/{kind.columns[well.column]}" for well in wells]
    alike = dict(zip(map(well_key, reversed(paths)), reversed(wells), strict=True))
    spelled = {
        path.replace("/", "").upper(): well
        for path, well in zip(paths, wells, strict=True)
    }
    found = []
    for name in names:
        short = name.replace("/", "").upper()
        well = spelled.get(short) or alike.get(well_key(name))
        if well is None:
            msg = f"The plate lists no well {short}."
            raise OptionError(msg, url=opening.location.display)
        found.append(well)
    return list(dict.fromkeys(found))


def _named(
    opening: Opening, what: str, wanted: Sequence[str] | None, names: Sequence[str]
) -> list[int]:
    if wanted is None:
        return list(range(len(names)))
    for name in wanted:
        if str(name) not in names:
            some = ", ".join(names[:24])
            msg = f"The plate has no {what} {name}; there are: {some}."
            raise OptionError(msg, url=opening.location.display)
    return sorted({names.index(str(name)) for name in wanted})


def chosen_fields(
    opening: Opening, kind: Plate, well: Well, others: Iterable[Well] = ()
) -> tuple[FieldChoice, list[str]]:
    """Decide which fields are shown together, from what the first wells list."""
    options = opening.options
    acquisitions = _acquisitions(opening, kind, well)
    count = max(
        len(images_of(each, number))
        for each in (well, *others)
        for number in acquisitions
    )
    count = max(count, 1, field_counts.get(opening.location.display, 0))
    stepped = len(acquisitions) > 1
    steps = ("acquisition",) if stepped else ()
    wanted, said = options.fields, []
    if wanted is None:
        together = count * len(kind.wells)
        wanted = "all" if together <= _MOST_TOGETHER else "each"
        if wanted == "each" and count > 1:
            said.append(
                f"The plate has about {together:,} fields: one of each well is shown "
                "at a time, with a slider. Choose fields='all' for all of them."
            )
    if wanted in ("all", "grid", "each"):
        fields: tuple[int | str, ...] = tuple(range(count))
        if wanted == "each" and count > 1:
            steps = (*steps, "field")
    elif isinstance(wanted, int):
        if not 0 <= wanted < count:
            msg = f"There is no field {wanted}; wells have {count}."
            raise OptionError(msg, url=opening.location.display)
        fields = (wanted,)
    else:
        fields = (wanted,)
    choice = FieldChoice(
        acquisitions,
        fields,
        steps,
        by_position=wanted == "all",
        is_whole=wanted in ("all", "grid", "each"),
    )
    return choice, said


def _acquisitions(opening: Opening, kind: Plate, well: Well) -> tuple[int | None, ...]:
    """Give the acquisitions that are shown; one that stands for any, if it is alone."""
    named = {a.id: a.name for a in kind.acquisitions}
    seen = [i.acquisition for i in well.images if i.acquisition is not None]
    every = tuple(dict.fromkeys((*named, *seen)))
    wanted = opening.options.acquisition
    if wanted is None:
        return every if len(every) > 1 else (None,)
    for number in every:
        if wanted in (number, named.get(number)):
            return (number,)
    some = ", ".join(str(named.get(n) or n) for n in every) or "none"
    msg = f"There is no acquisition {wanted}; there are: {some}."
    raise OptionError(msg, url=opening.location.display)


# A plate.


def open_plate(
    opening: Opening, group: GroupNode, kind: Plate
) -> Questions[list[Pyramid]]:
    """Open a plate as one mosaic of the fields of its wells, and of their labels.

    Asks for one well, one field and that field's levels, whatever the plate's
    size: every other well is found out when it is looked at, and where it holds
    nothing its place stays 0. Where it takes no request, other wells are looked at
    in advance, and make room for themselves.
    """
    kind = chosen_wells(opening, kind)
    choice, well, template, said = yield from _find_template(opening, group, kind)
    opening.warnings.extend(said)
    places = {(w.row, w.column): w for w in kind.wells}
    below = f"{group.path}/" if group.path else ""
    groups = {p: f"{below}{w.path}" for p, w in places.items()}
    names = {p: w.path for p, w in places.items()}
    place = join_path(group.path, well)
    sides = len(kind.rows), len(kind.columns)
    plate = PlateToLay(choice, groups, names, sides, kind.rows, kind.columns)
    image, *labels = mosaics(opening, template, plate)
    name = kind.name or opening.location.stem
    if opening.options.wells is not None and len(places) == 1:
        name = f"{name} {kind.rows[0]}{kind.columns[0]}"
    image = dataclasses.replace(image, name=name, attributes=group.attributes)
    return [
        dataclasses.replace(
            pyramid,
            warnings=tuple(w.replace(place, "the wells") for w in pyramid.warnings),
        )
        for pyramid in (image, *labels)
    ]


def _find_template(
    opening: Opening, group: GroupNode, kind: Plate
) -> Questions[tuple[FieldChoice, str, Template, Sequence[str]]]:
    """Find one well with an image, and what there is to say of its fields.

    The first one nearly always has it. One that has lost its finest level is taken
    where none of the first ones has it.
    """
    failure: OMEZarrError | None = None
    coarse: tuple[FieldChoice, str, Template, Sequence[str]] | None = None
    held = yield from _near_wells(opening, group, kind)
    known = _wells_listed(held, group.zarr_format)
    begin = 0
    for count in _WELLS_TRIED:
        wells, begin = kind.wells[begin : begin + count], begin + count
        paths = {well.path: join_path(group.path, well.path) for well in wells}
        keys = (key for p in paths.values() for key in group_keys(p, group.zarr_format))
        answers = yield from primed(ask(keys), held)
        for well, path in paths.items():
            try:
                node = parse_node(path, answers, group.zarr_format)
                listed = None if node is None else kind_of(node, path)
                if not isinstance(listed, Well):
                    continue
                known[path] = listed
                choice, said = chosen_fields(opening, kind, listed, known.values())
                template = yield from _field(opening, group, kind, path, known, choice)
            except UNREADABLE as error:
                failure = failure or error
                opening.warnings.append(f"Well {well} cannot be shown. {error}")
                continue
            if template is None:
                continue
            found = choice, well, template, said
            if not template.image.lost_levels:
                return found
            coarse = coarse or found
    if coarse is not None:
        return coarse
    if failure is not None:
        raise failure
    msg = "This plate lists wells, but none of the first ones is there."
    raise NodeNotFoundError(msg, url=opening.location.display)


def _near_wells(opening: Opening, plate: GroupNode, kind: Plate) -> Questions[Answers]:
    """Read the documents of wells, where that takes no requests."""
    if not _is_near(opening):
        return {}
    every = [join_path(plate.path, well.path) for well in kind.wells]
    paths, number = _within(opening, every, 0), plate.zarr_format
    keys = (key for path in paths for key in group_keys(path, number))
    answers = yield from _ask_held(opening, keys)
    return {key: body for key, body in answers.items() if body is not None}


def _wells_listed(answers: Answers, zarr_format: int) -> dict[str, Well]:
    """Give what the wells list whose documents were read; those that can be."""
    paths = dict.fromkeys(key.rpartition("/")[0] for key in answers)
    found = ((path, _listed(path, answers, zarr_format)) for path in paths)
    return {path: well for path, well in found if well is not None}


def _field(
    opening: Opening,
    plate: GroupNode,
    kind: Plate,
    path: str,
    wells: Mapping[str, Well],
    choice: FieldChoice,
) -> Questions[Template | None]:
    """Open the first field of a well that is shown; `wells` are those looked at."""
    step = [0] * len(choice.steps)
    chosen = choice.images(wells[path], step)
    if not chosen:
        return None
    names = {number: image.path for number, image in chosen}
    first = min(names)
    field = join_path(path, names[first])
    answers = yield from ask(image_keys(field, plate.zarr_format))
    group = parse_node(field, answers, plate.zarr_format)
    if not isinstance(group, GroupNode):
        return None
    below = f"{plate.path}/" if plate.path else ""
    every = [f"{below}{each.path}" for each in kind.wells]
    others: Iterable[str] = wells if _is_near(opening) else every
    look = _Look(
        [other for other in others if other != path],
        names[first],
        choice,
        {n: join_path(path, name) for n, name in names.items() if n != first},
        wells,
        _unlike(opening, every),
    )
    return (yield from _template(opening, group, answers, look))


@dataclass(frozen=True, slots=True)
class _Look:
    """Where one looks around: in other wells, and at fields of the same well."""

    groups: Sequence[str]
    field: str  # below each group; empty where the groups are fields
    choice: FieldChoice
    siblings: Mapping[int, str]  # by their numbers
    wells: Mapping[str, Well]  # that were read
    unlike: Sequence[str] = ()  # the fields that had no room before


def _template(
    opening: Opening, group: GroupNode, answers: Answers, look: _Look, name: str = ""
) -> Questions[Template]:
    """Open a field, what its labels are, and a look at others: in one round."""
    kind = kind_of(group, group.path)
    datasets = kind.multiscales[0].datasets if isinstance(kind, Image) else ()
    paths = [dataset.path for dataset in datasets]
    finest = paths[0] if paths else ""
    names = _label_names(opening, group, answers)
    spare = _REQUESTS - opening.store.requests - len(paths) - 2 * len(names)
    presumes = False
    is_short = bool(look.siblings) or spare < 0
    if is_short and not _is_near(opening) and _has_known_steps(opening, kind):
        presumes = True
        spare += len(paths) - 1
    siblings = _some_siblings(opening, look.siblings, spare)
    spare -= len(siblings)
    looked_at = _within(opening, look.groups, spare)
    is_told = _is_near(opening) or spare >= 2 * len(looked_at)
    said = opening.part()
    known: list[SeenField] = []
    beside: dict[int, Multiscale] = {}

    def look_around() -> Questions[None]:
        questions = _look_around(opening, group, looked_at, look, finest, told=is_told)
        known.extend((yield from questions))

    def look_beside() -> Questions[None]:
        found = yield from _ask_images(opening, siblings.values(), group.zarr_format)
        beside.update({n: found[p] for n, p in siblings.items() if p in found})

    parts: list[Questions[Pyramid | None]] = [
        _presumed(opening, group, name)
        if presumes
        else open_multiscale(opening, group, name),
        look_around(),
        look_beside(),
        *(_label(said, group, label, finest) for label in names),
    ]
    image, _, _, *labels = yield from together(parts)
    assert image is not None
    assert isinstance(kind, Image)
    warnings = (*image.warnings, *said.warnings)
    return Template(
        group,
        dataclasses.replace(image, warnings=warnings),
        kind.multiscales[0],
        {n: label for n, label in zip(names, labels, strict=True) if label is not None},
        known,
        beside,
        look.wells,
    )


def _has_known_steps(opening: Opening, kind: object) -> bool:
    """Whether the shapes of coarser levels follow from what a document says."""
    if not isinstance(kind, Image) or opening.options.level is not None:
        return False
    scales = [dataset.affine.scale for dataset in kind.multiscales[0].datasets]
    return (
        all(
            later[-1] > before[-1] > 0 and later[-2] > before[-2] > 0
            for before, later in pairwise(scales)
        )
        and len(scales) > 1
    )


def _presumed(opening: Opening, group: GroupNode, name: str) -> Questions[Pyramid]:
    """Open a field by its finest level; the others are as their scales say."""
    part = dataclasses.replace(
        opening.part(), options=dataclasses.replace(opening.options, level=0)
    )
    document = parse_document(group.attributes, zarr_format=group.zarr_format)
    assert isinstance(document.kind, Image)
    multiscale = document.kind.multiscales[0]
    first = dataclasses.replace(multiscale, datasets=multiscale.datasets[:1])
    first, (finest,) = yield from find_levels(
        part, group.path, first, group.zarr_format
    )
    levels = [finest]
    base = np.asarray(finest.affine.scale)
    for dataset in multiscale.datasets[1:]:
        ratio = base / np.asarray(dataset.affine.scale)
        shape = np.ceil(np.asarray(finest.pixels.shape) * ratio - 1e-3).astype(int)
        pixels = Resized(finest.pixels, tuple(np.maximum(1, shape).tolist()))
        levels.append(Level(dataset.path, pixels, dataset.affine))
    return make_pyramid(part, group, document, first, tuple(levels), name)


def _label_names(opening: Opening, group: GroupNode, answers: Answers) -> list[str]:
    """Give the label images of a field; labels that cannot be read cost themselves."""
    wanted = opening.options.labels
    if wanted is False:
        return []
    path = join_path(group.path, "labels")
    try:
        node = parse_node(path, answers, group.zarr_format)
        kind = None if node is None else kind_of(node, path)
    except AccessDeniedError:  # they were only guessed at, and most fields have none
        return []
    except OMEZarrError as error:
        opening.warnings.append(f"The labels could not be opened. {error}")
        return []
    names = kind.paths if isinstance(kind, Labels) else ()
    names = tuple(n for n in names if isinstance(wanted, bool) or n in wanted)
    if len(names) > _MOST_LABELS:
        left_out = len(names) - _MOST_LABELS
        opening.warnings.append(f"{left_out} label images are not shown; open a well.")
    return list(names[:_MOST_LABELS])


def _label(
    opening: Opening, image: GroupNode, name: str, finest: str
) -> Questions[Pyramid | None]:
    """Open the finest level of a label image, whose path is guessed: one round."""
    path = join_path(image.path, "labels", name)
    number = image.zarr_format
    part = opening.part()
    answers = yield from ask(
        (*group_keys(path, number), array_key(join_path(path, finest), number))
    )
    try:
        group = parse_node(path, answers, number)
        if not isinstance(group, GroupNode):
            opening.warnings.append(f"{path} is listed, but it is not there.")
            return None
        document = parse_document(
            group.attributes, zarr_format=number, url=opening.place(path).display
        )
        if not isinstance(document.kind, Image):
            opening.warnings.append(f"{path} lists no image.")
            return None
        multiscale = document.kind.multiscales[0]
        if part.options.level is None:
            finest_only = multiscale.datasets[:1]
            multiscale = dataclasses.replace(multiscale, datasets=finest_only)
        questions = find_levels(part, path, multiscale, number)
        multiscale, levels = yield from primed(questions, answers)
    except UNREADABLE as error:
        opening.warnings.append(f"{path} could not be opened. {error}")
        return None
    multiscale = dataclasses.replace(multiscale, label=multiscale.label or ImageLabel())
    return make_pyramid(part, group, document, multiscale, levels)


# A look at other wells, as far as it is free.


def _unlike(opening: Opening, wells: Iterable[str]) -> list[str]:
    """Give the fields of some wells that had no room when the plate was opened before.

    They are looked at after all others: channels keep their places when more become
    known.
    """
    fields = dict.fromkeys(misfits.get(opening.location.display, {}).values())
    shown = set(wells) if fields else set()
    return [path for path in fields if path.rpartition("/")[0] in shown]


def _is_near(opening: Opening) -> bool:
    """Whether documents of wells take no request over a network."""
    local = opening.location.protocol == "file"
    return local or opening.consolidated.covers("")


def _some_siblings(
    opening: Opening, siblings: Mapping[int, str], spare: int
) -> dict[int, str]:
    """Choose the fields of the first well that are asked where they lie."""
    order = sorted(siblings)
    if not _is_near(opening):  # the last one says most of how far they reach
        order = [*order[-1:], *order[:-1]][: max(0, spare)]
    return {n: siblings[n] for n in order[:_MOST_FIELDS]}


def _within(opening: Opening, groups: Sequence[str], spare: int) -> list[str]:
    """Choose the wells to look at in advance: all that are near, else a few."""
    count = _MOST_WELLS if _is_near(opening) else max(0, spare)
    if count >= len(groups):
        return list(groups)
    # From the last one on, as a screen changes on its way if it changes.
    return [groups[round(n * (len(groups) - 1) / count)] for n in range(count, 0, -1)]


def _look_around(
    opening: Opening,
    template: GroupNode,
    groups: Sequence[str],
    look: _Look,
    level: str,
    *,
    told: bool,
) -> Questions[list[SeenField]]:
    """Find the finest levels of other fields, where they have the template's names.

    Where they are `told`, they are also asked what they say of themselves. Where it
    costs nothing the wells are asked for their fields, and these for all.
    """
    number = template.zarr_format
    if not _is_near(opening):
        usual = [join_path(group, look.field) for group in groups]
        paths = list(dict.fromkeys((*usual, *look.unlike)))
        asked = paths if told else [path for path in paths if path in look.unlike]
        documents = [group_keys(path, number)[0] for path in asked]
        finest = [array_key(join_path(path, level), number) for path in paths]
        answers = yield from _ask_held(opening, (*documents, *finest))
        arrays = _arrays(opening, answers, dict(zip(paths, finest, strict=True)))
        images = _images(answers, asked, number)
        return [SeenField(path, arrays[path], images.get(path)) for path in arrays]
    paths = list(look.siblings.values())
    for group in groups:
        known = look.wells.get(group)
        shown = [] if known is None else _shown_in(known, look.choice)
        paths += [join_path(group, name) for name in shown] if look.field else [group]
    paths = list(dict.fromkeys((*paths[:_MOST_FIELDS], *look.unlike)))
    images = yield from _ask_images(opening, paths, number)
    keys = {
        path: array_key(join_path(path, image.datasets[0].path), number)
        for path, image in images.items()
    }
    answers = yield from _ask_held(opening, keys.values())
    arrays = _arrays(opening, answers, keys)
    return [SeenField(path, found, images[path]) for path, found in arrays.items()]


def _shown_in(well: Well, choice: FieldChoice) -> list[str]:
    """Give the names of a well's fields that are shown."""
    return [i.path for a in choice.acquisitions for i in images_of(well, a)]


def _listed(group: str, answers: Answers, zarr_format: int) -> Well | None:
    try:
        node = parse_node(group, answers, zarr_format)
        well = None if node is None else kind_of(node)
    except OMEZarrError:  # said when it is looked at
        return None
    return well if isinstance(well, Well) else None


def _ask_images(
    opening: Opening, paths: Iterable[str], zarr_format: int
) -> Questions[dict[str, Multiscale]]:
    """Read what images say of themselves, by their paths; those that can be read."""
    paths = list(paths)
    keys = [group_keys(path, zarr_format)[0] for path in paths]
    answers = yield from _ask_held(opening, keys)
    return _images(answers, paths, zarr_format)


def _images(
    answers: Answers, paths: Iterable[str], zarr_format: int
) -> dict[str, Multiscale]:
    found: dict[str, Multiscale] = {}
    for path in paths:
        try:
            node = parse_node(path, answers, zarr_format)
            kind = None if node is None else kind_of(node)
        except OMEZarrError:  # said when it is looked at
            continue
        if isinstance(kind, Image):
            found[path] = kind.multiscales[0]
    return found


def _arrays(
    opening: Opening, answers: Answers, keys: Mapping[str, str]
) -> dict[str, Pixels]:
    """Give arrays by the paths of their images; those that can be read."""
    part, known = opening.part(), dict[bytes, "Pixels | None"]()
    found: dict[str, Pixels] = {}
    for path, key in keys.items():
        body = answers[key]
        if not isinstance(body, bytes):
            continue
        if body not in known:  # most wells are alike
            known[body] = _array(part, key, body)
        pixels = known[body]
        if pixels is not None:
            found[path] = pixels
    return found


def _ask_held(opening: Opening, keys: Iterable[str]) -> Questions[Answers]:
    """Ask for documents; with consolidated metadata only for what they hold."""
    every, held = list(keys), opening.consolidated
    asked = [key for key in every if held.holds(key) or not held.covers(key)]
    answers = yield from ask(asked)
    return {**dict.fromkeys(every), **answers}


def _array(opening: Opening, key: str, body: bytes) -> Pixels | None:
    path, _, name = key.rpartition("/")
    zarr_format = 3 if name == "zarr.json" else 2
    try:
        node = ArrayNode(path, zarr_format, parse_json(body, key), {})
        return open_array(opening, node)
    except OMEZarrError:
        return None  # said when it is looked at


# A well: all of its fields.


def open_well(
    opening: Opening, group: GroupNode, kind: Well
) -> Questions[list[Pyramid]]:
    """Open a well: its fields where they say they lie, else side by side.

    Fields with different translations are images of their own, each in its
    place; fields without are laid out in a grid, in order, near to a square.
    """
    paths = [join_path(group.path, image.path) for image in kind.images]
    answers = yield from ask(
        key for path in paths for key in image_keys(path, group.zarr_format)
    )
    fields = _readable_fields(opening, paths, answers, group.zarr_format)
    if not fields:
        msg = "This well lists fields of view, but none of them is there."
        raise NodeNotFoundError(msg, url=opening.location.display)
    name = opening.location.stem
    if len(fields) > 1 and _have_own_positions(fields):
        opened = yield from together(
            open_image(opening, field, answers, f"{name} {field.path}")
            for field in fields
        )
        return [pyramid for part in opened for pyramid in part]
    if len(paths) == 1:
        return (yield from open_image(opening, fields[0], answers, name))
    numbers = range(len(paths))
    choice = FieldChoice(fields=tuple(numbers))
    others = [field.path for field in fields[1:]]
    look = _Look(others, "", choice, {}, {})
    template = yield from _template(opening, fields[0], answers, look, name)
    plate = PlateToLay(choice, {(0, 0): group.path}, {(0, 0): name}, (1, 1))
    return mosaics(opening, template, plate)


def _readable_fields(
    opening: Opening, paths: Sequence[str], answers: Answers, zarr_format: int
) -> list[GroupNode]:
    """Give the fields that are images; a broken one costs itself and a warning."""
    fields = []
    for path in paths:
        try:
            node = parse_node(path, answers, zarr_format)
            if isinstance(node, GroupNode) and isinstance(kind_of(node, path), Image):
                fields.append(node)
            elif node is not None:
                opening.warnings.append(f"Field {path} is no image.")
        except UNREADABLE as error:
            opening.warnings.append(f"Field {path} cannot be shown. {error}")
    return fields


def _have_own_positions(fields: list[GroupNode]) -> bool:
    """Tell whether the fields of a well give positions of their own."""
    positions = set()
    for group in fields:
        kind = kind_of(group)
        assert isinstance(kind, Image)
        positions.add(kind.multiscales[0].datasets[0].affine.translation)
    return len(positions) == len(fields)
