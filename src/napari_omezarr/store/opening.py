"""From a location to its store; nothing is read or asked yet."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from napari_omezarr.connections import find_profile
from napari_omezarr.location import Location
from napari_omezarr.profiles import Profile

from .disk_cache import with_disk_cache
from .folder_listing import ArchiveItems, FolderItems, GenericItems
from .listing import WholeLister, not_listed
from .patience import Patience
from .place import PlaceStore

if TYPE_CHECKING:
    from .bucket_listing import BucketLister
    from .listing import Lister
    from .s3 import S3Transport
    from .transport import Transport


def open_store(
    location: Location,
    *,
    concurrency: int | None = None,
    profile: Profile | None = None,
    patience: Patience | None = None,
) -> PlaceStore:
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
    patience : Patience, optional
        How long to wait, and how often to ask.

    Returns
    -------
    PlaceStore
        Read-only; usable from every thread and loop, and picklable.
    """
    patience = patience or Patience()
    transport = _transport(location, profile, patience)
    transport = with_disk_cache(transport, location, profile)
    if location.member is not None:
        from .archive import ArchiveTransport

        transport = ArchiveTransport(transport, location.member)
    return PlaceStore(
        location,
        transport,
        patience=patience,
        concurrency=concurrency or transport.concurrency,
        again=partial(
            open_store,
            location,
            concurrency=concurrency,
            profile=profile,
            patience=patience,
        ),
    )


def open_lister(
    location: Location,
    *,
    profile: Profile | None = None,
    patience: Patience | None = None,
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
    patience : Patience, optional
        How long to wait, and how often to ask.

    Raises
    ------
    ListingDeniedError
        A web address that no S3 service can answer for.
    """
    patience = patience or Patience()
    if location.member is not None:
        from .archive import ArchiveTransport

        transport = _transport(location, profile, patience)
        archive = ArchiveTransport(transport, location.member)
        return WholeLister(ArchiveItems(archive, location.display), archive.tally)
    match location.protocol:
        case "file":
            items = FolderItems(location.local_path(), location.display)
            return WholeLister(items)
        case "http" | "https" | "s3":
            return _bucket_lister(location, profile, patience)
    return _generic_lister(location, patience)


def open_buckets(profile: Profile, *, patience: Patience | None = None) -> BucketLister:
    """Make what lists the buckets of a connection, without any I/O."""
    patience = patience or Patience()
    service = Location("s3", "", "")
    return _bucket_lister(service, profile, patience)


def _bucket_lister(
    location: Location, profile: Profile | None, patience: Patience
) -> BucketLister:
    from .bucket_listing import BucketLister

    bucket = None if location.query else location.as_s3(path_style=True)
    if bucket is None:
        raise not_listed(location.display)
    transport = _s3(bucket, profile, patience)
    return BucketLister(transport, bucket.path, location.display, patience)


def _generic_lister(location: Location, patience: Patience) -> Lister:
    from .generic import GenericTransport, generic_transport

    transport = generic_transport(location, patience)
    if isinstance(transport, GenericTransport):
        items = GenericItems(transport, location.display)
        return WholeLister(items, transport.tally)
    if location.protocol != "gs":
        raise not_listed(location.display)
    # Google answers as S3 does, to whoever asks its public buckets so.
    google = replace(
        location,
        protocol="s3",
        endpoint=location.endpoint or "https://storage.googleapis.com",
        anonymous=True,
    )
    return _bucket_lister(google, None, patience)


def _transport(
    location: Location, profile: Profile | None, patience: Patience
) -> Transport:
    """Choose the way; network libraries are imported only where they are needed."""
    match location.protocol:
        case "file":
            from .local import LocalTransport

            return LocalTransport(location.local_path())
        case "http" | "https":
            return _web(location, profile, patience)
        case "s3":
            return _s3(location, profile, patience)
    from .generic import generic_transport

    return generic_transport(location, patience)


def _web(location: Location, profile: Profile | None, patience: Patience) -> Transport:
    from . import web
    from .http import HttpTransport

    bucket = None if location.query else location.as_s3()
    if bucket is not None and (location.profile or (profile and profile.aws_profile)):
        return _s3(bucket, profile, patience)
    named = find_profile(location.profile) if location.profile else profile
    access = web.Access(
        patience,
        ca_file=named.ca_file if named else None,
        proxy=web.proxy_for(location.url()),
    )
    return HttpTransport(location.url, access, bucket=bucket.root if bucket else "")


def _s3(location: Location, profile: Profile | None, patience: Patience) -> S3Transport:
    from . import web
    from .bucket import shared_bucket
    from .s3 import S3Transport

    named = wished(location, profile)
    automatic = named.sign_in == "automatic" and location.anonymous is None
    bucket = partial(shared_bucket, location.root, named, automatic=automatic)
    access = web.Access(patience, named.ca_file, named.unverified)
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
