"""The commands of connections: list, test, add, import."""

from __future__ import annotations

from pathlib import Path

import click

from .output import json_option, print_json, table


@click.group(invoke_without_command=True)
@click.pass_context
def connections(ctx: click.Context) -> None:
    """List, test, add and import connections; without a command they are listed."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=False)


@connections.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List your connections, without their keys."""
    from napari_omezarr.connections import ConnectionFile

    found = ConnectionFile().connections()
    if as_json:
        print_json([each.profile for each in found])
        return
    rows = [
        (each.name, each.profile.endpoint or "AWS", each.profile.sign_in)
        for each in found
    ]
    for line in table(rows) if rows else ():
        click.echo(line)


@connections.command("test")
@click.argument("name")
@click.argument("address", default="")
@json_option
def test(name: str, address: str, as_json: bool) -> None:
    """Try what a connection may do: list buckets, list a place, read there."""
    from napari_omezarr.browsing import check_connection, start
    from napari_omezarr.connections import find_profile

    checks = start(check_connection(find_profile(name), address)).result()
    if as_json:
        print_json(checks)
        return
    for check in checks:
        click.echo(f"{check.what}: {check.sentence} {check.action}".rstrip())


@connections.command("add")
@click.argument("name")
@click.option("--endpoint", metavar="URL", help="Of an S3-compatible service.")
@click.option("--region", metavar="NAME")
@click.option("--profile", metavar="NAME", help="A profile of AWS's files signs in.")
@click.option("--anonymous", is_flag=True, help="Never sign in.")
@click.option("--start", default="", metavar="ADDRESS", help="Where to begin.")
def add(
    name: str,
    endpoint: str | None,
    region: str | None,
    profile: str | None,
    anonymous: bool,
    start: str,
) -> None:
    """Add a connection, or replace the one of this name; keys are typed in napari."""
    from napari_omezarr.connections import Connection, ConnectionFile, Profile

    made = Profile(
        name,
        aws_profile=profile,
        endpoint=endpoint,
        region=region,
        sign_in="anonymous" if anonymous else "automatic",
        start=start,
    )
    ConnectionFile().save(Connection(made))
    click.echo(f"{name} is kept.")


@connections.command("import")
@click.option("--aws", is_flag=True, help="The profiles of AWS's files.")
@click.option(
    "--mc",
    "mc_file",
    type=click.Path(dir_okay=False, path_type=Path),
    is_flag=False,
    flag_value="",
    help="The aliases of the MinIO client; its usual file if none is named.",
)
def import_(aws: bool, mc_file: Path | None) -> None:
    """Take over connections of other programs; yours of the same name stay."""
    from napari_omezarr.connections import Connection, ConnectionFile, from_aws, from_mc

    kept = ConnectionFile()
    names = {each.name for each in kept.connections()}
    found = list(from_aws()) if aws else []
    if mc_file is not None:
        found += from_mc(mc_file if str(mc_file) not in ("", ".") else None)
    for profile in found:
        if profile.name not in names:
            kept.save(Connection(profile))
            click.echo(profile.name)
