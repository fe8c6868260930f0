"""From a location to what reads, lists or changes it; nothing is asked yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from zarr.abc.store import RangeByteRequest

from napari_omezarr._io_loop import run
from napari_omezarr.connections import (
    Profile,
    find_profile,
    is_stranger,
    is_web_home,
    wished,
)
from napari_omezarr.errors import BucketNotFoundError, OptionError, StoreError
from napari_omezarr.location import WEB, Location, encode

from .backend import (
    REMOTE_CONCURRENCY,
    ObjectBackend,
    ObjectMeta,
    PagedLister,
    RequestStats,
    RetryPolicy,
    WholeLister,
    not_listed,
)
from .cached import with_disk_cache
from .error_mapping import ErrorContext
from .store import RemoteStore
from .writable import WritablePlace

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from zarr.abc.store import ByteRequest

    from .addressing import BucketAddress
    from .azure_storage import AzureBackend
    from .backend import GetResult, Lister, WritableBackend
    from .google_storage import GoogleReader
    from .object_store import BucketLister, S3Reader
    from .sign_in import BucketSession

_ZIP = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class BucketItems:
    """The buckets of an object store that a sign-in may see."""

    lister: BucketLister

    async def __call__(self) -> Iterable[ObjectMeta]:
        """Ask for them."""
        return await self.lister.buckets()

    async def deep(self) -> Iterable[ObjectMeta]:
        """Give the same: nobody wants all objects of all buckets."""
        return await self()


class NoBucketBackend(ObjectBackend):
    """An object store itself: only its buckets hold something."""

    def __init__(self, url: str) -> None:
        self.concurrency = REMOTE_CONCURRENCY
        self.stats = RequestStats()
        self._url = url

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Refuse."""
        sentence = f"{self._url} is an object store, and names no bucket of it."
        action = f"Write it as {self._url.rstrip('/')}/bucket/path."
        raise BucketNotFoundError(sentence, action=action, url=self._url)

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        return ErrorContext(url, doing=doing)


# From a location to its store; nothing is read or asked yet.


def open_store(
    location: Location,
    *,
    concurrency: int | None = None,
    profile: Profile | None = None,
    retry: RetryPolicy | None = None,
) -> RemoteStore:
    """Make the store of a location; usable from every thread and loop, and picklable.

    What is learnt of a bucket (how to sign in, its region) is shared by all stores in
    it, and so are the connections. ``concurrency`` keys are asked for at a time: 64 of
    remote places and 8 of local ones, if nothing is said. What the location says of
    signing in goes before ``profile``.
    """
    retry = retry or RetryPolicy()
    backend: ObjectBackend
    if location.protocol == "store":
        from .foreign import open_foreign

        return open_foreign(location, retry)
    file = replace(location, member=None)
    if location.is_reference:
        backend = _references(location, profile, retry)
    else:
        backend = with_disk_cache(_backend(file, profile, retry), file, profile)
    if location.member is not None and not location.is_reference:
        from .zip import ZipBackend

        backend = ZipBackend(backend, location.member, location.display)
    return RemoteStore(
        location,
        backend,
        retry=retry,
        concurrency=concurrency or backend.concurrency,
        again=partial(
            open_store,
            location,
            concurrency=concurrency,
            profile=profile,
            retry=retry,
        ),
        refuses_listing=_listing_probe(location, profile, retry),
    )


def _listing_probe(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> Callable[[], Coroutine[Any, Any, bool | None]] | None:
    """Give what asks whether a place may be listed, as whoever reads it.

    None of what is no object of a bucket, or is asked for by a signed address.
    """
    whole = not (location.through or location.query or location.member is not None)
    if not whole or location.is_service or _header_profile(location, profile):
        return None
    bucket: Location | None = None
    if location.protocol in ("s3", "gs"):
        bucket = location
    elif (found := location.as_s3()) is not None:
        signs = location.profile or (profile and profile.aws_profile)
        bucket = found if signs else replace(found, anonymous=True)
    if bucket is None:
        return None

    async def is_refused() -> bool | None:
        return await _pages(bucket, profile, retry).is_refused()

    return is_refused


def is_zip_file(store: RemoteStore) -> bool:
    """Say whether a place that is not called so is a zip file; blocks, never raises.

    Asks for its first bytes, with one request.
    """
    place = store.location
    if place.protocol == "store" or place.member is not None:
        return False
    first = RangeByteRequest(0, len(_ZIP))
    try:
        found = run(store.read("", first))
    except StoreError:
        return False
    return found is not None and found.body == _ZIP


def open_lister(
    location: Location,
    *,
    profile: Profile | None = None,
    retry: RetryPolicy | None = None,
) -> Lister:
    """Make what lists a folder, a prefix in a bucket, an archive or a folder in one.

    Web addresses are listed where an S3 service may answer at them: a known one, or
    one that takes the first folder for the bucket.

    Raises
    ------
    ListingDeniedError
        A web address that no S3 service can answer for.
    """
    retry = retry or RetryPolicy()
    if location.is_reference or location.protocol == "store":
        raise not_listed(location.display)
    if location.member is not None:
        from .zip import ZipBackend, ZipItems

        file = replace(location, member=None)
        archive = ZipBackend(
            _backend(file, profile, retry), location.member, location.display
        )
        return WholeLister(ZipItems(archive, location.display, retry), archive.stats)
    if location.through:
        return _fsspec_lister(location)
    if location.protocol == "file":
        from .local import FolderItems

        return WholeLister(FolderItems(location))
    if location.protocol in WEB:
        return _web_lister(location, profile, retry)
    if location.protocol in ("s3", "gs", "az"):
        return _in_buckets(location, profile, retry)
    return _fsspec_lister(location)


def _pages(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> PagedLister:
    if location.protocol not in ("gs", "az"):
        return _bucket_lister(location, profile, retry)
    return PagedLister(_other_bucket(location, retry), location.display, retry)


def _in_buckets(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> Lister:
    """List a bucket, or the buckets of a service."""
    if not location.is_service:
        return _pages(location, profile, retry)
    lister = _bucket_lister(location, profile, retry)
    return WholeLister(BucketItems(lister), lister.stats)


def _web_lister(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> Lister:
    """List as a bucket where one may answer, and by the page of a web server."""
    from .web_server import IndexedLister, IndexItems

    is_bucket = not location.query and location.as_s3(path_style=True) is not None
    bucket: Lister | None = None
    if is_bucket and not _header_profile(location, profile):
        bucket = _in_buckets(location, profile, retry)
    if location.query:
        raise not_listed(location.display)
    address = f"{location.url().rstrip('/')}/"
    backend = _web_backend(location, profile, retry, address)
    items = IndexItems(backend, address, location.display, retry)
    return IndexedLister(bucket, WholeLister(items, backend.stats), location.display)


def open_buckets(profile: Profile, *, retry: RetryPolicy | None = None) -> BucketLister:
    """Make what lists the buckets of a connection."""
    return _bucket_lister(Location("s3", "", ""), profile, retry or RetryPolicy())


def _bucket_lister(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> BucketLister:
    from .object_store import BucketLister

    bucket = None if location.query else location.as_s3(path_style=True)
    if bucket is None:
        raise not_listed(location.display)
    reader = _s3_reader(bucket, profile, retry)
    return BucketLister(reader, location.display, retry)


def _fsspec_lister(location: Location) -> Lister:
    from .fsspec_backend import FsspecBackend, FsspecItems, filesystem_of

    backend = FsspecBackend(*filesystem_of(location))
    return WholeLister(FsspecItems(backend, location.display), backend.stats)


def _backend(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> ObjectBackend:
    """Choose the way; network libraries are imported only where they are needed."""
    match "" if location.through else location.protocol:
        case "file":
            from .local import LocalBackend

            return LocalBackend(location.local_path())
        case "http" | "https":
            return _web_backend(location, profile, retry)
        case "s3" if location.is_service:
            return NoBucketBackend(location.display)
        case "s3" | "gs" | "az":
            return _bucket_reader(location, profile, retry)
        case "webdav+http" | "webdav+https" | "ipfs" | "ipns":
            return _backend_on_the_web(location, profile, retry)
    from .fsspec_backend import FsspecBackend, filesystem_of

    return FsspecBackend(*filesystem_of(location))


def _references(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> ObjectBackend:
    from .reference import ReferenceBackend

    caches = tuple(name for name in location.through if name != "reference")
    file = replace(location, member=None, through=caches, notes=())
    files = open_store(file, profile=profile, retry=retry)
    named = find_profile(location.profile) if location.profile else profile
    signs_web = named is not None and named.sign_in == "header"
    is_own = not signs_web or (named is not None and is_web_home(file, named))
    endpoints = {None, file.endpoint, named.endpoint if named else None}

    def opener(target: Location) -> RemoteStore:
        """Open as whoever reads the references, where that connection is for it.

        Who wrote them chose its endpoint: one that she did not name gets no key.
        """
        if target.endpoint not in endpoints:
            target = replace(target, anonymous=True)
        fits = is_own and target.protocol in (WEB if signs_web else ("s3",))
        return open_store(target, profile=named if fits else None, retry=retry)

    return ReferenceBackend(files, location.member or "", opener)


def _backend_on_the_web(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> ObjectBackend:
    """Read WebDAV and IPFS as what they are, files on the web.

    Parts are then checked, requests counted and repeated, as everywhere on the web.
    """
    from .filesystems import as_web, gateway_of
    from .http import Access, proxy_for
    from .web_server import HttpBackend

    if location.protocol.startswith("webdav"):
        return _web_backend(as_web(location), profile, retry)
    gateway = gateway_of(location)
    path = f"{location.protocol}/{location.root}/{location.path}".rstrip("/")
    access = Access(retry, proxy=proxy_for(gateway))
    return HttpBackend(f"{gateway}/{encode(path)}", access)


def _web_backend(
    location: Location,
    profile: Profile | None,
    retry: RetryPolicy,
    address: str = "",
) -> ObjectBackend:
    from .http import Access, proxy_for
    from .web_server import HeaderSignIn, HttpBackend

    address = address or location.url()
    if named := _header_profile(location, profile):
        access = Access(
            retry,
            ca_file=named.ca_file,
            unverified=named.unverified and is_web_home(location, named),
            proxy=proxy_for(address),
        )
        if is_web_home(location, named):
            sign_in = HeaderSignIn(named.name, str(named.endpoint))
            return HttpBackend(address, access, sign_in=sign_in)
        backend = HttpBackend(address, access)
        if not (location.userinfo or location.anonymous):
            backend.say_not_signed(named.name)
        return backend
    bucket = None if location.query else location.as_s3()
    if bucket is not None and (location.profile or (profile and profile.aws_profile)):
        return _s3_reader(bucket, profile, retry)
    named = find_profile(location.profile) if location.profile else profile
    ca_file = named.ca_file if named else None
    access = Access(retry, ca_file=ca_file, proxy=proxy_for(address))
    return HttpBackend(address, access, bucket=bucket.root if bucket else "")


def _header_profile(location: Location, profile: Profile | None) -> Profile | None:
    """Give the connection whose token or headers sign in at a web address, if any."""
    if location.protocol not in WEB:
        return None
    named = find_profile(location.profile) if location.profile else profile
    return named if named and named.sign_in == "header" else None


def _bucket_reader(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> ObjectBackend:
    if location.protocol == "s3":
        return _s3_reader(location, profile, retry)
    return _other_bucket(location, retry)


def _other_bucket(
    location: Location, retry: RetryPolicy
) -> GoogleReader | AzureBackend:
    """Read, and list, a bucket of Google's or a container of Azure's."""
    if location.protocol == "az":
        from .azure_storage import azure_backend

        return azure_backend(location, retry)
    from .google_storage import google_reader

    return google_reader(location, retry)


def _s3_reader(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> S3Reader:
    from .http import Access
    from .object_store import S3Reader

    named = wished(location, profile)
    access = Access(retry, named.ca_file, named.unverified)
    return S3Reader(partial(_bucket, location, profile), location.path, access)


def _bucket(location: Location, profile: Profile | None) -> BucketSession:
    """Give the bucket of a place as who reads there sees it."""
    from .sign_in import shared_bucket

    named = wished(location, profile)
    automatic = named.sign_in == "automatic" and location.anonymous is None
    wary = automatic and is_stranger(location, profile)
    return shared_bucket(location.root, named, automatic=automatic, wary=wary)


def bucket_of(location: Location) -> BucketAddress:
    """Give where a bucket of S3 lies, by all that says it; nothing is asked.

    Where it was read, what was found out then is known, and no file is looked at.

    Raises
    ------
    OptionError
        The AWS configuration names an endpoint that is no address.
    """
    return _bucket(location, None).address


# From a location to what changes it.


def open_writable(
    location: Location,
    *,
    profile: Profile | None = None,
    retry: RetryPolicy | None = None,
) -> WritablePlace:
    """Make what changes the objects below a location in an object store.

    Web addresses count where they are known to be a bucket's.

    Raises
    ------
    OptionError
        Nothing can be changed there, or the library for it is not installed.
    """
    retry = retry or RetryPolicy()
    again = partial(open_writable, location, profile=profile, retry=retry)
    backend = _writable_backend(location, profile, retry)
    return WritablePlace(location, backend, retry, again)


def _writable_backend(
    location: Location, profile: Profile | None, retry: RetryPolicy
) -> WritableBackend:
    if location.query:
        how = "sign in with a connection or a profile."
        if location.protocol == "az":
            how = "put what follows the question mark into AZURE_STORAGE_SAS_TOKEN."
        raise OptionError(
            f"A link to {location.display} is signed for one object to be read, and an "
            "image is many that are written.",
            action=f"Use the plain address, and {how}",
            url=location.display,
        )
    bucket = location if location.protocol == "s3" else location.as_s3()
    if _header_profile(location, profile):
        bucket = None
    if bucket is not None and bucket.root:
        from .http import Access
        from .object_store import S3Writer
        from .sign_in import shared_bucket

        named = wished(bucket, profile)
        # Not without signing in of itself: who may read is not who may write.
        session = partial(shared_bucket, bucket.root, named, automatic=False)
        access = Access(retry, named.ca_file, named.unverified)
        return S3Writer(session, bucket.path, access)
    fsspec_writes = ("memory", "sftp", "webdav+http", "webdav+https")
    if location.through or location.protocol not in ("gs", "az", *fsspec_writes):
        raise not_writable(location)
    if location.protocol == "gs":
        from .google_storage import google_writer

        return google_writer(location, retry)
    if location.protocol == "az":
        from .azure_storage import azure_backend

        return azure_backend(location, retry, writes=True)
    from .fsspec_backend import FsspecBackend, WebdavBackend, filesystem_of

    filesystem = filesystem_of(location)
    if location.protocol.startswith("webdav"):
        return WebdavBackend(_backend(location, profile, retry), *filesystem)
    return FsspecBackend(*filesystem)


# Signed addresses of single objects, for who has no sign-in.

LONGEST = 7 * 24 * 3600
"""How many seconds S3 lets a signature be valid at most."""


async def presigned(location: Location, seconds: int = 3600) -> str:
    """Sign the address of one object of a bucket, on the I/O loop.

    The result is a secret: whoever has it can read the object until it ends. An image
    is thousands of objects, which no one address can open.

    Raises
    ------
    OptionError
        It is no single object of a bucket, or nobody signs there.
    StoreError
        It could not be read.
    """
    # Late, as they take a while.
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest

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
        credentials,
        known.address.signed_as,
        known.address.region,
        expires=min(seconds, LONGEST),
    )
    signer.add_auth(request)
    return str(request.url)


def not_writable(address: Location) -> OptionError:
    """Say that a place takes nothing."""
    return OptionError(
        f"Nothing can be saved to {address.display}.",
        action="Choose a folder of this computer, or an object store.",
        url=address.display,
    )
