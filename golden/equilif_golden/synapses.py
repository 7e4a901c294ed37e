"""Synapses: their fields, the populations that they may join, and their weights.

A synapse is dense, or has a *geometry*: several pairs of neurons share a weight
(equilif_golden.blocks.geometry).  :meth:`Synapse.geometry` alone decides between them.  Everything else asks
the geometry: neurons, shape, fan-in, update, tables of the compiled kernel, groups and tiles of the engine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from equilif_golden.blocks.geometry import CONSTANT, Geometry, Shape, positions
from equilif_golden.fixed import check_fields, check_int, option, short_repr
from equilif_golden.places import Place, PlacedError
from equilif_golden.populations import MAX_NEURONS, Attention, Constant, Population, SelfAttention

#: possible kinds at the two ends of a synapse
JOINABLE = {
    ("clamped", "lif"),
    ("lif", "lif"),
    ("clamped", "relay"),
    ("relay", "lif"),
    ("attention", "relay"),
    ("clamped", "self_attention"),
    ("lif", "self_attention"),
    ("self_attention", "lif"),
}
#: fields that every saved synapse has
FIRST_FIELDS = ("pre", "post", "learning_rate_scale", "feedback")
#: possible factors of the spikes that come back
FEEDBACK_SCALES = (1.0, 0.5, 0.25, 0.125)


@dataclass(frozen=True)
class Synapse:
    """Symmetric synapse between two populations.

    pre, post             names of the populations; rows of the weights belong to ``pre``, columns to ``post``
    learning_rate_scale   learning rate relative to that of the network
    feedback              whether ``pre`` receives from ``post``; false only from LIF or relay to LIF.
                          Nudged phases need feedback; errors and equilif_golden.real.trainer train without.
                          Without effect from and to self-attention
    feedback_scale        factor of the weights for these spikes, 1, 1/2, 1/4 or 1/8; each product is rounded
                          to the nearest.  Learning rates follow from the energy (Network.energy_scale)
    kernel, stride        side of the kernel and its step, of a convolution between populations of maps
    per_position          of a bias of maps: each position has one of its own, for example a position code
    """

    pre: str
    post: str
    learning_rate_scale: float = option(1.0, "factor of the network's learning rate", ge=0, le=1e6)
    feedback: bool = option(
        True, "false (from a spiking population or a relay): one way; such a network learns from errors only"
    )
    kernel: int | None = option(
        None, "between maps: side of the kernel of a convolution", absent="all to all", ge=1, le=MAX_NEURONS
    )
    stride: int = option(1, "between maps: positions between neighbouring kernels", ge=1, le=MAX_NEURONS)
    per_position: bool = option(
        False, "from a constant to maps: one bias per position, for example a position code"
    )
    feedback_scale: float = option(
        1.0,
        "between spiking populations: factor of the spikes that come back, 1, 0.5, 0.25 or 0.125",
        ge=FEEDBACK_SCALES[-1],
        le=FEEDBACK_SCALES[0],
    )

    def __post_init__(self) -> None:
        for end in (self.pre, self.post):
            if not isinstance(end, str):
                raise ValueError(f"the ends of a synapse are names of populations, not {short_repr(end)}")
        check_fields(self, self.place())
        if self.feedback_scale not in FEEDBACK_SCALES:
            raise self._invalid(
                f"feedback_scale must be 1, 0.5, 0.25 or 0.125, not {self.feedback_scale:g}", "feedback_scale"
            )
        if self.kernel is None and self.stride != 1:
            raise self._invalid("a stride is that of a kernel: give one, or leave it out", "stride")

    def place(self, *keys: str) -> Place:
        """Place of the synapse in its network, or of one of its values."""
        return ("synapse", self.pre, self.post, *keys)

    def _invalid(self, problem: str, *keys: str) -> PlacedError:
        return PlacedError.of(self.place(), problem, *keys)

    @property
    def name(self) -> str:
        return f"{self.pre}-{self.post}"

    @property
    def feedback_shift(self) -> int:
        """Shift to the right of the weights for the spikes that come back."""
        return FEEDBACK_SCALES.index(self.feedback_scale)

    @property
    def options(self) -> dict[str, Any]:
        """All fields but the populations, by name."""
        return {name: getattr(self, name) for name in OPTIONS}

    @property
    def given(self) -> dict[str, Any]:
        """Options that differ from their defaults; a kernel has its stride."""
        return {
            name: value
            for name, value in self.options.items()
            if value != OPTIONS[name].default or (name == "stride" and self.kernel is not None)
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; options only if they differ from their defaults."""
        kept = (*FIRST_FIELDS, *self.given)
        return {name: value for name, value in asdict(self).items() if name in kept}

    @property
    def text(self) -> str:
        """The kernel for readers, "3x3" or "3x3, stride 2"; empty for a dense synapse."""
        if self.kernel is None:
            return ""
        return f"{self.kernel}x{self.kernel}" + (f", stride {self.stride}" if self.stride > 1 else "")

    def check(self, pre: Population, post: Population) -> None:
        """PlacedError unless the synapse can join these populations."""
        kinds = end_kind(pre), end_kind(post)
        if kinds not in JOINABLE:
            hint = f"; use {self.post}-{self.pre}" if kinds[::-1] in JOINABLE else ""
            raise self._invalid(f"{pre.kind} to {post.kind} is not possible{hint}")
        if not self.feedback and kinds not in (("lif", "lif"), ("relay", "lif")):
            raise self._invalid(
                f"only one from lif or relay to lif can be without feedback, not {kinds[0]} to {kinds[1]}",
                "feedback",
            )
        if self.feedback_scale != 1 and not (self.feedback and kinds == ("lif", "lif")):
            raise self._invalid(
                "a feedback_scale is that of a synapse with feedback between lif populations: leave it out",
                "feedback_scale",
            )
        if self.pre == self.post:
            raise self._invalid("a population cannot be joined to itself")
        self._check_maps(pre, post)

    def _check_maps(self, pre: Population, post: Population) -> None:
        """PlacedError unless kernel and maps fit."""
        constant = isinstance(pre, Constant) and pre.size == 1
        if self.per_position and not (constant and post.shape):
            raise self._invalid(
                "per_position is that of a bias of maps, from a constant of size 1 to a population with a "
                "shape: leave it out",
                "per_position",
            )
        if isinstance(pre, SelfAttention) and post.shape is None:
            raise self._invalid(
                f"the answers of {self.pre} go to maps: give {self.post} a shape of "
                f"{pre.shape.height}x{pre.shape.width} positions"  # type: ignore[union-attr]
            )
        if self.kernel is None:
            if post.shape is None or constant:
                return
            missing = (
                "both are maps: give the synapse a kernel"
                if pre.shape
                else f"maps receive from maps, or from a constant of size 1: give {self.pre} a shape"
            )
            raise self._invalid(f"{self.post} has the shape {post.shape}; {missing}")
        for p in (pre, post):
            if p.shape is None:
                raise self._invalid(
                    f"a kernel joins maps, {p.name} has no shape (height, width, maps); give it one, or "
                    "leave the kernel out",
                    "kernel",
                )
        assert pre.shape is not None and post.shape is not None
        if self.kernel != 1 and isinstance(pre, SelfAttention) | isinstance(post, SelfAttention):
            raise self._invalid(
                "self-attention takes and gives values position by position: kernel must be 1, not "
                f"{self.kernel}",
                "kernel",
            )
        found = Window(self.kernel, self.stride).over(pre.shape, post.shape.maps, self.place())
        if found != post.shape:
            raise self._invalid(
                f"a kernel of {self.kernel}x{self.kernel} in steps of {self.stride} makes "
                f"{found.height}x{found.width} positions of {pre.shape}, {self.post} has the shape "
                f"{post.shape}",
                "kernel",
            )

    def geometry(self, pre: Population, post: Population) -> Geometry | None:
        """Geometry of a convolution, or of a bias that maps share; None for a dense synapse.

        Its ``post`` is the shape of the drives that the synapse adds to.
        """
        drives = post.drive_shape
        if drives is None or self.per_position:
            return None
        if self.kernel is None or pre.shape is None:
            return Geometry(CONSTANT, drives, kernel=1, stride=0)
        return Geometry(pre.shape, drives, self.kernel, self.stride)

    def shape(self, pre: Population, post: Population) -> tuple[int, int]:
        """Rows and columns of the weights.

        Those with a geometry are shared by all positions.  Patterns have the width of one head of the relay;
        an embedding table has ``table_rows`` rows.
        """
        geometry = self.geometry(pre, post)
        if geometry is not None:
            return geometry.rows, geometry.columns
        if isinstance(pre, Attention):
            return pre.table_rows or pre.size, post.width
        return pre.size, post.n_drives


#: fields that are options of a synapse: all but the populations
OPTIONS = {f.name: f for f in fields(Synapse) if "help" in f.metadata}


def end_kind(p: Population) -> str:
    """Kind of a population as an end of a synapse: "clamped" for inputs and constants."""
    return "clamped" if p.clamped else p.kind


class Window(NamedTuple):
    """Kernel and stride of a convolution."""

    kernel: int | None = None
    stride: int = 1

    def over(self, shape: Shape, maps: int, owner: Place) -> Shape:
        """Shape of the ``maps`` output maps of a convolution over ``shape``."""
        kernel = check_int(self.kernel, (*owner, "kernel"), 1, min(shape.height, shape.width))
        stride = check_int(self.stride, (*owner, "stride"), 1, MAX_NEURONS)
        sides = [positions(side, kernel, stride) for side in (shape.height, shape.width)]
        if None in sides:
            raise PlacedError.of(owner, _no_positions(shape, kernel, stride), "kernel")
        height, width = (check_int(side, owner, 1, MAX_NEURONS) for side in sides)
        return Shape(height, width, check_int(maps, (*owner, "maps"), 1, MAX_NEURONS))


def _no_positions(shape: Shape, kernel: int, stride: int) -> str:
    """Error message: a kernel does not tile the maps."""
    fitting = [
        s
        for s in range(1, min(shape.height, shape.width) + 1)
        if all(positions(side, kernel, s) for side in shape[:2])
    ]
    ways = f"strides that do: {', '.join(map(str, fitting))}" if fitting else "take a smaller kernel"
    return (
        f"a kernel of {kernel}x{kernel} in steps of {stride} does not end at the edge of "
        f"{shape.height}x{shape.width} positions; {ways}"
    )
