"""Files that appear whole, and waits for the disk that threads share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock, Semaphore

import pytest

from napari_omezarr.atomic_file import done_once, put_whole, taking_turns


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    for key in ("file/0", "folder"):
        with pytest.raises(OSError, match=key.partition("/")[0]):
            put_whole(str(tmp_path), key, b"new")
    put_whole(str(tmp_path), "0/0/0", b"new")
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {tmp_path / "file", tmp_path / "0" / "0" / "0"}


def test_a_shared_wait_reaches_what_each_had_written_before():
    """However many share one: it begins after each of them has called."""
    written, reached, begun = set(), set(), []
    lock = Lock()

    def wait():
        with lock:
            begun.append(1)
            found = set(written)
        reached.update(found)

    def write(number):
        for turn in range(50):
            with lock:
                written.add((number, turn))
            done_once((1,), wait)
            assert (number, turn) in reached

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert len(begun) <= 8 * 50


def test_one_takes_its_turn_while_another_waits_for_the_disk():
    turns, other = Semaphore(1), Event()

    def wait():
        assert other.wait(60)

    def first():
        with taking_turns(turns):
            began.set()
            done_once((3,), wait)
            at_work.append(turns.acquire(blocking=False))

    def second():
        assert began.wait(60)
        with taking_turns(turns):
            other.set()
            at_work.append(turns.acquire(blocking=False))

    began, at_work = Event(), []
    with ThreadPoolExecutor(2) as pool:
        works = [pool.submit(first), pool.submit(second)]
    for work in works:
        work.result()
    assert at_work == [False, False]
    assert turns.acquire(blocking=False)
    assert not turns.acquire(blocking=False)


def test_a_wait_that_fails_leaves_the_turns_as_they_were():
    def fail():
        raise OSError("the disk is gone")

    turns = Semaphore(2)
    with pytest.raises(OSError, match="gone"), taking_turns(turns):
        done_once((4,), fail)
    assert [turns.acquire(blocking=False) for _ in range(3)] == [True, True, False]


def test_a_shared_wait_that_fails_is_a_failure_for_each_who_shares_it():
    def fail():
        raise OSError("the disk is gone")

    with ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(done_once, (2,), fail) for _ in range(40)]
    assert all(isinstance(each.exception(), OSError) for each in waits)
    assert done_once((2,), lambda: 0) == 0
