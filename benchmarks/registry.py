"""Benchmarks: what each measures, on which network and data; and the records that they write."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

BOARDS = "boards/equilif_boards/measured.json"

# options that several benchmarks have
Data = Annotated[Path, "folder of the data sets"]
Series = Annotated[Path, "folder of the wheel of aeon"]
Seeds = Annotated[int, "number of seeds, from 0"]
Epochs = Annotated[int, "epochs of training"]
Write = Annotated[bool, "write the record and the pages"]


class Record(NamedTuple):
    """A record that ``benchmark`` writes with ``options``; benchmarks.inputs has what it depends on.

    ``entries``: key of the entries with a commit each; empty: one commit for the file.  ``part``: key of an
    entry that contains its commit; entries without it are ignored.  ``known``: place of the names of all
    entries, measured or not.  In ``options``, {entry} is an entry, {data} the folder of the data sets and
    {build} one for builds.
    """

    name: str
    benchmark: str
    options: str = ""
    entries: str = ""
    part: str = ""
    path: str = ""
    known: str = ""

    @property
    def file(self) -> str:
        return self.path or f"benchmarks/summaries/{self.name.replace(' ', '_')}.json"

    def command(self, entry: str = "ENTRY", data: str = "DIR", build: str = "DIR") -> str:
        """The command that measures an entry."""
        options = self.options.format(
            entry=shlex.quote(entry), data=shlex.quote(data), build=shlex.quote(build)
        )
        return f"python -m benchmarks {self.benchmark} {options}".rstrip()


class Benchmark(NamedTuple):
    """A module of benchmarks: ``main`` runs it, and its parameters are the options of the command."""

    name: str
    measures: str
    network: str
    data: str
    metric: str


def choose(names: Collection[str], known: Iterable[str], what: str) -> list[str]:
    """``names``, or all that are known; ValueError for an unknown one."""
    every = list(known)
    if unknown := [name for name in names if name not in every]:
        raise ValueError(f"unknown {what} {', '.join(unknown)}: choose from {', '.join(every)}")
    return list(names) or every


BENCHMARKS = (
    # accuracy
    Benchmark("accuracy", "networks of README and results.md", "presets", "digits to SST-2", "accuracy"),
    Benchmark("flips", "flipped weight bits", "64-64-10", "digits", "accuracy"),
    Benchmark(
        "fine_tuning", "a new class on the engine", "of train-rates", "images", "accuracy, RTL = golden"
    ),
    Benchmark("continual", "tasks one after the other", "784-128-10", "mnist", "accuracy"),
    Benchmark("streams", "streams of single samples, and river", "64 hidden", "river's", "accuracy"),
    Benchmark("endurance", "ten million updates", "64-64-10", "digits", "accuracy, weights"),
    Benchmark("updates", "an update on a board", "stream, of mnist", "Phishing, mnist", "cycles, time, nJ"),
    Benchmark("interchange", "NIR files in snnTorch and back", "64-64-10", "digits", "equal spikes"),
    Benchmark("paper", "rates over time, state of a neuron", "digits-64", "digits", "error of rates, bits"),
    # boards and links
    Benchmark("boards", "builds of all boards", "largest of a board", "mnist", "f_max, cells, cycles, bytes"),
    Benchmark("standalone", "standalone trainer of a board", "largest of a board", "mnist", "cycles"),
    Benchmark("link", "every link of every board", "largest of a board", "mnist", "samples per second"),
    Benchmark("udp", "a complete board through UDP", "784-56-10", "mnist", "samples per second"),
    Benchmark("tables", "trainable embeddings", "attention, 4 queries", "random words", "cycles, bytes"),
    Benchmark("self_attention", "self-attention", "transformer", "random", "error of rates, cycles"),
    Benchmark("sensor_pins", "readings at the pins", "72-32-4", "BasicMotions", "RTL = golden, accuracy"),
    # synthesis
    Benchmark("area", "blocks in every pipeline", "4 lanes", "", "cells"),
    Benchmark("amd", "AXI engine on AMD 7-series", "4 and 16 lanes", "", "cells"),
    Benchmark(
        "sdram",
        "SDRAM: controller, external weights",
        "dense",
        "MNIST",
        "words per cycle, samples/s, cells, f_max",
    ),
    Benchmark("front_end_board", "a board with a front end", "a board", "", "cells, f_max, latency"),
    # evidence
    Benchmark("campaign", "random programs and networks", "13 engines", "random", "RTL = golden"),
    Benchmark("coverage", "coverage by the benches", "blocks, engines", "random", "lines, toggles"),
    Benchmark("mutants", "mutation testing of the RTL", "blocks, engines", "random", "killed mutants"),
    Benchmark("evidence", "commands of the claims", "", "", "last result"),
    Benchmark("records", "records older than their inputs", "", "", "changes"),
    Benchmark("pages", "pages that differ from the records", "", "", "pages"),
)

RECORDS = (
    Record("accuracy", "accuracy", "--run {entry} --data {data}", "networks", known="claims.NETWORKS"),
    Record("standalone", "standalone", "--data {data} --write {entry}", "boards", "standalone", BOARDS),
    Record("amd", "amd", "--write"),
    Record("area", "area", "--write"),
    Record(
        "boards",
        "boards",
        "--data {data} --builds {build} {entry}",
        "boards",
        path=BOARDS,
        known="boards.BOARDS",
    ),
    Record("campaign", "campaign"),
    Record("claims", "evidence", "--run {entry}", "claims", known="inputs.CLAIMS"),
    Record(
        "continual",
        "continual",
        "--data {data} --run {entry} --write",
        "methods",
        known="continual.METHODS",
    ),
    Record("coverage", "coverage", "--only {entry}", "designs", known="coverage.DESIGNS"),
    Record("front end", "front_end_board", "--build {build}", "boards"),
    Record("flips", "flips"),
    Record("streams", "streams", "--run {entry} --write", "streams", known="streams.STREAMS"),
    Record("endurance", "endurance", "--write"),
    Record("updates", "updates", "--data {data} --write"),
    Record("mutants", "mutants", "--block {entry}", "targets", known="mutants.TARGETS"),
    Record("sdram samples", "standalone", "--sdram --data {data} --write {entry}", "boards"),
    Record("sdram", "sdram", "--write --data {data} --build {build}"),
    Record("sdram maps", "sdram", "--maps 10 --data {data} --write"),
    Record(
        "sdram boards",
        "sdram",
        "--external --board {entry} --build {build} --write",
        "boards",
        known="sdram.BUILDS",
    ),
    Record("proofs", "evidence", "--run {entry}", "claims"),
)
