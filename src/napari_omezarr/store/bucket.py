"""What is known of one bucket, learnt by all stores in it and used by all.

Where it is, who signs, and how that turned out. Lives on the I/O loop, so that
nothing here needs a lock.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from napari_omezarr.connections import vault
from napari_omezarr.errors import StoreError

from .addressing import bucket_address, corrected
from .signin import AwsChain, KeptKeys
from .tally import Notes
from .translation import Place, sign_in_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.credentials import ReadOnlyCredentials

    from napari_omezarr.profiles import Profile

    from .addressing import BucketAddress
    from .refusal import Refusal

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


class Bucket:
    """One bucket, as one sign-in sees it.

    Parameters
    ----------
    name : str
        The bucket.
    profile : Profile
        What is wished; whatever it leaves open the AWS configuration decides.
    automatic : bool
        Whether to go on without a sign-in if it turns out to be no good.
    """

    def __init__(self, name: str, profile: Profile, *, automatic: bool) -> None:
        chain = (
            KeptKeys(profile.name)
            if profile.sign_in == "keys"
            else AwsChain(profile.aws_profile)
        )
        style = profile.style if profile.style != "auto" else chain.style
        self.notes = Notes()
        self.address: BucketAddress = bucket_address(
            name,
            profile.region or chain.region,
            profile.endpoint or chain.endpoint,
            style,
        )
        self.ca_file = profile.ca_file or chain.ca_file
        self.anonymous = profile.anonymous
        if profile.unverified:
            host = urlsplit(self.address.host).netloc
            self.notes.add(f"The certificate of {host} is not checked.")
        self.headers = _PAYS if profile.requester_pays else {}
        self._automatic = automatic
        self._signed = False
        self._chain = chain

    @property
    def profile(self) -> str | None:
        """The AWS profile that signs in, if one is named anywhere."""
        return self._chain.profile

    def place(self, url: str) -> Place:
        """Describe this bucket for the words of an error about `url`."""
        address = self.address
        host = urlsplit(address.host).netloc
        return Place(url, host, bucket=address.bucket, profile=self.profile)

    async def credentials(self) -> ReadOnlyCredentials | StoreError | None:
        """Find who signs: keys, the reason why there are none, or nobody."""
        if self.anonymous:
            return None
        found = await self._chain.credentials()
        if isinstance(found, StoreError) and not self._automatic:
            self._chain.forget()
            raise found
        return found

    def may_go_anonymous(self, refusal: Refusal) -> bool:
        """Say whether the same key is worth asking for without a sign-in."""
        bad = refusal.expired or refusal.status == 401 or refusal.code in _BAD_SIGN_IN
        return self._automatic and (bad or (refusal.denied and not self._signed))

    def was_read(self, *, signed: bool) -> None:
        """Remember that the bucket answered."""
        if signed:
            self._signed = True
        elif self._automatic and not self.anonymous:
            self.go_anonymous(None)

    def go_anonymous(self, problem: Refusal | StoreError | None) -> None:
        """Read without signing in from now on, because that worked.

        Parameters
        ----------
        problem : Refusal, StoreError or None
            What was wrong with signing in; None if there is nobody to sign.
        """
        self.anonymous = True
        reason = sign_in_problem(problem, self.place(""))
        bucket = self.address.bucket
        self.notes.add(f"{reason} The bucket {bucket} is read without signing in.")

    def learn(self, refusal: Refusal) -> bool:
        """Take from a refusal where the bucket is to be asked; true if that is new."""
        better = corrected(self.address, refusal)
        if better is None:
            return False
        if better.region != self.address.region:
            sentence = f"The bucket {better.bucket} lives in region {better.region}."
            self.notes.add(sentence)
        if better.virtual != self.address.virtual:
            self.notes.add(f"{better.bucket} is addressed by its own host name.")
        self.address = better
        return True

    def sign_in_failed(self, problem: Refusal | StoreError) -> None:
        """Ask for the sign-in anew the next time, if it is what is wrong."""
        if isinstance(problem, StoreError) or not problem.denied:
            self._chain.forget()


_Key = tuple[str, "Profile", bool, object]
_buckets: dict[_Key, Bucket] = {}


def shared_bucket(name: str, profile: Profile, *, automatic: bool) -> Bucket:
    """Return what is known of a bucket, the same for all who ask alike.

    It begins anew when the person changed her AWS configuration or the
    environment, by signing in for one.
    """
    key = (name, profile, automatic, _configuration())
    if key not in _buckets:
        _buckets[key] = Bucket(name, profile, automatic=automatic)
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
    return settings, tuple(_changed(file) for file in files), vault().revision


def _changed(file: Path) -> int:
    try:
        return file.expanduser().stat().st_mtime_ns
    except OSError:
        return 0
