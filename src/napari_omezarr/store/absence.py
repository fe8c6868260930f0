"""What counts as *never written*: the one table, for every door and every way there.

A chunk that was never written is the fill value; a chunk that was refused is an error.
The two must never be mistaken for each other, so that an object counts as absent only
by what stands here.

========================  =============================================================
answer                    means
========================  =============================================================
404 without a code, or    never written, if what was asked for tells of the object as a
with one of an object     whole: all of it, its end, or its beginning (an index)
404 of something of       an error: a portal, a sign-in page
another name, after a
redirect
404 with another code     an error: the bucket, the account or the upload is not there
the same for a part from  an error: who asks for that knows that the object is there
the middle of an object   (a chunk of a shard, a member of an archive)
``ENOENT``, ``ENOTDIR``,  never written: there is no such file. A path that is a folder
``EISDIR``                is none
a member that is not in   never written
an archive's directory,
a key that references or
a store do not know
403 that is S3's own      *presumed* never written, if it was all of an object of a
``AccessDenied``          bucket that was asked for, without a signed address; if the
document                  bucket has said that this sign-in may not list below the
                          location (S3 then answers so for keys that are missing); and
                          if a document above the key could be read with the same
                          sign-in. Else an error
any other 403, and 400,   an error, whatever the body is: a page, JSON, nothing
401, 407, 410, 429, 451
anything else             an error
========================  =============================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarr.abc.store import OffsetByteRequest, RangeByteRequest

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest

    from .error_mapping import RequestFailed

NO_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""What an operating system, or a filesystem, raises where there is no such file."""

_OBJECT_CODES = {
    "",
    "404",  # botocore's, of an answer without a body
    "BlobNotFound",
    "NoSuchKey",
    "NoSuchObject",
    "NotFound",
    "ResourceNotFound",
}
"""The codes, of S3, Azure and others, that are about one object and nothing else."""


def says_absent(status: int, code: str = "") -> bool:
    """Say whether an answer says that there is no such object."""
    return status == 404 and code in _OBJECT_CODES


def says_denied(failure: RequestFailed) -> bool:
    """Say whether an answer is S3's own "you may not", with a sign-in that is right."""
    refused = failure.status == 403 and failure.code == "AccessDenied"
    return refused and not failure.expired


def tells_of_all(wanted: ByteRequest | None) -> bool:
    """Say whether a request finds out whether an object is there at all."""
    match wanted:
        case RangeByteRequest(start, _) | OffsetByteRequest(start):
            return start == 0
    return True
