"""Named connections: how to reach an S3 place and as whom. No secret is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import botocore.session

Style = Literal["auto", "path", "virtual"]

SignIn = Literal["automatic", "anonymous", "profile", "environment", "keys"]
"""How a connection signs in: by whatever works, never, with an AWS profile (SSO too),
with what the environment has, or with keys that the person typed."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A connection by its name.

    Attributes
    ----------
    name : str
        What the person calls it.
    aws_profile : str or None
        The AWS profile that signs in; None leaves it to the environment.
    endpoint : str or None
        ``https://host[:port]`` of an S3-compatible service; None is AWS.
    region : str or None
        Where the buckets live, if it is known.
    style : {"auto", "path", "virtual"}
        Whether buckets are named in the path or in the host.
    sign_in : {"automatic", "anonymous", "profile", "environment", "keys"}
        As whom. With an `aws_profile`, "automatic" is "profile". Keys are looked
        up in the vault under the connection's name.
    ca_file : str or None
        Certificates to trust besides those that this computer trusts.
    unverified : bool
        Take whatever certificate the endpoint shows: whoever is in between can read
        along. It counts for that endpoint only, and never for AWS.
    requester_pays : bool
        Agree to pay for what is read, where the owner asks for that.
    start : str
        The address to begin at; ``""`` if there is none.
    """

    name: str
    aws_profile: str | None = None
    endpoint: str | None = None
    region: str | None = None
    style: Style = "auto"
    sign_in: SignIn = "automatic"
    ca_file: str | None = None
    unverified: bool = False
    requester_pays: bool = False
    start: str = ""

    def __post_init__(self) -> None:
        if self.aws_profile and self.sign_in == "automatic":
            object.__setattr__(self, "sign_in", "profile")

    @property
    def anonymous(self) -> bool:
        """Whether it never signs in."""
        return self.sign_in == "anonymous"


def aws_profiles() -> tuple[str, ...]:
    """List the profiles of the AWS configuration files, in their order."""
    return tuple(botocore.session.Session().available_profiles)
