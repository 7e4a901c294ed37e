"""Explanations of surviving mutants without a proof, by target, file, text of the line, and operator."""

from __future__ import annotations

from pathlib import Path

HDL = Path(__file__).parents[1] / "hdl" / "equilif_hdl"
EXPLAINED = {
    (
        "sequencer",
        "engine/sequencer.py",
        "word_valid.eq(~jump & (self.read | word_valid & ~take_word)),",
        "const0 A[0]",
    ): ("a program word is available in every cycle except after a jump; in HALT the output is unused"),
    (
        "scan, single port",
        "engine/scan.py",
        "m.d.sync += done.eq(Mux(rest.any(), done | (pending & ~rest), 0))",
        "const1 B[0]",
    ): ("after the first event lane 0 is done, or has no event"),
    ("host, standalone", "link/host.py", "port.read.eq(self.mem_read & in_flash),", "const1 B[0]"): (
        "the flash reads in addition to the engine; the result is unused"
    ),
    (
        "self-attention, single port",
        "engine/isa.py",
        "return (ins.op == Op.LEARN) & has_mode(ins, LearnMode.STORE)",
        "const1 A[0]",
    ): ("only LEARN uses noise and u- v-, which STORE switches off"),
    ("reservoir", "link/reservoir.py", "with m.If(self.chosen == 0):", "const0 A[13]"): (
        "below the count of the class, which is at most 8,191, whenever it is looked at"
    ),
    (
        "engine P4-SPRAM",
        "engine/geometry.py",
        "out.groups_per_position.eq(Mux(convolved, Mux(column, post, pre), ins.n_src)),",
        "const0 B[4]",
    ): ("a position of 16 groups is all there are, so no other one follows"),
    (
        "engine P4-SPRAM-without-attention",
        "engine/sequencer.py",
        "running = Signal()  # the program is read",
        "const1 A[0]",
    ): ("also reads program memory before the start and after HALT, and uses none of those words"),
    (
        "engine P4-SPRAM-without-attention",
        "engine/control.py",
        "minus = Signal.like(first.um, reset_less=True)",
        "cnot1 D[5] by 8",
    ): ("held for two cycles, of which the product uses the second: by then inverted twice"),
    (
        "engine P4-without-attention",
        "engine/isa.py",
        "return ins.op.matches(int(Op.GATHER), *([int(Op.DRIVE)] if config.attention else [])) & has_mode(",
        "const1 A[0]",
    ): ("without attention DRIVE and LEARN have no modes, and ARGMAX uses no tile"),
    (
        "engine P4-wide",
        "engine/scan.py",
        "next_place = Signal.like(following.place)  # place of the next group",
        "const0 D[37]",
    ): ("32 columns of targets are more than the groups of this engine"),
    (
        "udp",
        "link/udp_receiver.py",
        "m.d.sync += used.eq(self.used | session.has_peer << session.peer | session.pending << session.slot)",
        "cnot0 Y[0] by 2",
    ): (
        "slot 0 is the last choice in place of the first; differs only if a request begins in the cycle in "
        "which an answer ends, and its own answer waits"
    ),
    (
        "udp",
        "link/udp_transmitter.py",
        "self.used.eq(busy << slot),",
        "cnot1 B[0] by 1",
    ): (
        "slots 2 and 3 are exchanged; the slot of a reply is read with its header, and the one frame that "
        "may begin before, after a new sender, takes slot 0 or 1"
    ),
    (
        "control",
        "engine/stages.py",
        "first = self.op_valid_now(-self.timing.lead, *ops) & condition",
        "inv B[0]",
    ): (
        "differs in the cycle after the only command of a STEP; the first event of the next instruction "
        "comes later"
    ),
    ("self-attention, single port", "engine/engine.py", "n = Signal.like(ins.n_dst)", "const0 Y[6]"): (
        "a bit above the groups of this engine"
    ),
    (
        "self-attention, single port",
        "engine/engine.py",
        "n.eq(Mux(row < left, row, left)),",
        "inv B[10]",
    ): (
        "a bit above the groups of this engine, apart from the pause after a row of one group, which is read "
        "again only when the lanes are empty"
    ),
    ("flash cache", "link/flash_cache.py", "with m.If(flash.at != self.at):", "const0 B[2]"): (
        "of the next state only: the flash is ready in ALIGN, so CHANGE follows with or without a seek"
    ),
    ("flash cache", "link/flash_cache.py", "with m.If(self.count == 0):", "inv Y[0]"): (
        "of the valid bit only: set from the first word of the line on, and not looked up before the last one"
    ),
    ("flash cache", "link/flash_cache.py", "with m.If(port.seek | port.finish):", "inv A[0]"): (
        "after the last byte of a write a seek or finish waits before the flash is ready, and sees the page "
        "as unfinished"
    ),
    ("flash cache", "link/flash_cache.py", "m.d.sync += self.walk.eq(self.walk + 1)", "cnot1 Y[6] by 9"): (
        "after a reset the lines are cleared in another order, but each once"
    ),
}


def line(source: str) -> str:
    """Text of a line, ``file:number``; empty if the file has no such line."""
    file, _, number = source.partition(":")
    lines = (HDL / file).read_text().splitlines() if (HDL / file).is_file() else []
    return lines[int(number) - 1].strip() if int(number) <= len(lines) else ""


def reason(target: str, mutant: str, text: str) -> str:
    """Explanation of a mutant (equilif_sim.mutate.Mutant.name) of a line with this text; or empty."""
    source, _, operator = mutant.partition(" ")
    return EXPLAINED.get((target, source.partition(":")[0], text, operator), "")
