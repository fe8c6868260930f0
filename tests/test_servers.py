"""The test servers themselves: a fault that does not happen would prove nothing."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.error
import urllib.request

import pytest

from napari_omezarr.demo import server
from servers import faults
from servers.proxy import Proxy

LONG = 60
"""Seconds after which a client hangs."""


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=LONG) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture
def letters(tmp_path):
    (tmp_path / "a b.txt").write_bytes(b"abcdefghij")
    return "/a%20b.txt"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("bytes=2-4", (206, b"cde")),
        ("bytes=7-", (206, b"hij")),
        ("bytes=-2", (206, b"ij")),
        ("bytes=8-99", (206, b"ij")),
        ("bytes=-99", (206, b"abcdefghij")),
        ("bytes=10-12", (416, b"")),
    ],
)
def test_files_have_ranges(http_server, letters, wanted, expected):
    assert fetch(http_server.url + letters, Range=wanted) == expected
    (request,) = http_server.requests
    assert (request.method, request.path) == ("GET", "/a b.txt")
    assert (request.range, request.status) == (wanted, expected[0])


def test_missing_is_404_or_403(http_server):
    assert fetch(f"{http_server.url}/none?key=1")[0] == 404
    http_server.forbid_missing = True
    assert fetch(f"{http_server.url}/none")[0] == 403
    assert [request.query for request in http_server.requests] == ["key=1", ""]


def test_nothing_outside_of_the_root_is_served(http_server, tmp_path):
    (tmp_path.parent / "secret.txt").write_bytes(b"secret")
    assert fetch(f"{http_server.url}/%2e%2e/secret.txt")[0] == 404


def test_faults_are_used_up_in_order(http_server, letters):
    http_server.fault("*.txt", faults.Status(500), faults.Proceed(), faults.page())
    url = http_server.url + letters
    answers = [fetch(url) for _ in range(4)]
    assert [status for status, _ in answers] == [500, 200, 200, 200]
    assert answers[2][1].startswith(b"<!DOCTYPE html>")
    assert answers[3][1] == b"abcdefghij"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.Reset(after=3), ConnectionResetError),
        (faults.Truncated(after=3), http.client.IncompleteRead),
        (faults.Dropped(), http.client.RemoteDisconnected),
    ],
)
def test_broken_connections(http_server, letters, fault, error):
    http_server.fault("*", fault)
    with pytest.raises(error):
        fetch(http_server.url + letters)
    assert fetch(http_server.url + letters) == (200, b"abcdefghij")


def test_a_stalled_answer_waits_for_its_release(http_server, letters):
    http_server.fault("*", faults.Stalled())
    answers: list[tuple[int, bytes]] = []
    client = threading.Thread(
        target=lambda: answers.append(fetch(http_server.url + letters))
    )
    client.start()
    http_server.wait_for(1)
    assert answers == []
    http_server.release()
    client.join(LONG)
    assert not client.is_alive()
    assert answers == [(200, b"abcdefghij")]


def test_waves_are_counted(http_server, letters):
    url = http_server.url + letters
    with http_server.round_count() as rounds:
        for size in (3, 1, 2):
            together = threading.Barrier(size, timeout=LONG)
            clients = [
                threading.Thread(target=lambda b=together: (b.wait(), fetch(url)))
                for _ in range(size)
            ]
            for client in clients:
                client.start()
            for client in clients:
                client.join(LONG)
                assert not client.is_alive()
    assert rounds.sizes == [3, 1, 2]
    assert rounds.count == 3


def test_a_proxy_is_transparent_and_breaks_on_demand(s3_server, s3_prefix):
    s3_server.put(f"public/{s3_prefix}/a", b"x" * 100_000)
    with Proxy(s3_server.endpoint) as proxy:
        url = f"{proxy.url}/public/{s3_prefix}/a"
        proxy.fault("*/a", faults.s3_error(503, "SlowDown"))
        assert b"<Code>SlowDown</Code>" in fetch(url)[1]
        assert fetch(url) == (200, b"x" * 100_000)
        assert fetch(url, Range="bytes=-5") == (206, b"x" * 5)
        assert [request.status for request in proxy.requests] == [503, 200, 206]


def test_the_private_bucket_is_private(s3_server, s3_prefix):
    s3_server.put(f"private/{s3_prefix}", b"x")
    assert fetch(f"{s3_server.endpoint}/private/{s3_prefix}")[0] == 403


def test_a_port_that_somebody_takes_meanwhile_is_exchanged(monkeypatch):
    """It was free when it was looked for, and is not when SeaweedFS asks for it."""
    find = server._free_ports
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = {"volume": other.getsockname()[1]}
        found = iter([dict(find()) | taken])
        monkeypatch.setattr(server, "_free_ports", lambda: next(found, None) or find())
        with server.S3Server() as started:
            started.put("public/a", b"a")
            assert next(found, None) is None
            with urllib.request.urlopen(
                f"{started.endpoint}/public/a", timeout=60
            ) as a:
                assert a.read() == b"a"
