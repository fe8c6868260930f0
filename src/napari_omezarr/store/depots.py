"""From a location to what changes it; nothing is asked yet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_omezarr.errors import OptionError

from .depot import Depot
from .opening import wished
from .patience import Patience

if TYPE_CHECKING:
    from napari_omezarr.location import Location
    from napari_omezarr.profiles import Profile

    from .outlet import Outlet


def open_depot(
    location: Location,
    *,
    profile: Profile | None = None,
    patience: Patience | None = None,
) -> Depot:
    """Make what changes the objects below a location, without any I/O.

    Parameters
    ----------
    location : Location
        In a bucket, or in another object store that fsspec can write to. Web
        addresses count where they are known to be a bucket's.
    profile : Profile, optional
        How to sign in; what the location says itself goes before.
    patience : Patience, optional
        How long to wait, and how often to try.

    Raises
    ------
    OptionError
        Nothing can be changed there, or the library for it is not installed.
    """
    patience = patience or Patience()
    again = partial(open_depot, location, profile=profile, patience=patience)
    return Depot(location, _outlet(location, profile, patience), patience, again)


def _outlet(location: Location, profile: Profile | None, patience: Patience) -> Outlet:
    if location.query:
        raise OptionError(
            f"A link to {location.display} is signed for one object to be read, and an "
            "image is many that are written.",
            action="Use the plain address, and sign in with a connection or a profile.",
            url=location.display,
        )
    bucket = location if location.protocol == "s3" else location.as_s3()
    if bucket is not None and bucket.root:
        return _s3_outlet(bucket, profile, patience)
    if location.protocol not in ("gs", "az", "memory"):
        raise OptionError(
            f"Nothing can be saved to {location.display}.",
            action="Choose a folder of this computer, or an object store.",
            url=location.display,
        )
    return _generic_outlet(location)


def _s3_outlet(
    location: Location, profile: Profile | None, patience: Patience
) -> Outlet:
    from . import web
    from .bucket import shared_bucket
    from .s3_outlet import S3Outlet

    named = wished(location, profile)
    bucket = partial(shared_bucket, location.root, named, automatic=False)
    access = web.Access(patience, named.ca_file, named.unverified)
    return S3Outlet(bucket, location.path, access)


def _generic_outlet(location: Location) -> Outlet:
    from .generic import filesystem_of
    from .generic_outlet import GenericOutlet

    return GenericOutlet(*filesystem_of(location))
