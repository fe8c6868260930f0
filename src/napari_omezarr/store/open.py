"""Signed addresses of single objects, for who has no sign-in."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from napari_omezarr.connections import Profile, find_profile
from napari_omezarr.errors import NodeNotFoundError, OptionError, StoreError
from napari_omezarr.location import Location

from .backend import ObjectMeta, WholeLister, about_listing, not_listed
from .cached import with_disk_cache
from .error_mapping import ErrorContext, Refused, translate
from .retry import RetryPolicy
from .store import RemoteStore
from .writable import WritablePlace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .backend import Lister, Outlet, Transport
    from .fsspec_store import GenericTransport
    from .object_store import BucketLister, S3Transport
    from .zip import ArchiveTransport

# What lies in a folder of this computer, in an archive, in an fsspec filesystem.


@dataclass(frozen=True, slots=True)
class FolderItems:
    """The items of a folder of this computer."""

    folder: Path
    url: str

    async def __call__(self) -> Iterable[ObjectMeta]:
        """Look into the folder, in a thread.

        Raises
        ------
        NodeNotFoundError
            There is no such folder.
        StoreError
            It may not be read.
        """
        try:
            return await asyncio.to_thread(_in_folder, self.folder)
        except (FileNotFoundError, NotADirectoryError):
            sentence = f"There is no folder {self.url}."
            action = "Check the address."
            raise NodeNotFoundError(sentence, action=action, url=self.url) from None
        except OSError as error:
            raise translate(error, ErrorContext(self.url)) from None

    async def tree(self) -> Iterable[ObjectMeta]:
        """Walk the folder, in a thread; links to folders are not followed."""
        return await asyncio.to_thread(_below, self.folder)


@dataclass(frozen=True, slots=True)
class ArchiveItems:
    """The items of a folder in a zip file."""

    archive: ArchiveTransport
    url: str

    async def __call__(self) -> Iterable[ObjectMeta]:
        """Read the archive's directory, once for all who ask.

        Raises
        ------
        StoreError
            The file is no archive, or cannot be read.
        """
        try:
            return in_tree(await self.archive.sizes())
        except Refused as refused:
            problem = self.archive.verdict(refused)
        raise translate(problem, self.archive.place(self.url))

    async def tree(self) -> Iterable[ObjectMeta]:
        """Give all members, from the archive's directory."""
        sizes = await self.archive.sizes()
        return [
            ObjectMeta(p, False, n) for p, n in sizes.items() if not p.endswith("/")
        ]


@dataclass(frozen=True, slots=True)
class GenericItems:
    """The items of a path of an fsspec filesystem."""

    filesystem: GenericTransport
    url: str

    async def __call__(self) -> Iterable[ObjectMeta]:
        """List the path.

        Raises
        ------
        StoreError
            The filesystem did not say.
        """
        try:
            return [_described(row) for row in await self.filesystem.listing()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise translate(error, self.filesystem.place(self.url)) from None
        except Refused as refused:
            problem = self.filesystem.verdict(refused)
        denied = translate(problem, self.filesystem.place(self.url))
        raise about_listing(denied, self.url)

    async def tree(self) -> Iterable[ObjectMeta]:
        """Refuse: nothing asks for it.

        Raises
        ------
        ListingDeniedError
            Always.
        """
        raise not_listed(self.url)


def in_tree(sizes: Mapping[str, int]) -> list[ObjectMeta]:
    """Give what lies directly below the root of a tree, from the paths of its files."""
    folders: dict[str, None] = {}
    files = []
    for path, size in sizes.items():
        name, slash, _ = path.partition("/")
        if slash and name:
            folders.setdefault(name)
        elif name:
            files.append(ObjectMeta(name, False, size))
    return [*(ObjectMeta(name, True) for name in folders), *files]


def _in_folder(folder: Path) -> list[ObjectMeta]:
    items = []
    for path in folder.iterdir():
        try:
            known = path.stat()
        except OSError:  # a link to nowhere
            continue
        if path.is_dir():
            items.append(ObjectMeta(path.name, True))
        else:
            when = datetime.fromtimestamp(known.st_mtime, UTC)
            written = when.isoformat(timespec="seconds").replace("+00:00", "Z")
            items.append(ObjectMeta(path.name, False, known.st_size, written))
    return items


def _below(folder: Path) -> list[ObjectMeta]:
    return [
        ObjectMeta((Path(root) / name).relative_to(folder).as_posix(), False, size)
        for root, _, names in os.walk(folder)
        for name in names
        if (size := _size(Path(root) / name)) is not None
    ]


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:  # a link to nowhere
        return None


def _described(row: Mapping[str, Any]) -> ObjectMeta:
    name = str(row["name"]).rstrip("/").rpartition("/")[2]
    if row.get("type") == "directory":
        return ObjectMeta(name, True)
    return ObjectMeta(name, False, row.get("size"))


# From a location to its store; nothing is read or asked yet.


def open_store(
    location: Location,
    *,
    concurrency: int | None = None,
    profile: Profile | None = None,
    retry: RetryPolicy | None = None,
) -> RemoteStore:
    """Make the store of a location; nothing is asked yet.

    What is learnt of a bucket (how to sign in, its region) is shared by all stores
    in it, and so are the connections.

    Parameters
    ----------
    location : Location
        A folder or archive on this computer, the web or an object store.
    concurrency : int, optional
        How many keys are asked for at a time; 64 for remote places, 8 for local.
    profile : Profile, optional
        How to sign in; what the location says itself goes before.
    retry : RetryPolicy, optional
        How long to wait, and how often to ask.

    Returns
    -------
    PlaceStore
        Read-only; usable from every thread and loop, and picklable.
    """
    retry = retry or RetryPolicy()
    transport = _transport(location, profile, retry)
    transport = with_disk_cache(transport, location, profile)
    if location.member is not None:
        from .zip import ArchiveTransport

        transport = ArchiveTransport(transport, location.member)
    return RemoteStore(
        location,
        transport,
        retry=retry,
        concurrency=concurrency or transport.concurrency,
        again=partial(
            open_store,
            location,
            concurrency=concurrency,
            profile=profile,
            retry=retry,
        ),
    )


def open_lister(
    location: Location,
    *,
    profile: Profile | None = None,
    retry: RetryPolicy | None = None,
) -> Lister:
    """Make what lists a location, without any I/O.

    Web addresses are listed where an S3 service may answer at them: a known one, or
    one that takes the first folder for the bucket.

    Parameters
    ----------
    location : Location
        A folder, a prefix in a bucket, an archive or a folder in one.
    profile : Profile, optional
        How to sign in; what the location says itself goes before.
    retry : RetryPolicy, optional
        How long to wait, and how often to ask.

    Raises
    ------
    ListingDeniedError
        A web address that no S3 service can answer for.
    """
    retry = retry or RetryPolicy()
    if location.member is not None:
        from .zip import ArchiveTransport

        transport = _transport(location, profile, retry)
        archive = ArchiveTransport(transport, location.member)
        return WholeLister(ArchiveItems(archive, location.display), archive.stats)
    match location.protocol:
        case "file":
            items = FolderItems(location.local_path(), location.display)
            return WholeLister(items)
        case "http" | "https" | "s3":
            return _bucket_lister(location, profile, retry)
    return _generic_lister(location, retry)


def open_buckets(profile: Profile, *, retry: RetryPolicy | None = None) -> BucketLister:
    """Make what lists the buckets of a connection, without any I/O."""
    retry = retry or RetryPolicy()
    service = Location("s3", "", "")
    return _bucket_lister(service, profile, retry)


def _bucket_lister(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> BucketLister:
    from .object_store import BucketLister

    bucket = None if location.query else location.as_s3(path_style=True)
    if bucket is None:
        raise not_listed(location.display)
    transport = _s3(bucket, profile, retry)
    return BucketLister(transport, bucket.path, location.display, retry)


def _generic_lister(location: Location, retry: RetryPolicy) -> Lister:
    from .fsspec_store import GenericTransport, generic_transport

    transport = generic_transport(location, retry)
    if isinstance(transport, GenericTransport):
        items = GenericItems(transport, location.display)
        return WholeLister(items, transport.stats)
    if location.protocol != "gs":
        raise not_listed(location.display)
    # Google answers as S3 does, to whoever asks its public buckets so.
    google = replace(
        location,
        protocol="s3",
        endpoint=location.endpoint or "https://storage.googleapis.com",
        anonymous=True,
    )
    return _bucket_lister(google, None, retry)


def _transport(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> Transport:
    """Choose the way; network libraries are imported only where they are needed."""
    match location.protocol:
        case "file":
            from .local import LocalTransport

            return LocalTransport(location.local_path())
        case "http" | "https":
            return _web(location, profile, retry)
        case "s3":
            return _s3(location, profile, retry)
    from .fsspec_store import generic_transport

    return generic_transport(location, retry)


def _web(location: Location, profile: Profile | None, retry: RetryPolicy) -> Transport:
    from . import http
    from .http import HttpTransport

    bucket = None if location.query else location.as_s3()
    if bucket is not None and (location.profile or (profile and profile.aws_profile)):
        return _s3(bucket, profile, retry)
    named = find_profile(location.profile) if location.profile else profile
    access = http.Access(
        retry,
        ca_file=named.ca_file if named else None,
        proxy=http.proxy_for(location.url()),
    )
    return HttpTransport(location.url, access, bucket=bucket.root if bucket else "")


def _s3(location: Location, profile: Profile | None, retry: RetryPolicy) -> S3Transport:
    from . import http
    from .object_store import S3Transport
    from .sign_in import shared_bucket

    named = wished(location, profile)
    automatic = named.sign_in == "automatic" and location.anonymous is None
    bucket = partial(shared_bucket, location.root, named, automatic=automatic)
    access = http.Access(retry, named.ca_file, named.unverified)
    return S3Transport(bucket, location.path, access)


def wished(location: Location, profile: Profile | None) -> Profile:
    """Join what the location says with the profile; the location goes before."""
    named = profile or Profile("")
    if location.profile:
        named = find_profile(location.profile)
    wished = replace(
        named,
        endpoint=location.endpoint or named.endpoint,
        region=location.region or named.region,
        unverified=named.unverified and _is_at(location, named.endpoint),
    )
    if location.anonymous:
        return replace(wished, sign_in="anonymous")
    if location.anonymous is False and named.anonymous:
        return replace(wished, sign_in="automatic")
    return wished


def _is_at(location: Location, endpoint: str | None) -> bool:
    """Say whether a place is at an endpoint, and not at one that it names itself."""
    return endpoint is not None and location.endpoint in (None, endpoint)


# From a location to what changes it; nothing is asked yet.


def open_writable(
    location: Location,
    *,
    profile: Profile | None = None,
    retry: RetryPolicy | None = None,
) -> WritablePlace:
    """Make what changes the objects below a location, without any I/O.

    Parameters
    ----------
    location : Location
        In a bucket, or in another object store that fsspec can write to. Web
        addresses count where they are known to be a bucket's.
    profile : Profile, optional
        How to sign in; what the location says itself goes before.
    retry : RetryPolicy, optional
        How long to wait, and how often to try.

    Raises
    ------
    OptionError
        Nothing can be changed there, or the library for it is not installed.
    """
    retry = retry or RetryPolicy()
    again = partial(open_writable, location, profile=profile, retry=retry)
    return WritablePlace(location, _outlet(location, profile, retry), retry, again)


def _outlet(location: Location, profile: Profile | None, retry: RetryPolicy) -> Outlet:
    if location.query:
        raise OptionError(
            f"A link to {location.display} is signed for one object to be read, and an "
            "image is many that are written.",
            action="Use the plain address, and sign in with a connection or a profile.",
            url=location.display,
        )
    bucket = location if location.protocol == "s3" else location.as_s3()
    if bucket is not None and bucket.root:
        return _s3_outlet(bucket, profile, retry)
    if location.protocol not in ("gs", "az", "memory"):
        raise OptionError(
            f"Nothing can be saved to {location.display}.",
            action="Choose a folder of this computer, or an object store.",
            url=location.display,
        )
    return _generic_outlet(location)


def _s3_outlet(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> Outlet:
    from . import http
    from .object_store import S3Outlet
    from .sign_in import shared_bucket

    named = wished(location, profile)
    bucket = partial(shared_bucket, location.root, named, automatic=False)
    access = http.Access(retry, named.ca_file, named.unverified)
    return S3Outlet(bucket, location.path, access)


def _generic_outlet(location: Location) -> Outlet:
    from .fsspec_store import GenericOutlet, filesystem_of

    return GenericOutlet(*filesystem_of(location))


# Signed addresses of single objects, for who has no sign-in.

LONGEST = 7 * 24 * 3600
"""How many seconds S3 lets a signature be valid at most."""


async def presigned(location: Location, seconds: int = 3600) -> str:
    """Sign the address of one object, on the I/O loop.

    The result is a secret: whoever has it can read the object until it ends.

    Parameters
    ----------
    location : Location
        An object in a bucket; an image is thousands of them, which no one address
        can open.
    seconds : int, optional
        How long it works, a week at most.

    Raises
    ------
    OptionError
        It is no single object of a bucket, or nobody signs there.
    StoreError
        It could not be read.
    """
    from .sign_in import shared_bucket

    bucket = None if location.query else location.as_s3()
    if bucket is None or not await open_store(location).exists(""):
        sentence = f"{location.display} is not one object of a bucket."
        action = "Choose a single file; an image cannot be shared so."
        raise OptionError(sentence, action=action, url=location.display)
    known = shared_bucket(bucket.root, wished(bucket, None), automatic=False)
    credentials = await known.credentials()
    if isinstance(credentials, StoreError):
        raise credentials
    if credentials is None:
        sentence = f"Nobody signs in at {location.display}."
        raise OptionError(sentence, action="Share its plain address.")
    request = AWSRequest("GET", known.address.url(bucket.path))
    signer = S3SigV4QueryAuth(
        credentials, "s3", known.address.region, expires=min(seconds, LONGEST)
    )
    signer.add_auth(request)
    return str(request.url)
