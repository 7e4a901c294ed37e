"""Placement of a network on an engine: groups of neurons, tiles of weights, and images of the memories."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks import synapse as syn
from equilif_golden.blocks.plasticity import GAIN_WIDTH
from equilif_golden.blocks.relay import query_shift
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.external import from_rows, to_rows
from equilif_golden.engine.geometry import Geometry, geometry_of
from equilif_golden.engine.isa import SLOTS, Groups, window_tiles
from equilif_golden.engine.tables import TableTokens, fits
from equilif_golden.fixed import Raw, check_int
from equilif_golden.network import ONE, Network, SelfAttention, Synapse, Weights

#: the accumulator that all relays share, one head at a time
SUM = "relay sum"
#: the accumulator, and the present codes, of a head of self-attention at all positions; shared by all of them
ATTENDED = "attention sum"


def _named(a: SelfAttention) -> str:
    return f"{a.drive_shape.positions}{' causal' if a.causal else ''}"


def rows_of(positions: int) -> str:
    """Name of the groups that select a row of keys and values."""
    return f"{positions} rows"


def columns_of(positions: int) -> str:
    """Name of the groups that select a column of probabilities."""
    return f"{positions} columns"


def padding_of(positions: int) -> str:
    """Name of the groups that select the rows of probabilities of which no position is."""
    return f"{positions} padding"


def scores_of(a: SelfAttention) -> str:
    """Name of the scores of a head."""
    return f"{_named(a)} scores"


def present_of(a: SelfAttention) -> str:
    """Name of the positions to which every position attends."""
    return f"{_named(a)} present"


def error_of(name: str) -> str:
    """Name of the groups of a population's errors."""
    return f"{name} error"


class ExternalBlock(NamedTuple):
    """Part of external weights: its geometry, the first group of ``pre``, and the first tile."""

    geometry: Geometry
    group: int
    tile: int


class Placement:
    """Groups by population; maps have separate groups per position.  Names of other groups have a blank:

    "Y target"      target of output population Y
    "relay sum"     accumulated input of a relay, and its present query; shared by all relays and heads
    "R retrieval"   values of relay R for the network, per head
    "R query"       queries of relay R, per head, if its patterns learn
    "M codes"       probabilities of attention population M, per head, if it learns
    "Y error"       errors of LIF population Y, in V-; V+ stays 0, or has those of the other sign
    "M present"     255 for every pattern of M that is present
    "attention sum" accumulated input of a head of self-attention, position by position
    "A answers"     values of self-attention A for the network, head by head, each position by position; with
                    an energy those of queries, then those of keys

    For self-attention over n positions, each with groups for all positions:

    "n rows"        of position i: a factor at i, 0 elsewhere; STORE writes row i of keys and values with it
    "n columns"     of position j: 128 at j; with an energy, reads column j of stored probabilities
    "n padding"     with an energy, if lanes of the last group have no position: 1 in these; then zeros
    "n scores"      scores and probabilities of position i for all positions; "n causal scores" up to i
    "n present"     255 for every position that i attends to; "n causal present" up to i
    """

    def __init__(self, network: Network, config: EngineConfig):
        self.network = network
        self.config = config
        self.groups: dict[str, Groups] = {}
        #: groups that need membranes
        self.state_groups = self._place(0, self._with_membranes())
        #: groups of all populations of LIF neurons, which come first
        self.lif_groups = sum(self.groups[q.name].n for q in network.lif)
        self.n_groups = self._place(self.state_groups, self._with_values())
        #: synapses with external weights
        self.external: tuple[Synapse, ...] = ()
        self._place_weights()
        # matrices that are read once a sample leave first
        for once in (True, False):
            if self._fits:
                break
            self.external = ()
            self._place_weights()
            while not self._fits and self._may_leave(once):
                size = {s: np.prod(network.shape(s)) for s in self._may_leave(once)}
                self.external = (*self.external, max(size, key=lambda s: size[s]))
                self._place_weights()
        #: first tile of the embedding table in the SDRAM; None: it is on the host
        self.table = self._table_tile()

    def _table_tile(self) -> int | None:
        table = self.network.table
        if table is None or not fits(self.network, self.config):
            return None
        rows = self.network.shape(table)[0]
        end = self.external_end + syn.groups(rows * self.table_groups, self.config.lanes)
        return self.external_end if end <= self.config.all_tiles else None

    @property
    def table_groups(self) -> int:
        """Groups of P columns in a row of the embedding table."""
        assert self.network.dynamic_attention is not None
        return syn.groups(self.network.dynamic_attention.relay.width, self.config.lanes)

    def _place_weights(self) -> None:
        """Give every synapse its tiles: on the chip, or after those if its weights are external."""
        network = self.network
        self.tiles: dict[str, int] = {}
        #: synapses with weights on the chip
        self.resident = tuple(s for s in network.plastic if s not in (network.table, *self.external))
        #: tiles of their weights; those of dynamic patterns follow
        self.n_tiles = self._place_tiles(0, self.resident)
        self.all_tiles = self._place_tiles(
            self.n_tiles,
            tuple(s for s in network.synapses if s not in (*self.resident, *self.external)),
        )
        #: the first tile after the external ones
        self.external_end = self._place_tiles(self.config.tiles, self.external)
        #: first tiles of the stored keys and values (with an energy: queries) of the present head, and of its
        #: probabilities
        self.keys = self.all_tiles
        self.values = self.keys + max(
            (self.head_geometry(a).tiles for a in network.self_attention), default=0
        )
        self.probabilities = 2 * self.values - self.keys
        self.all_tiles = self.probabilities + max(
            (self.square_geometry(a).tiles for a in network.self_attention if a.energy), default=0
        )

    @property
    def window(self) -> int:
        """Last tiles on the chip, through which external weights pass."""
        return max((self._window(s) for s in self.external), default=0)

    @property
    def n_external(self) -> int:
        """Weights in the SDRAM, those of the embedding table included."""
        outside = [*self.external, *([] if self.table is None else [self.network.table])]
        return sum(int(np.prod(self.network.shape(s))) for s in outside if s)

    def _window(self, s: Synapse) -> int:
        """The smallest window for a synapse."""
        shape = self.shape(s)
        forwards = window_tiles(shape, backwards=False)
        if self.network[s.pre].clamped or self.geometry(s) is None:
            return forwards
        return max(forwards, window_tiles(shape._replace(kernel_rows=1), backwards=True))

    @property
    def _fits(self) -> bool:
        """Weights and window fit the tiles on the chip."""
        return self.all_tiles + self.window <= self.config.tiles

    def _may_leave(self, once: bool) -> list[Synapse]:
        """Synapses on the chip that could be external: to LIF neurons from those that are clamped, dense if
        ``once``, else from LIF neurons, too.
        """
        net = self.network
        return [
            s
            for s in self.resident
            if self.config.external
            and net[s.post].kind == "lif"
            and not s.per_position
            and (net[s.pre].clamped or not once and net[s.pre].kind == "lif")
            and (self.geometry(s) is None or not once)
        ]

    def shape(self, s: Synapse) -> Geometry:
        """Geometry of a synapse; a dense one has a single position."""
        dense = Geometry(self.groups[s.pre].n, self.groups[s.post].n, 1, 1, 1, 1, 1)
        return self.geometry(s) or dense

    def blocks_backwards(self, s: Synapse) -> list[ExternalBlock]:
        """Parts of external weights that are read backwards, one after the other, through the window: kernel
        rows, or as many groups of a dense ``pre`` as have room.
        """
        shape = self.shape(s)
        if self.geometry(s) is None:
            n = max(SLOTS, (self.config.tiles - self.all_tiles) // shape.post)
            parts = {at: shape._replace(pre=min(n, shape.pre - at)) for at in range(0, shape.pre, n)}
            return [ExternalBlock(part, at, at * shape.post) for at, part in parts.items()]
        row = shape._replace(kernel_rows=1)
        return [
            ExternalBlock(row, k * shape.width * shape.pre, k * row.tiles) for k in range(shape.kernel_rows)
        ]

    # -- groups ------------------------------------------------------------------------------------
    @property
    def target(self) -> str:
        return f"{self.network.output} target"

    def _with_membranes(self) -> Iterator[tuple[str, int, int]]:
        """Name, neurons of a head or of a position, how many of these."""
        for q in self.network.lif:
            yield q.name, q.maps, q.size // q.maps
        for m in self.network.attention_layers:
            yield m.attention.name, m.attention.size, 1
        if self.network.attention_layers:
            yield SUM, max(m.relay.width for m in self.network.attention_layers), 1
        attending = self.network.self_attention
        for name, n in {scores_of(a): a.drive_shape.positions for a in attending}.items():
            yield name, n, n
        if attending:
            p = self.config.lanes
            yield ATTENDED, max(a.drive_shape.positions * syn.groups(a.width, p) * p for a in attending), 1

    def _with_values(self) -> Iterator[tuple[str, int, int]]:
        """The same; all that makes a sample stands side by side, so that it is one write."""
        for m in self.network.attention_layers:
            yield f"{m.relay.name} retrieval", m.relay.width, m.relay.heads
            if m.attention.learns:
                yield f"{m.relay.name} query", m.relay.width, m.relay.heads
                yield f"{m.attention.name} codes", m.attention.size, m.relay.heads
        for a in self.network.self_attention:
            yield f"{a.name} answers", a.width, a.drive_shape.positions * a.heads * a.answer_parts
        for q in self.network.inputs:
            yield q.name, q.maps, q.size // q.maps
        if self.network.dynamic_attention:
            yield (
                f"{self.network.dynamic_attention.attention.name} present",
                self.network.dynamic_attention.attention.size,
                1,
            )
        yield self.target, self.network.n_outputs, 1
        for name, values in self._constants():
            yield name, values.shape[-1], values.size // values.shape[-1]
        if self.network.schedule.errors:
            for p in self.network.lif:
                yield error_of(p.name), p.maps, p.size // p.maps

    def _place(self, at: int, sizes: Iterator[tuple[str, int, int]]) -> int:
        for name, size, heads in sizes:
            self.groups[name] = Groups(at, heads * syn.groups(size, self.config.lanes))
            at += self.groups[name].n
        return at

    def head(self, name: str, head: int, heads: int) -> Groups:
        """Groups of one head."""
        first, n_all = self.groups[name]
        n = n_all // heads
        return Groups(first + head * n, n)

    def elements(self, name: str) -> Raw:
        """Address (group x P + lane) of each neuron of a population."""
        p = self.config.lanes
        maps = self.network[name].maps
        position, m = np.divmod(np.arange(self.network[name].size), maps)
        elements: Raw = (self.groups[name].first + position * syn.groups(maps, p)) * p + m
        return elements

    def name_of(self, groups: Groups) -> str:
        """Name of these groups for listings."""
        inside = [
            (name, place)
            for name, place in self.groups.items()
            if place.first < groups.first + groups.n and groups.first < place.first + place.n
        ]
        if sum(place.n for _, place in inside) == groups.n:
            return ", ".join(name for name, _ in inside)
        if len(inside) == 1:
            name, place = inside[0]
            part, rest = divmod(groups.first - place.first, groups.n)
            # a head of several
            if not rest and not place.n % groups.n:
                return f"{name} {part}"
        return f"groups {groups.first}..{groups.first + groups.n - 1}"

    # -- tiles -------------------------------------------------------------------------------------
    def geometry(self, s: Synapse) -> Geometry | None:
        """Geometry of the instructions of a synapse; None for a dense synapse."""
        return geometry_of(self.network, s, self.config.lanes)

    def _offsets(self, s: Synapse) -> int:
        """Matrices of a synapse that are placed one after the other."""
        geometry = self.geometry(s)
        return geometry.offsets if geometry else 1

    def _place_tiles(self, at: int, synapses: tuple[Synapse, ...]) -> int:
        for s in synapses:
            self.tiles[s.name] = at
            n, shape = self._parts(s)
            at += n * self._tiles_of(shape)
        return at

    def _parts(self, s: Synapse) -> tuple[int, tuple[int, int]]:
        """Number of blocks of a synapse's matrix, one per head and position, and the shape of each."""
        pre = self.network[s.pre]
        post = self.network[s.post]
        if pre.kind == "attention":
            return 1, (pre.size, post.width)
        rows, columns = self.network.shape(s)
        offsets = self._offsets(s)
        parts = post.drive_parts
        if s.per_position and post.drive_shape:
            offsets = post.drive_shape.positions
            return parts * offsets, (1, columns // parts // offsets)
        return pre.heads * parts * offsets, (rows // pre.heads // offsets, columns // parts)

    def _tiles_of(self, shape: tuple[int, ...]) -> int:
        rows, columns = (syn.groups(n, self.config.lanes) for n in shape)
        return rows * columns

    def blocks(self, s: Synapse) -> list[Raw]:
        """Parts of a synapse's matrix, one per head and position; each starts at a tile boundary."""
        shape = self.network.shape(s)
        index = np.arange(shape[0] * shape[1]).reshape(shape)
        pre = self.network[s.pre]
        post = self.network[s.post]
        if pre.kind == "attention":
            return [index]
        parts = post.drive_parts
        if s.per_position and post.drive_shape:
            by_position = index.reshape(post.drive_shape.positions, parts, -1)
            return [block[None] for part in range(parts) for block in by_position[:, part]]
        return [
            block
            for rows in np.split(index, pre.heads)
            for part in np.split(rows, parts, axis=1)
            for block in np.split(part, self._offsets(s))
        ]

    def tile(self, s: Synapse, head: int = 0) -> int:
        """First tile of a head's part of a synapse; heads share the patterns.

        ``head``: of a synapse to self-attention with ``heads`` heads, query ``head``, key ``heads + head`` or
        value ``2 heads + head`` (with an energy there is none).
        """
        pre = self.network[s.pre]
        if pre.kind == "attention":
            return self.tiles[s.name]
        n, shape = self._parts(s)
        blocks = n // (pre.heads * self.network[s.post].drive_parts)
        return self.tiles[s.name] + head * blocks * self._tiles_of(shape)

    def head_geometry(self, a: SelfAttention) -> Geometry:
        """Geometry of keys or values of a head: from all positions to each of them."""
        shape = a.drive_shape
        p = self.config.lanes
        pre, post = syn.groups(shape.positions, p), syn.groups(a.width, p)
        return Geometry(pre, post, shape.height, shape.width, 1, 1, 1)

    def square_geometry(self, a: SelfAttention) -> Geometry:
        """Geometry of the probabilities of a head: all positions to all positions, at each of them."""
        geometry = self.head_geometry(a)
        return geometry._replace(post=geometry.pre)

    def synapse_of(self, tile: int) -> str:
        """The synapse that a tile belongs to, for people."""
        if tile >= self.config.tiles:
            end, note = self.external_end, " (external)"
        else:
            end, note = self.all_tiles, ""
        before = [name for name, first in self.tiles.items() if first <= tile < end]
        return max(before, key=lambda name: self.tiles[name]) + note if before else f"tile {tile}"

    # -- memory images -----------------------------------------------------------------------------
    def weight_words(self, weights: Weights) -> Raw:
        """(n_tiles x P, P) words x banks, from word 0, of all weights on the chip."""
        checked = self.network.check_weights(weights)
        words = [self._words(s, checked[s.name]) for s in self.resident]
        return np.concatenate([np.zeros((0, self.config.lanes), np.int64), *words])

    def external_words(self, weights: Weights) -> Raw:
        """Words x banks of the external weights, from tile ``config.tiles`` on."""
        p = self.config.lanes
        words = [to_rows(self._words(s, weights[s.name]), self.shape(s).post, p) for s in self.external]
        return np.concatenate([np.zeros((0, p), np.int64), *words])

    def _words(self, s: Synapse, weights: Raw) -> Raw:
        """Words of a synapse, tile by tile."""
        return np.concatenate([syn.to_words(weights.ravel()[b], self.config.lanes) for b in self.blocks(s)])

    def _from_words(self, s: Synapse, words: Raw) -> Raw:
        """Inverse of :meth:`_words`."""
        p = self.config.lanes
        w = np.empty(self.network.shape(s), np.int64)
        at = 0
        for block in self.blocks(s):
            n = self._tiles_of(block.shape) * p
            w.ravel()[block] = syn.from_words(words[at : at + n], block.shape, p)
            at += n
        return w

    def external_weights(self, words: Raw) -> Weights:
        """Inverse of :meth:`external_words`."""
        p = self.config.lanes
        out = {}
        for s in self.external:
            first = (self.tiles[s.name] - self.config.tiles) * p
            shape = self.shape(s)
            n = shape.tiles * p
            out[s.name] = self._from_words(s, from_rows(words[first : first + n], shape.post, p))
        return out

    def table_words(self, rows: Raw) -> Raw:
        """Words x lanes of the rows of an embedding table in the SDRAM."""
        width = self.table_groups * self.config.lanes
        return np.pad(rows, ((0, 0), (0, width - rows.shape[1]))).reshape(-1, self.config.lanes)

    def table_rows(self, words: Raw) -> Raw:
        """Inverse of :meth:`table_words`."""
        assert self.network.table is not None
        rows, width = self.network.shape(self.network.table)
        return words.reshape(rows, -1)[:, :width]

    @property
    def table_elements(self) -> int:
        """Weights of an embedding table in the SDRAM, with those that fill up its rows."""
        assert self.network.table is not None
        return self.network.shape(self.network.table)[0] * self.table_groups * self.config.lanes

    def table_tokens(self, rows: Raw) -> TableTokens:
        """Rows of the table in the SDRAM as patterns of a sample."""
        assert self.table is not None
        tile = self.tokens_first // self.config.lanes**2
        return TableTokens(self.table, tile, self.table_groups, rows)

    def weights(self, words: npt.ArrayLike) -> Weights:
        """Inverse of :meth:`weight_words`."""
        p = self.config.lanes
        checked = self.network.numerics.weight.require(words, "weight words")
        if checked.shape != (self.n_tiles * p, p):
            raise ValueError(f"weight words must have shape {(self.n_tiles * p, p)}, not {checked.shape}")
        # synapses on the chip come first
        return {s.name: self._from_words(s, checked[self.tiles[s.name] * p :]) for s in self.resident}

    def token_words(self, patterns: npt.ArrayLike) -> tuple[int, Raw]:
        """Element address in the weights, and words x banks in whole tiles, of one sample's raw patterns
        (n, width).
        """
        layer = self.network.dynamic_attention
        if layer is None:
            raise ValueError("this network takes no tokens: it has no dynamic patterns")
        checked = self.network.numerics.weight.require(patterns, "patterns")
        size, width = layer.attention.size, layer.relay.width
        if checked.ndim != 2 or len(checked) > size or checked.shape[1] != width:
            raise ValueError(f"a sample has patterns of shape (up to {size}, {width}), not {checked.shape}")
        return self.tokens_first, syn.to_words(checked, self.config.lanes)

    @property
    def tokens_first(self) -> int:
        """Element address of the dynamic patterns in the weights."""
        assert self.network.dynamic_attention is not None
        return self.tiles[self.network.dynamic_attention.synapse.name] * self.config.lanes**2

    def constants(self) -> tuple[int, Raw]:
        """Element address and 8-bit values written once: constants, presence of stored patterns, and V+ of
        errors, which is 0.
        """
        values = self._constants()
        errors = [error_of(q.name) for q in self.network.lif] if self.network.schedule.errors else []
        names = [name for name, _ in values] + errors
        if not names:
            return 0, np.zeros(0, np.int64)
        p = self.config.lanes
        zeros = np.zeros(sum(self.groups[name].n for name in errors) * p, np.int64)
        written = self._padded(values) if values else zeros[:0]
        return self.groups[names[0]].first * p, np.concatenate([written, zeros])

    def _constants(self) -> list[tuple[str, Raw]]:
        constant = [(q.name, q.size) for q in self.network.populations if q.kind == "constant"]
        stored = [
            (f"{m.attention.name} present", m.attention.size)
            for m in self.network.attention_layers
            if not m.attention.dynamic_patterns
        ]
        values: list[tuple[str, Raw]] = [(name, np.full(size, ONE)) for name, size in constant + stored]
        attending = self.network.self_attention
        for n in dict.fromkeys(a.drive_shape.positions for a in attending):
            values.append((rows_of(n), np.eye(n, dtype=np.int64) * self.row_factor))
        for n in dict.fromkeys(a.drive_shape.positions for a in attending if a.energy):
            values.append((columns_of(n), np.eye(n, dtype=np.int64) * 128))
            if n % self.config.lanes:
                lanes = np.arange(syn.groups(n, self.config.lanes) * self.config.lanes)
                values.append((padding_of(n), np.stack([lanes >= n, np.zeros(len(lanes))]).astype(np.int64)))
        for name, (n, causal) in {
            present_of(a): (a.drive_shape.positions, a.causal) for a in attending
        }.items():
            values.append((name, ONE * (np.tri(n, dtype=np.int64) if causal else np.ones((n, n), np.int64))))
        return values

    @property
    def row_factor(self) -> int:
        """Value u of STORE, such that gain u makes a code a weight (equilif_golden.blocks.self_attention)."""
        return (1 << query_shift(self.network.numerics.fraction)) // self.row_gain

    @property
    def row_gain(self) -> int:
        """Gain of STORE."""
        return min(1 << (GAIN_WIDTH - 1), 1 << query_shift(self.network.numerics.fraction))

    @property
    def present_first(self) -> int:
        """Element address of the presence of a sample's tokens."""
        assert self.network.dynamic_attention is not None
        name = f"{self.network.dynamic_attention.attention.name} present"
        return self.groups[name].first * self.config.lanes

    @property
    def sample_first(self) -> int:
        """Element address (group x P + lane) of a sample: inputs, presence and target."""
        first = [q.name for q in self.network.inputs]
        if self.network.dynamic_attention:
            first.append(f"{self.network.dynamic_attention.attention.name} present")
        return self.groups[first[0]].first * self.config.lanes

    def sample(self, x: npt.ArrayLike, y: npt.ArrayLike | None = None, *, tokens: int = 0) -> Raw:
        """8-bit values to write from ``sample_first``: inputs of a sample, presence of its ``tokens``, and
        its target, if any.
        """
        value = self.network.numerics.value
        inputs = value.require(x, "inputs")
        if inputs.shape != (self.network.n_inputs,):
            raise ValueError(f"a sample must have shape ({self.network.n_inputs},), not {inputs.shape}")
        clamped = self.network.clamped(inputs)
        parts = [(q.name, clamped[q.name]) for q in self.network.inputs]
        if self.network.dynamic_attention:
            attention = self.network.dynamic_attention.attention
            if not 0 <= check_int(tokens, "tokens", 0, 1 << 32) <= attention.size:
                raise ValueError(f"a sample has up to {attention.size} tokens, not {tokens}")
            parts.append((f"{attention.name} present", np.where(np.arange(attention.size) < tokens, ONE, 0)))
        if y is not None:
            target = value.require(y, "targets")
            if target.shape != (self.network.n_outputs,):
                raise ValueError(f"a target must have shape ({self.network.n_outputs},), not {target.shape}")
            parts.append((self.target, target))
        return self._padded(parts)

    def _padded(self, parts: list[tuple[str, Raw]]) -> Raw:
        """Values of the named groups one after the other, each filled up to whole groups, as is each position
        of maps.
        """
        p = self.config.lanes
        inputs = {q.name: q.maps for q in self.network.inputs}
        filled = []
        for name, values in parts:
            positions = values.reshape(-1, inputs.get(name) or values.shape[-1])
            width = self.groups[name].n * p // len(positions)
            filled.append(np.pad(positions, ((0, 0), (0, width - positions.shape[1]))).ravel())
        return np.concatenate(filled)
