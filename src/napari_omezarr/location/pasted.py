"""From what a clipboard holds to addresses: quotes, markup, commands, lines."""

from __future__ import annotations

import re

from .schemes import SCHEME

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
