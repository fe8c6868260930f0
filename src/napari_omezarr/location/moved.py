"""Hosts that closed: where their data lie now. Add a row, nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Move:
    """A host whose data went elsewhere, under the same path.

    Attributes
    ----------
    host, to : str
        The host before and after, without port.
    date : str
        The year and month of the announcement.
    source : str
        Where it was announced.
    buckets : dict of str to str
        Buckets that got another name on the way, old to new.
    """

    host: str
    to: str
    date: str
    source: str
    buckets: dict[str, str] = field(default_factory=dict)


MOVES = (
    Move(
        host="s3.embassy.ebi.ac.uk",
        to="uk1s3.embassy.ebi.ac.uk",
        date="2021-09",
        source="https://github.com/ome/ome-zarr-py/pull/109",
    ),
    Move(
        host="uk1s3.embassy.ebi.ac.uk",
        to="livingobjects.ebi.ac.uk",
        date="2026-04",
        source="https://github.com/hms-dbmi/vizarr/pull/346",
        buckets={"bia-integrator-data": "bioimaging-integrator-data"},
    ),
)


def follow(host: str, bucket: str) -> tuple[str, str, tuple[str, ...]]:
    """Return the host and bucket of today, and a note if they differ.

    A bucket's old name is replaced on the new host as well: nothing is left there
    under the old one.
    """
    new_host, new_bucket, date = host, bucket, ""
    for move in MOVES:
        if new_host == move.host:
            new_host, date = move.to, move.date
        if new_host == move.to and new_bucket in move.buckets:
            new_bucket, date = move.buckets[new_bucket], move.date
    if (new_host, new_bucket) == (host, bucket):
        return host, bucket, ()
    old, new = f"{host}/{bucket}".rstrip("/"), f"{new_host}/{new_bucket}".rstrip("/")
    return new_host, new_bucket, (f"{old} moved to {new} ({date}); opened there.",)
