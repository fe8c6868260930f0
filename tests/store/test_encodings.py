"""Answers over HTTP that are packed, or framed, in ways that nobody asked for."""

from __future__ import annotations

import pytest
from zarr.abc.store import RangeByteRequest, SuffixByteRequest

from napari_omezarr.errors import OMEZarrError, UnexpectedError
from napari_omezarr.location import Location
from napari_omezarr.store import open_store, run
from napari_omezarr.store.error_mapping import failure_of
from quick_retries import QUICK
from servers import frames
from servers.faults import Framed, Status

BODY = bytes(range(200)) * 2
RIGHT = {
    *("gzip", "gzip twice", "deflate", "bare deflate", "mixed", "mislabelled", "of S3")
}
"""What can be undone, or is nothing; all else is an error."""
WANTED = {
    "all": None,
    "beginning": RangeByteRequest(0, 9),
    "middle": RangeByteRequest(50, 90),
    "end": SuffixByteRequest(20),
}
PARTS = {"all": BODY, "beginning": BODY[:9], "middle": BODY[50:90], "end": BODY[-20:]}


@pytest.fixture
def place(http_server, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c").write_bytes(BODY)
    return Location.parse(f"{http_server.url}/a")


def read(place, wanted):
    """Read from a store that knows nothing of the server yet."""
    found = run(open_store(place, retry=QUICK).read("c", WANTED[wanted]))
    return found.body


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("how", frames.PACKED)
def test_what_is_packed_is_unpacked_or_refused(http_server, place, how, wanted):
    pack, said = frames.PACKED[how]
    answer = Status(200, pack(BODY), {"Content-Encoding": said})
    http_server.fault("/a/c", answer, forever=True)
    if how in RIGHT:
        assert read(place, wanted) == PARTS[wanted]
        return
    with pytest.raises(OMEZarrError) as caught:
        read(place, wanted)
    assert type(caught.value) is not UnexpectedError
    assert caught.value.action


@pytest.mark.parametrize("how", ["br", "gzip"])
def test_parts_of_what_is_packed_are_not_taken(http_server, place, how):
    pack, said = frames.PACKED[how]
    whole = pack(BODY)
    part = {"Content-Range": f"bytes 0-8/{len(whole)}", "Content-Encoding": said}
    http_server.fault("/a/c", Status(206, whole[:9], part))
    http_server.fault("/a/c", Status(200, whole, {"Content-Encoding": said}))
    if how == "gzip":
        assert read(place, "beginning") == PARTS["beginning"]
    else:
        with pytest.raises(OMEZarrError, match="packed"):
            read(place, "beginning")


@pytest.mark.parametrize("how", frames.FRAMES)
def test_an_answer_of_any_form_is_right_or_an_error(http_server, place, how):
    http_server.fault("/a/c", Framed(how), forever=True)
    store = open_store(place, retry=QUICK)
    for wanted, key in WANTED.items():
        failed: OMEZarrError | None = None
        try:
            found = run(store.read("c", key))
        except OMEZarrError as error:
            failed = error
        if failed is None:
            assert found.body == PARTS[wanted]
        else:
            assert type(failed) is not UnexpectedError
            assert failed.action
    http_server.clear()
    assert run(store.read("c")).body == BODY


@pytest.mark.parametrize("said", frames.RANGES)
def test_a_range_that_is_none_is_an_error(http_server, place, said):
    http_server.fault(
        "/a/c", Status(206, BODY[:9], {"Content-Range": said}), forever=True
    )
    for wanted in ("beginning", "end"):
        with pytest.raises(OMEZarrError) as caught:
            read(place, wanted)
        assert type(caught.value) is not UnexpectedError


@pytest.mark.parametrize("to", frames.PLACES)
@pytest.mark.parametrize("status", [301, 308])
def test_nobody_is_sent_to_what_is_no_place(http_server, place, to, status):
    http_server.fault("/a/c", Status(status, b"", {"Location": to}), forever=True)
    with pytest.raises(OMEZarrError) as caught:
        read(place, "all")
    assert type(caught.value) is not UnexpectedError
    assert "passwd" not in str(caught.value)


@pytest.mark.parametrize("said", frames.LATER)
def test_a_moment_is_read_or_ignored(said):
    failure = failure_of(429, {"Retry-After": said}, b"")
    assert failure.retry_after >= 0


@pytest.mark.parametrize("region", ["evil.org/", "a b", "x" * 99, "eu-west-1@h", "é"])
def test_a_region_becomes_a_host_only_if_it_is_one(region):
    assert failure_of(301, {"x-amz-bucket-region": region}, b"").region == ""
    body = f"<Error><Region>{region}</Region></Error>".encode()
    assert failure_of(400, {}, body).region == ""
