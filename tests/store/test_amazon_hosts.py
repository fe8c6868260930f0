"""Addresses of AWS's kinds of hosts, from what is pasted to what a host is asked."""

from __future__ import annotations

import select
import socket
import socketserver
import ssl
import threading
from contextlib import suppress

import pytest
import trustme

from napari_omezarr.connections import Profile
from napari_omezarr.location import Location
from napari_omezarr.store import open_store
from quick_retries import QUICK
from servers.http import FileServer

ACCESS_POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint/ap"
LAMBDA = "arn:aws:s3-object-lambda:us-west-2:123456789012:accesspoint/ol"
ALIAS = "ap-a1b2c3d4e5f6g7h8i9j0k1l2m3n4ouse1a-s3alias"
EXPRESS = "data--use1-az4--x-s3"
FIPS, DUAL = "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"
# What is pasted, the region and the switch of the environment; the host that is asked,
# and the service that signatures are for.
SERVED = [
    (ACCESS_POINT, "", "", "ap-123456789012.s3-accesspoint.us-west-2", "s3"),
    (f"s3://{ACCESS_POINT}", "", "", "ap-123456789012.s3-accesspoint.us-west-2", "s3"),
    (LAMBDA, "", "", "ol-123456789012.s3-object-lambda.us-west-2", "s3-object-lambda"),
    (f"s3://{ALIAS}", "us-east-1", "", f"{ALIAS}.s3.us-east-1", "s3"),
    (
        f"s3://{EXPRESS}",
        "",
        "",
        f"{EXPRESS}.s3express-use1-az4.us-east-1",
        "s3express",
    ),
    ("s3://cells", "us-east-1", FIPS, "cells.s3-fips.us-east-1", "s3"),
    ("s3://cells", "eu-west-1", DUAL, "cells.s3.dualstack.eu-west-1", "s3"),
    (
        "s3+https://s3-fips.dualstack.us-east-1.amazonaws.com/cells",
        "",
        "",
        "cells.s3-fips.dualstack.us-east-1",
        "s3",
    ),
]


class Tunnels(socketserver.ThreadingTCPServer):
    """A proxy that leads whoever wants to go to any host to one server."""

    daemon_threads = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.port = port


class Tunnel(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self.server.port)) as there,
        ):
            ends = {self.connection: there, there: self.connection}
            while ready := select.select(ends, [], [], 60)[0]:
                for end in ready:
                    if not (data := end.recv(1 << 16)):
                        return
                    ends[end].sendall(data)


@pytest.fixture(scope="module")
def amazon(tmp_path_factory):
    """Amazon's hosts, which one server stands in for, and the proxy to them."""
    folder = tmp_path_factory.mktemp("amazon")
    (folder / "a b.zarr").mkdir()
    (folder / "a b.zarr" / "zarr.json").write_bytes(b"{}")
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = [f"{host}.amazonaws.com" for _, _, _, host, _ in SERVED]
    authority.issue_cert(*names).configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    with FileServer(folder, tls=context) as server, Tunnels(server.port) as proxy:
        serving = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        serving.start()
        yield server, proxy, Profile("", ca_file=str(folder / "ca.pem"))
        proxy.shutdown()
        serving.join(60)


@pytest.mark.parametrize(("text", "region", "switch", "host", "service"), SERVED)
def test_each_kind_of_address_is_read_at_its_host(
    text, region, switch, host, service, amazon, monkeypatch
):
    server, proxy, profile = amazon
    monkeypatch.setenv("https_proxy", "http://{}:{}".format(*proxy.server_address))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    if switch:
        monkeypatch.setenv(switch, "true")
    server.clear()
    location = Location.parse(f"{text}/a b.zarr", region=region or None)
    store = open_store(location, profile=profile, retry=QUICK)
    assert store.fetch(["zarr.json", "0"]) == {"zarr.json": b"{}", "0": None}
    hosts = {request.headers["host"] for request in server.requests}
    assert hosts == {f"{host}.amazonaws.com"}
    assert {request.path for request in server.requests} == {
        "/a b.zarr/zarr.json",
        "/a b.zarr/0",
    }
    signed = [request.headers["authorization"] for request in server.requests]
    assert {sign_in.split("/")[3] for sign_in in signed} == {service}
