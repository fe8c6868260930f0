"""A place: where something lies and how to sign in there. It opens nothing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_omezarr.errors import LocationError

from .address import (
    WEB,
    Address,
    as_bucket,
    as_unicode,
    encode,
    encode_address,
    encode_rest,
    is_archive_name,
    join,
    owner_paths,
    parse_endpoint,
    parse_path,
    readable,
    split_archive,
)
from .parse import (
    REFERENCE,
    SCHEME,
    parse_all,
    parse_file,
    parse_scheme,
    with_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# From what a clipboard holds to addresses: quotes, markup, commands, lines.

_INVISIBLE = "\ufeff\u200b\u2060\u200e\u200f"
_QUOTES = ('""', "''", "``", "\u201c\u201d", "\u201e\u201c", "\u2018\u2019", "«»", "<>")
_TRAILING = re.compile(r"[.,;]+$")
_URL = (
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]+://(?:[^\s/@]*@)?(?:\[[0-9A-Fa-f:.]+\])?"
    r"[^\s\"'`<>\[\]\u2018-\u201e«»]*"
)
_EMBEDDED = re.compile(
    rf"(?P<quote>[\"'`])(?P<quoted>[A-Za-z][A-Za-z0-9+.-]+://.*?)(?P=quote)"
    rf"|<(?P<angle>[A-Za-z][A-Za-z0-9+.-]+://[^>]*)>"
    rf"|(?P<bare>{_URL})"
)
_SECOND_ADDRESS = re.compile(r"\s[\"'<(\[]*[A-Za-z][A-Za-z0-9+.-]+://")
_ENDPOINT = re.compile(r"(?:endpoint[-_]url)[\s=:]+[\"']?(https?://[^\s\"',)]+)[\"']?")
_AWS_OPTIONS = (
    (re.compile(r"--profile[\s=]+(\S+)"), "profile"),
    (re.compile(r"--region[\s=]+(\S+)"), "region"),
)
_STARTS_AS_PATH = re.compile(r"^(?:[/~]|\\\\|[A-Za-z]:[\\/])")
_COMMAND = re.compile(
    r"(?:^|[\s/\\])(?:napari(?:-omezarr)?|ome[_-]zarr|ngff-zarr)(?:\.exe)?\s+(.+)$"
)
_WORD = re.compile(r"\"[^\"]*\"|'[^']*'|\S+")
_FLAGS = frozenset({"--async", "--info", "--reset", "--stack", "--verbose", "-v"})
_LOOKS_LIKE_PATH = re.compile(r"[\\/]|\.(?:zarr|ozx|zip)$", re.IGNORECASE)


def addresses_in_text(text: str) -> tuple[str, ...]:
    """Return the addresses in a text, each once, in their order.

    A line that starts as an address or a path is one, blanks and all; in other
    lines (a command, Markdown, HTML, Python, a sentence) the addresses are looked
    for. With several lines, those that start with ``#`` are comments, as in a
    ``text/uri-list``.
    """
    lines = [_clean(line) for line in text.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) > 1:
        lines = [line for line in lines if not line.startswith("#")]
    found = [address for line in lines for address in _addresses_in_line(line)]
    return tuple(dict.fromkeys(found))


def _clean(line: str) -> str:
    line = line.strip().strip(_INVISIBLE).strip()
    if line.startswith(("'", '"', "`", "<")):
        line = line.rstrip(",;")
    while len(line) > 1 and line[0] + line[-1] in _QUOTES:
        line = line[1:-1].strip()
    return line


def _addresses_in_line(line: str) -> tuple[str, ...]:
    if _STARTS_AS_PATH.match(line):
        return (line,)
    if SCHEME.match(line) and not _SECOND_ADDRESS.search(line):
        return (_without_stop(line),)
    if embedded := _embedded(line):
        return embedded
    if command := _COMMAND.search(line):
        return _arguments(command[1]) or (line,)
    return (line,)


def _embedded(line: str) -> tuple[str, ...]:
    endpoint = _ENDPOINT.search(line)
    rest = _ENDPOINT.sub(" ", line)
    found = []
    for match in _EMBEDDED.finditer(rest):
        bare = match["bare"]
        found.append(_trim(bare) if bare else (match["quoted"] or match["angle"]))
    suffix = _sign_in(line)
    return tuple(_at(address, endpoint and endpoint[1]) + suffix for address in found)


def _trim(url: str) -> str:
    url = _without_stop(url)
    while url.endswith(")") and url.count(")") > url.count("("):
        url = _without_stop(url[:-1])
    return url


def _without_stop(url: str) -> str:
    # A signature may end in any character; a path hardly ever ends a sentence.
    return url if "?" in url else _TRAILING.sub("", url)


def _at(address: str, endpoint: str | None) -> str:
    if endpoint and address.lower().startswith("s3://"):
        return f"s3+{endpoint.rstrip('/')}/{address[len('s3://') :]}"
    return address


def _sign_in(line: str) -> str:
    if not re.match(r"[$>\s]*aws\s", line):
        return ""
    options = [
        f"|{name}:{found[1]}"
        for pattern, name in _AWS_OPTIONS
        if (found := pattern.search(line))
    ]
    if "--no-sign-request" in line:
        options.append("|anonymous:true")
    return "".join(options)


def _arguments(text: str) -> tuple[str, ...]:
    paths, is_value = [], False
    for word in _WORD.findall(text):
        if word.startswith("-"):
            is_value = "=" not in word and word not in _FLAGS
            continue
        path = _clean(word)
        if not is_value and _LOOKS_LIKE_PATH.search(path):
            paths.append(path)
        is_value = False
    return tuple(paths)


# From a place back to text: the whole address, and the one for people.

# File names that no part of the parser takes for anything else.
_PLAIN_PATH = re.compile(
    r"(?:[A-Za-z]:)?(?:/[\w.()+,=@~#-][\w.()+,=@~# -]*)+(?<=[\w)])"
)
# A folder "C:" of a POSIX root, which a URI could not tell from a drive.
_LIKE_DRIVE = re.compile(r"[A-Za-z][:|](?:[\\/]|$)")
_MISREAD = '%#?|"<>`'


def full_text(address: Address) -> str:
    """Return the text that parses to the same place; it may hold secrets.

    Local paths stay plain as long as nothing in them could be misread; else they
    are ``file:`` URIs. How to sign in follows as ``|profile:…``.
    """
    if address.protocol == "file" and not address.through:
        inside = f"/{address.member}" if address.member else ""
        plain = f"{address.root}/{address.path}{inside}"
        is_named = address.member is None or is_archive_name(address.path)
        if is_named and _PLAIN_PATH.fullmatch(plain) and not plain.startswith("//"):
            return plain
    base = _chain(address, encode)
    base += _base(address, address.userinfo) + encode_address(_path(address))
    if address.query:
        base += f"?{address.query}"
    return base + _pipes(address)


def display_text(address: Address) -> str:
    """Return the address for people: readable, and without any secret."""
    chain = _chain(address, lambda member: readable(member, _MISREAD))
    if address.protocol == "file":
        path = f"{address.root}/{_path(address, named=True)}"
        path = path.replace("/", "\\") if address.root.startswith("//") else path
        return chain + readable(path, "")
    base = _base(address, public_userinfo(address))
    return chain + base + readable(_path(address), _MISREAD)


def public_userinfo(address: Address) -> str:
    """Return the part of the sign-in in an address that is no secret.

    On SFTP a user's name says whose files are meant; on the web it may be a token.
    """
    return address.userinfo.partition(":")[0] if address.protocol == "sftp" else ""


def _chain(address: Address, spell: Callable[[str], str]) -> str:
    """Give what stands before the address, as fsspec chains it."""
    inner = f"://{spell(address.member)}" if address.member else ""
    return "".join(
        f"{name}{inner if name == REFERENCE else ''}::" for name in address.through
    )


def _path(address: Address, *, named: bool = False) -> str:
    """Give the path with that in the archive; `named`: whatever the archive's name."""
    if REFERENCE in address.through:
        return address.path
    if address.member and (named or is_archive_name(address.path)):
        return f"{address.path}/{address.member}"
    return address.path


def _base(address: Address, userinfo: str) -> str:
    match address.protocol:
        case "file":
            return _file_base(address)
        case "memory":
            return "memory://"
        case "http" | "https" | "webdav+http" | "webdav+https" | "sftp":
            at = f"{userinfo}@" if userinfo else ""
            return f"{address.protocol}://{at}{address.root}/"
    if address.endpoint:
        root = f"{address.root}/" if address.root else ""
        return f"{address.protocol}+{address.endpoint}/{root}"
    return f"{address.protocol}://{address.root}/"


def _file_base(address: Address) -> str:
    if address.root.startswith("//"):
        return f"file:{encode(address.root)}/"
    if address.root:
        return f"file:///{address.root}/"
    return "file:///./" if _LIKE_DRIVE.match(address.path) else "file:///"


def _pipes(address: Address) -> str:
    pipes = []
    is_zip = address.member is not None and REFERENCE not in address.through
    if is_zip and not is_archive_name(address.path):
        pipes.append(f"|zip:{encode_address(address.member or '')}")
    if address.region:
        pipes.append(f"|region:{encode_address(address.region)}")
    if address.profile:
        pipes.append(f"|profile:{encode_address(address.profile)}")
    if address.anonymous is not None:
        pipes.append(f"|anonymous:{str(address.anonymous).lower()}")
    return "".join(pipes)


# The value itself.

# Where a path starts at the root of a store, whatever its parts are called.
_IN_STORE = frozenset({"s3", "gs", "az", "store"})
_REFERENCE_SUFFIX = re.compile(r"\.(?:json|parq|parquet)$", re.IGNORECASE)
_SUFFIX = re.compile(r"(?:\.ome)?\.(?:zarr|ozx|zip)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Location(Address):
    """A place that a person named, as a value; `Address` says what its fields are.

    Making one asks nobody: it reads no file and sends no request. ``str()`` gives
    the whole address, which parses to an equal value and may hold secrets;
    `display` and ``repr()`` hold none.

    Examples
    --------
    >>> from napari_omezarr import Location
    >>> image = Location.parse("https://host/cells.ome.zarr/0/zarr.json?token=x")
    >>> image.display
    'https://host/cells.ome.zarr/0'
    >>> (image / "labels").name, image.parent.stem
    ('labels', 'cells')
    >>> bucket = Location.parse("s3://bucket/cells.ome.zarr/")
    >>> str(bucket / "labels" / "nuclei")
    's3://bucket/cells.ome.zarr/labels/nuclei'
    """

    @classmethod
    def parse(
        cls,
        text: str | os.PathLike[str] | Location,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        anonymous: bool | None = None,
    ) -> Location:
        """Parse whatever a person pasted: an address, a path, a link, a command.

        Pure but for the working directory and the home directory, from which
        relative paths and ``~`` start. A `Path` is taken by the letter, unless an
        address was made into one. The keywords fill what the text leaves open,
        and say nothing about local places.

        Parameters
        ----------
        text : str, path-like or Location
            The text; a Location passes through.
        endpoint : str, optional
            The S3-compatible service, ``https://host[:port]``.
        region, profile : str, optional
            The bucket's region; the connection or AWS profile.
        anonymous : bool, optional
            Whether to sign in at all; None decides by trying.

        Raises
        ------
        LocationError
            If the text is no address, not one that can be opened, or several.
        """
        found = (text,) if isinstance(text, Location) else _addresses(text)
        address = with_options(
            found[0],
            endpoint=parse_endpoint(endpoint) if endpoint else None,
            region=region,
            profile=profile,
            anonymous=anonymous,
        )
        if len(found) > 1:
            note = f"The link shows {len(found)} stores; this is the first."
            address = replace(address, notes=(*address.notes, note))
        return _location(address)

    def __truediv__(self, key: str) -> Location:
        """Return the place at `key` below this one; ``..`` leads up, to the root."""
        if self.member is not None:
            return replace(self, member=join(self.member, key), notes=())
        if self.is_service:
            bucket, _, key = join("", key).partition("/")
            below = replace(self, root=bucket, notes=())
            return below / key if bucket else below
        path, member = split_archive(join(self.path, key))
        return replace(self, path=path, member=member, notes=())

    def __str__(self) -> str:
        return full_text(self)

    @property
    def display(self) -> str:
        """The address for messages, logs and metadata: no query, no sign-in."""
        return display_text(self)

    @property
    def parent(self) -> Location:
        """The place above; of an archive its folder, of a root the root itself."""
        if self.member:
            return replace(self, member=_above(self.member), notes=())
        through = tuple(name for name in self.through if name != REFERENCE)
        path = _above(self.path)
        return replace(self, path=path, member=None, through=through, notes=())

    @property
    def name(self) -> str:
        """The last part of the path; of a root the host, bucket, drive or share."""
        return (self.member or self.path or self.root).rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without ``.ome.zarr``, ``.zarr``, ``.ozx`` or ``.zip``.

        A file of references is called without ``.json``, ``.parq`` or ``.parquet``.
        """
        if self.protocol == "store" and not self.path:
            return "image"  # a store of somebody else has no name of its own
        if self.is_reference and not self.member:
            name = _REFERENCE_SUFFIX.sub("", self.name)
            return _SUFFIX.sub("", name) or name
        stem = _SUFFIX.sub("", _SUFFIX.sub("", self.name))
        return stem or self.name

    @property
    def is_remote(self) -> bool:
        """Whether the bytes come over a network."""
        return self.protocol not in {"file", "memory"}

    @property
    def is_service(self) -> bool:
        """Whether it is an object store itself, and no bucket of it."""
        return self.protocol == "s3" and not self.root and self.endpoint is not None

    @property
    def is_archive(self) -> bool:
        """Whether the place lies in a zip file, or among the references of a file.

        Its name says so, nobody looked.
        """
        return self.member is not None

    @property
    def is_reference(self) -> bool:
        """Whether the place is read by references into other files (kerchunk)."""
        return REFERENCE in self.through

    @property
    def owners(self) -> tuple[Location, ...]:
        """The places that may have the array here as a level, nearest first.

        At most three, and none above a folder called ``*.zarr`` or outside of
        the archive.
        """
        if self.member is not None:
            owners = owner_paths(self.member, in_store=True)
            return tuple(replace(self, member=path, notes=()) for path in owners)
        owners = owner_paths(self.path, in_store=self.protocol in _IN_STORE)
        return tuple(replace(self, path=path, notes=()) for path in owners)

    def url(self, key: str = "") -> str:
        """Return the encoded web address of a key below this place, with the query.

        Parameters
        ----------
        key : str
            Decoded. An archive has no keys with an address of their own.

        Raises
        ------
        LocationError
            If the place is not on the web, or `key` lies in an archive.
        """
        if self.protocol not in WEB or (key and self.is_archive):
            raise LocationError(
                f"{self.display} has no web address for what lies in it.",
                url=self.display,
            )
        user = f"{self.userinfo}@" if self.userinfo else ""
        path = "/".join(encode(part) for part in (self.path, key.strip("/")) if part)
        query = f"?{encode_rest(self.query)}" if self.query else ""
        return f"{self.protocol}://{user}{self.root}/{path}{query}"

    def local_path(self) -> Path:
        """Return the path of the file or folder; of an archive, of the zip file.

        Raises
        ------
        LocationError
            If the place is not on this computer.
        """
        if self.protocol != "file":
            raise LocationError(
                f"{self.display} is not a local path.", url=self.display
            )
        return Path(f"{self.root}/{self.path}")

    def as_s3(self, *, path_style: bool = False) -> Location | None:
        """Return the same place as bucket and key of an S3 endpoint.

        Parameters
        ----------
        path_style : bool
            Take an unknown web host for an endpoint whose first folder is the
            bucket, as MinIO and SeaweedFS serve it.

        Returns
        -------
        Location or None
            Itself if it is an ``s3`` place; None if the host is no known endpoint
            or the address names no bucket. A query is lost: it signs single
            objects, never a listing.
        """
        if self.protocol == "s3":
            return self
        if self.protocol not in WEB:
            return None
        address = as_bucket(self, path_style=path_style)
        return None if address is None else replace(_location(address), notes=())


def parse_many(text: str | os.PathLike[str]) -> tuple[Location, ...]:
    """Parse all addresses of a text: on lines, in a sentence, in a viewer's link.

    Returns
    -------
    tuple of Location
        Each once, in their order; empty if the text is.

    Raises
    ------
    LocationError
        If one of them cannot be opened.
    """
    if isinstance(text, str):
        texts = addresses_in_text(as_unicode(text))
        found = [address for one in texts for address in parse_all(one)]
    else:
        found = [parse_file(os.fsdecode(text))]
    return tuple(_location(address) for address in dict.fromkeys(found))


def object_location(address: str) -> Location:
    """Give the place of one file by an address that a program wrote, by the letter.

    Nothing is looked for in it: a path into an archive stays a path, a chunk a chunk.

    Raises
    ------
    LocationError
        It cannot be opened.
    """
    text = as_unicode(address)
    return _location(parse_scheme(text) if SCHEME.match(text) else parse_path(text))


def without_secrets(location: Location) -> str:
    """Give the address without query and sign-in; names of profile and user stay."""
    userinfo = public_userinfo(location)
    return str(replace(location, query="", userinfo=userinfo, notes=()))


def _addresses(text: str | os.PathLike[str]) -> tuple[Address, ...]:
    """Return what the text names: one address, or those that one link carries."""
    if isinstance(text, os.PathLike | bytes):
        return (parse_file(os.fsdecode(text)),)
    if not isinstance(text, str):
        raise LocationError(
            f"{type(text).__name__} is no address.",
            action="Give a path or an address as text.",
        )
    found = dict.fromkeys(parse_all(one) for one in addresses_in_text(as_unicode(text)))
    if not found:
        raise LocationError(
            "There is no address.",
            action="Paste the address of an OME-Zarr, or choose a folder.",
        )
    if len(found) > 1:
        raise LocationError(
            f"There are {len(found)} addresses, and one is opened at a time.",
            action="Paste them one by one.",
        )
    return next(iter(found))


def _location(address: Address) -> Location:
    values = {field.name: getattr(address, field.name) for field in fields(address)}
    return Location(**values)


def _above(path: str) -> str:
    return path.rpartition("/")[0].rstrip("/")
