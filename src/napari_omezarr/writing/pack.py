"""A folder as one zip file, in the order of RFC-9."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)
_DOCUMENTS = ("zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata")


def pack(folder: Path, archive: Path, version: str) -> None:
    """Put a hierarchy into a zip file.

    Members are stored as they are (chunks are compressed already), the root's
    document first, then the other documents breadth-first, then the chunks; the
    comment names the version. Equal folders give equal files.

    Parameters
    ----------
    folder : Path
        The hierarchy.
    archive : Path
        The file to make; one that is there is overwritten.
    version : str
        The OME-Zarr version.
    """
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, allowZip64=True) as packed:
        packed.comment = json.dumps({"ome": {"version": version}}).encode()
        for name in sorted(_names(folder), key=_rank):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr = 0o644 << 16
            file = folder / name
            member.file_size = file.stat().st_size
            with file.open("rb") as source, packed.open(member, "w") as sink:
                while part := source.read(1 << 20):
                    sink.write(part)


def _names(folder: Path) -> list[str]:
    return [
        (Path(top) / name).relative_to(folder).as_posix()
        for top, _, names in os.walk(folder)
        for name in names
    ]


def _rank(name: str) -> tuple[bool, int, str]:
    file = name.rpartition("/")[2]
    return file not in _DOCUMENTS, name.count("/"), name
