"""Errors that an interruption by the user leads to."""

from __future__ import annotations


def interrupted(error: BaseException | None) -> bool:
    """By the user; or raised by what that cut short: a library, or Python as it makes a class."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or interrupted(error.__context__))
