"""Errors that an interruption by the user leads to."""

from __future__ import annotations


def interrupted(error: BaseException | None) -> bool:
    """Whether the user interrupted, also where a library or Python wraps the exception in its own."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or interrupted(error.__context__))
