"""Named connections: how to reach an S3 place and as whom. No secret is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import botocore.session

Style = Literal["auto", "path", "virtual"]


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
    anonymous : bool
        Never sign in.
    ca_file : str or None
        Certificates to trust besides those that this computer trusts.
    """

    name: str
    aws_profile: str | None = None
    endpoint: str | None = None
    region: str | None = None
    style: Style = "auto"
    anonymous: bool = False
    ca_file: str | None = None


def aws_profiles() -> tuple[str, ...]:
    """List the profiles of the AWS configuration files, in their order."""
    return tuple(botocore.session.Session().available_profiles)


def find_profile(name: str) -> Profile:
    """Find a connection by its name.

    Parameters
    ----------
    name : str
        For now the name of an AWS profile. Whether there is one is found out when
        it signs in, so that nothing is read here.
    """
    return Profile(name, aws_profile=name)
