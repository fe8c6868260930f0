"""Every error that this package raises on purpose.

Each says one sentence, offers at most one action, and carries the facts it was
made from. Backend exceptions become these in one place, ``store.error_mapping``.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from traceback import walk_tb
from typing import TYPE_CHECKING

from .plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

FOREIGN_ERRORS: tuple[type[Exception], ...] = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError),
    *(ImportError, LookupError, MemoryError, OSError, RuntimeError, SystemError),
    *(TypeError, ValueError, struct.error, zlib.error, lzma.LZMAError),
)
"""What codecs, and libraries that take a document apart, raise on what is damaged.

To be caught where others' code is given others' bytes, and nowhere else.
"""


class OMEZarrError(Exception):
    """The base of all our errors: one sentence, one action, the facts.

    Parameters
    ----------
    sentence : str
        What happened, for the person who reads it; never holds a secret.
    action : str, optional
        What she can do about it, as an imperative sentence.
    url : str, optional
        The address that the error is about, without query and sign-in.
    option : str, optional
        Which option of a save chooses what the action says: ``existing``,
        ``unfinished``.

    Examples
    --------
    >>> from napari_omezarr import OMEZarrError, read_layers
    >>> try:
    ...     read_layers("nothing.ome.zarr")
    ... except OMEZarrError as error:
    ...     print(error.action)
    Check the address; the image's own folder is what is needed.
    """

    opening_helps = False
    """Whether all is right once the image has been opened again."""

    def __init__(
        self, sentence: str, *, action: str = "", url: str = "", option: str = ""
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.action = action
        self.url = url
        self.option = option

    def __str__(self) -> str:
        # Names that others chose stand in it, and who shows it may not know.
        return plain(f"{self.sentence} {self.action}".rstrip())


class LocationError(OMEZarrError, ValueError):
    """What was pasted is not an address that we can make sense of."""


class MetadataError(OMEZarrError, ValueError):
    """A document cannot be understood as OME-Zarr, even with tolerance.

    ``problem`` is what is wrong, in words; ``where`` the path inside the document, like
    ``multiscales/0/datasets``; ``url`` the address of the document.
    """

    def __init__(self, problem: str, *, where: str = "", url: str = "") -> None:
        place = " in ".join(part for part in (where, url) if part)
        super().__init__(f"{problem} ({place})." if place else f"{problem}.", url=url)
        self.problem = problem
        self.where = where


class OptionError(OMEZarrError, ValueError):
    """An option asks for something that this image does not have."""


class UnknownNameError(OptionError, KeyError):
    """There is nothing of this name; the action names what there is."""


class UnsupportedDataError(OMEZarrError, ValueError):
    """The data are valid, but nothing here can show them (a codec, a dtype)."""


class MissingPackageError(UnsupportedDataError):
    """A package that is needed for this is not installed."""


class OutgrownError(UnsupportedDataError):
    """There is more than there was room for when it was opened.

    ``channels`` are the names of the channels that had no place, where that is all.
    """

    opening_helps = True
    channels: tuple[str, ...] = ()


class SourceError(OMEZarrError):
    """The pixels that were to be saved could not be had from what holds them."""


class NodeNotFoundError(OMEZarrError, FileNotFoundError):
    """There is no OME-Zarr, no array and no group at the address."""


class ImageChoiceError(NodeNotFoundError):
    """A group is no image, but holds some, at `paths`: one of them is to be opened."""

    def __init__(
        self, sentence: str, paths: Sequence[str], *, action: str = "", url: str = ""
    ) -> None:
        super().__init__(sentence, action=action, url=url)
        self.paths = tuple(paths)


class StoreError(OMEZarrError, OSError):
    """A place did not give its bytes; the base of all that a store raises."""


class AccessDeniedError(StoreError, PermissionError):
    """The sign-in is known, and may not read this."""


class ListingDeniedError(AccessDeniedError):
    """What is here can be read by its address, and is listed for nobody like you."""


class SignInNeededError(AccessDeniedError):
    """The place answers nobody who has not signed in."""


class SignInExpiredError(AccessDeniedError):
    """The session token, the SSO sign-in or the signed address has ended."""


class KeyNotAcceptedError(AccessDeniedError):
    """The access key or its secret is wrong."""


class ClockSkewError(AccessDeniedError):
    """The clock of this computer differs too much from the server's."""


class BucketNotFoundError(StoreError, FileNotFoundError):
    """The endpoint has no such bucket."""


class WrongRegionError(StoreError):
    """The bucket lives in another region, and following it did not help."""


class CertificateError(StoreError, ConnectionError):
    """The certificate of the host is not trusted."""


class StoreConnectionError(StoreError, ConnectionError):
    """No connection: refused, reset, or the host's name is unknown."""


class StoreTimeoutError(StoreError, TimeoutError):
    """The place did not answer in time, after all tries."""


class ServerBusyError(StoreError):
    """The server asks to slow down (429, 503), after all tries."""


class ServerError(StoreError):
    """The server failed (5xx) or answered out of turn, after all tries."""


class WebPageError(StoreError):
    """The address answers with a web page instead of data."""


class TruncatedBodyError(StoreError):
    """An answer ended before its announced length, after all tries."""


class ObjectChangedError(StoreError):
    """An object was replaced, or deleted, while parts of it were read."""

    opening_helps = True


class DamagedDataError(StoreError):
    """An object came whole, and is not what the document of its array says."""


class NotEnoughMemoryError(StoreError, MemoryError):
    """There is not enough memory for what was to be read, or done."""


class DiskFullError(StoreError):
    """There is no room left where something was to be written."""


class ReadOnlyError(AccessDeniedError):
    """The place can be read, and nothing can be written to it."""


class TargetExistsError(OMEZarrError, FileExistsError):
    """Something is already where an image was to be written."""


class TargetInUseError(OMEZarrError, ValueError):
    """The target is what an open layer, or a source of the plan, reads."""


class TargetClaimedError(OMEZarrError, FileExistsError):
    """Somebody else is saving to the same place right now."""


class UnfinishedWriteError(OMEZarrError):
    """A save that broke off lies at the target: resume it or remove it."""


class LossError(OptionError):
    """Saving like this would lose something, and nobody has agreed to that."""


class RefusedChunksError(LossError):
    """What a place refuses, and may not be empty, would be saved or copied as empty."""


class ClusterError(OMEZarrError, RuntimeError):
    """The workers of a cluster could not do what was asked of them."""


class ConflictError(OMEZarrError):
    """What was to be changed has been changed by somebody else meanwhile."""


class VerificationError(OMEZarrError):
    """What was read back differs from what was written."""


class WriteCancelledError(OMEZarrError):
    """Saving was cancelled; what is done is kept until it is resumed or removed."""


class UnexpectedError(OMEZarrError):
    """Something went wrong that nobody thought of; its cause is the error itself."""

    @classmethod
    def of(cls, error: BaseException, url: str = "") -> OMEZarrError:
        """Give the error itself if it is ours, else one that stands for it."""
        if isinstance(error, OMEZarrError):
            return error
        what = f"{type(error).__name__} at {url}" if url else type(error).__name__
        where = _raised_in(error)
        sentence = f"Something went wrong that should not: {what}{where}."
        action = "Please report it, with what you did and where."
        unexpected = cls(sentence, action=action, url=url)
        unexpected.__cause__ = error
        return unexpected


def _raised_in(error: BaseException) -> str:
    """Say which line of this package called what failed, for a report."""
    calls = (
        (frame.f_globals.get("__name__", ""), line)
        for frame, line in walk_tb(error.__traceback__)
    )
    package = __name__.partition(".")[0]
    ours = [(name, line) for name, line in calls if name.startswith(package)]
    ours = [each for each in ours if not each[0].endswith(".doors")]
    return " ({}, line {})".format(*ours[-1]) if ours else ""


class NotSavedError(OMEZarrError):
    """Layers cannot be saved like this; stands for an error that is a ValueError.

    napari takes a ``ValueError`` of a writer for "no plugin can write this".
    """
