"""From one text to one address; what is pasted may be a link that holds it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from napari_omezarr.errors import LocationError

from .address import (
    ACCESS_POINT,
    WEB,
    Address,
    as_unicode,
    decode,
    guess_protocol,
    is_endpoint,
    is_region,
    join,
    node_path,
    parse_bucket,
    parse_file_uri,
    parse_named,
    parse_path,
    parse_sftp,
    parse_web,
    parse_webdav,
    parse_with_endpoint,
    split_archive,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# Links to viewers and consoles: the address of the data is inside them. Of
# neuroglancer the state in the fragment names its layers' sources.

_ZARR = re.compile(
    r"^zarr[23]?:|\|zarr[23]?(?::|$)|^(?!\w+://\w+://)[^|]*\.(?:zarr|ozx)\b",
    re.IGNORECASE,
)
# Links of older versions: single quotes for strings, "_" for the comma between.
_URL_SAFE_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|_", re.DOTALL)


def zarr_sources(fragment: str) -> tuple[str, ...]:
    """Return the addresses of the Zarr layers, in the order of the layers."""
    state = _parse_state(fragment.removeprefix("+"))
    sources = [url for layer in _layers(state) for url in _urls(layer)]
    found = tuple(url for url in sources if _ZARR.search(url))
    if not found:
        raise LocationError(
            "The neuroglancer link shows no Zarr.",
            action="Paste the address of a Zarr store.",
        )
    return found


def neuroglancer_link_state(fragment: str) -> dict[str, Any]:
    """Return the state that a neuroglancer link holds; LocationError if none."""
    state = _parse_state(fragment.removeprefix("+"))
    return state if isinstance(state, dict) else {}


def _parse_state(fragment: str) -> Any:
    if not unquote(fragment).lstrip().startswith("{"):
        raise LocationError(
            "The neuroglancer link does not hold its layers: they lie on a server.",
            action="Open it in a browser and copy the source of one layer.",
        )
    for text in (fragment, unquote(fragment), _plain_json(unquote(fragment))):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            continue
    raise LocationError(
        "The neuroglancer link is broken: its state cannot be read.",
        action="Copy it again from the browser's address bar.",
    )


def _plain_json(text: str) -> str:
    def plain(token: re.Match[str]) -> str:
        if token[0] == "_":
            return ","
        if token[0].startswith("'"):
            return json.dumps(token[0][1:-1].replace("\\'", "'"))
        return token[0]

    return _URL_SAFE_TOKEN.sub(plain, text)


def _layers(state: Any) -> list[Any]:
    layers = state.get("layers") if isinstance(state, dict) else None
    if isinstance(layers, dict):  # older versions: by name
        return list(layers.values())
    return layers if isinstance(layers, list) else []


def _urls(layer: Any) -> list[str]:
    source = layer.get("source") if isinstance(layer, dict) else None
    sources = source if isinstance(source, list) else [source]
    urls = [entry.get("url") if isinstance(entry, dict) else entry for entry in sources]
    return [url for url in urls if isinstance(url, str)]


# Parameters of web links, and pages of consoles.

# What viewers call the address they show: source in ome-ngff-validator, vizarr and
# bioNGFF, image_url in Avivator, image or fileToLoad in itk-vtk-viewer, urls in
# VolView, url in Vol-E; and what others are likely to say.
PARAMETERS = frozenset(
    {
        "data",
        "dataset",
        "file",
        "filetoload",
        "href",
        "image",
        "image_url",
        "imageurl",
        "input",
        "source",
        "sources",
        "src",
        "store",
        "uri",
        "url",
        "urls",
        "zarr",
    }
)
_WEB = re.compile(r"^https?://?(?:[^/?#@]*@)?([^/?#]+)([^?#]*)", re.IGNORECASE)
_ADDRESS = re.compile(
    r"^(?:zarr[23]?:(?://)?)?(?:(?:s3|gs|az)\+)?"
    r"(?:https?|s3a?|gc?s|az|abfss?|zarr[23]?):/{1,2}[^/]",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r",(?=[A-Za-z][A-Za-z0-9+.-]*:/)")
_STORE_PART = re.compile(r"\.(?:zarr|ozx|zip)(?:/|$)", re.IGNORECASE)
_STORE_INSIDE = re.compile(r"\.(?:zarr|ozx)(?:[/?#&|]|$)", re.IGNORECASE)
# Pages about an object, and the address of the object: a console's link is what
# the browser's address bar holds when one looks at a bucket.
_PAGES = tuple(
    (re.compile(pattern, re.IGNORECASE), address)
    for pattern, address in (
        (
            r"https://[\w.-]*console\.aws\.amazon\.com/s3/(?:buckets|object)/([\w.-]+)"
            r"\?(?:[^#]*&)?prefix=([^&#]*)",
            r"s3://\1/\2",
        ),
        (
            r"https://[\w.-]*console\.aws\.amazon\.com/s3/(?:buckets|object)/([\w.-]+)",
            r"s3://\1",
        ),
        (
            r"https://console\.cloud\.google\.com/storage/browser/"
            r"(?:_details/)?([^?#;]+)",
            r"gs://\1",
        ),
        (r"https://storage\.cloud\.google\.com/([^?#]+)", r"gs://\1"),
        (
            r"https://zenodo\.org/api/(records/\d+/files/[^/?#]+)/content",
            r"https://zenodo.org/\1",
        ),
    )
)
_WEBKNOSSOS_PAGE = re.compile(r"^/(?:datasets|annotations)/", re.IGNORECASE)


def addresses_in_link(text: str) -> tuple[str, ...]:
    """Return the addresses that a web link carries; none if it is plain data.

    A parameter of the query or of the fragment is taken if its value is itself
    an address, and its name is a usual one or the address names a store. Links
    into a store carry nothing: there, the query is the store's.
    """
    found = _WEB.match(text)
    if not found:
        return ()
    if address := _address_of_page(text):
        return (address,)
    host, path = found[1], found[2]
    before, _, fragment = text.partition("#")
    if fragment.startswith("!"):
        return zarr_sources(fragment[1:])
    if _STORE_PART.search(path):
        return ()
    query = before.partition("?")[2]
    route, _, after = fragment.partition("?")  # of a single-page application
    for block in (query, after if "=" not in route else fragment):
        if addresses := _addresses_in(block):
            return addresses
    if "webknossos" in host.lower() and _WEBKNOSSOS_PAGE.match(path):
        raise LocationError(
            "This is a page of WEBKNOSSOS, not the data that it shows.",
            action="Paste the Zarr address of one of its layers.",
        )
    return ()


def host_of(text: str) -> str:
    """Return the host of a web link, without port and sign-in."""
    found = _WEB.match(text)
    return found[1].partition(":")[0].lower() if found else ""


def _address_of_page(text: str) -> str:
    for page, address in _PAGES:
        if found := page.match(text):
            return found.expand(address)
    return ""


def _addresses_in(block: str) -> tuple[str, ...]:
    parameters = block.split("&")
    for index, parameter in enumerate(parameters):
        name, _, value = parameter.partition("=")
        if not _is_address(_unquote(value).strip("[]")):
            continue
        if _is_address(value) and "?" in value:
            # Not encoded, so it brings its own query: what follows is its own too.
            path, _, query = "&".join((value, *parameters[index + 1 :])).partition("?")
            values = [f"{_unquote(path)}?{query}"]
        else:
            values = _BETWEEN.split(_unquote(value).strip("[]"))
        if name.lower() in PARAMETERS or _STORE_INSIDE.search(values[0]):
            return tuple(values)
    return ()


def _is_address(value: str) -> bool:
    return bool(_ADDRESS.match(value))


def _unquote(value: str) -> str:
    # As a browser's URLSearchParams does it. The result is decoded once more as
    # an address: a percent sign in it was a doubly encoded one.
    return unquote(value.replace("+", " "), errors="surrogateescape")


# Dispatch by scheme to the syntax that a text follows.

BUCKETS = {
    "s3": "s3",
    "s3a": "s3",
    "s3n": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "abfss": "az",
}
REFERENCE = "reference"
CACHES = ("simplecache", "filecache", "blockcache")
# What a scheme may look like; a single letter is a Windows drive.
SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):(.*)$", re.DOTALL)
_ARN = re.compile(r"^arn:aws[\w-]*:s3:::", re.IGNORECASE)
# What AWS writes between an access point's name and a key, where no scheme is.
_OF_OBJECT = re.compile(r"^/object(?=/)")
_HOST_AND_PORT = re.compile(r"^([\w-][\w.-]+:\d{1,5})(?=/|$)", re.ASCII)
_BARE_HOST = re.compile(r"^([\w-]+(?:\.[\w-]+)+)/", re.ASCII)
# What pathlib and Qt's save dialog leave of an address: a folder of ours before
# it, and perhaps one slash of two.
_MANGLED = re.compile(
    r"^(?:[A-Za-z]:)?[\\/](?:.*?[\\/])?"
    r"((?:(?:s3|gs|az|webdav)\+)?https?|s3a?|gc?s|az|abfss?|zarr[23]?"
    r"|sftp|ssh|webdavs?|davs?|hf|github|ip[fn]s):[\\/]{1,2}(?=[^\\/])",
    re.IGNORECASE | re.DOTALL,
)


def _memory(_: str, rest: str) -> Address:
    return Address("memory", "", join("", decode(rest)))


# How the rest of an address is parsed, by its scheme.
_SYNTAX: dict[str, Callable[[str, str], Address]] = {
    "file": lambda _, rest: parse_file_uri(rest),
    "memory": _memory,
    "sftp": lambda _, rest: parse_sftp(rest),
    "ssh": lambda _, rest: parse_sftp(rest),
    **dict.fromkeys(("hf", "github", "ipfs", "ipns"), parse_named),
    **dict.fromkeys(("webdav", "webdavs", "webdav+http", "webdav+https"), parse_webdav),
    **dict.fromkeys(("dav", "davs"), parse_webdav),
}


def recover(text: str) -> str:
    """Return the remote address that a local path was made of, or the text.

    ``/cwd/s3:/bucket/x.zarr`` was ``s3://bucket/x.zarr``.
    """
    found = _MANGLED.match(text)
    if not found:
        return text
    rest = text[found.end() :].replace("\\", "/")
    return f"{found[1]}://{rest}"


def parse_scheme(text: str) -> Address:
    """Parse one address, by its scheme or as a path of this computer."""
    if point := ACCESS_POINT.match(text):
        text = f"s3://{point[0]}{_OF_OBJECT.sub('', text[point.end() :])}"
    text = _ARN.sub("s3://", text)
    if host := _HOST_AND_PORT.match(text):
        return parse_web(guess_protocol(host[1]), f"//{text}")
    found = SCHEME.match(text)
    if found:
        return _parse_known(found[1].lower(), found[2])
    bare = _BARE_HOST.match(text)
    if bare and (is_endpoint(bare[1]) or bare[1].startswith("www.")):
        return parse_web("https", f"//{text}")
    return parse_path(text)


def _parse_known(scheme: str, rest: str) -> Address:
    if scheme in WEB:
        return parse_web(scheme, rest)
    if scheme in BUCKETS:
        return parse_bucket(BUCKETS[scheme], rest)
    if scheme in _SYNTAX:
        return _SYNTAX[scheme](scheme, rest)
    service, _, transport = scheme.partition("+")
    if service in BUCKETS and transport in WEB:
        return parse_with_endpoint(BUCKETS[service], transport, rest)
    # The scheme is told only if it looks like one: it might be half of a secret.
    what = f"{scheme}:// addresses" if rest.startswith("//") else "This address"
    verb = "cannot" if rest.startswith("//") else "is of no kind that can"
    usual = (
        "Use a local path, or an http(s)://, s3://, gs://, az:// or sftp:// address."
    )
    why, action = _NOT_OPENED.get(scheme, ("", usual))
    raise LocationError(f"{what} {verb} be opened{why}.", action=action)


_OF_FTP = (
    ": there a broken transfer looks like a missing file",
    "Ask for the same by https:// or sftp://, or copy it here with an FTP program.",
)
_OF_SHARES = "", "Mount the share, and open its path: //server/share/image.ome.zarr"
_OF_TAR = "", "Unpack it, or pack it anew as zip."
_NOT_OPENED = {
    **dict.fromkeys(("ftp", "ftps"), _OF_FTP),
    **dict.fromkeys(("smb", "cifs", "nfs"), _OF_SHARES),
    "tar": _OF_TAR,
}
"""Why what fsspec knows is not opened, and what to do; decision 044."""


# What stands around an address: ``zarr://``, ``zip::``, ``|zip:inner|zarr3:``.
#
# The chains are fsspec's: ``zip::``, ``reference::`` and its caches, like
# ``simplecache::``.
# The pipes are neuroglancer's and TensorStore's. We add three of our own, so that the
# text of a place says how to sign in: ``|profile:``, ``|region:``, ``|anonymous:``.

_PREFIX = re.compile(r"^zarr[23]?:(?://)?(?=[A-Za-z][\w+.-]+:|/|~)", re.IGNORECASE)
_SEPARATOR_OPTION = re.compile(
    r"[?&#]dimension_separator=(?:/|\.|%2F|%2E)", re.IGNORECASE
)
_CHAIN = re.compile(
    r"^(zip|reference|simplecache|filecache|blockcache)(?:://([^:]*))?::",
    re.IGNORECASE,
)
_PIPE = re.compile(r"([a-z][a-z0-9-]*)(?::([^?]*))?", re.IGNORECASE | re.DOTALL)
_ENCODED_PIPE = re.compile(
    r"%7C(?=(?:auto|zarr[23]?|profile|region|anonymous):)", re.IGNORECASE
)
_HAS_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/")
_FORMATS = {"zarr", "zarr2", "zarr3", "auto"}
_OPTIONS = {"profile", "region", "anonymous"}


@dataclass(frozen=True, slots=True)
class Adapter:
    """One step from an address to what is meant: ``|name:body``, body decoded."""

    name: str
    body: str


def strip_prefix(text: str) -> str:
    """Take ``zarr://`` (``zarr2://``, ``zarr3://``) off an address that follows it."""
    found = _PREFIX.match(text)
    if not found:
        return text
    return _SEPARATOR_OPTION.sub("", text[found.end() :])


def split_adapters(text: str) -> tuple[str, tuple[Adapter, ...]]:
    """Split into the address itself and what stands around it, outermost last.

    A local path is left alone: a ``|`` may be part of a file's name. Qt encodes the
    pipes of a link that is dropped; in a path of ours the colon would be encoded, too.
    """
    chained: list[Adapter] = []
    while found := _CHAIN.match(text):
        chained.append(Adapter(found[1].lower(), decode(found[2] or "")))
        text = text[found.end() :]
    piped: list[Adapter] = []
    if _HAS_SCHEME.match(text):
        text = _ENCODED_PIPE.sub("|", text)
    while _HAS_SCHEME.match(text):
        base, _, pipe = text.rpartition("|")
        found = _PIPE.fullmatch(pipe)
        if not base or not found:
            break
        piped.append(_checked(Adapter(found[1].lower(), decode(found[2] or ""))))
        text = base
    return text, (*reversed(chained), *reversed(piped))


def _checked(adapter: Adapter) -> Adapter:
    if adapter.name in _FORMATS | _OPTIONS | {"zip"}:
        return adapter
    raise LocationError(
        f"The address is said to hold {adapter.name}, which is not Zarr.",
        action="Paste the address of a Zarr store.",
    )


def apply_adapters(address: Address, adapters: tuple[Adapter, ...]) -> Address:
    """Go into the archive and down the path that the adapters say."""
    for adapter in adapters:
        if adapter.name in ("zip", REFERENCE):
            address = _into_archive(address, adapter.body)
            if adapter.name == REFERENCE:
                address = replace(address, through=(REFERENCE, *address.through))
        elif adapter.name in CACHES:
            # Of the file itself, wherever in a chain with references it stood.
            held = address.through[:1] == (REFERENCE,)
            inner = address.through[1:] if held else address.through
            through = (*address.through[:held], adapter.name, *inner)
            address = replace(address, through=through)
        elif adapter.name in _FORMATS:
            address = _below(address, adapter.body)
        elif adapter.name == "anonymous":
            address = replace(address, anonymous=adapter.body.lower() != "false")
        elif adapter.name == "region":
            address = replace(address, region=adapter.body or None)
        else:
            address = replace(address, profile=adapter.body or None)
    return address


def _into_archive(address: Address, member: str) -> Address:
    if address.member:
        raise LocationError(
            "The address leads into an archive inside an archive.",
            action="Unpack the outer one.",
        )
    return replace(address, member=join("", member))


def _below(address: Address, key: str) -> Address:
    if address.member is not None:
        return replace(address, member=join(address.member, key))
    return replace(address, path=join(address.path, key))


# Hosts that closed: where their data lie now. Add a row, nothing else.


@dataclass(frozen=True, slots=True)
class Move:
    """A host whose data went elsewhere, under the same path."""

    host: str
    to: str
    date: str  # the year and month of the announcement
    source: str  # where it was announced
    buckets: dict[str, str] = field(default_factory=dict)  # renamed ones, old to new


MOVES = (
    Move(
        host="s3.embassy.ebi.ac.uk",
        to="uk1s3.embassy.ebi.ac.uk",
        date="2021-09",
        source="https://github.com/ome/ome-zarr-py/pull/109",
    ),
    Move(
        host="uk1s3.embassy.ebi.ac.uk",
        to="livingobjects.ebi.ac.uk",
        date="2026-04",
        source="https://github.com/hms-dbmi/vizarr/pull/346",
        buckets={"bia-integrator-data": "bioimaging-integrator-data"},
    ),
)


def follow(host: str, bucket: str) -> tuple[str, str, tuple[str, ...]]:
    """Return the host and bucket of today, and a note if they differ.

    A bucket's old name is replaced on the new host as well: nothing is left there
    under the old one.
    """
    new_host, new_bucket, date = host, bucket, ""
    for move in MOVES:
        if new_host == move.host:
            new_host, date = move.to, move.date
        if new_host == move.to and new_bucket in move.buckets:
            new_bucket, date = move.buckets[new_bucket], move.date
    if (new_host, new_bucket) == (host, bucket):
        return host, bucket, ()
    old, new = f"{host}/{bucket}".rstrip("/"), f"{new_host}/{new_bucket}".rstrip("/")
    return new_host, new_bucket, (f"{old} moved to {new} ({date}); opened there.",)


# The steps, in their order.

# A link in a link happens (a shortener, a proxy); a chain of them is a mistake.
MAX_LINKS = 5


def parse_all(text: str) -> tuple[Address, ...]:
    """Parse an address, or all those that a viewer's link carries."""
    addresses = []
    for inner, notes in _unwrap(recover(text), MAX_LINKS):
        address = _parse(inner)
        addresses.append(replace(address, notes=notes + address.notes))
    return tuple(dict.fromkeys(addresses))


def parse_file(text: str) -> Address:
    """Parse a path by the letter, unless it is an address that became a path."""
    text = as_unicode(text)
    remote = recover(f"/{text}")
    if remote != f"/{text}":
        return parse_all(remote)[0]
    return _inside(parse_path(text))


def _unwrap(text: str, depth: int) -> list[tuple[str, tuple[str, ...]]]:
    text = strip_prefix(text)
    inner = addresses_in_link(text)
    if not inner:
        return [(text, ())]
    if not depth:
        raise LocationError(
            "The link leads to a link to a link.",
            action="Paste the address of the data.",
        )
    host = host_of(text)
    note = () if host in inner[0] else (f"Taken out of a link to {host}.",)
    return [
        (address, (*note, *notes))
        for link in inner
        for address, notes in _unwrap(link, depth - 1)
    ]


def _parse(text: str) -> Address:
    base, adapters = split_adapters(text)
    return _inside(_follow_move(parse_scheme(base)), adapters)


def _inside(address: Address, adapters: tuple[Adapter, ...] = ()) -> Address:
    path, member = split_archive(address.path)
    address = apply_adapters(replace(address, path=path, member=member), adapters)
    if address.member is not None:
        return replace(address, member=node_path(address.member, in_store=True))
    return replace(address, path=node_path(address.path))


def _follow_move(address: Address) -> Address:
    """Replace a host that closed by the one that has its data."""
    if address.protocol in WEB:
        bucket, slash, path = address.path.partition("/")
        host, bucket, notes = follow(address.root, bucket)
        path = f"{bucket}{slash}{path}"
        return replace(address, root=host, path=path, notes=address.notes + notes)
    if address.endpoint:
        protocol, _, host = address.endpoint.partition("://")
        host, bucket, notes = follow(host, address.root)
        endpoint = f"{protocol}://{host}"
        notes = address.notes + notes
        return replace(address, root=bucket, endpoint=endpoint, notes=notes)
    return address


def with_options(
    address: Address,
    *,
    endpoint: str | None,
    region: str | None,
    profile: str | None,
    anonymous: bool | None,
) -> Address:
    """Fill what the address leaves open; places of this computer need none of it."""
    if address.protocol in {"file", "memory"}:
        return address
    if address.protocol in BUCKETS.values():
        address = replace(
            address,
            endpoint=address.endpoint or endpoint,
            region=address.region or region or None,
        )
        if address.region and not is_region(address.region):
            raise LocationError(
                "The address names no region that can exist.",
                action="Write one like us-east-1, or leave it out.",
            )
    anonymous = anonymous if address.anonymous is None else address.anonymous
    profile = address.profile or profile or None
    return _follow_move(replace(address, profile=profile, anonymous=anonymous))
