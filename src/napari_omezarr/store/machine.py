"""Whether this computer is one of Amazon's, which know who they are.

Everywhere else the service that tells them does not exist, and asking for it costs
seconds until the question times out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARKS = {
    "devices/virtual/dmi/id/sys_vendor": "amazon ec2",
    "devices/virtual/dmi/id/bios_vendor": "amazon ec2",
    "devices/virtual/dmi/id/product_version": "amazon",  # the older, Xen machines
    "hypervisor/uuid": "ec2",
}


def knows_instance_metadata(
    environment: Mapping[str, str], system: Path = Path("/sys")
) -> bool:
    """Say whether to ask the instance metadata service for a sign-in.

    Parameters
    ----------
    environment : Mapping
        Environment variables. ``AWS_EC2_METADATA_DISABLED`` decides, if it is set:
        ``false`` is how to insist where the computer does not tell (Windows).
    system : Path
        Where Linux describes the hardware.
    """
    disabled = environment.get("AWS_EC2_METADATA_DISABLED", "").lower()
    if disabled:
        return disabled == "false"
    if environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        return True
    return any(_reads(system / file).startswith(mark) for file, mark in _MARKS.items())


def _reads(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip().lower()
    except OSError:
        return ""
