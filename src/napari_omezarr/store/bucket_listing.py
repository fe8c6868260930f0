"""Pages of ListObjectsV2, and the list of buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

from .asking import Asking, Broken
from .listing import PAGE, Batch, Item, about_listing, not_listed
from .refusal import Refusal, Refused
from .translation import translate

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest

    from napari_omezarr.errors import StoreError

    from .patience import Patience
    from .s3 import S3Transport
    from .tally import Tally
    from .translation import Place

_AT_A_TIME = 4


class BucketLister:
    """What lies below a prefix of a bucket: one request for each page.

    Parameters
    ----------
    transport : S3Transport
        The bucket.
    prefix : str
        The key of the place, without ``/`` at its end.
    url : str
        The address of the place for people.
    patience : Patience
        How long to wait, and how often to ask.
    """

    def __init__(
        self, transport: S3Transport, prefix: str, url: str, patience: Patience
    ) -> None:
        self.tally: Tally = transport.tally
        self._questions = _Questions(transport)
        self._asking = Asking(self._questions, patience, _AT_A_TIME)
        self._above = f"{prefix}/" if prefix else ""
        self._url = url

    async def batch(self, prefix: str = "", rest: str = "", size: int = PAGE) -> Batch:
        """Give a page; `rest` is the server's own continuation token.

        Raises
        ------
        ListingDeniedError
            The bucket is not listed for this sign-in, or it is none.
        StoreError
            There was no answer.
        """
        wishes = {
            "continuation-token": rest,
            "delimiter": "/",
            "encoding-type": "url",
            "list-type": "2",
            "max-keys": str(min(size, PAGE)),
            "prefix": self._above + prefix,
        }
        root = await self._answer(_query(wishes), "ListBucketResult")
        return _batch(root, len(self._above))

    async def tree(self, rest: str = "") -> Batch:
        """Give a page of all objects below, at any depth: names are whole paths.

        Raises
        ------
        StoreError
            The bucket was not listed.
        """
        wishes = {
            "continuation-token": rest,
            "encoding-type": "url",
            "list-type": "2",
            "prefix": self._above,
        }
        root = await self._answer(_query(wishes), "ListBucketResult")
        return _batch(root, len(self._above), deep=True)

    async def buckets(self) -> tuple[Item, ...]:
        """List the buckets of the service, which few sign-ins may.

        Raises
        ------
        ListingDeniedError
            This sign-in may not.
        StoreError
            There was no answer.
        """
        root = await self._answer("", "ListAllMyBucketsResult")
        found = (element for element in root.iter() if _tag(element) == "Bucket")
        return tuple(
            Item(said["Name"], True, modified=said.get("CreationDate", ""))
            for said in map(_said, found)
            if said.get("Name")
        )

    async def _answer(self, query: str, expected: str) -> ElementTree.Element:
        answer = await self._asking.ask(query, None)
        if isinstance(answer, Broken):
            raise self._error(answer)
        try:
            root = ElementTree.fromstring(answer or b"")
        except ElementTree.ParseError:
            raise not_listed(self._url) from None
        if _tag(root) != expected:
            raise not_listed(self._url)
        return root

    def _error(self, answer: Broken) -> StoreError:
        place = self._questions.place(self._url)
        problem = answer.problem
        if isinstance(problem, Refused):
            verdict = self._questions.verdict(problem)
            error = translate(verdict, place)
            # Who is not known at all may sign in: that is not about the listing.
            known = isinstance(verdict, Refusal) and verdict.status != 401
            return about_listing(error, self._url) if known else error
        return translate(problem, place)


class _Questions:
    """A bucket whose keys are the queries of listings."""

    concurrency = _AT_A_TIME

    def __init__(self, transport: S3Transport) -> None:
        self.tally: Tally = transport.tally
        self._transport = transport

    async def read(self, key: str, _wanted: ByteRequest | None) -> bytes | None:
        return await self._transport.listing(key)

    def verdict(self, refused: Refused) -> Refusal | StoreError:
        return self._transport.verdict(refused)

    def place(self, url: str) -> Place:
        return self._transport.place(url)

    @property
    def notes(self) -> tuple[str, ...]:
        return self._transport.notes


def _query(wishes: dict[str, str]) -> str:
    # Sorted and encoded as it is signed.
    pairs = ((name, quote(text, safe="-_.~")) for name, text in wishes.items() if text)
    return "&".join(f"{name}={text}" for name, text in pairs)


def _batch(root: ElementTree.Element, above: int, *, deep: bool = False) -> Batch:
    said = _said(root)
    encoded = said.get("EncodingType") == "url"
    items = []
    for element in root:
        item = _item(element, above, encoded=encoded)
        if item is not None and _is_path(item.name, deep=deep):
            items.append(item)
    more = said.get("IsTruncated") == "true"
    items.sort(key=lambda item: item.name)
    return Batch(tuple(items), said.get("NextContinuationToken", "") if more else "")


def _item(element: ElementTree.Element, above: int, *, encoded: bool) -> Item | None:
    """Read a common prefix or an object; None for every other element."""
    kind = _tag(element)
    if kind not in ("CommonPrefixes", "Contents"):
        return None
    said = _said(element)
    key = said.get("Prefix" if kind == "CommonPrefixes" else "Key", "")
    name = (unquote_plus(key) if encoded else key)[above:]
    name = name.removesuffix("/") if kind == "CommonPrefixes" else name
    if kind == "CommonPrefixes":
        return Item(name, True)
    size = said.get("Size", "")
    number = int(size) if size.isdecimal() else None
    return Item(name, False, number, said.get("LastModified", ""))


def _is_path(name: str, *, deep: bool) -> bool:
    """Say whether a name leads down: keys may hold empty parts and dots."""
    parts = name.split("/")
    return (deep or len(parts) == 1) and not {"", ".", ".."} & set(parts)


def _said(element: ElementTree.Element) -> dict[str, str]:
    return {_tag(child): child.text or "" for child in element}


def _tag(element: ElementTree.Element) -> str:
    """Give the name without the namespace, which not every server sends."""
    return element.tag.rpartition("}")[2]
