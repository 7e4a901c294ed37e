"""Programs as text: the listing of a network, the page of instructions, and the command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from equilif_golden import network as networks
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.features import EVERYTHING
from equilif_golden.engine.isa import Groups, Op, assemble
from equilif_golden.engine.listing import PAGES, carried_out, listing, records
from equilif_golden.network import Attention, Network, Population, Relay, Synapse
from equilif_golden.schedule import Schedule
from equilif_sim.tools.programs import random_program
from tests.cli import run

CONFIG = EngineConfig(lanes=4, program_words=1024, **EVERYTHING)
CHAIN = Network.chain(4, 3, 2)
MEMORY = Network(
    (
        Population("x", 2, "input"),
        Population("b", 1, "constant"),
        Population("y", 2),
        Attention("m", 6),
        Relay("q", 10, heads=2),
    ),
    (Synapse("x", "y"), Synapse("m", "q"), Synapse("b", "q"), Synapse("q", "y")),
    "y",
    Schedule(free=32, nudged=16),
)


@pytest.mark.parametrize("name", PAGES)
def test_page_is_current(name):
    """Update: python -m equilif_golden.engine.listing"""
    assert (Path(__file__).parents[2] / "docs" / "reference" / f"{name}.md").read_text() == PAGES[name]()


def test_listing_of_chain():
    compiled = Compiled(CHAIN, CONFIG)
    lines = listing(compiled.program(0.05), compiled).splitlines()
    assert lines[1] == " 1  drive    input -> hidden1                   input-hidden1"
    assert lines[5:9] == [
        " 5  repeat                                      count 12",
        " 6      mark     hidden1, output                left 4",
        " 7      gather   output -> hidden1              hidden1-output, column",
        " 8      step     hidden1                        threshold 4096, leak 0",
    ]
    assert lines[11] == "11  next"
    assert lines[27] == "27      nudge    output, targets output target  strength -2048, second"
    assert lines[-1] == "36  halt"


def test_listing_of_attention():
    compiled = Compiled(MEMORY, CONFIG)
    text = listing(compiled.program(0.01), compiled)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "13          step     y " in text
    assert "25 relay relay sum, values q retrieval 0 shift 4, plus, minus, scaled" in lines
    assert any(line.split(maxsplit=1)[1].startswith("learn m codes 1 -> q query 1 m-q") for line in lines)


def test_listing_without_network():
    program = [Op.GATHER(Groups(2, 3), Groups(0, 1), tile=5, column=True), Op.HALT()]
    assert listing(program) == "0  gather   2..4 -> 0..0  tile 5, column\n1  halt"
    assert listing([]) == ""


def test_listing_records():
    """Named operands and modes reproduce the instruction, except unused bits."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        program = random_program(rng, CONFIG)
        for i, record in zip(program, records(program), strict=True):
            operands = {
                name: Groups(value["first"], value["n"]) if isinstance(value, dict) else value
                for name, value in record["operands"].items()
            }
            again = Op[record["operation"]](**operands, **dict.fromkeys(record["modes"], True))
            assert (again.operands, again.modes) == (i.operands, i.modes)
            assert record["words"] == assemble([i]).tolist()


def test_executed_instructions():
    program = [
        Op.REPEAT(3),
        Op.MARK(Groups(0, 1)),
        Op.MARK(Groups(0, 1), left=2),
        Op.NEXT(),
        Op.HALT(infer=True),
        Op.SAVE(Groups(0, 1)),
        Op.HALT(),
    ]
    assert carried_out(program, CONFIG, learn=False) == 4
    assert carried_out(program, CONFIG, learn=True) == 5


def test_program_command(tmp_path):
    path = tmp_path / "network.npz"
    networks.save(path, CHAIN, CHAIN.initial_weights())
    out = run("program", path, "--learning-rate", 0.05, "--json", tmp_path / "program.json")
    compiled = Compiled(CHAIN, EngineConfig(lanes=4))
    program = compiled.program(0.05)
    assert listing(program, compiled) in out
    assert "37 instructions, 111 of 256 program words, for 4 lanes" in out
    found = json.loads((tmp_path / "program.json").read_text())
    assert sum((i["words"] for i in found["instructions"]), []) == assemble(program).tolist()
    assert found["carried_out"] == {
        "inference": carried_out(program, CONFIG, learn=False),
        "training": carried_out(program, CONFIG, learn=True),
    }
    assert " learn " not in run("program", path, "--board", "icebreaker")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["none.npz"], "there is no none.npz"),
        (
            ["network.npz", "--learning-rate", "1e-9"],
            "1e-09",
        ),
        (["network.npz", "--board", "x"], "one of icebreaker"),
        (["network.npz", "--board", "icebreaker", "--lanes", "4"], "leave out --lanes"),
        (
            ["memory.npz", "--board", "tang-nano-9k"],
            "attention layer",
        ),
        (["test.txt"], "test.txt"),
    ],
)
def test_program_command_errors(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    networks.save("network.npz", CHAIN, CHAIN.initial_weights())
    memory = dataclasses.replace(MEMORY, schedule=Schedule())
    networks.save("memory.npz", memory, memory.initial_weights())
    Path("test.txt").write_text("no network")
    out = run("program", *arguments, "--json", "out.json", code=2)
    assert message in out and len(out.strip().splitlines()) == 1
    assert not Path("out.json").exists()
