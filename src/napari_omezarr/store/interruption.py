"""Why there was no whole answer, without the words of whoever noticed.

The texts of network libraries quote addresses, which may be signed; so only the
kind of failure leaves the transports.
"""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """Ways in which an answer fails to come."""

    CERTIFICATE = "the certificate is not trusted"
    NO_CA_FILE = "the certificates to trust cannot be read"
    ENCRYPTION = "the two sides do not agree how to encrypt"
    UNKNOWN_HOST = "no such host"
    NO_CONNECTION = "refused, or no way there"
    BROKEN = "the connection ended early"
    SILENCE = "no answer in time"
    TRUNCATED = "the body ended early"
    CIRCLES = "redirects without end"
    UNUSABLE = "not an address that can be asked"
    WEB_PAGE = "a page for people"

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self in (Kind.BROKEN, Kind.SILENCE, Kind.TRUNCATED)


class Interrupted(Exception):
    """Carries a `Kind` out of a transport."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.value)
        self.kind = kind
