"""Tables and figures in README.md and docs/ that come from records.

They are between `<!-- NAME -->` and `<!-- end of NAME -->`, where NAME is a key of CONTENT.  Below a table is
where its figures come from, the dates of its records, and which are older than the code.  For figures within
the text, `measured` at the end of the page has that.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import textwrap
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from benchmarks import board_pages, records, training
from benchmarks.board_pages import table
from benchmarks.claims import CLAIMS, LONG, NETWORKS, TrainedNetwork
from benchmarks.explained import reason
from benchmarks.literature import COMPARED, CONTINUAL, WORKS
from benchmarks.records import ROOT, RecordState
from equilif.hardware import boards
from equilif.training.resolve import resolve
from equilif_boards import BOARDS
from equilif_golden import files

MARKED = re.compile(r"<!-- ([a-z0-9-]+) -->(.*?)<!-- end of \1 -->", re.S)
MEASURED = "measured"
README = ROOT / "README.md"


#: where figures come from; PARTS: the columns say it
SIMULATED = "Simulated"
TRAINED = "Simulated bit-accurately"
BUILT = "Built: synthesis, place and route"
SYNTHESISED = "Built: synthesis alone"
ESTIMATED = "Estimated"
PROVEN = "Proven for all inputs"
TIMED = "Timed on a PC"
PARTS = "By column: simulated, built or estimated"
ORIGINS = (SIMULATED, TRAINED, BUILT, SYNTHESISED, ESTIMATED, PROVEN, TIMED, PARTS)
CAPTION = re.compile(rf"\*(?:{'|'.join(ORIGINS)})\. [^*]+\*$")
MAX_AGE = 450  #: commits of RTL and golden model after which what README shows has to be measured again
MAX_NAMES = 2  #: of entries that a caption names


class PageContent(NamedTuple):
    """Text between two markers, the records that it comes from, with all entries or some, and where its
    figures come from.
    """

    text: Callable[[], str]
    records: Collection[str]
    origin: str
    entries: Collection[str] = ()

    def of(self, states: Iterable[RecordState]) -> list[RecordState]:
        """States of its records."""
        return [
            s
            for s in states
            if s.record in self.records and s.is_measured and (not self.entries or s.entry in self.entries)
        ]


def user_pages() -> list[Path]:
    """README and manual; engineering notes have the figures of their date."""
    return [README, *(p for p in sorted((ROOT / "docs").rglob("*.md")) if "notes" not in p.parts)]


def _is_table(found: re.Match[str]) -> bool:
    """A table is on separate lines, a figure within a line."""
    return found[2].startswith("\n")


def shown(text: str, states: Collection[RecordState]) -> list[RecordState]:
    """States of the records that a page shows."""
    names = {found[1] for found in MARKED.finditer(text)} - {MEASURED}
    return list(dict.fromkeys(s for name in sorted(names) for s in CONTENT[name].of(states)))


def filled(text: str, states: Collection[RecordState] | None) -> str:
    """A page with current content; KeyError for a name not in CONTENT.  None: ages stay."""
    figures = [
        CONTENT[found[1]] for found in MARKED.finditer(text) if found[1] != MEASURED and not _is_table(found)
    ]

    def content(found: re.Match[str]) -> str:
        name, old = found.groups()
        if name == MEASURED:
            new = old.strip() if states is None else measured(figures, states) or old.strip()
        else:
            new = CONTENT[name].text() or old.strip()
            if _is_table(found) and CONTENT[name].records:
                new += f"\n\n{caption(CONTENT[name], states, old)}"
        around = "\n\n" if _is_table(found) else ""
        return f"<!-- {name} -->{around}{new}{around}<!-- end of {name} -->"

    return MARKED.sub(content, text)


def caption(content: PageContent, states: Collection[RecordState] | None, old: str) -> str:
    """Where the figures of a table come from, and their age; that of ``old`` where the age is not known."""
    of_table = [] if states is None else content.of(states)
    if not of_table or any(s.changed is None for s in of_table):
        found = CAPTION.search(old.strip())
        return found[0] if found else f"*{content.origin}. Age not known.*"
    return f"*{content.origin}. {age(of_table)}.*"


def age(states: Sequence[RecordState]) -> str:
    """Dates of records, and which are older than the code."""
    dates = sorted({s.date for s in states if s.date})
    since = " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "No date"
    old = [s for s in states if not s.is_current]
    if not old:
        return f"{since}, current"
    if len(old) == len(states):
        return f"{since}, older than the code"
    names = ", ".join(dict.fromkeys(s.entry or s.record for s in old))
    return (
        f"{since}; older than the code: {names if len(old) <= MAX_NAMES else f'{len(old)} of {len(states)}'}"
    )


def measured(figures: Collection[PageContent], states: Collection[RecordState]) -> str:
    """Age of the figures within the text of a page."""
    of_page = list(dict.fromkeys(s for content in figures for s in content.of(states)))
    if not of_page or any(s.changed is None for s in of_page):
        return ""
    return textwrap.fill(f"Figures in the text: {age(of_page)}.", 68, break_on_hyphens=False)


def stale(states: Collection[RecordState] | None) -> Iterator[tuple[Path, str]]:
    """Pages that differ from the records, and their current content."""
    for page in user_pages():
        text = page.read_text()
        if (new := filled(text, states)) != text:
            yield page, new


def write() -> None:
    """Fill all pages."""
    main()


def save(record: Path, content: Any, depth: int = 2) -> None:
    """Write a record, and the pages from it."""
    records.write(record, content, depth)
    write()


def save_entry(record: Path, key: str, name: str, entry: Any, names: Iterable[str]) -> None:
    """Write an entry of a record with these ``names``, and the pages.  Commands at the same time wait for
    each other.
    """
    folder = os.open(record.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        known = {**records.read(record).get(key, {}), name: entry}
        save(record, {key: {name: known[name] for name in names if name in known}})
    finally:
        os.close(folder)


# -- tables ----------------------------------------------------------------------------------------
def _summary(name: str) -> dict[str, Any]:
    return records.read(records.SUMMARIES / f"{name}.json")


def _when(known: Mapping[str, Any]) -> str:
    """Date and commit; for older records the commit that added them."""
    return f"{known['date']}, {known.get('commit') or known.get('recorded') or 'commit unknown'}"


def claims() -> str:
    known = _summary("claims")["claims"]
    rows = []
    for claim in CLAIMS:
        record = known.get(claim.name)
        if record and "\n" in record["result"]:
            continue  # its output is on another page
        shown = (record["result"], record["seconds"], _when(record)) if record else ("not run yet", "", "")
        rows.append((f"`{claim.name}`", claim.text, *shown))
    return table("name | claim | last result | s | date, commit", rows)


def proofs() -> str:
    together: dict[str, dict[str, Any]] = {}
    for claim in _summary("proofs")["claims"].values():
        for block, found in claim["blocks"].items():
            of = together.setdefault(block, {"properties": [], "netlists": [], "assumes": [], "proofs": 0})
            for key in ("properties", "netlists", "assumes"):
                of[key] += [value for value in found[key] if value not in of[key]]
            of["proofs"] += found["proofs"]
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for block, of in sorted(together.items()):
        netlists = f"netlist = RTL ({', '.join(sorted(of['netlists']))})"
        properties = [*of["properties"], *[netlists] * bool(of["netlists"])]
        alike["; ".join(properties), ", ".join(sorted(of["assumes"]))].append(block)
    rows = (
        (
            ", ".join(f"`{block}`" for block in blocks),
            properties,
            sum(together[block]["proofs"] for block in blocks),
            assumes,
        )
        for (properties, assumes), blocks in alike.items()
    )
    return table("block | properties | proofs | assumptions", rows)


def mutants() -> str:
    """One row for the targets of a block (``lif`` and ``lif, narrow``), one for all engines."""
    together: dict[str, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for name, of in _summary("mutants")["targets"].items():
        together["engine" if name.startswith("engine ") else name.partition(",")[0]].append((name, of))
    rows = []
    total = [0] * 5
    for block, targets in together.items():
        names = [(name, *mutant) for name, of in targets for mutant in of["open"]]
        left = [mutant for name, mutant, text in names if not reason(name, mutant, text)]
        counts = [
            sum(of["mutants"] for _, of in targets),
            sum(of["killed"] for _, of in targets),
            sum(count for _, of in targets for count, _ in of["equivalent"].values()),
            len(names) - len(left),
            len(left),
        ]
        total = [a + b for a, b in zip(total, counts, strict=True)]
        dates = sorted({of["date"] for _, of in targets})
        shown = ", ".join(f"`{mutant}`" for mutant in left)
        span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        rows.append((block, *counts[:4], _killed(counts), shown, span))
    rows.append(("**all**", *total[:4], _killed(total), f"{total[4]} mutants", ""))
    head = "target | mutants | killed | equivalent | explained | killed of the rest | open | date"
    return table(head, rows)


def _killed(counts: Sequence[int]) -> str:
    every, killed, equivalent = counts[:3]
    return f"{100 * killed / max(1, every - equivalent):.1f} %"


def campaign() -> str:
    known = _summary("campaign")
    rows = [
        (name, f"{of['programs']:,}", of["networks"], of["points"], ", ".join(of["missed"]) or "none")
        for name, of in known["engines"].items()
    ]
    programs, networks = (
        sum(of[key] for of in known["engines"].values()) for key in ("programs", "networks")
    )
    total = f"{programs:,} programs and {networks:,} networks with seed {known['seed']}, 0 differences"
    return f"{total} ({_when(known)}).\n\n" + table("engine | programs | networks | points | missed", rows)


def coverage() -> str:
    rows = []
    for name, of in _summary("coverage")["designs"].items():
        cells = [
            cell
            for n, seen, explained in (of["lines"], of["toggles"])
            for cell in (f"{seen:.1f} % of {n:,}", f"{explained:.1f} %")
        ]
        rows.append((name, *cells, of["unexplained"] or "none", _when(of)))
    head = "design | lines | or explained | toggles | or explained | neither | date, commit"
    return table(head, rows)


#: clock of the boards with a front end
FRONT_END_MHZ = 90


#: minimum LUTs, in any pipeline, of a block in the area table
MIN_LUTS = 300


def area() -> str:
    known = _summary("area")
    pipelines = known["pipelines"]
    names = sorted({name for p in pipelines.values() for name in p["blocks"]} - {"all"})
    large = [
        n for n in names if any(p["blocks"].get(n, {}).get("LUT", 0) >= MIN_LUTS for p in pipelines.values())
    ]
    rows = [
        (f"`{name}`", *(_cells(p["blocks"].get(name)) for p in pipelines.values()))
        for name in ("all", *large)
    ]
    head = " | ".join(["block", *(f"{name}, {p['family']}" for name, p in pipelines.items())])
    return f"Yosys {known['yosys']}, {known['lanes']} lanes ({_when(known)}).\n\n" + table(head, rows)


def front_end_area() -> str:
    """Cells of the front end."""
    known = _summary("front_end")
    kinds = ("LUT4", "carry", "FF", "block RAM", "multipliers")
    rows = [(name, *(f"{cells[kind]:,}" for kind in kinds)) for name, cells in known["area"].items()]
    return table(" | ".join(("block", *kinds)), rows)


def front_end_latency() -> str:
    """Cycles from the end of a word to the start of the engine."""
    rows = [
        (frames, f"{cycles:,}", f"{cycles / FRONT_END_MHZ:,.0f} us")
        for frames, cycles in _summary("front_end")["latency"].items()
    ]
    return table(f"frames of the word | cycles | at {FRONT_END_MHZ} MHz", rows)


def front_end_boards() -> str:
    """Boards with a front end, placed and routed."""
    rows = []
    for board in _summary("front_end")["boards"].values():
        cells = [f"{used:,} of {available:,}" for used, available in board["cells"].values()]
        clocks = [f"{board['f_max']:.2f} MHz", f"{board['constraint']:.0f} MHz"]
        rows.append((board["title"], *cells, *clocks, _when(board)))
    return table("board | logic | flip-flops | block RAM | multipliers | f_max | clock | build", rows)


def sdram_bandwidth() -> str:
    """Words per cycle of the SDRAM controller by burst length, slowest direction first."""
    known = _summary("sdram")
    rows = []
    for chip in dict.fromkeys(row["chip"] for row in known["bandwidth"]):
        both = [row for row in known["bandwidth"] if row["chip"] == chip]
        slower = min(both, key=lambda row: row["MB/s"])
        rates = [f"{100 * min(row['words'][n] for row in both):.1f} %" for n in slower["words"]]
        rows.append((chip, *rates, f"{slower['MB/s']:.0f} MB/s"))
    lengths = " | ".join(f"{int(n):,}" for n in known["bandwidth"][0]["words"])
    return table(f"chip | {lengths} | longest, at {known['mhz']:g} MHz", rows)


def sdram_boards() -> str:
    """Memory tests of boards, placed and routed."""
    rows = []
    for board in _summary("sdram")["boards"].values():
        cells = [f"{board['cells'][name][0]:,}" for name in ("TRELLIS_COMB", "TRELLIS_FF", "IOLOGIC")]
        f_max = ", ".join(f"{mhz:.1f}" for mhz in board["f_max"].values())
        rows.append((board["title"], *cells, f"{f_max} MHz", f"{board['constraint']:g} MHz"))
    return table("board | logic | flip-flops | IO registers | f_max by seed | constraint", rows)


def sdram_builds() -> str:
    """Boards with external weights, placed and routed."""
    rows = []
    kinds: list[str] = []
    for name, row in _summary("sdram_boards")["boards"].items():
        logic = row["utilisation"][BOARDS[name].device.family.logic_name]
        used = board_pages.utilisation({"build": row, "logic": logic})
        kinds = [kind for kind, _, _ in used]
        f_max = ", ".join(f"{mhz:.1f}" for mhz in row["f_max_by_seed"].values())
        cells = [f"{n:,} of {available:,}" for _, n, available in used]
        rows.append((f"`{name}`", f"{row['constraint']:g} MHz", f"{f_max} MHz", *cells))
    return table(" | ".join(("board", "clock", "f_max by seed", *kinds)), rows)


def sdram_networks() -> str:
    """Training of MNIST with external weights, on the engine model."""
    rows = []
    for row in _summary("sdram")["networks"]:
        assert row["equals kernel"], row
        numbers = [f"{row[name]:,}" for name in ("samples/s", "cycles", "read", "written")]
        rows.append((row["network"], row["board"], row["chip"], *numbers))
    samples = {row["samples"] for row in _summary("sdram")["networks"]}
    head = f"{max(samples):,} samples each, 0 weights that differ from those of the kernel."
    columns = "network | board | chip | samples/s | cycles a sample | words read | words written"
    return f"{head}\n\n{table(columns, rows)}"


def sdram_maps() -> str:
    """Training of convolutions with external weights, on the RTL of an engine."""
    row = _summary("sdram_maps")
    numbers = [f"{row[name]:,}" for name in ("samples", "cycles", "samples/s", "mismatches")]
    engine = f"{row['lanes']} lanes at {row['mhz']:g} MHz"
    columns = "network | engine | chip | samples | cycles a sample | samples/s | mismatches"
    return table(columns, [(row["network"], engine, row["chip"], *numbers)])


def sdram_samples() -> str:
    """Standalone training from the flash and from the SDRAM."""
    rows = []
    for name, board in _summary("sdram_samples")["boards"].items():
        for row in board["memories"]:
            assert not row["violations"], row
            cycles = [f"{row[kind]:,.0f}" for kind in ("first", "later", "test")]
            rates = [f"{1e6 * board['mhz'] / row[kind]:,.0f}" for kind in ("first", "later", "test")]
            both = [f"{n} ({rate}/s)" for n, rate in zip(cycles, rates, strict=True)]
            rows.append((board["network"], name, row["memory"], *both))
    return table("network | board | samples in | first epoch | later epoch | tests", rows)


def amd() -> str:
    """Synthesis of the AXI engine for AMD 7-series FPGAs."""
    known = _summary("amd")
    kinds = ("LUT", "LUT RAM", "flip-flops", "block RAM (36 Kbit)", "DSP48")
    rows = [
        (
            str(e["lanes"]),
            "yes" if e["attention"] else "no",
            *(f"{e['cells'].get(kind, 0):,.1f}".removesuffix(".0") for kind in kinds),
        )
        for e in known["engines"]
    ]
    head = f"Yosys {known['yosys']}, {known['weights']:,} weights ({_when(known)}). Synthesis only."
    return f"{head}\n\n" + table(" | ".join(("lanes", "attention", *kinds)), rows)


def _cells(cells: Mapping[str, int] | None) -> str:
    """LUTs / flip-flops, and non-zero memories and multipliers."""
    if cells is None:
        return ""
    others = [f"{cells[k]} {k}" for k in ("LUT RAM", "SPRAM", "block RAM", "multiplier") if k in cells]
    return ", ".join([f"{cells.get('LUT', 0):,} / {cells.get('FF', 0):,}", *others])


def flips() -> str:
    known = _summary("flips")
    rows = [
        (part, *(f"{mean:.1f} % ({least:.1f} to {greatest:.1f})" for mean, least, greatest in accuracies))
        for part, *accuracies in known["rows"]
    ]
    head = f"{known['seeds']} seeds, {known['epochs']} epochs ({_when(known)}); mean, and range of the seeds."
    return f"{head}\n\n" + table("bits flipped | accuracy at once | an epoch later", rows)


# -- continual learning ----------------------------------------------------------------------------
PERMUTED = "permuted, "  #: methods of benchmarks.continual on permuted MNIST


def split() -> str:
    return (
        _continual("")
        + "\n\n"
        + textwrap.fill(f"Published: {'; '.join(CONTINUAL)}.", 110, break_on_hyphens=False)
    )


def permuted() -> str:
    return _continual(PERMUTED)


def _continual(prefix: str) -> str:
    rows = []
    for name, found in _summary("continual")["methods"].items():
        if name.startswith(PERMUTED) == bool(prefix):
            each = found["accuracy"]
            spread = f"({min(each):.2f} to {max(each):.2f}, {len(each)} seeds)"
            method = name.removeprefix(prefix)
            rows.append((method, f"{found['bytes']:,}", f"{_mean(each):.2f} % {spread}", _when(found)))
    return table("method | bytes stored | accuracy | date, commit", rows)


def streams() -> str:
    known = _summary("streams")["streams"]
    # a model may be new since the record of some stream
    models = dict.fromkeys(model for found in known.values() for model in found["accuracy"])
    rows = [
        (model, *(_percent(found["accuracy"].get(model)) for found in known.values())) for model in models
    ]
    return table(" | ".join(("model", *known)), rows)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def endurance() -> str:
    known = _summary("endurance")
    rows = [
        (
            updates,
            *(f"{found[part]:.1f} %" for part in ("training", "test")),
            *(f"{found[name]:,.0f}" for name in ("saturated", "largest", "rms", "silent")),
        )
        for updates, found in known["updates"].items()
    ]
    head = f"One seed ({_when(known)})."
    return f"{head}\n\n" + table(
        "updates | training samples | test samples | saturated weights | largest of 32,767 | RMS | silent",
        rows,
    )


def updates() -> str:
    known = _summary("updates")
    rows = [
        (name, board, *_update(found))
        for name, of in known["networks"].items()
        for board, found in of.items()
    ]
    head = f"Mean of {known['samples']} updates ({_when(known)})."
    return f"{head}\n\n" + table("network | board | cycles | time | estimated energy", rows)


def _update(found: Mapping[str, float] | None) -> tuple[str, ...]:
    if found is None:
        return "does not fit", "", ""
    return f"{found['cycles']:,}", f"{found['microseconds']:,.0f} µs", f"{found['nanojoules']:,.0f} nJ"


# -- accuracy --------------------------------------------------------------------------------------
def accuracy() -> str:
    known = _summary("accuracy")["networks"]
    rows = []
    for name, of in NETWORKS.items():
        if name not in known:
            continue
        found = known[name]["accuracy"]
        spread = f" ({min(found):.2f} to {max(found):.2f}, {len(found)} seeds)" * (len(found) > 1)
        shown = f"{_mean(found):.2f} %{spread}"
        data = "" if of.data.startswith("digits") else " --data D"
        seeds = f" --seed 0-{len(found) - 1}" * (len(found) > 1)
        command = f"`{of.command.replace(LONG, 'LONG')}{seeds}{data}`"
        rows.append((of.data, of.network, learned_by(of), of.epochs, shown, _when(known[name]), command))
    return table("data | network | learned by | epochs | test accuracy | date, commit | command", rows)


def learned_by(of: TrainedNetwork) -> str:
    """Method by which the network of a command learns."""
    name = shlex.split(of.command)[2]
    return resolve(training.request(of.command, training.random_data(name))).description.learned_by


def accuracy_of(name: str) -> str:
    found = _summary("accuracy")["networks"][name]["accuracy"]
    each = ", ".join(f"{a:.2f}" for a in found)
    return f"**{_mean(found):.2f} %**" + f" ({each})" * (len(found) > 1)


def literature() -> str:
    return table("work | network, method | result", WORKS)


def beside_literature() -> str:
    """Accuracies of the literature, and of networks of equilif."""
    rows = []
    for data, published, name in COMPARED:
        of = NETWORKS[name]
        command = f"`{of.command} --data D`"
        rows.append((data, published, accuracy_of(name), of.network, learned_by(of), command))
    head = "data | test accuracy in the literature | equilif | network | learned by | command"
    return table(head, rows)


def accuracy_summary() -> str:
    known = _summary("accuracy")["networks"]
    rows = []
    for name, of in NETWORKS.items():
        if of.short and name in known:
            found = known[name]["accuracy"]
            seeds = "1 seed" if len(found) == 1 else f"{len(found)} seeds"
            rows.append((of.short, learned_by(of), f"{_mean(found):.2f} % ({seeds})"))
    return table("network | learned by | test accuracy, bit-accurate, batch 1", rows)


def _mean(found: Sequence[float]) -> float:
    return sum(found) / len(found)


def result(claim: str) -> str:
    """Result of a claim; several lines are a block."""
    found = str(_summary("claims")["claims"][claim]["result"])
    if "\n" not in found:
        return found
    lines = (textwrap.fill(line, 110, subsequent_indent="    ") for line in found.splitlines() if line)
    return "\n".join(["```text", *lines, "```"])


def ratio(claim: str) -> str:
    return f"{float(result(claim)):.1f}"


def _claim_origin(name: str) -> str:
    return {"energy": ESTIMATED, "bitstream": BUILT, "speed": TIMED, "speed-compiled": TIMED}.get(
        name, TRAINED
    )


_SHORT = [name for name, of in NETWORKS.items() if of.short]
_COMPARED = [name for _, _, name in COMPARED]
CONTENT: dict[str, PageContent] = {
    "accuracy": PageContent(accuracy, ["accuracy"], TRAINED),
    "accuracy-summary": PageContent(accuracy_summary, ["accuracy"], TRAINED, _SHORT),
    "beside-literature": PageContent(beside_literature, ["accuracy"], TRAINED, _COMPARED),
    "literature": PageContent(literature, [], ""),
    **{
        f"accuracy-{name}": PageContent(partial(accuracy_of, name), ["accuracy"], TRAINED, [name])
        for name in NETWORKS
    },
    "front-end-area": PageContent(front_end_area, ["front end"], SYNTHESISED),
    "front-end-latency": PageContent(front_end_latency, ["front end"], SIMULATED),
    "front-end-boards": PageContent(front_end_boards, ["front end"], BUILT),
    "sdram-bandwidth": PageContent(sdram_bandwidth, ["sdram"], SIMULATED),
    "sdram-boards": PageContent(sdram_boards, ["sdram"], BUILT),
    "sdram-builds": PageContent(sdram_builds, ["sdram boards"], BUILT),
    "sdram-maps": PageContent(sdram_maps, ["sdram maps"], SIMULATED),
    "sdram-samples": PageContent(sdram_samples, ["sdram samples"], SIMULATED),
    "sdram-networks": PageContent(sdram_networks, ["sdram"], SIMULATED),
    "board-summary": PageContent(board_pages.summary, ["boards"], BUILT),
    "boards": PageContent(board_pages.engines, ["boards"], BUILT),
    "board-speeds": PageContent(board_pages.speeds, ["boards", "standalone"], PARTS),
    "board-cycles": PageContent(board_pages.cycles, ["boards", "standalone"], PARTS),
    **{
        f"board-{name}": PageContent(partial(board_pages.page, name), ["boards", "standalone"], PARTS, [name])
        for name in BOARDS
        if name in boards.measured()
    },
    **{
        c.name: PageContent(partial(result, c.name), ["claims"], _claim_origin(c.name), [c.name])
        for c in CLAIMS
        if c.shows
    },
    **{
        name: PageContent(partial(ratio, name), ["claims"], TIMED, [name])
        for name in ("speed", "speed-compiled")
    },
    **{text.__name__: PageContent(text, ["continual"], TRAINED) for text in (split, permuted)},
    **{
        text.__name__: PageContent(text, [text.__name__], origin)
        for text, origin in (
            (amd, SYNTHESISED),
            (area, SYNTHESISED),
            (campaign, SIMULATED),
            (claims, SIMULATED),
            (coverage, SIMULATED),
            (endurance, TRAINED),
            (flips, TRAINED),
            (mutants, SIMULATED),
            (proofs, PROVEN),
            (streams, TRAINED),
            (updates, PARTS),
        )
    },
}


def main(
    *,
    check: Annotated[
        bool, f"write nothing; exit code 1 if a page differs or README shows a record {MAX_AGE} commits old"
    ] = False,
) -> int:
    states = list(records.states())
    found = list(stale(states))
    if not check:
        for page, text in found:
            files.write(page, text.encode())
        return 0
    if found:
        names = ", ".join(str(page.relative_to(ROOT)) for page, _ in found)
        print(f"not what the records say: {names}; write them: python -m benchmarks pages")
    old = [s for s in shown(README.read_text(), states) if s.age > MAX_AGE]
    for s in old:
        print(f"README.md shows {s.record} {s.entry}, {s.age} commits old: python -m benchmarks evidence")
    return int(bool(found or old))
