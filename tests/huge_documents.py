"""Images whose documents list a million of something; what opening them takes.

``python tests/huge_documents.py FOLDER KIND ...`` opens each and prints, for each, the
layers, the seconds of the processor, and the megabytes by which memory grew at most.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MILLION = 1_000_000


def _listed(path: Path, attributes: dict[str, Any], entry: str, start: str) -> None:
    """Write attributes in which a list that holds `start` has a million entries."""
    text = json.dumps(attributes, separators=(",", ":"))
    more = "," + ",".join([entry] * MILLION)
    assert text.count(start) == 1
    path.write_text(text.replace(start, start + more))


def _labels(path: Path) -> dict[str, Any]:
    import numpy as np

    import small_images

    small_images.put_image(path, "0.4", count=1)
    cells = np.ones((4, 16, 24), np.uint8)
    small_images.put_labels(path, "0.4", cells=cells)
    attributes: dict[str, Any] = json.loads((path / "labels/cells/.zattrs").read_text())
    return attributes


def wells(path: Path) -> None:
    import small_images

    well = {"path": "A/1", "rowIndex": 0, "columnIndex": 0}
    names = {"rows": [{"name": "A"}], "columns": [{"name": str(n)} for n in range(9)]}
    small_images.put_group(path, "0.4", {})
    start = json.dumps(well, separators=(",", ":"))
    entry = '{"path":"A/2","rowIndex":0,"columnIndex":1}'
    plate = {"plate": {**names, "wells": [well], "version": "0.4"}}
    _listed(path / ".zattrs", plate, entry, start)
    images = {"images": [{"path": "0"}], "version": "0.4"}
    small_images.put_group(path / "A/1", "0.4", {"well": images})
    small_images.put_image(path / "A/1/0", "0.4", count=1)


def labels(path: Path) -> None:
    _labels(path)
    names = {"labels": ["cells"]}
    _listed(path / "labels/.zattrs", names, '"other"', '"cells"')


def colours(path: Path) -> None:
    label = _labels(path)
    label["image-label"] = {"colors": [{"label-value": 1, "rgba": [1, 2, 3, 4]}]}
    entry = '{"label-value":2,"rgba":[1,2,3,255]}'
    start = '{"label-value":1,"rgba":[1,2,3,4]}'
    _listed(path / "labels/cells/.zattrs", label, entry, start)


def properties(path: Path) -> None:
    label = _labels(path)
    label["image-label"] = {"properties": [{"label-value": 1, "class": "[{,\\"}]}
    entry = '{"label-value":2,"class":"a]\\"}"}'
    start = json.dumps(label["image-label"]["properties"][0], separators=(",", ":"))
    _listed(path / "labels/cells/.zattrs", label, entry, start)


def channels(path: Path) -> None:
    _labels(path)
    image = json.loads((path / ".zattrs").read_text())
    image["omero"]["channels"] = [{"label": "first"}, {"label": "second"}]
    _listed(path / ".zattrs", image, '{"label":"more"}', '{"label":"second"}')


def levels(path: Path) -> None:
    _labels(path)
    image = json.loads((path / ".zattrs").read_text())
    (multiscale,) = image["multiscales"]
    multiscale["datasets"].append({"path": "1"})
    _listed(path / ".zattrs", image, '{"path":"more"}', '{"path":"1"}')


def series(path: Path) -> None:
    import small_images

    small_images.put_group(path, "0.4", {"bioformats2raw.layout": 3})
    small_images.put_group(path / "OME", "0.4", {})
    _listed(path / "OME/.zattrs", {"series": ["0"]}, '"more"', '"0"')
    small_images.put_image(path / "0", "0.4", count=1)


def _in_multiscale(path: Path, key: str, value: Any, entry: str, start: str) -> None:
    _labels(path)
    image = json.loads((path / ".zattrs").read_text())
    image["multiscales"][0][key] = value
    _listed(path / ".zattrs", image, entry, start)


def axes(path: Path) -> None:
    names = [{"name": name} for name in "czyx"]
    _in_multiscale(path, "axes", names, '{"name":"more"}', '{"name":"x"}')


def transformations(path: Path) -> None:
    steps = [{"type": "scale", "scale": [1.5, 1, 1, 1]}]
    start = '{"type":"scale","scale":[1.5,1,1,1]}'
    key = "coordinateTransformations"
    _in_multiscale(path, key, steps, '{"type":"scale","scale":[1,1,1,1]}', start)


def numbers(path: Path) -> None:
    steps = [{"type": "scale", "scale": [1, 1, 1, 1.5]}]
    _in_multiscale(path, "coordinateTransformations", steps, "1", "1.5")


def multiscales(path: Path) -> None:
    _labels(path)
    image = json.loads((path / ".zattrs").read_text())
    image["multiscales"].append({"datasets": []})
    _listed(path / ".zattrs", image, '{"datasets":[]}', '{"datasets":[]}')


def columns(path: Path) -> None:
    wells(path)
    plate = json.loads((path / ".zattrs").read_text())
    plate["plate"]["wells"] = plate["plate"]["wells"][:1]
    (path / ".zattrs").unlink()
    _listed(path / ".zattrs", plate, '{"name":"more"}', '{"name":"8"}')


def images(path: Path) -> None:
    import small_images

    small_images.put_group(path, "0.4", {"bioformats2raw.layout": 3})
    small_images.put_image(path / "0", "0.4", count=1)
    (path / "OME").mkdir()
    xml = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    entries = '<Image Name="more"/>' * MILLION
    (path / "OME/METADATA.ome.xml").write_text(f"{xml}{entries}</OME>")


KINDS: dict[str, Callable[[Path], None]] = {
    kind.__name__: kind
    for kind in (
        *(wells, labels, colours, properties, channels, levels, series),
        *(axes, transformations, numbers, multiscales, columns, images),
    )
}


def main(folder: Path, names: list[str]) -> None:
    import resource

    from napari_omezarr.errors import OMEZarrError
    from napari_omezarr.layers import read_layers

    _labels(folder / "small.zarr")
    read_layers(folder / "small.zarr")  # what this takes is imports
    for name in names:
        path = folder / f"{name}.zarr"
        KINDS[name](path)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.process_time()
        layers, refused = [], ""
        try:
            layers = read_layers(path)
        except OMEZarrError as error:
            refused = str(error)
        taken = time.process_time() - begun
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        records = [options["metadata"]["omezarr"] for _, options, _ in layers]
        said = [text for record in records for text in record["warnings"]]
        noted = any("entries, of which the first" in text for text in said)
        noted |= "more than" in refused
        sys.stdout.write(f"{name} {len(layers)} {taken:.2f} {grown:.0f} {noted:d}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(KINDS))
