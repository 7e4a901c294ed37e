"""Records of runs: strict reading and writing.

A file of a run is input like any other: it may be cut off, edited, of another program or of a later version.
What is no JSON, has a key too many or too few, a value of another type or one out of its range is a
ValueError that names the file and the key.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import reprlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from equilif import results
from equilif.data.encoding.about import About
from equilif.data.sets.characters import Text, TextFiles
from equilif.data.sets.dataset import DataSet, NamedSet
from equilif.data.sound.known import KnownWords
from equilif.training.storage.identity import NetworkIdentity
from equilif_golden import network as networks
from equilif_golden.fixed import Raw
from equilif_golden.network import Network
from equilif_golden.places import PlacedError

T = TypeVar("T")

#: the types of a value, and what a message calls it
PLAIN: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    str: ((str,), "a text"),
}


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn errors from a damaged file into one ValueError: ``path`` is not ``what``, and why."""
    try:
        yield
    except OSError:
        raise  # it names the file
    except RecursionError as e:
        raise ValueError(f"{path} is not {what}: it is nested too deeply") from e
    except Exception as e:
        why = " ".join(str(e).split()) or type(e).__name__
        raise ValueError(f"{path} is not {what}: {why}") from e


def load_json(path: Path) -> Any:
    """Content of a JSON file; ValueError says why it is none."""
    content = path.read_bytes()
    try:
        return json.loads(content)
    except UnicodeDecodeError as e:
        raise ValueError("it is not UTF-8 text") from e
    except json.JSONDecodeError as e:
        raise ValueError(f"it is not valid JSON: {e}") from e


def record(kind: type[T], value: Any, at: str = "") -> T:
    """A dataclass of plain values, by the types of its fields; one with a default may be missing.

    ``at``: where ``value`` stands in its file.  The ranges are the dataclass's own.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{at or 'it'} must have keys and values, not be {reprlib.repr(value)}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    strange = sorted(str(name) for name in value if name not in fields)
    if strange:
        raise ValueError(f"{at or 'it'} has {', '.join(strange)}, which this version does not know")
    missing = [name for name, f in fields.items() if name not in value and _required(f)]
    if missing:
        raise ValueError(f"{at or 'it'} has no {', '.join(missing)}")
    types = get_type_hints(kind)
    given = {name: plain(types[name], v, f"{at}.{name}" if at else name) for name, v in value.items()}
    try:
        return kind(**given)
    except ValueError as e:
        raise ValueError(f"{at}: {e}" if at else str(e)) from e


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def plain(kind: Any, value: Any, at: str) -> Any:
    """A value as ``kind`` says, a type annotation; ValueError names it as ``at``."""
    origin = get_origin(kind)
    arguments = get_args(kind)
    if kind is Any:
        return value
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{at} must be one of {', '.join(arguments)}, not {reprlib.repr(value)}")
        return value
    if origin in (Union, UnionType):
        others = [a for a in arguments if a is not type(None)]
        return None if value is None else plain(_closest(others, value), value, at)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{at} must be a list, not {reprlib.repr(value)}")
        return tuple(plain(arguments[0], v, f"{at}[{k}]") for k, v in enumerate(value))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError(f"{at} must have keys and values, not be {reprlib.repr(value)}")
        return dict(value)
    if dataclasses.is_dataclass(kind):
        return record(kind, value, at)  # type: ignore[arg-type]
    if hasattr(kind, "from_dict"):
        return _described(kind, value, at)
    types, name = PLAIN[kind]
    if type(value) not in types:
        raise ValueError(f"{at} must be {name}, not {reprlib.repr(value)}")
    return _finite(value, at) if kind is float else value


def _closest(kinds: list[Any], value: Any) -> Any:
    """The first of some dataclasses that has all keys of a value, else the first."""
    if len(kinds) == 1 or not isinstance(value, Mapping):
        return kinds[0]
    return next((k for k in kinds if value.keys() <= {f.name for f in dataclasses.fields(k)}), kinds[0])


def _described(kind: Any, value: Any, at: str) -> Any:
    """A value whose class has from_dict; ValueError names the key, below ``at``."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{at} must have keys and values, not be {reprlib.repr(value)}")
    try:
        return kind.from_dict(value)
    except (ValueError, LookupError, TypeError) as e:
        place = ".".join(map(str, (at, *(e.place if isinstance(e, PlacedError) else ()))))
        raise ValueError(f"{place}: {e}") from e


def _finite(value: int | float, at: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{at} must be a finite number, not {reprlib.repr(value)}")
    return number


def read_identity(network: Path) -> About | NamedSet | TextFiles | None:
    """Recorded data identity of a network.npz, or None.

    ValueError names the file, and the key that is something else.
    """
    return identity_of(network, networks.about(network))


def identity_of(network: Path, found: Mapping[str, Any] | None) -> About | NamedSet | TextFiles | None:
    """Data identity in the ``about`` of a network.npz, as :func:`read_identity`."""
    if found is None:
        return None
    kind: Any = TextFiles if "task" in found else About if "scaling" in found else NamedSet
    with reading(network, "a network that names its data"):
        identity: About | NamedSet | TextFiles = record(kind, found)
    return identity


def about_data(data: Any) -> dict[str, Any] | None:
    """The ``about`` of a network of these data: their identity, and the words that it knows."""
    identity = data.identity
    if isinstance(identity, About) and identity.encoding.front_end and data.tokens_train is not None:
        identity = dataclasses.replace(identity, known=KnownWords.fit(data.tokens_train, data.y_train))
    return None if identity is None else dataclasses.asdict(identity)


def holds(path: Path, network: Network, weights: Mapping[str, Raw], about: Mapping[str, Any] | None) -> bool:
    """Whether a file has this network with these weights and this data record."""
    try:
        found = networks.read(path)
    except (OSError, ValueError):
        return False
    same = NetworkIdentity.of(found.network, found.about) == NetworkIdentity.of(network, about)
    return same and all(np.array_equal(w, weights[name]) for name, w in found.weights.items())


# -- what several kinds of runs check --------------------------------------------------------------
def check_digest(value: object, name: str) -> None:
    """ValueError unless it is a SHA-256 in hexadecimal."""
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"{name} must be 64 hexadecimal digits, not {reprlib.repr(value)}")


def check_numbers(epochs: list[int]) -> None:
    """ValueError unless the epochs of a history are 1, 2, 3 and so on."""
    for k, number in enumerate(epochs):
        if number != k + 1:
            raise ValueError(f"epochs[{k}].epoch must be {k + 1}, not {number}")


def check_data(folder: Path, name: str, digest: str, data: DataSet | Text) -> None:
    """ValueError unless a run goes on with the data that it began with, of this ``digest``."""
    if digest != data.digest:
        raise ValueError(
            f"the run in {folder} was begun with other data: {name} of digest {digest[:12]}, this is "
            f"{data.name} of digest {data.digest[:12]}; give its data (the folder of a named data set with "
            "--data), or begin a new run with another --out"
        )


def check_name(folder: Path, name: str, expected: str | None) -> None:
    """ValueError unless a run is of the data set that was asked for; None: of whichever it is."""
    if expected is not None and expected != name:
        raise ValueError(
            f"the run in {folder} is one of {name}, not of {expected}: leave the name out to resume it, or "
            "give another --out"
        )


def other_version(version: str) -> str | None:
    """A sentence for a run that another version of equilif wrote."""
    if version == results.version():
        return None
    return f"this run was written by equilif {version}, it goes on with {results.version()}"
