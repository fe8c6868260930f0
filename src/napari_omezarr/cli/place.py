"""Places on the command line: an address, and the connection that reaches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_omezarr.location import Location


class PlaceType(click.types.StringParamType):
    """An address or a path; shells complete it as a path."""

    name = "place"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell complete files."""
        return [CompletionItem(incomplete, type="file")]


PLACE = PlaceType()


def _connection_names(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[str]:
    from napari_omezarr.connections import ConnectionFile

    names = [each.name for each in ConnectionFile().connections()]
    return [name for name in names if name.startswith(incomplete)]


_OPTIONS = (
    click.option(
        "--connection",
        metavar="NAME",
        shell_complete=_connection_names,
        help="One of your connections.",
    ),
    click.option("--endpoint", metavar="URL", help="Of an S3-compatible service."),
    click.option("--region", metavar="NAME", help="Where the buckets live."),
    click.option("--profile", metavar="NAME", help="A profile of AWS's files."),
    click.option("--anonymous", is_flag=True, help="Do not sign in."),
)


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a place is reached."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def location_of(
    address: str,
    *,
    connection: str | None = None,
    endpoint: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    anonymous: bool = False,
) -> Location:
    """Parse an address with what the options of ``place_options`` say.

    Raises
    ------
    LocationError
        It is no address.
    OptionError
        There is no such connection.
    """
    from napari_omezarr.location import Location

    if connection is not None:
        from napari_omezarr.connections import ConnectionFile
        from napari_omezarr.errors import OptionError

        found = ConnectionFile().find(connection)
        if found is None:
            raise OptionError(
                f"There is no connection {connection}.",
                action="Run: napari-omezarr connections",
            )
        return found.locate(address)
    return Location.parse(
        address,
        endpoint=endpoint,
        region=region,
        profile=profile,
        anonymous=anonymous or None,
    )
