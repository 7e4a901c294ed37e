"""Random traffic of millions of cycles on equilif_sim.sdram.SdramBench, compiled by Verilator.

Bursts, pauses and their probabilities change every few hundred cycles.  Words are compared with those written
before, and the chip checks its timings.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from amaranth.back import verilog

from equilif_golden.sdram import LENGTH_BITS
from equilif_sim.library import compiled
from equilif_sim.sdram import SdramBench
from equilif_sim.sdram_chip import violations

DRIVER = r"""
#include "Vsdram.h"
#include "verilated.h"
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>
#define PORT(name) top->port___05F##name
static const unsigned WORDS = %(words)u, COLUMNS = %(columns)u, BITS = %(address_bits)u;
static const unsigned LENGTH_BITS = %(length_bits)u, PERIOD = 512;
struct Random {
    uint64_t state;
    uint32_t next() { state = state * 6364136223846793005u + 1442695040888963407u; return state >> 33; }
    uint32_t below(uint32_t n) { return uint64_t(next()) * n >> 31; }
};
extern "C" uint64_t traffic(uint64_t cycles, uint64_t seed, uint64_t *counts) {
    VerilatedContext context;
    std::unique_ptr<Vsdram> top(new Vsdram(&context));
    Random random{seed};
    std::vector<uint32_t> content(WORDS, 0);
    std::deque<uint32_t> to_write, expected;
    unsigned w_rate = 64, r_rate = 64, request_rate = 64, longest = 1, page = 0;
    unsigned address = 0, words = 0, is_write = 0;
    bool offered = false;
    auto edge = [&] { top->clk = 1; top->eval(); top->clk = 0; top->eval(); };
    PORT(request___05Fvalid) = PORT(w___05Fvalid) = PORT(r___05Fready) = 0;
    top->clk = 0, top->rst = 1, top->eval(), edge(), edge(), top->rst = 0;
    for (uint64_t cycle = 0; cycle < cycles; cycle++) {
        if (cycle %% PERIOD == 0) {
            w_rate = random.below(3) ? 64 : random.below(64) + 1;
            r_rate = random.below(3) ? 64 : random.below(64) + 1;
            request_rate = random.below(2) ? 64 : random.below(64) + 1;
            longest = 1u << random.below(9);
            page = random.below(WORDS / COLUMNS);
        }
        if (!offered && random.below(64) < request_rate) {
            offered = true;
            is_write = random.below(2);
            words = 1 + random.below(longest);
            unsigned near = (page + random.below(6)) %% (WORDS / COLUMNS);
            address = near * COLUMNS + (random.below(4) ? random.below(COLUMNS) : COLUMNS - 1);
        }
        PORT(request___05Fvalid) = offered;
        PORT(request___05Fpayload) =
            address | uint64_t(words - 1) << BITS | uint64_t(is_write) << (BITS + LENGTH_BITS);
        bool writes = !to_write.empty() && random.below(64) < w_rate;
        PORT(w___05Fvalid) = writes;
        PORT(w___05Fpayload) = writes ? to_write.front() : random.next();
        PORT(r___05Fready) = random.below(64) < r_rate;
        top->eval();
        if (PORT(r___05Fvalid) && PORT(r___05Fready)) {
            if (expected.empty() || expected.front() != PORT(r___05Fpayload)) counts[2]++;
            if (!expected.empty()) expected.pop_front();
            counts[0]++;
        }
        if (writes && PORT(w___05Fready)) to_write.pop_front(), counts[1]++;
        if (offered && PORT(request___05Fready)) {
            offered = false;
            counts[3]++;
            for (unsigned k = 0; k < words; k++) {
                uint32_t &word = content[(address + k) %% WORDS];
                if (is_write) to_write.push_back(word = random.next() & %(mask)uu);
                else expected.push_back(word);
            }
        }
        edge();
    }
    Verilated::threadContextp(&context);   // the destructor uses the thread's context
    return top->violation;
}
"""


@dataclass(frozen=True)
class TrafficResult:
    """Numbers of words, wrong words and bursts, and the violated rules."""

    read: int
    written: int
    wrong: int
    bursts: int
    violations: list[str]


def traffic(bench: SdramBench, cycles: int, seed: int) -> TrafficResult:
    """Simulate random bursts for some cycles."""
    chip = bench.chip.chip
    driver = DRIVER % {
        "words": chip.words,
        "columns": chip.columns,
        "address_bits": (chip.words - 1).bit_length(),
        "length_bits": LENGTH_BITS,
        "mask": (1 << chip.width) - 1,
    }
    text = verilog.convert(bench, name="sdram", emit_src=False)
    library = ctypes.CDLL(str(compiled("sdram", text, driver)))
    library.traffic.restype = ctypes.c_uint64
    counts = (ctypes.c_uint64 * 4)()
    found = library.traffic(ctypes.c_uint64(cycles), ctypes.c_uint64(seed), counts)
    read, written, wrong, bursts = counts
    return TrafficResult(read, written, wrong, bursts, violations(found))
