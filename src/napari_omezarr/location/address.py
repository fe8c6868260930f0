"""What an address says: the fields of a place, without any behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Address:
    """Where something lies, and how to sign in there; all parts decoded.

    The parser builds these; `Location` is the same value with its behaviour.

    Attributes
    ----------
    protocol : str
        ``file``, ``http``, ``https``, ``s3``, ``gs``, ``az`` or ``memory``.
    root : str
        ``host[:port]`` of a web address; the bucket or container; for files the
        drive (``C:``), the share (``//server/share``) or nothing.
    path : str
        Below the root, parts separated by ``/``, none at the ends.
    member : str or None
        The path inside the archive that `path` is; ``""`` is the archive's own
        root and None says that `path` is not an archive.
    query : str
        What followed ``?``, percent-encoding as pasted; it belongs to every key.
    userinfo : str
        ``user:password`` of a web address, percent-encoding as pasted.
    endpoint : str or None
        ``https://host[:port]`` of the service that holds the bucket; None is the
        protocol's own one, or what the environment says.
    region, profile : str or None
        The bucket's region; the connection (or AWS profile) to sign in with.
    anonymous : bool or None
        Whether to sign in at all; None decides by trying.
    notes : tuple of str
        Sentences worth telling once, like "moved to …"; they hold no secret and
        do not count when places are compared.
    """

    protocol: str
    root: str
    path: str
    member: str | None = None
    query: str = field(default="", repr=False)
    userinfo: str = field(default="", repr=False)
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    anonymous: bool | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)
