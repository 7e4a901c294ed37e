"""Functions compiled with Numba, and the cache of their code.

Stored code is renewed when any file of this package changes.  Compiled functions run without Python's lock,
so threads can share a batch.  They make no arrays: what they work in is handed to them.
"""

from __future__ import annotations

import functools
import hashlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., object])


class Store(FunctionCache):  # type: ignore[misc]
    """Numba's files of compiled code, without which everything still runs, only later."""

    def _index_key(self, *args: object) -> tuple[object, ...]:
        # Numba looks at the file of the function alone, not at what it calls or is built by
        return (*super()._index_key(*args), _sources())

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
def _sources() -> str:
    """Digest of names, sizes and times of the files of this package."""
    folder = Path(__file__).parent
    stats = [(p.relative_to(folder).as_posix(), p.stat()) for p in sorted(folder.rglob("*.py"))]
    text = repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def announce() -> None:
    """Say to a person, once, why nothing happens for a while."""
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        print("equilif: compiling the kernel, a few seconds, only the first time", file=sys.stderr)


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
