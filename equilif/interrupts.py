"""Interruptions by the user: errors that they lead to, and those that a library clears."""

from __future__ import annotations

#: numbers of the signals that became exceptions; a list, since a lock in a handler may wait for itself
pressed: list[int] = []


def interrupted(error: BaseException | None) -> bool:
    """Whether the user interrupted, also where a library or Python wraps the exception in its own."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or interrupted(error.__context__))


def check() -> None:
    """Raise an interruption of the start-up again: libraries that clear errors of their own clear it too."""
    if pressed:
        raise KeyboardInterrupt
