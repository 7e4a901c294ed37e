"""What a network is made of."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from equilif.show.console import NO, YES, console, literal, table

if TYPE_CHECKING:
    from equilif.hardware.resources import Joined, NetworkResources, Neurons


class Key(NamedTuple):
    """A key of --set: ``command`` has it, ``values`` are allowed, ``default`` holds when it is left out."""

    command: str
    key: str
    default: str
    values: str
    meaning: str


def keys(found: Iterable[Key]) -> None:
    """Keys of --set, by command."""
    for command, listed in groupby(found, lambda key: key.command):
        listing = table(
            f"equilif {command} --set KEY=VALUE",
            ["key", "meaning", "values", "default"],
            [[key.key, key.meaning, key.values, key.default] for key in listed],
            left=4,
        )
        listing.columns[0].no_wrap = True
        console.print(listing)
    console.print(
        "Defaults are those of a network file; without --set the value of the preset holds. `equilif upload` "
        "has the keys of `equilif train` but run; phases are keys of `equilif train-rates` too."
    )


BY_DATA = "by the data"


def network(found: NetworkResources) -> None:
    """Populations, synapses, steps and memory of a network, and what the boards say to it."""
    bits = found.description.numerics.weight_width
    console.print(
        table(
            found.name,
            ["population", "kind", "neurons", "each hears"],
            [
                [
                    p.name,
                    _kind(p),
                    _count(p.size),
                    _count(p.fan_in) if p.kind not in ("input", "constant") else "-",
                ]
                for p in found.populations
            ],
            left=2,
        )
    )
    console.print(
        table(
            "\nsynapses",
            ["from", "to", "rows", "columns", "weights", "learns at"],
            [
                [s.pre, _to(s), _count(s.rows), _count(s.columns), _count(s.weights), _rate(s)]
                for s in found.synapses
            ],
            left=2,
        )
    )
    console.print(
        f"\n{found.schedule}; {found.steps['inference']} steps to run, {found.steps['training']} to learn"
    )
    if found.description.unjoined:
        console.print(f"[yellow]{literal(found.description.unjoined)}[/]")
    if found.weights is None or found.bits is None:
        left = ", ".join(found.description.open)
        console.print(f"[yellow]sizes of {literal(left)} are left to the data: name them to see the rest[/]")
        return
    console.print(
        f"memory: {found.weights:,} weights of {bits} bits, {found.bits / 8192:,.1f} KiB; tiles "
        + ", ".join(f"{n:,} of {lanes}x{lanes}" for lanes, n in found.tiles().items())
    )
    if found.with_the_host:
        console.print(
            f"{found.with_the_host:,} of these weights are the table of tokens: it stays with the host"
        )
    for fit in found.fits or ():
        text = (
            f"{NO} {fit.board}: {literal(fit.short)}"
            if fit.short
            else f"{YES} {fit.board}: {fit.tiles:,} of {fit.has_tiles:,} tiles"
        )
        console.print(text, soft_wrap=True)


def _kind(p: Neurons) -> str:
    """What a population is."""
    if p.shape is not None:
        return f"{p.kind}, {'x'.join(map(str, p.shape))}"
    return p.kind if p.heads is None else f"{p.kind}, {p.heads} heads"


def _to(s: Joined) -> str:
    """Where a synapse leads, and through which kernel."""
    if s.kernel is None:
        return s.post if s.shared == 1 else f"{s.post}, shared"
    stride = f" in steps of {s.stride}" if s.stride > 1 else ""
    return f"{s.post}, {s.kernel}x{s.kernel}{stride}"


def _count(n: int | None) -> str:
    return BY_DATA if n is None else f"{n:,}"


def _rate(s: Joined) -> str:
    if not s.feedback:
        return "no, one way"
    if s.loaded and not s.table:
        return "no, tokens"
    if not s.learns:
        return "no"
    return "1" if s.learning_rate_scale == 1 else f"{s.learning_rate_scale:g}"
