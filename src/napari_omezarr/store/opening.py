"""From a location to its store; nothing is read or asked yet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_omezarr.profiles import Profile, find_profile

from .disk_cache import with_disk_cache
from .patience import Patience
from .place import PlaceStore

if TYPE_CHECKING:
    from napari_omezarr.location import Location

    from .transport import Transport


def open_store(
    location: Location,
    *,
    concurrency: int | None = None,
    profile: Profile | None = None,
    patience: Patience | None = None,
) -> PlaceStore:
    """Make the store of a location, without any I/O.

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
    access = web.Access(
        patience,
        ca_file=profile.ca_file if profile else None,
        proxy=web.proxy_for(location.url()),
    )
    return HttpTransport(location.url, access, bucket=bucket.root if bucket else "")


def _s3(location: Location, profile: Profile | None, patience: Patience) -> Transport:
    from . import web
    from .bucket import shared_bucket
    from .s3 import S3Transport

    named = _wished(location, profile)
    automatic = location.anonymous is None and not named.aws_profile
    bucket = partial(shared_bucket, location.root, named, automatic=automatic)
    return S3Transport(bucket, location.path, web.Access(patience, named.ca_file))


def _wished(location: Location, profile: Profile | None) -> Profile:
    """Join what the location says with the profile; the location goes before."""
    named = profile or Profile("")
    if location.profile:
        named = find_profile(location.profile)
    anonymous = named.anonymous if location.anonymous is None else location.anonymous
    return Profile(
        named.name,
        aws_profile=named.aws_profile,
        endpoint=location.endpoint or named.endpoint,
        region=location.region or named.region,
        style=named.style,
        anonymous=anonymous,
        ca_file=named.ca_file,
    )
