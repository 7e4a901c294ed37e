"""Cycle model: the exact number of cycles of a run, from the control of the engine without its data.

    fetch --> queue --> dispatcher --> scanner --> walker --> lanes
     3 cycles           one at a time   events     commands   empty some cycles after the last command

:class:`Timekeeper` receives the executed instructions, and keeps the cycle in which each part of the engine
is free.  EngineModel uses it for its cycle count, which equals that of the RTL (tests/engine/test_engine.py).
equilif_hdl.engine.stages has the stages of the lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from equilif_golden.blocks.softmax import RECIPROCAL
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.external import MoverCycles
from equilif_golden.engine.geometry import Geometry
from equilif_golden.engine.hazards import (
    distance,
    follows_step,
    lead,
    needs_settled,
    runs_ahead,
    settled,
    step,
    threshold,
)
from equilif_golden.engine.isa import SCAN, WORDS, Instruction, Op, rows_of
from equilif_golden.engine.memories import skips_unchanged
from equilif_golden.sdram import Controller

#: cycles from the start of a run, or a jump, until an instruction is complete
FIRST = WORDS + 2
#: stage of the lanes in which SOFTMAX reads a drive
PRESCALED = 4
#: SOFTMAX: cycles of an exponential, without its registers; of its product; of the division
EXPONENTIAL = 2
PRODUCT = 2
DIVISION = RECIPROCAL + 4
#: LEARN: cycles from the one before a group is read until it is known whether its values differ
COMPARED = 4
#: cycles for the address steps of a geometry
GEOMETRY = 13


class Flow(Enum):
    """Handling of an instruction by the sequencer."""

    WAITS = "waits until the engine is idle"
    ISSUED = "issued to the dispatcher"
    PASSED = "executed by the sequencer, followed by the next one"
    JUMPED = "executed by the sequencer, followed by the start of a loop"


def writes_after(config: EngineConfig) -> int:
    """Cycles from a command of LEARN to the first one that reads the weights it writes."""
    return 2 if config.single_port else 5 + config.registers.weight_read


class Comparison(NamedTuple):
    """The first group of destination and source of LEARN whose values differ, or None.

    With dual-port weights LEARN reads its destination, a group a cycle, and its source if nothing differs
    there (equilif_hdl.engine.scan).
    """

    destination: int | None = 0
    source: int | None = None

    def differs(self, i: Instruction) -> bool:
        """Whether LEARN scans."""
        return self.destination is not None or self._compared(i) > 0 and self.source is not None

    def cycles(self, i: Instruction) -> int:
        """Cycles from the start of LEARN until the scan begins, or, if nothing differs, ends."""
        known = [] if self.destination is None else [self.destination + COMPARED]
        begin = i.n_dst + 1  # of the source
        if known and known[0] <= begin:
            return begin
        n_src = self._compared(i)
        if n_src and self.source is not None:
            known.append(begin + self.source + COMPARED)
        return min(known, default=begin + n_src + COMPARED - 1 - (n_src == 0))

    @staticmethod
    def _compared(i: Instruction) -> int:
        """Groups of the source that may be read."""
        return 0 if i["clamped"] & 1 else i.n_src

    def fetches(self, i: Instruction) -> int:
        """Number of groups that are read."""
        return i.n_dst + min(self._compared(i), self.cycles(i) - (i.n_dst + 1))


class Scan(NamedTuple):
    """A scan: its instruction, and for each source group the events, and the commands of an event."""

    i: Instruction
    events: Sequence[int]
    commands: Sequence[int]
    geometry: Geometry | None
    comparison: Comparison
    rows: Sequence[int] = ()  #: external weights that are fetched

    def moves(self, group: int) -> bool:
        """The group is the first one of a position, except the first position."""
        geometry = self.geometry or self.i.dense
        return group > 0 and group % (geometry.post if self.i.backwards else geometry.pre) == 0


class WalkerCycles:
    """The walker during a scan, with a waiting event."""

    def __init__(self, scan: Scan, config: EngineConfig):
        geometry = scan.geometry
        self.argmax = scan.i.op == Op.ARGMAX  #: ARGMAX accepts an event a cycle
        self.offered = False  #: an event is waiting
        self.commands = 0  #: commands left of the present event
        self.last = False  #: the command of this cycle is its last one
        self.accepts = False  #: a waiting event is accepted in this cycle
        self._n = 0  #: commands of the waiting event
        self._first = False  #: it is the first event of a position
        #: minimum cycles between commands of LEARN for the same weights
        self._apart = writes_after(config) if geometry is not None and scan.i.op == Op.LEARN else 0
        self._since = self._apart  #: cycles since the last command
        #: commands after which LEARN reuses the weights of the same event
        self._run = geometry.post if geometry is not None and not geometry.stride else 0
        self._in_run = 0  #: commands since then

    @property
    def waits(self) -> bool:
        """The next command must wait for weights that are not yet written."""
        return bool(self._run and self._in_run == self._run and self._since < self._apart)

    def begin(self, valid: bool, now: int) -> bool:
        """Begin cycle ``now`` with or without a command; returns whether the scanner can send an event."""
        self.last = valid and self.commands == 1
        free = not self.commands or self.last
        self.accepts = self.argmax or free and not (self._first and (valid or self._since < self._apart))
        return not self.offered or self.accepts

    @property
    def waiting(self) -> bool:
        """Events are between scanner and walker."""
        return self.offered

    def end(self, valid: bool, sends: bool, n: int, *, first: bool) -> None:
        """End the cycle.  ``n``, ``first``: number of commands of the event that is sent, and whether it is
        the first one of its position.
        """
        if valid:
            self.commands -= 1
            self._in_run = self._in_run % self._run + 1 if self._run else 0
        self._since = 1 if valid else self._since + 1
        if self.offered and self.accepts and not self.argmax:
            self.commands = self._n
            self._in_run = 0
        self.offered = sends or self.offered and not self.accepts
        if sends:
            self._n = n
            self._first = first and self._apart > 0


class BlockWalkerCycles(WalkerCycles):
    """The walker of an instruction that reads external weights backwards, from a window with all of them."""

    def __init__(self, scan: Scan, config: EngineConfig, mover: MoverCycles):
        super().__init__(scan, config)
        self._mover = mover
        self._fetched: int | None = None  #: first cycle in which the weights are there

    def begin(self, valid: bool, now: int) -> bool:
        super().begin(valid, now)
        if self.offered and self._fetched is None:
            self._fetched = self._mover.fetch_all(now)
        self.accepts = self.accepts and self._fetched is not None and now >= self._fetched
        return not self.offered or self.accepts


class ExternalWalkerCycles(WalkerCycles):
    """The walker of an instruction through external weights, with the mover before it.

    The mover takes the targets of an event one after the other.
    """

    def __init__(self, scan: Scan, config: EngineConfig, mover: MoverCycles):
        super().__init__(scan, config)
        self._mover = mover
        #: cycles from a command until it has left the lanes
        self._depth = lead(config) + step(config) + 1
        self._each = (scan.geometry or scan.i.dense).post
        self._targets = 0  #: of the waiting event
        self._takes = False  #: the mover takes one of them in this cycle
        self._loads = False  #: the walker accepts an event in this cycle
        self._now = 0

    def begin(self, valid: bool, now: int) -> bool:
        self._now = now
        self._mover.begin(now)
        self.last = valid and self.commands == 1
        self._takes = self.offered and self._mover.accepts(now)
        self.accepts = self._takes and self._targets == 1
        self._loads = (not self.commands or self.last) and self._mover.offers(now)
        return not self.offered or self.accepts

    @property
    def waiting(self) -> bool:
        return self.offered or self._mover.busy

    def end(self, valid: bool, sends: bool, n: int, *, first: bool) -> None:
        if valid:
            self.commands -= 1
        if self.last:
            self._mover.walked(self._now + self._depth)
        if self._loads:
            self._mover.taken()
            self.commands = self._each
        if self._takes:
            self._mover.accept(self._now)
            self._targets -= 1
        self.offered = sends or self.offered and not self.accepts
        if sends:
            self._targets = n // self._each


class Timekeeper:
    """Cycle count of a run, from cycle 0, in which ``host.start`` is high."""

    def __init__(self, config: EngineConfig):
        self.config = config
        self._lead = lead(config)
        self._step = step(config)
        self._queue = config.registers.queue
        self._complete = FIRST  #: the next instruction is complete
        self._loaded: list[int] = []  #: cycles in which the dispatcher loaded the last instructions
        self._ready = 0  #: the dispatcher can load the next instruction
        self._before: Instruction | None = None  #: the last executed instruction
        self._free = 0  #: scanner and walker are idle
        self._first = 0  #: the first command of ``_before`` was issued, if that is a walk
        self._idle = 0  #: the engine is idle
        self._last = -self._lead - self._step  #: the last command was issued; the lanes are empty at first
        self._known = 0  #: the address steps are computed, after CONVOLVE
        self._spiked = [-FIRST, -FIRST]  #: last command of STEP or RESET, of each state
        #: words of the SDRAM that were read and written
        self.external_words = [0, 0]
        external = config.external
        self._controller = Controller.restarted(external.chip, external.timing) if external else None

    def pass_by(self, flow: Flow) -> None:
        """An instruction that the sequencer executes."""
        if flow is Flow.WAITS:
            self._complete = max(self._complete, self._idle)
        else:
            self._complete += FIRST if flow is Flow.JUMPED else WORDS

    def execute(
        self,
        i: Instruction,
        events: Sequence[int],
        commands: Sequence[int] = (),
        geometry: Geometry | None = None,
        comparison: Comparison | None = None,
        rows: Sequence[int] = (),
    ) -> None:
        """Execute an instruction.

        ``events``: for a scan, number of active lanes of each source group.  ``commands``, ``geometry``:
        after CONVOLVE, number of target groups of an event of each source group; operands of CONVOLVE.
        ``comparison``: of LEARN, with dual-port weights.  ``rows``: of external weights
        (equilif_golden.engine.model.EngineModel.external_rows).
        """
        done = self._complete
        if len(self._loaded) >= self._queue > 0:
            done = max(done, self._loaded[-self._queue] + 1)
        available = done + (self._queue > 0)
        loaded = max(available, self._known, self._loadable(i))
        if not self._queue:
            done = loaded
        self._loaded = [*self._loaded[-self._queue :], loaded]
        self._complete = done + WORDS
        start = loaded + 1
        if i.op == Op.CONVOLVE:
            self._known = loaded + GEOMETRY
            return
        if i.op in SCAN:
            commands = commands or [i.n_dst] * i.n_src
            scan = Scan(i, events, commands, geometry, comparison or Comparison(), rows)
            self._scan(scan, start)
        elif i.op == Op.SOFTMAX:
            self._softmax(i, start)
        else:
            self._first = start + 1
            self._last = start + i.n_dst
            self._walked(self._last + 1)
            if i.op == Op.NUDGE:
                self._ready = self._last
            if i.op in (Op.STEP, Op.RESET):
                self._spiked[i.second] = self._last
        self._before = i

    def halt(self) -> int:
        """Number of cycles of the run."""
        return max(self._complete + 1, self._idle)

    def _walked(self, free: int) -> None:
        """Scanner and walker are idle from this cycle on."""
        empty = self._last + self._lead + self._step
        self._free = free
        self._ready = max(free, empty)
        self._idle = max(free, empty + 1)

    def _loadable(self, i: Instruction) -> int:
        """First cycle in which the dispatcher may load an instruction."""
        before = self._before
        if before is None or self.config.single_port:
            return self._ready
        loadable = self._ready
        stage = threshold(before, i, self.config)
        if stage is not None:
            loadable = min(loadable, max(self._free, self._last + self._lead + stage))
        if runs_ahead(before, i, self.config):
            loadable = min(loadable, self._first)
        stage = self._lead + settled(i.op, self.config)
        if follows_step(before, i, self.config):
            return self._first + stage
        return max([loadable, *(self._spiked[k] + stage for k in needs_settled(i))])

    def _softmax(self, i: Instruction, start: int) -> None:
        """Cycles of SOFTMAX: for each row three walks, after each of which lanes and trees drain; a
        division before the last
        walk.
        """
        levels = (self.config.lanes - 1).bit_length()
        registers = self.config.registers
        flight = EXPONENTIAL + registers.exponential + max(levels, PRODUCT) + 1
        through = self._lead + max(PRESCALED + flight, self._step + 1 + registers.exponential)
        again = start - 1
        for _, n in rows_of(i, self.config):
            again += 1
            for walk in range(3):
                self._last = again + n
                again = self._last + through
                if walk == 1:
                    again += DIVISION + 1
        self._walked(again + 1)

    def _scan(self, scan: Scan, start: int) -> None:
        simulate = self._direct_scan if self.config.single_port else self._buffered_scan
        last = self._last
        before = self._before
        ahead = False
        if before is not None and start <= last + 1:
            ahead = runs_ahead(before, scan.i, self.config) or follows_step(before, scan.i, self.config)
        free, ready = simulate(scan, start)
        self._walked(free)
        # a scan that begins during a walk and sends nothing leaves the lanes to the walk
        silent = ahead and self._last == last
        if scan.i.op in (Op.DRIVE, Op.GATHER) and not silent:
            self._ready = ready

    def _walker(self, scan: Scan) -> WalkerCycles:
        if self._controller is not None and scan.i.is_external(self.config):
            n = (scan.geometry or scan.i.dense).post
            mover = MoverCycles(self._controller, self.config, scan.i, n, scan.rows, self.external_words)
            walker = BlockWalkerCycles if scan.i.backwards else ExternalWalkerCycles
            return walker(scan, self.config, mover)
        return WalkerCycles(scan, self.config)

    def _direct_scan(self, scan: Scan, start: int) -> tuple[int, int]:
        """Scanner that sends events straight from the memory outputs.

        Returns the cycles in which scanner and walker are free, and in which the next instruction can begin
        if it need not wait for the lanes.
        """
        i = scan.i
        walker = WalkerCycles(scan, self.config)
        learning = i.op == Op.LEARN
        group = 0
        left = i.n_src  # groups that are not done
        present = False  # the group is at the memory outputs
        sent = 0  # events of it
        pause = False
        first = False  # the next event is the first one of a position
        ready = 0
        now = start
        while True:
            now += 1
            scanning = left > 0 or walker.offered
            slot = bool((now - start - 1) & 1)
            idle = left > 0 and not present and not walker.offered
            valid = walker.commands > 0 and not (learning and slot or pause or walker.waits)
            room = walker.begin(valid, now)
            if valid:
                self._last = now
            if not ready and not scanning and (not walker.commands or walker.last):
                ready = now
            if not scanning and not walker.commands:
                return now, ready
            pending = scan.events[group] - sent if present else 0
            sends = pending > 0 and room
            advance = present and (pending == 0 or room and pending == 1)
            if learning:
                fetch = idle and slot
            else:
                fetch = advance and left != 1 if present else left != 0
            pause = walker.last and (i.n_dst == 1 or scan.geometry is not None)
            walker.end(valid, sends, scan.commands[group] if sends else 0, first=first)
            first = first and not sends or advance and scan.moves(group + 1)
            present = fetch or present and not advance and not learning
            sent = 0 if advance else sent + sends
            group += advance
            left -= advance

    def _buffered_scan(self, scan: Scan, start: int) -> tuple[int, int]:
        """Scanner that sends events from a copy of the group; returns as :meth:`_direct_scan`.

        It may begin during a walk, whose commands go first.
        """
        i = scan.i
        walker = self._walker(scan)
        walk_ends = self._last
        walker.commands = max(0, walk_ends - start)
        before = self._before
        held_until = walk_ends
        if before is not None:
            held_until += distance(before.op, i.op, self.config, other=i.second != before.second)
        spiking = i.op == Op.GATHER
        learning = i.op == Op.LEARN
        following = 0  # group that is fetched next
        left = i.n_src  # groups that are not fetched
        fetch_request = False  # a group is being fetched
        waiting = False  # a group is at the memory outputs
        num_waiting = 0  # events of that group
        hold_memory = False  # the memories must keep their outputs
        mask_ready = False  # the active lanes of the group are known
        pending = 0  # events of the copy
        group = 0  # of the copy
        first = False  # the next event is the first one of a position
        ready = 0
        now = start
        if learning and skips_unchanged(self.config):
            now += scan.comparison.cycles(i)
            left *= scan.comparison.differs(i)
        while True:
            now += 1
            held = walk_ends < now < held_until or learning and (fetch_request or hold_memory)
            valid = walker.commands > 0 and not (held or walker.waits)
            room = walker.begin(valid, now)
            scanning = left > 0 or waiting or pending > 0 or walker.waiting
            if valid:
                self._last = now
            if not ready and not scanning and (not walker.commands or walker.last):
                ready = now
            if not scanning and not walker.commands:
                return now, ready
            sends = pending > 0 and room
            load = mask_ready and (pending == 0 or room and pending == 1)
            hold = fetch_request or waiting and not load
            rest = num_waiting if load else pending - sends
            if fetch_request:
                next_request = left != 1 and spiking and rest == 0
            elif learning:
                next_request = left != 0 and pending == 0 and not waiting
            else:
                next_request = left != 0 and (not waiting or load)
            walker.end(valid, sends, scan.commands[group] if sends else 0, first=first)
            first = first and not sends
            if load:
                group = following - 1
                first = first or scan.moves(group)
            pending = rest
            hold_memory = fetch_request or hold and not learning
            mask_ready = hold if spiking else waiting and not load
            waiting = hold
            if fetch_request:
                num_waiting = scan.events[following]
                following += 1
                left -= 1
            fetch_request = next_request
