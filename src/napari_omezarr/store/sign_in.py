"""What is known of one bucket, learnt by all stores in it and used by all.

Where it is, who signs, and how that turned out. Lives on the I/O loop, so that
nothing here needs a lock.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError

from napari_omezarr._io_loop import outcome, run
from napari_omezarr.connections import key_store
from napari_omezarr.errors import OptionError, SignInNeededError, StoreError
from napari_omezarr.location import WEB

from .addressing import BucketAddress, bucket_address, corrected
from .backend import PUBLIC, NoteList
from .error_mapping import ErrorContext, sign_in_error, sign_in_problem, translate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_omezarr.connections import Profile

    from .error_mapping import RequestFailed

# Whether this computer is one of Amazon's, which know who they are.
#
# Everywhere else the service that tells them does not exist, and asking for it costs
# seconds until the question times out.

_MARKS = {
    "devices/virtual/dmi/id/sys_vendor": "amazon ec2",
    "devices/virtual/dmi/id/bios_vendor": "amazon ec2",
    "devices/virtual/dmi/id/product_version": "amazon",  # the older, Xen machines
    "hypervisor/uuid": "ec2",
}


def knows_instance_metadata(
    environment: Mapping[str, str], system: Path = Path("/sys")
) -> bool:
    """Say whether to ask the instance metadata service for a sign-in.

    Below ``system`` Linux describes the hardware.
    """
    # "false" is how to insist where the computer does not tell (Windows).
    disabled = environment.get("AWS_EC2_METADATA_DISABLED", "").lower()
    if disabled:
        return disabled == "false"
    if environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        return True
    return any(_reads(system / file).startswith(mark) for file, mark in _MARKS.items())


def _reads(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip().lower()
    except OSError:
        return ""


# Finding somebody to sign requests: AWS's own chain, asked once for each place.

# At DEBUG the signer writes what it signs, session tokens included.
logging.getLogger("botocore.auth").setLevel(logging.INFO)
# They warn with the text of whoever gives keys; why there are none is said by us.
for _module in ("credentials", "tokens"):
    logging.getLogger(f"aiobotocore.{_module}").setLevel(logging.ERROR)
    logging.getLogger(f"botocore.{_module}").setLevel(logging.ERROR)


class AwsChain:
    """The AWS configuration of this computer, seen with one profile.

    Without a profile the environment and the configuration files name it.
    """

    def __init__(self, profile: str | None) -> None:
        self._profile = profile
        self._asking: asyncio.Lock | None = None
        self._session = self._new_session()
        self._credentials: Any = None
        self._keys: ReadOnlyCredentials | None = None  # as they were last seen

    @property
    def profile(self) -> str | None:
        """The profile that signs in, if one is named anywhere."""
        name: str | None = self._session.get_config_variable("profile")
        return name

    @property
    def region(self) -> str | None:
        """The region that the environment or the configuration names."""
        named = os.environ.get("AWS_REGION") or self._setting("region")
        return str(named) if named else None

    @property
    def endpoint(self) -> str | None:
        """The endpoint that the environment or the configuration names for S3.

        Raises
        ------
        OptionError
            It is no address.
        """
        if self._setting("ignore_configured_endpoint_urls"):
            return None
        environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get(
            "AWS_ENDPOINT_URL"
        )
        named = environment or self._configured_endpoint()
        with suppress(ValueError):
            if not named or "://" not in named or urlsplit(named).scheme in WEB:
                return named
        raise OptionError(
            "The endpoint that the AWS configuration names is no web address.",
            action="Correct AWS_ENDPOINT_URL, or endpoint_url in ~/.aws/config.",
        )

    @property
    def style(self) -> str:
        """``path``, ``virtual`` or ``auto``, as the configuration says."""
        nested = self._scoped().get("s3")
        style = nested.get("addressing_style") if isinstance(nested, dict) else None
        return style if style in ("path", "virtual") else "auto"

    @property
    def fips(self) -> bool:
        """Whether the environment or the configuration wants hosts that are FIPS."""
        return bool(self._setting("use_fips_endpoint"))

    @property
    def dual_stack(self) -> bool:
        """Whether it wants hosts that know IPv6, by either of its two names."""
        nested = self._scoped().get("s3")
        said = nested.get("use_dualstack_endpoint") if isinstance(nested, dict) else ""
        named = self._setting("use_dualstack_endpoint")
        return bool(named) or str(said).lower() == "true"

    @property
    def ca_file(self) -> str | None:
        """The certificates that the environment or the configuration names."""
        named = os.environ.get("AWS_CA_BUNDLE") or self._setting("ca_bundle")
        return str(named) if named else None

    async def credentials(self) -> ReadOnlyCredentials | StoreError | None:
        """Give the keys of now, why they cannot be had, or None if there are none.

        Those that end are renewed before they do.
        """
        if self._keys is not None and not _is_ending(self._credentials):
            return self._keys
        # Whoever gives keys may be any program or service, and fail in any way.
        found = await outcome(self._current())
        if isinstance(found, Exception):
            return sign_in_error(found, self.profile)
        return found

    async def _current(self) -> ReadOnlyCredentials | None:
        self._asking = self._asking or asyncio.Lock()
        async with self._asking:
            if self._credentials is None:
                self._credentials = await self._ask()
        if self._credentials is None:
            return None
        self._keys = await self._credentials.get_frozen_credentials()
        return self._keys

    def forget(self) -> None:
        """Ask anew the next time: the person may have signed in meanwhile."""
        self._session = self._new_session()
        self._credentials = self._keys = None

    def session(self) -> AioSession:
        """Give what asks everything that may know who signs."""
        chain = self._session.get_component("credential_provider")
        if not knows_instance_metadata(os.environ):
            chain.remove("iam-role")
        # It would ask in the terminal, and everything would wait for the answer.
        chain.get_provider("assume-role")._prompter = self._no_code
        return self._session

    def _no_code(self, _: str) -> str:
        sentence = f"The AWS profile {self.profile} asks for a code of a device (MFA)."
        action = (
            "Set the keys that this prints: aws configure export-credentials "
            f"--profile {self.profile} --format env"
        )
        raise SignInNeededError(sentence, action=action)

    async def _ask(self) -> Any:
        return await self.session().get_credentials()

    def _new_session(self) -> AioSession:
        return AioSession(profile=self._profile)

    def _setting(self, name: str) -> Any:
        try:
            return self._session.get_config_variable(name)
        except BotoCoreError:
            return None

    def _scoped(self) -> dict[str, Any]:
        """Return the configuration file's part for the profile, {} if it is broken."""
        try:
            scoped: dict[str, Any] = self._session.get_scoped_config()
        except BotoCoreError:
            return {}
        return scoped

    def _configured_endpoint(self) -> str | None:
        scoped = self._scoped()
        try:
            services = self._session.full_config.get("services", {})
        except BotoCoreError:
            services = {}
        service = services.get(scoped.get("services"), {}).get("s3")
        own = service.get("endpoint_url") if isinstance(service, dict) else None
        return own or scoped.get("endpoint_url")


def _is_ending(credentials: Any) -> bool:
    """Say whether keys have to be renewed soon; those that never end are not asked."""
    return hasattr(credentials, "refresh_needed") and credentials.refresh_needed()


class KeptKeys(AwsChain):
    """The keys that the person typed for a connection, wherever they are kept.

    Nothing of the AWS configuration signs in their place.
    """

    def __init__(self, name: str) -> None:
        super().__init__(None)
        self._name = name
        self._revision = -1

    @property
    def profile(self) -> str | None:
        """None: no AWS profile signs in."""
        return None

    async def credentials(self) -> ReadOnlyCredentials | StoreError | None:
        """Find the keys; a keychain may have to ask the person, so not on the loop."""
        revision = key_store().revision
        if self._credentials is not None and self._revision == revision:
            return self._credentials
        keys = await asyncio.to_thread(key_store().find, self._name)
        if keys is None:
            sentence = f"The key of the connection {self._name} is not known any more."
            action = "Type it again in the connection."
            return SignInNeededError(sentence, action=action)
        token = keys.token or None
        self._credentials = ReadOnlyCredentials(keys.access_key, keys.secret, token)
        self._revision = revision
        return self._credentials


def _chain(profile: Profile) -> AwsChain:
    if profile.sign_in == "keys":
        return KeptKeys(profile.name)
    return AwsChain(profile.aws_profile)


def s3_filesystem(profile: Profile, configured: Mapping[str, Any]) -> Any:
    """Make s3fs's filesystem, for fsspec's caches; it signs in as the connection does.

    What the connection leaves open is what the person `configured` for fsspec, else
    the AWS configuration. Not on the I/O loop.

    Raises
    ------
    StoreError
        The connection cannot sign in.
    """
    from s3fs import S3FileSystem  # late: only a cache before a bucket needs it

    chain = _chain(profile)
    keys = None if profile.anonymous else run(chain.credentials())
    if isinstance(keys, StoreError) and profile.sign_in != "automatic":
        raise keys
    said: dict[str, Any] = {
        "endpoint_url": profile.endpoint,
        "requester_pays": profile.requester_pays or None,
    }
    if isinstance(chain, KeptKeys) and isinstance(keys, ReadOnlyCredentials):
        said |= {"key": keys.access_key, "secret": keys.secret_key, "token": keys.token}
    elif isinstance(keys, ReadOnlyCredentials):
        said["session"] = chain.session()
    elif "key" not in configured:
        said["anon"] = True
    verify = False if profile.unverified else profile.ca_file or chain.ca_file
    client = {"region_name": profile.region, "verify": verify}
    style = profile.style if profile.style != "auto" else chain.style
    options = {
        **configured,
        **_said(said),
        "client_kwargs": {**configured.get("client_kwargs", {}), **_said(client)},
        "config_kwargs": {
            "s3": {"addressing_style": style},
            **configured.get("config_kwargs", {}),
        },
    }
    return S3FileSystem(**options, skip_instance_cache=True)


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


# What is known of one bucket, learnt by all stores in it and used by all.
#
# Where it is, who signs, and how that turned out. Lives on the I/O loop, so that
# nothing here needs a lock.

_SAME_TIME = 60  # seconds that no service minds
_PAYS: Mapping[str, str] = {"x-amz-request-payer": "requester"}
_BAD_SIGN_IN = {
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}


class BucketSession:
    """One bucket, as one sign-in sees it.

    What the profile leaves open the AWS configuration decides. An `automatic` sign-in
    is given up if it turns out to be no good; a `wary` one is for an endpoint that a
    text names, and begins without a key.
    """

    def __init__(
        self, name: str, profile: Profile, *, automatic: bool, wary: bool = False
    ) -> None:
        chain = _chain(profile)
        style = profile.style if profile.style != "auto" else chain.style
        self.notes = NoteList()
        self.ahead = 0.0  # seconds by which its clock is ahead of ours
        self.address: BucketAddress = bucket_address(
            name,
            profile.region or chain.region,
            profile.endpoint or chain.endpoint,
            style,
            fips=chain.fips,
            dual_stack=chain.dual_stack,
        )
        self.ca_file = profile.ca_file or chain.ca_file
        self.anonymous = profile.anonymous
        if profile.unverified:
            host = urlsplit(self.address.host).netloc
            self.notes.add(f"The certificate of {host} is not checked.")
        self.headers = _PAYS if profile.requester_pays else {}
        # Amazon's own hosts are no strangers, nor is what its configuration names.
        known = (None, chain.endpoint and chain.endpoint.rstrip("/"))
        self.wary = wary and self.address.endpoint not in known
        self._open: set[str] = set()
        self._automatic = automatic
        self._signed = False
        self._renewing: asyncio.Task[ReadOnlyCredentials | StoreError | None] | None
        self._renewing = None
        self._chain = chain

    @property
    def profile(self) -> str | None:
        """The AWS profile that signs in, if one is named anywhere."""
        return self._chain.profile

    def context(self, url: str) -> ErrorContext:
        """Describe this bucket for the words of an error about `url`."""
        address = self.address
        host = urlsplit(address.host).netloc
        return ErrorContext(url, host, bucket=address.bucket, profile=self.profile)

    async def credentials(self) -> ReadOnlyCredentials | StoreError | None:
        """Find who signs: keys, the reason why there are none, or nobody."""
        if self.anonymous:
            return None
        return self._insisted(await self._chain.credentials())

    def _insisted(
        self, found: ReadOnlyCredentials | StoreError | None
    ) -> ReadOnlyCredentials | StoreError | None:
        if isinstance(found, StoreError) and not self._automatic:
            self._chain.forget()
            raise found
        return found

    async def renewed(self, ended: ReadOnlyCredentials) -> ReadOnlyCredentials:
        """Ask for newer keys than those that ended; gives the same if there are none.

        Of many requests that fail together one asks. A program may have signed in
        anew meanwhile, and keys can end before the time that was said.
        """
        found = await self.credentials()
        if found == ended:
            if self._renewing is None:
                self._renewing = asyncio.ensure_future(self._ask_anew())
            found = self._insisted(await asyncio.shield(self._renewing))
        return found if isinstance(found, ReadOnlyCredentials) else ended

    async def _ask_anew(self) -> ReadOnlyCredentials | StoreError | None:
        self._chain.forget()
        try:
            return await self._chain.credentials()
        finally:
            self._renewing = None

    async def sign_in(self, refusal: RequestFailed) -> None:
        """Give up being wary, as nothing is read without a key.

        Raises
        ------
        RequestFailed
            `refusal`, if a key would not help or there is none.
        """
        if not (refusal.denied or refusal.status == 401):
            raise refusal
        found = await self._chain.credentials()
        if isinstance(found, StoreError):
            raise replace(refusal, signed_failure=found)
        if found is None:
            raise refusal
        self.wary = False

    def may_go_anonymous(self, failure: RequestFailed) -> bool:
        """Say whether the same key is worth asking for without a sign-in."""
        bad = failure.expired or failure.status == 401 or failure.code in _BAD_SIGN_IN
        return self._automatic and (bad or (failure.denied and not self._signed))

    def was_read(self, *, signed: bool) -> None:
        """Remember that the bucket answered."""
        if signed:
            self._signed = True
        elif self._automatic and not self.anonymous:
            self.go_anonymous(None)

    def was_open(self, prefix: str) -> None:
        """Remember that something below a prefix was read without signing in."""
        self._open.add(prefix)
        bucket = self.address.bucket
        self.notes.add(f"{PUBLIC} is read without signing in: {bucket}.")

    def is_open(self, prefix: str) -> bool:
        """Say whether something was, below it or a prefix above."""
        return any(f"{prefix}/".startswith(f"{known}/") for known in self._open)

    def go_anonymous(self, problem: RequestFailed | StoreError | None) -> None:
        """Read without signing in from now on, because that worked.

        `problem` is what was wrong with signing in; None if there is nobody to sign.
        """
        self.anonymous = True
        bucket = self.address.bucket
        if problem is None:
            self.notes.add(f"{PUBLIC} is read without signing in: {bucket}.")
            return
        reason = sign_in_problem(problem, self.context(""))
        self.notes.add(f"{reason} The bucket {bucket} is read without signing in.")

    def learn(self, failure: RequestFailed) -> bool:
        """Take from a failure where the bucket is to be asked; true if that is new."""
        better = corrected(self.address, failure)
        if better is None:
            return False
        if better.region != self.address.region:
            sentence = f"The bucket {better.bucket} lives in region {better.region}."
            self.notes.add(sentence)
        if better.virtual != self.address.virtual:
            self.notes.add(f"{better.bucket} is addressed by its own host name.")
        self.address = better
        return True

    def learn_time(self, failure: RequestFailed) -> bool:
        """Take from a failure what time it is there; true if that is new.

        For who reads: whoever writes claims a place until a time that others compare
        with theirs, so that her clock must be right.
        """
        if not failure.skew or abs(failure.skew - self.ahead) < _SAME_TIME:
            return False
        self.ahead = failure.skew
        if abs(failure.skew) > _SAME_TIME:  # else ours was set meanwhile
            self.notes.add(translate(failure, self.context("")).sentence)
        return True

    def sign_in_failed(self, problem: RequestFailed | StoreError) -> None:
        """Ask for the sign-in anew the next time, if it is what is wrong."""
        if isinstance(problem, StoreError) or not problem.denied:
            self._chain.forget()


_Key = tuple[str, "Profile", bool, bool, object]
_buckets: dict[_Key, BucketSession] = {}


def shared_bucket(
    name: str, profile: Profile, *, automatic: bool, wary: bool = False
) -> BucketSession:
    """Return what is known of a bucket, the same for all who ask alike.

    It begins anew when the person changed her AWS configuration or the
    environment, by signing in for one.
    """
    key = (name, profile, automatic, wary, _configuration())
    if key not in _buckets:
        _buckets[key] = BucketSession(name, profile, automatic=automatic, wary=wary)
    return _buckets[key]


def _configuration() -> object:
    """Something that is equal as long as the AWS configuration is."""
    home = Path("~/.aws").expanduser()
    files = (
        Path(os.environ.get("AWS_CONFIG_FILE", home / "config")),
        Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", home / "credentials")),
        home / "sso" / "cache",
        home / "login" / "cache",
    )
    names = sorted(name for name in os.environ if name.startswith("AWS_"))
    settings = tuple((name, hash(os.environ[name])) for name in names)
    return settings, tuple(_changed(file) for file in files), key_store().revision


def _changed(file: Path) -> int:
    try:
        return file.expanduser().stat().st_mtime_ns
    except OSError:
        return 0
