"""What the editor of connections does off the GUI thread: files and keychain block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_omezarr.connections import Book, Connection, from_aws, from_mc, vault
from napari_omezarr.connections.connections import aws_profiles
from napari_omezarr.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_omezarr.connections import Keys
    from napari_omezarr.connections.connections import Profile


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a form needs to know: AWS profiles, and a sentence on where keys go."""

    profiles: tuple[str, ...]
    where: str


def surroundings() -> Surroundings:
    """Look for AWS profiles and for a keychain."""
    return Surroundings(aws_profiles(), vault().sentence)


def keep(connection: Connection, keys: Keys | None, instead_of: str) -> str:
    """Write a connection, and keep its keys.

    Parameters
    ----------
    connection : Connection
        What to keep.
    keys : Keys or None
        New ones; None leaves those that are kept.
    instead_of : str
        The name it had before; ``""`` for a new one.

    Returns
    -------
    str
        What was done.

    Raises
    ------
    LocationError
        Its endpoint is no address of a service, or its start is none of a place.
    OptionError
        Another one has its name, or the file cannot be written.
    """
    book, name = Book(), connection.name
    before = book.find(instead_of)
    if name != instead_of and book.find(name):
        sentence = f"There is another connection called {name}."
        raise OptionError(sentence, action="Choose another name.")
    try:
        book.save(connection, instead_of=instead_of)
    except OSError as error:
        raise _unwritable(error) from None
    keyed = connection.profile.sign_in == "keys"
    if not keyed and before is not None and before.profile.sign_in == "keys":
        vault().forget(name)
    if keyed and keys is not None and not vault().keep(name, keys):
        return f"{name} saved; its keys live until napari closes."
    return f"{name} saved."


def remove(name: str) -> str:
    """Forget a connection with its bookmarks and keys; returns what was done.

    Raises
    ------
    OptionError
        The file cannot be written.
    """
    try:
        Book().remove(name)
    except OSError as error:
        raise _unwritable(error) from None
    return f"{name} removed."


def take_over(source: str, *, secrets: bool = False) -> str:
    """Import connections; those whose names are taken are left out.

    Parameters
    ----------
    source : {"aws", "mc"}
        The AWS configuration, or MinIO's client.
    secrets : bool
        The keys of MinIO's client, too.

    Returns
    -------
    str
        What was done.

    Raises
    ------
    OptionError
        The file cannot be written.
    """
    book = Book()
    taken = {connection.name for connection in book.connections()}
    if source == "aws":
        found = from_aws()
    else:
        held = {name: vault().find(name) for name in taken} if secrets else {}
        found = from_mc(secrets=secrets)
        _put_back(held)
    new = [profile for profile in found if profile.name not in taken]
    try:
        _save(book, new)
    except OSError as error:
        raise _unwritable(error) from None
    left = len(found) - len(new)
    rest = f" {left} had a name that is taken." if left else ""
    noun = "connection" if len(new) == 1 else "connections"
    return f"Took over {len(new)} {noun}.{rest}"


def renamed(profile: Profile, keys: Keys | None, before: str) -> Profile:
    """Give what is to be tested: under its old name, whose keys are kept."""
    if keys is None and before and profile.sign_in == "keys":
        return replace(profile, name=before)
    return profile


def _put_back(held: dict[str, Keys | None]) -> None:
    """Restore the keys of connections that have the name of an alias by chance."""
    for name, keys in held.items():
        if keys is not None and vault().find(name) != keys:
            vault().keep(name, keys)


def _save(book: Book, profiles: Iterable[Profile]) -> None:
    for profile in profiles:
        book.save(Connection(profile))


def _unwritable(error: OSError) -> OptionError:
    sentence = f"The connections could not be written ({error.strerror})."
    return OptionError(sentence, action="Check the folder of the configuration.")
