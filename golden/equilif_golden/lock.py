"""A lock for objects that are copied, pickled and forked."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet


class Lock:
    """A lock whose copies are new, free locks: after a deep copy, unpickling, and in a forked process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        return Lock, ()


LOCKS: WeakSet[Lock] = WeakSet()


def _free_all() -> None:
    for lock in list(LOCKS):
        lock._lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not where processes cannot be forked
    os.register_at_fork(after_in_child=_free_all)
