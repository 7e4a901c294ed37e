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
        "tokens",
        "front_end/tokens.py",
        "remainder = Signal(range(2 * TOKENS + 2 * POSITIONS))",
        "const1 D[0]",
    ): ("it is odd at first, and even numbers are added and subtracted"),
    ("table unit", "engine/tables.py", "table = Signal(16)", "cnot1 D[4] by 14"): (
        "a table from tile 16,384 on is outside of the memories, with either bit"
    ),
    ("adc", "front_end/divider.py", "carry.eq(phase >= self.modulus - self.increment),", "cnot1 A[1] by 0"): (
        "the carry comes in another one of the four phases"
    ),
    ("adc", "front_end/divider.py", "phase = Signal(range(self.modulus))", "inv D[1]"): (
        "the phase takes its four values in another order"
    ),
    (
        "scan, single port",
        "engine/scan.py",
        "m.d.sync += done.eq(Mux(rest.any(), done | (pending & ~rest), 0))",
        "const1 B[0]",
    ): ("after the first event lane 0 is done, or has no event"),
    ("mover", "engine/external.py", "self.o.p.tile.eq(self.i.p.tile + block.offset),", "const0 A[7]"): (
        "a bit above the tiles on the chip"
    ),
    ("scan, single port", "fixed.py", "index = Mux(mask[k], k, index)", "const1 A[1]"): (
        "used only where a lane is active"
    ),
    ("scan, single port", "fixed.py", "index = Mux(mask[k], k, index)", "const1 Y[0]"): (
        "used only where a lane is active"
    ),
    ("scan, single port", "fixed.py", "index = Mux(mask[k], k, index)", "const1 A[0]"): (
        "used only where a lane is active"
    ),
    (
        "lif",
        "blocks/lif.py",
        "shift = Signal(2)  # shift of the leak, minus the smallest one",
        "cnot1 Y[1] by 4",
    ): ("differs only when the leak is 0, for which there is no loss"),
    (
        "lif, narrow",
        "blocks/lif.py",
        "shift = Signal(2)  # shift of the leak, minus the smallest one",
        "cnot1 Y[0] by 4",
    ): ("differs only when the leak is 0, for which there is no loss"),
    (
        "weights, single port",
        "engine/weights.py",
        "word.eq(Mux(bank.write, bank.w_word, bank.word)),",
        "inv Y[1]",
    ): ("permutes the words of a bank, for reads and writes alike"),
    (
        "flash",
        "link/flash.py",
        "m.d.sync += [shift.eq(Cat(pins.cipo, shift)), left.eq(left - 1)]",
        "cnot1 Y[4] by 1",
    ): ("the counter takes other values, but as many: 4, 8, 24 or 32"),
    ("host, standalone", "link/host.py", "self.ready = ~in_flash | flash.ready", "const1 Y[0]"): (
        "requests a write while the flash is busy: accepted once it is ready, as before"
    ),
    ("host, standalone", "link/host.py", "port.read.eq(self.mem_read & in_flash),", "const1 B[0]"): (
        "the flash reads in addition to the engine; the result is unused"
    ),
    ("host, standalone", "link/host.py", "framer.dropped.eq(host.trainer_frame & i.valid),", "inv B[0]"): (
        "a byte stays at the output until the next one and is marked as dropped one cycle later"
    ),
    ("host, standalone", "link/host.py", "with m.If(self.in_flash & self.commit):", "const1 B[0]"): (
        "reads the first flash element before the command is checked, and again afterwards"
    ),
    ("host, standalone", "link/host.py", "with m.If(self.in_flash & self.commit):", "inv B[0]"): (
        "reads the first flash element before the command is checked, and only then"
    ),
    (
        "self-attention",
        "engine/engine.py",
        "row.eq(Mux(ins.count == 0, ins.n_dst, ins.count)),",
        "const1 B[3]",
    ): ("without a row the operand is the number of groups: a larger one makes one row, too"),
    (
        "self-attention",
        "engine/engine.py",
        "m.d.sync += [first.eq(first + row), left.eq(left - row)]",
        "inv A[3]",
    ): ("a bit above the groups of this engine"),
    ("self-attention", "engine/engine.py", "n = Signal.like(ins.n_dst)", "cnot1 Y[5] by 0"): (
        "a bit above the groups of this engine"
    ),
    ("self-attention", "engine/engine.py", "first = Signal.like(ins.dst)", "const1 D[6]"): (
        "a bit above the groups of this engine"
    ),
    ("self-attention", "engine/engine.py", "n.eq(Mux(row < left, row, left)),", "cnot1 A[1] by 8"): (
        "a row of 256 groups and more is larger than what is left, with either bit"
    ),
    (
        "self-attention",
        "engine/isa.py",
        "return (ins.op == Op.LEARN) & has_mode(ins, LearnMode.STORE)",
        "const1 A[3]",
    ): ("only LEARN uses noise, u- v- and the scanner's switch for STORE"),
    (
        "self-attention, single port",
        "engine/engine.py",
        "row.eq(Mux(ins.count == 0, ins.n_dst, ins.count)),",
        "const1 B[4]",
    ): ("without a row the operand is the number of groups: a larger one makes one row, too"),
    ("self-attention, single port", "engine/engine.py", "n = Signal.like(ins.n_dst)", "inv Y[6]"): (
        "a bit above the groups of this engine"
    ),
    (
        "self-attention, single port",
        "engine/isa.py",
        "return (ins.op == Op.LEARN) & has_mode(ins, LearnMode.STORE)",
        "const1 A[3]",
    ): ("only LEARN uses noise and u- v-, which STORE switches off"),
    (
        "self-attention, single port",
        "engine/isa.py",
        "return (ins.op == Op.LEARN) & has_mode(ins, LearnMode.STORE)",
        "const1 A[0]",
    ): ("only LEARN uses noise and u- v-, which STORE switches off"),
    ("sdram", "sdram.py", "m.d.sync += interval.eq(interval + 1)", "cnot1 A[4] by 0"): (
        "the interval counter takes other values, but as many between two refreshes"
    ),
    ("sdram", "sdram.py", "interval = Signal(range(t.interval))", "cnot1 D[8] by 2"): (
        "the interval counter takes other values, but as many between two refreshes"
    ),
    (
        "checker",
        "engine/checker.py",
        'left = Signal(WIDTHS["n_src"])  # source groups whose tiles are left to add',
        "const0 D[6]",
    ): ("64 source groups are outside of the memories, and were refused before"),
    (
        "checker",
        "engine/checker.py",
        "span.add(src, Mux(among(op, *walked), third.n_dst, third.n_src), self._size(op, sources))",
        "const0 B[10]",
    ): ("as many destination groups are outside of the memories, and were refused before"),
    ("sdram", "sdram.py", "interval = Signal(range(t.interval))", "cnot1 D[4] by 5"): (
        "the interval counter takes other values, but as many between two refreshes"
    ),
    ("sdram", "sdram.py", "self.space.eq(used < self.queue - 2),", "inv B[3]"): (
        "a READ waits while 6 words in place of 14 are queued; the words are the same"
    ),
    ("tokens", "front_end/tokens.py", "with m.If(wait == PRODUCT_CYCLES):", "inv A[0]"): (
        "an element comes a cycle later, with the same value"
    ),
    ("tokens", "front_end/tokens.py", "m.d.sync += [wait.eq(wait + 1), lower.eq(rounded)]", "inv A[1]"): (
        "the counter takes other values, but as many"
    ),
    ("reservoir", "link/reservoir.py", "self.step.eq(self.step + 1),", "cnot1 Y[3] by 4"): (
        "the counter takes other values, but as many"
    ),
    (
        "reservoir",
        "link/reservoir.py",
        "total = self.chosen + Mux(self.bits[0], self.choices, 0)",
        "const0 Y[13]",
    ): ("differs after 8,192 words that were not kept, too many for a bench"),
    ("reservoir", "link/reservoir.py", "with m.If(self.chosen == 0):", "const0 A[13]"): (
        "differs after 8,192 words that were not kept, too many for a bench"
    ),
    ("reservoir", "link/reservoir.py", "self.largest = Signal(LABEL_BITS)", "cnot0 D[7] by 3"): (
        "the bit is inverted twice for each class, and twice after the last one"
    ),
    ("reservoir", "link/flash.py", '"address": Out(ADDRESS_BITS),', "cnot1 Y[10] by 6"): (
        "a place begins at a multiple of a sector: the bits below are 0"
    ),
    ("reservoir", "link/flash.py", '"address": Out(ADDRESS_BITS),', "const0 Y[2]"): (
        "a place begins at a multiple of a sector: the bits below are 0"
    ),
    ("reservoir", "link/flash.py", '"address": Out(ADDRESS_BITS),', "const0 Y[8]"): (
        "a place begins at a multiple of a sector: the bits below are 0"
    ),
    (
        "segmentation",
        "front_end/segmentation.py",
        "with m.If(self.verdict != Verdict.SAMPLE):",
        "const0 A[1]",
    ): ("the verdict is SAMPLE, LONG or STUCK here, and the other bits tell SAMPLE"),
    (
        "segmentation",
        "front_end/segmentation.py",
        "m.d.sync += [run.eq(Mux(quiet, run + 1, 0)), length.eq(length + 1)]",
        "cnot1 Y[5] by 8",
    ): ("a word has fewer than 256 frames"),
    (
        "segmentation",
        "front_end/segmentation.py",
        "with m.If(loud & (run == START - 1)):",
        "cnot1 A[4] by 3",
    ): ("`run` is below START here"),
    ("segmentation", "front_end/segmentation.py", "with m.Elif((count << 3) > frames):", "const0 A[1]"): (
        "a multiple of 8"
    ),
    (
        "engine P4",
        "engine/lanes.py",
        'instruction = signal_of(INSTRUCTION, name="constants", reset_less=True)',
        "const1 D[29]",
    ): ("a bit of the count, which no lane uses"),
    (
        "engine P8",
        "engine/lanes.py",
        'instruction = signal_of(INSTRUCTION, name="constants", reset_less=True)',
        "inv D[19]",
    ): ("a bit of the first source group, which no lane uses"),
    (
        "engine P16",
        "engine/lanes.py",
        'instruction = signal_of(INSTRUCTION, name="constants", reset_less=True)',
        "const0 D[19]",
    ): ("a bit of the first source group, which no lane uses"),
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
        "engine P4-without-attention",
        "engine/stages.py",
        'line[stage] = Signal(line[0].shape(), name=f"{name}_{stage}", reset_less=True)',
        "inv D[3]",
    ): ("a bit above the groups of neurons"),
    (
        "engine P4-wide",
        "engine/scan.py",
        "next_place = Signal.like(following.place)  # place of the next group",
        "const0 D[37]",
    ): ("32 columns of targets are more than the groups of this engine"),
    ("engine P16", "engine/stages.py", "with m.If(low_product.op == Op.LEARN):", "const0 A[0]"): (
        "the other operation with these bits, ARGMAX, has no commands"
    ),
    (
        "udp",
        "link/udp.py",
        "m.d.sync += used.eq(self.used | r.has_peer << r.peer | r.busy << r.slot)",
        "cnot0 Y[0] by 2",
    ): (
        "slot 0 is the last choice in place of the first; differs only if a request begins in the cycle in "
        "which an answer ends, and its own answer waits"
    ),
    (
        "udp",
        "link/udp.py",
        "m.d.comb += [self.used.eq(busy << slot), r.done.eq(done & responding), sent.eq(done & ~responding)]",
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
    ("self-attention", "engine/engine.py", "n = Signal.like(ins.n_dst)", "cnot1 Y[5] by 2"): (
        "a bit above the groups of this engine"
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
    ("filter bank", "front_end/filter_bank.py", '"stuck": Out(1),', "inv A[0]"): (
        "read with `frame` only, an even number of inversions later"
    ),
    (
        "filter bank",
        "front_end/filter_bank.py",
        "m.d.comb += [read.en.eq(0), next_c2.eq((result << 1) + c2), added.eq(stored + magnitude)]",
        "const0 A[40]",
    ): ("above the 32 bits of a sum"),
    (
        "segmentation",
        "front_end/segmentation.py",
        "off.eq(Mux(base + OFF < LOWEST, LOWEST, base + OFF)),",
        "cnot0 A[10] by 4",
    ): ("above the 9 bits of the register; of the comparison it is killed"),
    ("bus", "link/bus.py", "self.program.eq(self.region == Region.PROGRAM),", "cnot1 A[1] by 0"): (
        "the regions 1 and 3 are exchanged, and neither is the program"
    ),
    ("frame", "link/frame.py", '"status": Out(STATUS_BITS),', "const0 D[3]"): (
        "the statuses of the framer are below 8"
    ),
    ("spi", "link/spi.py", "m.d.sync += waited.eq(waited + 1)", "cnot1 Y[5] by 1"): (
        "the counter takes other values, but as many"
    ),
    ("host", "link/host.py", "with m.If(framer.data_valid & framer.payload_end):", "const1 A[0]"): (
        "drives `rewind` and `take`, and both are 0 in the one cycle with `payload_end` but without "
        "`data_valid`, the first one of the second pass of a LOAD"
    ),
    ("flash cache", "link/flash_cache.py", "with m.If(flash.at != self.at):", "const0 B[2]"): (
        "of the next state only: the flash is ready in ALIGN, so CHANGE follows with or without a seek"
    ),
    ("flash cache", "link/flash_cache.py", "with m.If(self.count == 0):", "inv Y[0]"): (
        "of the valid bit only: set from the first word of the line on, and not looked up before the last one"
    ),
    ("flash cache", "link/flash_cache.py", "with m.If(self.count == 0):", "cnot1 A[0] by 7"): (
        "inverted only when bit 7 is 1, and then the count is not 0"
    ),
    ("flash cache", "link/flash_cache.py", "m.d.sync += self.count.eq(self.count + 1)", "const0 A[6]"): (
        "a chunk has at most 16 words"
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
