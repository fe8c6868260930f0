"""Images by references into other files, as kerchunk and VirtualiZarr write them.

They are read here and not by fsspec: it takes a table that it cannot read for one
without references, leaves generated references out, and fills templates by Python's
``format``, which hands this process's memory to whoever wrote them. The bytes that they
point to are read as any other place is: with its sign-in, its retries, and parts that
are checked.
"""

from __future__ import annotations

import ast
import asyncio
import itertools
import json
import math
import operator
import re
from collections import OrderedDict
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from zarr.abc.store import RangeByteRequest

from napari_omezarr._io_loop import outcome
from napari_omezarr.errors import LocationError, StoreError
from napari_omezarr.location import object_location

from .backend import GetResult, ObjectBackend, RequestStats, bounded_anew, cut, span
from .error_mapping import ErrorContext
from .filesystems import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from zarr.abc.store import ByteRequest

    from napari_omezarr.location import Location

    from .store import RemoteStore

_MOST_TARGETS = 1000
_TABLES = 32
_PARQUET = (".parq", ".parquet")
_SIGNED_ANYWHERE = ("sftp", "webdav+http", "webdav+https")
"""Where SSH's keys and fsspec's configuration sign in at whatever host is named."""


class ReferenceBackend(ObjectBackend):
    """The keys that references hold below a path, `member`.

    They are in one file, with the key ``""`` of `files`, or in a folder of Parquet
    files; ``opener`` opens the file that a reference points to.
    """

    def __init__(
        self, files: RemoteStore, member: str, opener: Callable[[Location], RemoteStore]
    ) -> None:
        self.concurrency = files.concurrency
        self.stats = RequestStats()
        self._files = files
        self._member = member
        self._opener = opener
        self._references: References | None = None
        self._is_read = False
        self._reading = asyncio.Lock()
        self._targets: OrderedDict[str, RemoteStore] = OrderedDict()

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read what a key refers to, or a part of it.

        Raises
        ------
        StoreError
            The references cannot be read, or do not lead to what they say: that is
            never a missing key.
        """
        async with self._reading:
            if not self._is_read:
                self._references = await self._load()
                self._is_read = True
        if self._references is None:
            return None
        path = "/".join(part for part in (self._member, key) if part)
        found = await outcome(self._find(self._references, path))
        if isinstance(found, StoreError):
            raise found
        if isinstance(found, Exception):
            raise self._damaged()
        if found is None:
            return None
        if isinstance(found, bytes):
            return GetResult(cut(found, wanted), size=len(found))
        return await self._target(found, wanted)

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe the file of references."""
        return ErrorContext(url, url, doing=doing)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about how the references and their targets were reached."""
        stores = (self._files, *self._targets.values())
        return tuple(dict.fromkeys(note for store in stores for note in store.notes))

    async def _load(self) -> References | None:
        make: Callable[[bytes], References]
        location = self._files.location
        if location.path.lower().rstrip("/").endswith(_PARQUET):
            require("pyarrow", "kerchunk", location.display)
            self.stats.requests += 1
            found = await self._files.read(".zmetadata")
            make = partial(ParquetReferences, self._files, self.stats)
        else:
            self.stats.requests += 1
            found = await self._files.read("")
            make = JsonReferences
        if found is None:
            return None
        self.stats.received += len(found.body)
        parsed: References | Exception
        parsed = await outcome(asyncio.to_thread(make, bytes(found.body)))
        if isinstance(parsed, Exception):
            raise self._damaged()
        return parsed

    async def _find(
        self, references: References, path: str
    ) -> bytes | list[Any] | None:
        said = await references.find(path)
        return None if said is None else _checked(said)

    async def _target(self, said: list[Any], wanted: ByteRequest | None) -> GetResult:
        store = self._opened(said[0])
        self.stats.requests += 1
        if len(said) == 1:
            found = await store.read("", wanted)
            if found is None:
                raise self._gone(store)
            self.stats.received += len(found.body)
            return found
        offset, size = said[1], said[2]
        start, end = span(wanted, size)
        if start == end:
            return GetResult(b"", size=size)
        part = await store.read("", RangeByteRequest(offset + start, offset + end))
        if part is None:
            raise self._gone(store)
        self.stats.received += len(part.body)
        if len(part.body) != end - start:
            url = store.location.display
            sentence = f"{url} is shorter than {self._files.location.display} says."
            action = "Ask the owner of the references to make them again."
            raise StoreError(sentence, action=action, url=url)
        return GetResult(part.body, size=size)

    def _opened(self, address: str) -> RemoteStore:
        store = self._targets.get(address)
        if store is None:
            try:
                target = object_location(address)
            except LocationError:
                raise self._damaged() from None
            if target.protocol in _SIGNED_ANYWHERE:
                raise StoreError(
                    f"{self._files.location.display} refers to {target.display}, where "
                    "your own sign-in would go to a host that others chose.",
                    action="Copy that file to this computer, or to the web.",
                    url=self._files.location.display,
                )
            if self._files.location.is_remote and not target.is_remote:
                # Who wrote them does not know this computer, or should not.
                raise StoreError(
                    f"{self._files.location.display} refers to files of this computer.",
                    action="Copy the references to this computer, if you trust them.",
                    url=self._files.location.display,
                )
            store = self._targets[address] = self._opener(target)
        self._targets.move_to_end(address)
        while len(self._targets) > _MOST_TARGETS:
            self._targets.popitem(last=False)
        return store

    def _gone(self, store: RemoteStore) -> StoreError:
        url = store.location.display
        sentence = f"{url} is not there, but {self._files.location.display} names it."
        return StoreError(sentence, action="Ask for newer references.", url=url)

    def _damaged(self) -> StoreError:
        url = self._files.location.display
        sentence = f"{url} holds no references that can be read."
        action = "Make them again with kerchunk or VirtualiZarr."
        return StoreError(sentence, action=action, url=url)


class JsonReferences:
    """References in JSON, as kerchunk's versions 0 and 1 have them.

    Texts of version 1 have expressions in double braces: names of ``templates``, calls
    of those that have braces themselves, and sums of whole numbers. ``gen`` writes many
    references in one.
    """

    def __init__(self, body: bytes) -> None:
        said = json.loads(body)
        version = said.get("version")
        if version not in (None, 1):
            raise ValueError
        self._templates: dict[str, str] = said.get("templates") or {} if version else {}
        self._references: dict[str, Any] = said.get("refs") or {} if version else said
        if version:
            rules = [(rule, _dimensions(rule)) for rule in said.get("gen") or ()]
            counts = (math.prod(max(1, len(d)) for d in dims) for _, dims in rules)
            if sum(counts) > _MOST_GENERATED:
                raise ValueError
            for rule, dimensions in rules:
                self._references.update(self._generate(rule, dimensions))

    async def find(self, key: str) -> Any:
        """Find what a key refers to; None if it is not there."""
        said = self._references.get(key)
        if isinstance(said, list) and self._templates:
            return [self._filled(said[0], self._templates), *said[1:]]
        return said

    def _generate(
        self, rule: Mapping[str, Any], dimensions: list[Sequence[Any]]
    ) -> Iterator[tuple[str, list[Any]]]:
        parts = ("url", "offset", "length") if "offset" in rule else ("url",)
        for at in itertools.product(*dimensions):
            named = zip(rule["dimensions"], at, strict=True)
            known = {**self._templates, **dict(named)}
            key, *reference = (
                self._filled(str(rule[part]), known) for part in ("key", *parts)
            )
            yield key, reference

    def _filled(self, text: str, known: Mapping[str, Any], calls: bool = True) -> str:
        """Fill what stands in braces; the text of a template calls no other."""
        *parts, last = _BRACES.split(text)
        filled, size = "", len(text)
        for plain, expression in zip(parts[::2], parts[1::2], strict=True):
            value = str(self._value(_expression(expression.strip()), known, calls))
            size += len(value)
            if size > _LONGEST:
                raise ValueError
            filled += plain + value
        return filled + last

    def _value(
        self, node: ast.expr, known: Mapping[str, Any], calls: bool
    ) -> int | str:
        """Count an expression; it is never run, as others wrote it."""
        match node:
            case ast.Constant(value=int() | str() as value):
                return value
            case ast.Name(name):
                value = known[name]
                return value if isinstance(value, int) else str(value)
            case ast.Call(ast.Name(name), [], keywords) if calls:
                values = (self._value(k.value, known, calls) for k in keywords)
                given = dict(zip((str(k.arg) for k in keywords), values, strict=True))
                return self._filled(self._templates[name], given, calls=False)
            case ast.BinOp(left, operation, right):
                a, b = (self._value(each, known, calls) for each in (left, right))
                value = _OPERATIONS[type(operation)](int(a), int(b))
                if abs(value) < _BEYOND:
                    return value
        raise ValueError


_BRACES = re.compile(r"\{\{(.*?)\}\}")
_OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_BEYOND = 2**63
_LONGEST = 1 << 16
"""Characters of what is filled, each an address."""
_LONGEST_EXPRESSION = 1000
"""Python's parser has no bound of its own: long texts can end the process."""
_MOST_GENERATED = 1_000_000


@lru_cache(1000)
def _expression(text: str) -> ast.expr:
    if len(text) > _LONGEST_EXPRESSION:
        raise ValueError
    return ast.parse(text, mode="eval").body


def _dimensions(rule: Mapping[str, Any]) -> list[Sequence[Any]]:
    return [
        said
        if isinstance(said, list)
        else range(said.get("start", 0), said["stop"], said.get("step", 1))
        for said in rule["dimensions"].values()
    ]


class ParquetReferences:
    """References in Parquet as kerchunk writes them: a table for some chunks each.

    ``.zmetadata`` holds all documents of zarr 2, and how many chunks a table has. A
    table that is damaged raises, and is not an empty one.
    """

    def __init__(self, files: RemoteStore, stats: RequestStats, body: bytes) -> None:
        said = json.loads(body)
        self._rows = int(said["record_size"])
        self._documents: dict[str, Any] = said["metadata"]
        if self._rows < 1:
            raise ValueError
        self._files = files
        self._stats = stats
        self._tables: OrderedDict[str, Any] = OrderedDict()
        self._reading = asyncio.Lock()

    async def find(self, key: str) -> Any:
        """Find what a key refers to, on the I/O loop; None if it is not there."""
        if key in self._documents:
            return json.dumps(self._documents[key])
        place = self._number(key)
        if place is None:
            return None
        field, number = place
        table = await self._table(f"{field}/refs.{number // self._rows}.parq")
        if table is None:
            return None
        row = {
            name: table.column(name)[number % self._rows].as_py()
            for name in table.column_names
        }
        if row.get("raw") is not None:
            return row["raw"]
        if row.get("path") is None:
            return None
        offset, size = row.get("offset") or 0, row.get("size") or 0
        return [row["path"], offset, size] if offset or size else [row["path"]]

    def _number(self, key: str) -> tuple[str, int] | None:
        """Find the array that a chunk is of, and the chunk's number, row by row."""
        parts = key.split("/")
        for count in range(len(parts) - 1, -1, -1):
            field = "/".join(parts[:count])
            array = self._documents.get(f"{field}/.zarray".lstrip("/"))
            if array is not None:
                break
        else:
            return None
        at = [*re.split(r"[./]", "/".join(parts[count:]))]
        pairs = zip(array["shape"], array["chunks"], strict=True)
        counts = [max(1, -(-size // chunk)) for size, chunk in pairs] or [1]
        if len(at) != len(counts) or not all(index.isdecimal() for index in at):
            return None
        number = 0
        for index, most in zip(map(int, at), counts, strict=True):
            if index >= most:
                return None
            number = number * most + index
        return field, number

    async def _table(self, key: str) -> Any:
        """Give a table, read once; None where there is none, without references."""
        # Awaited, never waited for in a thread of the loop: what it waits for may need
        # such a thread itself, and there are few.
        key = key.lstrip("/")
        async with self._reading:
            if key not in self._tables:
                self._tables[key] = await self._read_table(key)
            self._tables.move_to_end(key)
            while len(self._tables) > _TABLES:
                self._tables.popitem(last=False)
            return self._tables[key]

    async def _read_table(self, key: str) -> Any:
        self._stats.requests += 1
        with bounded_anew():
            answer = (await self._files.answers([key]))[key]
        if isinstance(answer, StoreError):
            raise answer
        if answer is None:
            return None
        self._stats.received += len(answer)
        return await asyncio.to_thread(_parquet, answer)


References = JsonReferences | ParquetReferences


def _parquet(body: bytes) -> Any:
    from pyarrow import BufferReader, parquet  # heavy

    return parquet.read_table(BufferReader(body))


def _checked(found: Any) -> bytes | list[Any]:
    """Give the bytes of a reference, or its address, and perhaps offset and size.

    Raises any exception where it is none of that.
    """
    if isinstance(found, dict):
        return json.dumps(found).encode()
    if isinstance(found, str):
        return _decoded(found)
    if isinstance(found, (bytes, bytearray, memoryview)):
        return bytes(found)
    address, *numbers = found
    if not isinstance(address, str) or len(numbers) not in (0, 2):
        raise TypeError
    offset_and_size = [int(number) for number in numbers]
    if any(number < 0 for number in offset_and_size):
        raise ValueError
    return [address, *offset_and_size]


def _decoded(text: str) -> bytes:
    if text.startswith("base64:"):
        import base64

        return base64.b64decode(text.removeprefix("base64:"), validate=True)
    return text.encode()
