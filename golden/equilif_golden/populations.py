"""Populations of neurons, one class per kind.

Input and LIF populations can be *maps*, and self-attention always is: a grid of positions with one neuron of
each map.  Neurons are ordered by row, position and map:

    neuron of map m at (y, x)  =  (y * width + x) * maps + m
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, Self

import numpy as np

from equilif_golden.blocks.geometry import Shape
from equilif_golden.fixed import Raw, check_fields, check_int, option, set_fields, short_repr
from equilif_golden.places import Place, PlacedError

MAX_NEURONS = 1 << 20
MAX_GAIN = 2
MAX_PATTERNS = 1024
MAX_ROWS = 1 << 20


def _shape() -> Any:
    return option(
        None,
        "height, width and number of maps, in place of a size; an input has those of an image, or height, 1 "
        "and the values of a row, whose positions are rows",
        absent="no maps",
    )


def _gain() -> Any:
    return option(0, "answers are multiplied by 2^(gain - 1)", ge=0, le=MAX_GAIN)


def _sharpness() -> Any:
    return option(3, "inverse temperature in octaves; k = 2^(sharpness - 1) ln 2", ge=-32, le=32)


@dataclass(frozen=True)
class Population:
    """``size`` neurons of one kind.

    ``Population(name, size, kind)`` makes an object of the class of its kind: "input", "constant", "lif"
    (default), "relay", "attention" or "self_attention".  PlacedError for a wrong name, size, kind or option.
    """

    name: str
    size: int
    kind: str = "lif"

    #: values are given and do not settle
    clamped: ClassVar[bool] = False
    #: (height, width, maps), or None; a field of Input, Lif and SelfAttention
    shape: ClassVar[Shape | None] = None

    @classmethod
    def of_shape(cls, name: str, shape: Sequence[int], **options: Any) -> Self:
        """A population of maps of ``shape``, (height, width, maps)."""
        checked = shape_of(shape, _place(name))
        return cls(name, checked.size, **{"shape": checked, **options})

    def __new__(cls, name: str = "", size: int = 0, kind: str = "lif", **options: Any) -> Self:
        if cls is not Population:
            return object.__new__(cls)
        if not isinstance(kind, str) or kind not in KINDS:
            known = ", ".join(KINDS)
            raise PlacedError.of(_place(name), f"kind must be one of {known}, not {short_repr(kind)}", "kind")
        made = KINDS[kind]
        for key in options:
            if key not in {f.name for f in fields(made)}:
                raise PlacedError.of(_place(name), f"{kind} neurons have no {key}", key)
        return object.__new__(made)  # type: ignore[return-value]

    def __post_init__(self) -> None:
        # names of synapses are pre-post
        if not isinstance(self.name, str) or not re.fullmatch(r"[\w.]+", self.name):
            raise PlacedError(
                f"a population's name consists of letters, digits, _ and ., not {short_repr(self.name)}",
                self.place(),
            )
        if self.kind != type(self).kind:
            raise self._invalid(f"kind must be {type(self).kind}, not {short_repr(self.kind)}", "kind")
        set_fields(self, size=check_int(self.size, self.place("size"), 1, MAX_NEURONS))
        check_fields(self, self.place())
        self._check_shape()

    def place(self, *keys: str) -> Place:
        """Place of the population in its network, or of one of its values."""
        return (*_place(self.name), *keys)

    def _invalid(self, problem: str, key: str) -> PlacedError:
        return PlacedError.of(self.place(), problem, key)

    def _check_shape(self) -> None:
        """PlacedError unless the shape fits the size."""
        if self.shape is None:
            return
        set_fields(self, shape=shape_of(self.shape, self.place()))
        if self.size != self.shape.size:
            raise self._invalid(
                f"shape {self.shape} makes {self.shape.size:,} neurons, its size is {self.size:,}", "shape"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; without fields of maps, of a table or of an energy if it has none."""
        found = asdict(self)
        for later in ("energy", "channels_first"):
            if not found.get(later):
                found.pop(later, None)
        if self.shape is None:
            found = {name: value for name, value in found.items() if name not in ("shape", "patch")}
        if found.get("table_rows") is None:
            found.pop("table_rows", None)
        return found

    @property
    def maps(self) -> int:
        """Neurons per position; ``size`` without a shape."""
        return self.shape.maps if self.shape else self.size

    @property
    def drive_shape(self) -> Shape | None:
        """Shape of the drives that the population accumulates, or None without a shape."""
        return self.shape

    @property
    def n_drives(self) -> int:
        """Number of drives that the population accumulates."""
        return self.drive_shape.size if self.drive_shape else self.size

    @property
    def heads(self) -> int:
        """Number of queries; 1 except for relays, and for a position of self-attention."""
        return 1

    @property
    def drive_parts(self) -> int:
        """Parts of a position's drives: one for each head; of self-attention query, key and value of each."""
        return self.heads

    @property
    def width(self) -> int:
        """Neurons per head."""
        return self.size // self.heads


def _place(name: object) -> Place:
    """Place of a population, also of one whose name is no text."""
    return ("population", name if isinstance(name, str) else short_repr(name))


def shape_of(shape: object, owner: Place) -> Shape:
    """``shape`` as a checked Shape; PlacedError names its owner."""
    if not isinstance(shape, list | tuple) or len(shape) != 3:
        raise PlacedError.of(owner, f"a shape is (height, width, maps), not {short_repr(shape)}", "shape")
    place = (*owner, "shape")
    names = ("height", "width", "maps")
    found = Shape(*(check_int(n, place, 1, MAX_NEURONS, name) for n, name in zip(shape, names, strict=True)))
    if found.size > MAX_NEURONS:
        raise PlacedError.of(
            owner, f"shape {found} makes {found.size:,} neurons, at most {MAX_NEURONS:,}", "shape"
        )
    return found


@dataclass(frozen=True)
class Input(Population):
    """Input, clamped to the 8-bit values of the sample.

    ``patch``: images are folded.  An image has ``patch`` times the rows and columns of ``shape``, and C
    colours, innermost.  Map (py * patch + px) * C + c of position (y, x) is colour c of pixel
    (y * patch + py, x * patch + px).

    ``channels_first``: a sample has its values map by map, each row by row.
    """

    kind: Literal["input"] = "input"
    shape: Shape | None = _shape()  # type: ignore[misc]
    patch: int = option(1, "with a shape, rows and columns of an image at one position", ge=1, le=MAX_NEURONS)
    channels_first: bool = option(
        False, "with a shape, a sample has its values map by map, as event recordings do"
    )

    clamped: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels_first and (self.shape is None or self.patch > 1):
            raise self._invalid(
                "channels_first needs a shape (height, width, maps) and no patch: give the first, and leave "
                "the second out",
                "channels_first",
            )
        if self.patch == 1:
            return
        if self.shape is None:
            raise self._invalid("patch folds images, so it needs a shape (height, width, maps)", "patch")
        if self.shape.maps % self.patch**2:
            raise self._invalid(
                f"a patch of {self.patch}x{self.patch} makes {self.patch**2} maps of a colour, not "
                f"{self.shape.maps}",
                "patch",
            )

    @property
    def image(self) -> Shape | None:
        """Rows, columns and colours of a sample, or None without a shape."""
        if self.shape is None:
            return None
        height, width, maps = self.shape
        return Shape(height * self.patch, width * self.patch, maps // self.patch**2)

    @property
    def folded(self) -> bool:
        """Whether the neurons are in another order than the values of a sample."""
        return self.patch > 1 or self.channels_first

    @property
    def fold(self) -> Raw:
        """Index in the sample of the value of each neuron, (size,)."""
        places = np.arange(self.size)
        if self.shape is None or not self.folded:
            return places
        if self.channels_first:
            return places.reshape(self.shape.maps, -1).T.ravel()
        height, width, _ = self.shape
        image = places.reshape(height, self.patch, width, self.patch, -1)
        return image.transpose(0, 2, 1, 3, 4).ravel()


@dataclass(frozen=True)
class Constant(Population):
    """Constant 255/256: a synapse from it is a bias."""

    kind: Literal["constant"] = "constant"

    clamped: ClassVar[bool] = True


@dataclass(frozen=True)
class Lif(Population):
    """Leaky integrate-and-fire neurons (equilif_golden.blocks.lif)."""

    kind: Literal["lif"] = "lif"
    shape: Shape | None = _shape()  # type: ignore[misc]


@dataclass(frozen=True)
class Relay(Population):
    """Queries and retrievals of an attention layer: linear neurons (equilif_golden.blocks.relay).

    ``heads``: number of queries; ``size / heads`` is the width of a pattern.  ``gain``: octaves, the
    retrieval counts 2**(gain - 1) times.
    """

    kind: Literal["relay"] = "relay"
    heads: int = option(1, "number of queries", ge=1, le=MAX_NEURONS)
    gain: int = _gain()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size % self.heads:
            raise self._invalid(f"{self.size} relay neurons cannot have {self.heads} heads", "heads")


@dataclass(frozen=True)
class Attention(Population):
    """Patterns of an attention layer, one neuron for each (equilif_golden.blocks.softmax).

    ``sharpness``: inverse temperature in octaves, k = 2**(sharpness - 1) ln 2.
    ``dynamic_patterns``: the patterns are the tokens of each sample, up to ``size`` of them, and not weights.
    ``table_rows``: these tokens are rows of an embedding table of this length.  The table belongs to the
    network and learns; a sample names the rows.
    """

    kind: Literal["attention"] = "attention"
    sharpness: int = _sharpness()
    dynamic_patterns: bool = option(False, "the patterns are the tokens of each sample")
    table_rows: int | None = option(
        None, "rows of a trainable embedding table of the tokens", absent="no table", ge=1, le=MAX_ROWS
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size > MAX_PATTERNS:
            raise self._invalid(
                f"an attention population has at most {MAX_PATTERNS} neurons, not {self.size}", "size"
            )
        if self.table_rows is not None and not self.dynamic_patterns:
            raise self._invalid(
                "table_rows needs dynamic_patterns: set it, or leave table_rows out", "table_rows"
            )

    @property
    def learns(self) -> bool:
        """Whether its patterns are weights of the network."""
        return not self.dynamic_patterns or self.table_rows is not None


@dataclass(frozen=True)
class SelfAttention(Population):
    """Self-attention of the positions of maps: signed 8-bit answers of every position.

    ``heads``: number of heads; ``shape.maps / heads`` is the width of one.  ``causal``: a position attends
    to itself and to earlier ones only, in the order of the neurons.  ``sharpness`` and ``gain``: octaves, as
    of :class:`Attention` and :class:`Relay`.

    Each position accumulates 3 x ``shape.maps`` drives: the columns of a synapse to the population are query,
    key and value, each head by head.  A map of an answer is that of its value.

    ``energy``: keys are also the values, so that the population has an energy and learns.  ``shape.maps`` are
    queries and then keys, each head by head, as are the columns of a synapse.  Each of them has an answer,
    which returns through the synapse; no synapse begins here.
    """

    kind: Literal["self_attention"] = "self_attention"
    shape: Shape | None = _shape()  # type: ignore[misc]
    heads: int = option(1, "number of heads", ge=1, le=MAX_NEURONS)
    causal: bool = option(False, "a position attends to itself and to earlier ones only")
    sharpness: int = _sharpness()
    gain: int = _gain()
    energy: bool = option(
        False,
        "keys are also the values, so that the network has an energy and learns; maps are queries and keys",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape is None:
            raise self._invalid("self-attention needs a shape (height, width, maps)", "shape")
        if self.maps % (self.heads * self.answer_parts):
            of = "queries and keys of " if self.energy else ""
            raise self._invalid(f"{self.maps} maps cannot have {of}{self.heads} heads", "heads")
        if self.shape.positions > MAX_PATTERNS:
            raise self._invalid(
                f"self-attention has at most {MAX_PATTERNS} positions, not {self.shape.positions}", "shape"
            )

    @property
    def answer_parts(self) -> int:
        """Answers of a head at a position: one or, with an energy, that of its query and that of its key."""
        return 2 if self.energy else 1

    @property
    def width(self) -> int:
        """Maps per head, of each of its answers."""
        return self.maps // self.heads // self.answer_parts

    @property
    def drive_parts(self) -> int:
        return (2 if self.energy else 3) * self.heads

    @property
    def drive_shape(self) -> Shape:
        """Shape of the drives: query, key and, without an energy, value of every position."""
        assert self.shape is not None
        return self.shape._replace(maps=self.drive_parts * self.width)


KINDS: dict[str, type[Population]] = {
    kind.kind: kind for kind in (Input, Constant, Lif, Relay, Attention, SelfAttention)
}
