"""Functions compiled with Numba, and the cache of their code.

Compiled functions that call each other stand in one file: what Numba has stored is renewed when the file of a
function changes, not when that of a function it calls does.  They run without Python's lock, so threads can
share a batch.  They make no arrays: what they work in is handed to them.
"""

from __future__ import annotations

import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., object])


class Store(FunctionCache):  # type: ignore[misc]
    """Numba's files of compiled code, without which everything still runs, only later."""

    def load_overload(self, *args: object) -> object:
        found = None
        try:
            found = super().load_overload(*args)
        except Exception:  # a damaged file may raise anything: it is written again
            with suppress(OSError):
                self.flush()
        if found is None:
            announce()
        return found

    def save_overload(self, *args: object) -> None:
        with suppress(OSError):  # a full disk
            super().save_overload(*args)


@functools.cache
def announce() -> None:
    """Say to a person, once, why nothing happens for a while."""
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        print("equilif: compiling the kernel, about 20 s, only the first time", file=sys.stderr)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end: raised in one of the compiler's callbacks it would end the process."""
    handler = signal.getsignal(signal.SIGINT)
    # no other thread is interrupted
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    pressed: list[Any] = []
    signal.signal(signal.SIGINT, lambda *how: pressed.append(how))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed:
            handler(*pressed[0])


def compiled(function: Function) -> Function:
    """Compiled on its first call, and stored where a folder for it can be had."""
    # without Numba's memory: counting the references to slices took half of the time
    made: Any = numba.njit(function, nogil=True, _nrt=False)
    made.compile = uninterrupted()(made.compile)
    # RuntimeError: neither the package's folder nor the user's can be written
    with suppress(RuntimeError):
        made._cache = Store(function)
    return cast(Function, made)


def inlined(function: Function) -> Function:
    """Becomes part of the compiled function that calls it."""
    made: Function = numba.njit(function, inline="always", nogil=True)
    return made
