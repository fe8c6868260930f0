"""An SFTP and a WebDAV server over a folder, where their packages are installed."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import closing, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "ada", "s3cr3t-pass/word"
_WAIT = 30


def missing(*packages: str) -> str:
    """Say which packages a test lacks; ``""`` where all are there."""
    lacks = [package for package in packages if find_spec(package) is None]
    return f"{' and '.join(lacks)} not installed" if lacks else ""


class SFTPServer:
    """asyncssh's server on a thread of its own; knows one user with a password.

    Attributes
    ----------
    host_key : str
        A line of ``known_hosts`` for it.
    forbidden : set of bytes
        The paths that nobody may read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.forbidden: set[bytes] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self) -> str:
        return f"sftp://{USER}:{PASSWORD.replace('/', '%2F')}@127.0.0.1:{self.port}"

    @property
    def shown(self) -> str:
        return f"sftp://{USER}@127.0.0.1:{self.port}"

    def disconnect(self) -> None:
        """Cut all connections, as a network does that goes away."""
        self._loop.call_soon_threadsafe(
            lambda: [each.abort() for each in list(self._connections)]
        )

    def __enter__(self) -> SFTPServer:
        self._thread.start()
        assert self._ready.wait(_WAIT)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_WAIT)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        import asyncssh

        connections = self._connections = set()
        root, forbidden = self.root, self.forbidden

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn):
                connections.add(conn)

            def begin_auth(self, username):
                return True

            def password_auth_supported(self):
                return True

            def validate_password(self, username, password):
                return (username, password) == (USER, PASSWORD)

        class Files(asyncssh.SFTPServer):
            def open(self, path, pflags, attrs):
                if path in forbidden:
                    raise asyncssh.SFTPPermissionDenied("not this one")
                return super().open(path, pflags, attrs)

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        key = asyncssh.generate_private_key("ssh-ed25519")
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[key],
            sftp_factory=lambda channel: Files(channel, chroot=str(root)),
        )
        self.port = server.get_port()
        public = key.export_public_key("openssh").decode().strip()
        self.host_key = f"[127.0.0.1]:{self.port} {public}\n"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for connection in list(connections):
            connection.abort()
        await asyncio.wait_for(server.wait_closed(), _WAIT)


@contextmanager
def webdav(root: Path) -> Iterator[str]:
    """Serve a folder by WsgiDAV to one user; gives its address without the user."""
    from cheroot import wsgi
    from wsgidav.wsgidav_app import WsgiDAVApp

    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(root)},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "http_authenticator": {"accept_digest": False, "default_to_digest": False},
            "verbose": 0,
            "logging": {"enable": False},
            "lock_storage": True,
        }
    )
    server = wsgi.Server(("127.0.0.1", port), app, numthreads=8)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop()
        thread.join(_WAIT)
