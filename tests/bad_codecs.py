"""What codecs of other packages were seen to do with damaged bodies."""

from __future__ import annotations

import os
import signal
from threading import Event


def crash(body):
    os.kill(os.getpid(), getattr(signal, "SIGSEGV", signal.SIGTERM))


def hang(body):
    Event().wait()


def take_all_memory(body):
    return bytearray(1 << 40)


def fail(body):
    raise ValueError(body)


def give_too_much(body):
    return bytes(1 << 20)


def print_much(body):
    os.write(1, b"warning: " * 100)
    return bytes(body)[::-1]


def tell_process(body):
    return str(os.getpid()).encode()
