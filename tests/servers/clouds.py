"""Google's and Azure's storage, emulated on this machine where the emulators are.

Google's is a Python package, Azure's a program of the npm registry: CONTRIBUTING.md
says how to get them. Both serve one bucket, ``BUCKET``.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.error import HTTPError

from child_process import child_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BUCKET = "bucket"
# Azurite's own account, which its documentation names; other keys are refused.
ACCOUNT = "devstoreaccount1"
KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeks"
    "oGMGw=="
)
WRONG_KEY = base64.b64encode(b"planted-secret-of-nobody").decode()

MISSING_GOOGLE = (
    ""
    if find_spec("gcsfs") and find_spec("gcp_storage_emulator")
    else "needs the packages gcsfs and gcp-storage-emulator: make test-clouds"
)
MISSING_FAKE = (
    "" if shutil.which("fake-gcs-server") else "needs the program fake-gcs-server"
)
MISSING_AZURE = (
    ""
    if find_spec("adlfs") and shutil.which("azurite-blob")
    else "needs the package adlfs and the program azurite-blob: make test-clouds"
)


@contextmanager
def google_storage() -> Iterator[str]:
    """Serve Google's storage; gives its address."""
    port = _free_port()
    program = [sys.executable, "-m", "gcp_storage_emulator", "start", "--in-memory"]
    options = ["--host=127.0.0.1", f"--port={port}", f"--default-bucket={BUCKET}"]
    with _running([*program, *options], f"http://127.0.0.1:{port}/") as address:
        yield address


@contextmanager
def strict_google_storage() -> Iterator[str]:
    """Serve Google's storage by another program, which holds to conditions."""
    port = _free_port()
    program = shutil.which("fake-gcs-server") or "fake-gcs-server"
    options = ["-backend=memory", "-scheme=http", "-host=127.0.0.1", f"-port={port}"]
    with _running([program, *options], f"http://127.0.0.1:{port}/") as address:
        kind = {"Content-Type": "application/json"}
        said = json.dumps({"name": BUCKET}).encode()
        request = urllib.request.Request(f"{address}storage/v1/b", said, kind)
        with urllib.request.urlopen(request, timeout=60):
            yield address


@contextmanager
def azure_storage(folder: Path, *more: str) -> Iterator[str]:
    """Serve Azure's storage; gives its address, which ends in the account.

    With options for a certificate (``--cert``, ``--key``) it takes tokens, too.
    """
    port = _free_port()
    program = shutil.which("azurite-blob") or "azurite-blob"
    options = ["--blobPort", str(port), "--location", str(folder), "--silent"]
    lenient = ["--skipApiVersionCheck", "--disableTelemetry"]
    scheme = "https" if more else "http"
    command = [program, *options, *lenient, *more]
    with _running(command, f"{scheme}://127.0.0.1:{port}/") as url:
        yield f"{url}{ACCOUNT}"


def connection_string(address: str, key: str = KEY) -> str:
    """Say how to sign in at `azure_storage`, in Azure's words."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
        f"BlobEndpoint={address};"
    )


@contextmanager
def _running(command: Sequence[str], url: str) -> Iterator[str]:
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with child_process(command, limit=600, env=environment, **quiet):
        _wait(url)
        yield url


def _wait(url: str) -> None:
    deadline = time.monotonic() + 60
    while not _answers(url):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing answers at {url}")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        anyone = ssl._create_unverified_context()
        with urllib.request.urlopen(url, timeout=5, context=anyone):
            return True
    except HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


def _free_port() -> int:
    with closing(socket.socket()) as connection:
        connection.bind(("127.0.0.1", 0))
        port: int = connection.getsockname()[1]
        return port
