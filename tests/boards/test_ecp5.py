"""Registers that move into ECP5 block RAMs and multipliers.

The design, its netlist, and the netlist after the pass run side by side and must agree.
"""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections import Counter
from operator import mul

import pytest
from amaranth import Cat, Const, Module, Signal
from amaranth.back import rtlil, verilog
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from equilif_boards import ecp5
from tests.netlists import ECP5

pytestmark = pytest.mark.skipif(not shutil.which("yosys"), reason="needs Yosys")

CYCLES = 400
#: latency after which outputs are valid
FIRST = 20
BENCH = """
module bench;
    reg clk = 0;
    reg [39:0] i = 0;
    wire [35:0] wanted, mapped, optimised;
    rtl rtl(.clk(clk), .rst(1'b0), .i(i), .o(wanted));
    mapped netlist(.clk(clk), .rst(1'b0), .i(i), .o(mapped));
    optimised moved(.clk(clk), .rst(1'b0), .i(i), .o(optimised));
    reg [35:0] last = 0;
    integer k, wrong = 0, changes = 0;
    initial begin
        for (k = 0; k < CYCLES; k = k + 1) begin
            i = {$urandom, $urandom};
            #1 clk = 1;
            #1 clk = 0;
            #1 if (k > FIRST) begin
                wrong = wrong + (wanted !== mapped) + (wanted !== optimised);
                changes = changes + (wanted !== last);
            end
            last = wanted;
        end
        $display("%0d %0d", wrong, changes);
    end
endmodule
"""


class RandomDesign(wiring.Component):
    """A design with 40 random input bits and up to 36 outputs, made by ``build``."""

    def __init__(self, build):
        self.build = build
        super().__init__({"i": In(40), "o": Out(36)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(self.build(m, self.i))
        return m


def late(m, value, enable=1, **options):
    """The value, registered."""
    register = Signal(value.shape(), **({"reset_less": True} | options))
    with m.If(enable):
        m.d.sync += register.eq(value)
    return register


def ram(m, i, width=9, depth=2048):
    """Read data of a RAM; few addresses near its ends, written often, never read and written in a cycle."""
    m.submodules += (whole := memory.Memory(shape=width, depth=depth, init=[], attrs={"ram_style": "block"}))
    wr = whole.write_port()
    rd = whole.read_port()
    word = Cat(i[1:3], i[3].replicate(depth.bit_length() - 3))
    m.d.comb += [wr.en.eq(i[0]), rd.en.eq(~i[0]), wr.addr.eq(word), rd.addr.eq(word), wr.data.eq(i[4:])]
    return rd.data


def factors(i):
    return i[:16].as_signed(), i[16:26].as_signed()


def synthesized(build, tmp_path):
    """Netlist of a design."""
    (tmp_path / "rtl.il").write_text(rtlil.convert(RandomDesign(build), name="rtl", emit_src=False))
    passes = (each.format(top="rtl") for each in ECP5.passes)
    yosys(tmp_path, "read_rtlil rtl.il", *passes, "write_json rtl.json")
    content = json.loads((tmp_path / "rtl.json").read_text())
    assert {"DP16KD", "MULT18X18D"} & set(kinds(content))
    return content


def yosys(folder, *passes):
    subprocess.run(["yosys", "-q", "-p", "; ".join(passes)], cwd=folder, check=True)


def kinds(content):
    return Counter(cell["type"] for cell in ecp5.Netlist(content).cells.values())


def moved(build, tmp_path):
    """Counts of the pass and remaining cell types; checks that the design behaves as before."""
    before = synthesized(build, tmp_path)
    after = copy.deepcopy(before)
    counts = ecp5.pack_registers(after)
    passes = []
    for name, content in (("mapped", before), ("optimised", after)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        passes += ["design -reset", f"read_json {name}.json", f"rename rtl {name}"]
        passes += [f"write_verilog -noattr {name}.v"]
    yosys(tmp_path, *passes)
    bench = BENCH.replace("CYCLES", f"{CYCLES}").replace("FIRST", f"{FIRST}")
    (tmp_path / "bench.v").write_text(ECP5.library() + bench)
    (tmp_path / "rtl.v").write_text(verilog.convert(RandomDesign(build), name="rtl", emit_src=False))
    sources = ["bench.v", "rtl.v", "mapped.v", "optimised.v"]
    subprocess.run(["iverilog", "-g2012", "-o", "bench", "-s", "bench", *sources], cwd=tmp_path, check=True)
    output = subprocess.run(["./bench"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    wrong, changes = map(int, output.split())
    assert wrong == 0
    assert changes > (CYCLES - FIRST) / 8
    return counts, kinds(after)


def untouched(build, tmp_path):
    """Check that nothing moves."""
    before = synthesized(build, tmp_path)
    after = copy.deepcopy(before)
    assert not any(ecp5.pack_registers(after).values())
    return after == before


# -- moves -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "width, depth", [(1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512)], ids=lambda n: f"{n}"
)
def test_output_register_moves_into_block_rams(width, depth, tmp_path):
    counts, left = moved(lambda m, i: late(m, ram(m, i, width, depth)), tmp_path)
    assert counts == {"DP16KD": 1, "MULT18X18D": 0}
    assert left["TRELLIS_FF"] == 0


def shared_factor(m, i):
    x, y = factors(i)
    shared = late(m, x)
    return late(m, shared * late(m, y)) ^ shared


#: by name: design, block RAMs and multipliers that take registers, registers that are left
MOVES = {
    "one of two": (lambda m, i: late(m, late(m, ram(m, i))), 1, 0, 9),
    "clock enable": (lambda m, i: late(m, ram(m, i), enable=i[39]), 1, 0, 0),
    "factors and product": (lambda m, i: late(m, mul(*(late(m, x) for x in factors(i)))), 0, 1, 0),
    "factors": (lambda m, i: late(m, mul(*(late(m, x) for x in factors(i))) + i[26:]), 0, 1, 27),
    "product": (lambda m, i: late(m, mul(*factors(i))), 0, 1, 0),
    "a shared factor is duplicated": (shared_factor, 0, 1, 16),
    "square": (lambda m, i: late(m, mul(*2 * [late(m, i[:12])])), 0, 1, 0),
    "RAM and multiplier": (lambda m, i: late(m, late(m, ram(m, i)) * late(m, i[30:39])), 1, 1, 9),
}


@pytest.mark.parametrize("name", MOVES)
def test_registers_that_move(name, tmp_path):
    build, rams, multipliers, registers = MOVES[name]
    counts, left = moved(build, tmp_path)
    assert counts == {"DP16KD": rams, "MULT18X18D": multipliers} and left["TRELLIS_FF"] == registers


# -- exceptions ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "build",
    [
        lambda m, i: late(m, ram(m, i), init=1),
        lambda m, i: late(m, ram(m, i), reset_less=False),
        lambda m, i: late(m, (word := ram(m, i))) ^ word,
        lambda m, i: Cat(late(m, (word := ram(m, i))[:5], i[39]), late(m, word[5:], i[38])),
        lambda m, i: Cat(late(m, (word := ram(m, i))[:5]), word[5:]),
        lambda m, i: Cat(late(m, (word := ram(m, i))), late(m, word, i[39])),
        lambda m, i: late(m, ram(m, i) ^ i[:9]),
    ],
    ids=["starts as 1", "reset", "two readers", "two enables", "half", "twice", "logic between"],
)
def test_ram_registers_that_cannot_move(build, tmp_path):
    assert untouched(build, tmp_path)


@pytest.mark.parametrize(
    "build",
    [
        lambda m, x, y: late(m, x) * y,
        lambda m, x, y: late(m, x, init=1) * late(m, y),
        lambda m, x, y: late(m, x, reset_less=False) * late(m, y),
        lambda m, x, y: late(m, x, x[0]) * late(m, y),
        lambda m, x, y: late(m, x, x[0]) * late(m, y, x[0]),
        lambda m, x, y: late(m, x * y, x[0]),
        lambda m, x, y: late(m, x * y, init=1),
        lambda m, x, y: late(m, (product := x * y)) ^ product,
        lambda m, x, y: late(m, x) * Cat(late(m, y), Const(1, 1)).as_signed(),
    ],
    ids=[
        "one factor",
        "factor starts as 1",
        "factor reset",
        "one factor enabled",
        "factors enabled",
        "product enabled",
        "product starts as 1",
        "two readers",
        "constant 1",
    ],
)
def test_multiplier_registers_that_cannot_move(build, tmp_path):
    assert untouched(lambda m, i: build(m, *factors(i)), tmp_path)


# -- the pass --------------------------------------------------------------------------------------
def test_pass_is_deterministic_and_idempotent(tmp_path):
    def build(m, i):
        x, y = factors(i)
        return late(m, late(m, late(m, late(m, x)) * late(m, late(m, y)))) + late(m, late(m, ram(m, i)))

    first = synthesized(build, tmp_path)
    second = copy.deepcopy(first)
    assert ecp5.pack_registers(first) == ecp5.pack_registers(second) == {"DP16KD": 1, "MULT18X18D": 1}
    assert json.dumps(first) == json.dumps(second)
    assert ecp5.pack_registers(second) == {"DP16KD": 0, "MULT18X18D": 0}
    assert first == second
