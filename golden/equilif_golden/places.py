"""Places of values, as fields of an error: the keys that lead to a value.

    ("free",)    ("population", "hidden", "size")    ("synapse", "input", "hidden", "kernel")

Imports no NumPy, so that ``equilif --help`` starts fast.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

#: keys that lead to a value; empty: no single value
Place = tuple[str | int, ...]


class PlacedError(ValueError):
    """An invalid value and its place.  The message is complete without the fields.

    place        keys that lead to the value, from the object that was checked or the file that was read
    file, line   of a value in a file, where they are known
    """

    def __init__(
        self, message: str, place: Place = (), *, file: Path | None = None, line: int | None = None
    ) -> None:
        super().__init__(message)
        self.place = place
        self.file = file
        self.line = line

    @classmethod
    def of(cls, owner: Place, problem: str, *keys: str | int) -> PlacedError:
        """Error that begins with the label of ``owner``, about its value at ``keys``."""
        return cls(f"{label(owner)}: {problem}", (*owner, *keys))


def label(place: Place) -> str:
    """Name of a place in messages."""
    match place:
        case ("population", name, *keys):
            owner = f"population {name!r}"
        case ("synapse", str(pre), str(post), *keys):
            owner = f"synapse {pre}-{post}"
        case ("convolution", int(k), *keys):
            owner = f"convolution {k}"
        case _:
            owner, keys = "", [*place]
    return ": ".join(filter(None, (owner, ".".join(map(str, keys)))))


def nearest(name: str, known: Sequence[str]) -> str:
    """Suggestion for an unknown name."""
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


@contextmanager
def placed(*prefix: str | int) -> Iterator[None]:
    """Put ``prefix`` before the place of an error; a ValueError without a place gets it as its place."""
    try:
        yield
    except PlacedError as e:
        e.place = (*prefix, *e.place)
        raise
    except ValueError as e:
        raise PlacedError(str(e), prefix) from e
