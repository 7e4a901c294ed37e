"""Structure of a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from equilif.show.console import NO, YES, console, literal, table

if TYPE_CHECKING:
    from equilif.hardware.boards import Fit
    from equilif.hardware.resources import NetworkResources, PopulationInfo, SynapseInfo
    from equilif.training.options import SetKey


def keys(resources: Iterable[SetKey]) -> None:
    """Keys of --set, by command."""
    for command, listed in groupby(resources, lambda key: key.command):
        listing = table(
            f"equilif {command} --set KEY=VALUE",
            ["key", "meaning", "values", "default"],
            [[key.key, key.meaning, key.values, key.default] for key in listed],
            left=4,
        )
        listing.columns[0].no_wrap = True
        console.print(listing)
    console.print(
        "Defaults apply to network files; without --set the preset of the data set applies. `equilif upload` "
        "takes all keys of `equilif train` except run; `equilif train-rates` also takes phases."
    )


BY_DATA = "data"


def network(resources: NetworkResources) -> None:
    """Populations, synapses, steps and weight memory of a network, and the boards that fit it."""
    bits = resources.description.numerics.weight_width
    console.print(
        table(
            resources.name,
            ["population", "kind", "neurons", "fan-in"],
            [
                [
                    p.name,
                    _kind(p),
                    _count(p.size),
                    _count(p.fan_in) if p.kind not in ("input", "constant") else "-",
                ]
                for p in resources.populations
            ],
            left=2,
        )
    )
    console.print(
        table(
            "\nsynapses",
            ["from", "to", "rows", "columns", "weights", "learning rate"],
            [
                [s.pre, _to(s), _count(s.rows), _count(s.columns), _count(s.weights), _rate(s)]
                for s in resources.synapses
            ],
            left=2,
        )
    )
    console.print(
        f"\nlearns by {resources.description.learned_by}; {resources.schedule}; time steps: "
        f"{resources.steps['inference']} for inference, {resources.steps['training']} for training"
    )
    if resources.description.unjoined:
        console.print(f"[yellow]{literal(resources.description.unjoined)}[/]")
    if resources.untrainable:
        console.print(f"[yellow]cannot learn: {literal(resources.untrainable)}[/]")
    if resources.weights is None or resources.bits is None:
        left = ", ".join(resources.description.open)
        console.print(f"[yellow]the data determine the sizes of {literal(left)}: name the data[/]")
        return
    console.print(
        f"weight memory: {resources.weights:,} weights of {bits} bits, {resources.bits / 8192:,.1f} KiB; "
        "tiles " + ", ".join(f"{n:,} of {lanes}x{lanes}" for lanes, n in resources.tiles().items())
    )
    if resources.with_the_host:
        console.print(
            f"{resources.with_the_host:,} of these weights are the embedding table, which the host or an "
            "SDRAM keeps"
        )
    boards(resources.fits or ())


#: shapes of the boxes of a diagram, by kind of population
BOXES = {"input": "([{}])", "output": "([{}])", "attention": "[({})]"}


def diagram(resources: NetworkResources) -> str:
    """Mermaid flowchart of a network, as a block of Markdown.  Biases are a line in the box of their target;
    a dotted synapse does not learn.
    """
    populations = [p for p in resources.populations if p.kind != "constant"]
    nodes = {p.name: f"p{k}" for k, p in enumerate(populations)}
    one_way = {
        p.name for p in populations if p.kind == "input" or p.kind == "self_attention" and not p.energy
    }
    lines = ["```mermaid", "flowchart LR"]
    for p in populations:
        size = "size by the data" if p.size is None else f"{p.size:,}"
        text = _label(p.name, f"{_kind(p)}, {size}", *(f"+ {name}" for name in p.biases))
        lines.append(f"  {nodes[p.name]}{BOXES.get(p.kind, '[{}]').format(text)}")
    for s in resources.synapses:
        if s.pre in nodes:
            both = s.feedback and not one_way & {s.pre, s.post}
            arrow = ("<" if both else "") + ("-->" if s.learns else "-.->")
            weights = "" if s.weights is None else f"{s.weights:,} {'values' if s.loaded else 'weights'}"
            text = _label(*filter(None, (weights, s.text)))
            lines.append(f"  {nodes[s.pre]} {arrow}{f'|{text}|' if text else ''} {nodes[s.post]}")
    return "\n".join([*lines, "```", ""])


def _label(*lines: str) -> str:
    """Lines of text in Mermaid, in which all but letters, digits and a few signs are character codes."""
    safe = ("".join(c if c.isalnum() or c in " _.," else f"#{ord(c)};" for c in line) for line in lines)
    text = "<br>".join(safe)
    return f'"{text}"' if text else ""


def boards(fits: Iterable[Fit]) -> None:
    """Builds that hold a network and the tiles that it needs, and why others do not."""
    found: dict[tuple[bool, str], list[str]] = {}
    for fit in fits:
        tiles = f"{fit.tiles:,} of {fit.design.config.tiles:,} tiles"
        if fit.external:
            tiles += f", {fit.external:,} weights in the SDRAM"
        text = fit.short or (tiles if fit.learns else f"{tiles}, inference only")
        found.setdefault((not fit.short, text), []).append(fit.build)
    for (holds, text), builds in found.items():
        line = f"{YES if holds else NO} {', '.join(builds)}: {literal(text)}"
        console.print(line, soft_wrap=True)


def builds(fits: Sequence[Fit]) -> str:
    """The builds that hold a network."""
    held = [fit.build for fit in fits if not fit.short]
    if held and held == [fit.design.name for fit in fits]:
        return f"all {len(held)} boards"
    return ", ".join(held) or "none"


def _kind(p: PopulationInfo) -> str:
    """Kind of a population, with its shape or heads."""
    if p.shape is not None:
        return f"{p.kind}, {'x'.join(map(str, p.shape))}"
    return p.kind if p.heads is None else f"{p.kind}, {p.heads} heads"


def _to(s: SynapseInfo) -> str:
    """Target of a synapse, and its kernel."""
    text = s.text or ("shared" if s.shared > 1 else "")
    return f"{s.post}, {text}" if text else s.post


def _count(n: int | None) -> str:
    return BY_DATA if n is None else f"{n:,}"


def _rate(s: SynapseInfo) -> str:
    if s.loaded and not s.table:
        return "none (tokens)"
    if not s.learns:
        return "none"
    rate = f"x {s.learning_rate_scale:g}"
    return rate if s.feedback_scale == 1 else f"{rate}; feedback x {s.feedback_scale:g}"
