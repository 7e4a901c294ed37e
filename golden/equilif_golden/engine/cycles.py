"""How many cycles a run takes, exactly: the engine's control, without its data.

    fetch --> queue --> dispatcher --> scanner --> walker --> lanes
     3 cycles           one at a time   events     commands   empty some cycles after the last command

:class:`Timekeeper` is told what happens, instruction by instruction, and keeps the cycle in which each part
of the engine is free again.  EngineModel counts with it.  Benches compare the count with the RTL's, and the
two must be equal (tests/engine/test_engine.py).  What happens in which stage of the lanes is in
equilif_hdl.engine.stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from equilif_golden.blocks.softmax import RECIPROCAL
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.geometry import Geometry
from equilif_golden.engine.isa import SCAN, WALK, WORDS, Instruction, Op
from equilif_golden.engine.memories import skips_unchanged

#: cycles from the start of a run, or from a jump, to a complete instruction
FIRST = WORDS + 2
#: stage of the lanes in which SOFTMAX takes a drive
PRESCALED = 4
#: last stage of the lanes, in which STEP writes, without the registers of the neuron
STEP = 5
#: a scan that is taken finds the spikes that are written by so many cycles later
READS = 2
#: and leaves the lanes the operands of the instruction before for so many
SHORTEST = 6
#: cycles of an exponential, without its registers; of its product; and of the division in SOFTMAX
EXPONENTIAL = 2
PRODUCT = 2
DIVISION = RECIPROCAL + 4
#: cycles in which the steps of a geometry are worked out
GEOMETRY = 13


class Flow(Enum):
    """What the sequencer does with an instruction."""

    WAITS = "waits until all is executed"
    ISSUED = "handed on, and executed"
    PASSED = "carried out by the sequencer, which goes on with the next one"
    JUMPED = "carried out by the sequencer, which goes on at the start of a loop"


def writes_after(config: EngineConfig) -> int:
    """Cycles from a command of LEARN to the first that reads what it has written."""
    return 2 if config.single_port else 5 + config.registers.weight_read


class Scan(NamedTuple):
    """A scan: its instruction, and for each group of its source the events and the commands of an event."""

    i: Instruction
    events: Sequence[int]
    commands: Sequence[int]
    geometry: Geometry | None

    def moves(self, group: int) -> bool:
        """The group is the first one of a position, and not of the first position."""
        geometry = self.geometry or self.i.dense
        return group > 0 and group % (geometry.post if self.i.backwards else geometry.pre) == 0


class Walker:
    """The walker during a scan, and the event that waits for it."""

    def __init__(self, scan: Scan, config: EngineConfig):
        geometry = scan.geometry
        self.argmax = scan.i.op == Op.ARGMAX  #: which takes events itself, one a cycle
        self.offered = False  #: an event waits
        self.commands = 0  #: that the present event has left
        self.last = False  #: this cycle's command is its last
        self.takes = False  #: an event that waits is taken in this cycle
        self._n = 0  #: commands of the event that waits
        self._first = False  #: it is the first one of a position
        #: cycles from a command of LEARN to the next that may be on the same weights
        self._apart = writes_after(config) if geometry is not None and scan.i.op == Op.LEARN else 0
        self._since = self._apart  #: cycles since the last command
        #: commands after which LEARN comes to the same weights within an event
        self._run = geometry.post if geometry is not None and not geometry.stride else 0
        self._in_run = 0  #: commands since

    @property
    def waits(self) -> bool:
        """The next command is on weights that may not be written."""
        return bool(self._run and self._in_run == self._run and self._since < self._apart)

    def begin(self, valid: bool) -> bool:
        """A cycle, with a command or without; whether the scanner can send an event in it."""
        self.last = valid and self.commands == 1
        free = not self.commands or self.last
        self.takes = self.argmax or free and not (self._first and (valid or self._since < self._apart))
        return not self.offered or self.takes

    def end(self, valid: bool, sends: bool, n: int, *, first: bool) -> None:
        """What the next cycle begins with.  ``n``, ``first``: commands of the event that is sent, and
        whether it is the first one of its position.
        """
        if valid:
            self.commands -= 1
            self._in_run = self._in_run % self._run + 1 if self._run else 0
        self._since = 1 if valid else self._since + 1
        if self.offered and self.takes and not self.argmax:
            self.commands = self._n
            self._in_run = 0
        self.offered = sends or self.offered and not self.takes
        if sends:
            self._n = n
            self._first = first and self._apart > 0


class Timekeeper:
    """Cycles of one run.  Cycle 0 is that of ``host.start``."""

    def __init__(self, config: EngineConfig):
        self.config = config
        registers = config.registers
        self._lead = registers.weight_read + registers.butterfly
        self._step = STEP + registers.neuron
        self._queue = registers.queue
        self._complete = FIRST  #: the next instruction is complete
        self._taken: list[int] = []  #: by the dispatcher, the last ones
        self._ready = 0  #: the dispatcher can take the next instruction
        self._before: Instruction | None = None  #: the last one that was executed
        self._free = 0  #: scanner and walker have nothing left to do
        self._first = 0  #: the first command of ``_before`` was issued, if that is a walk
        self._idle = 0  #: all is executed
        self._last = 0  #: a command was issued
        self._known = 0  #: the steps of a geometry are known, if the last instruction is CONVOLVE

    def pass_by(self, flow: Flow) -> None:
        """What is not executed."""
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
    ) -> None:
        """``events``: how many lanes of each group of its source take part, of a scan.

        ``commands``, ``geometry``: behind CONVOLVE, groups that an event of each of them goes to; what
        CONVOLVE says.
        """
        done = self._complete
        if len(self._taken) >= self._queue > 0:
            done = max(done, self._taken[-self._queue] + 1)
        available = done + (self._queue > 0)
        taken = max(available, self._known, min(self._ready, self._early(i)))
        if not self._queue:
            done = taken
        self._taken = [*self._taken[-self._queue :], taken]
        self._complete = done + WORDS
        start = taken + 1
        if i.op == Op.CONVOLVE:
            self._known = taken + GEOMETRY
            return
        if i.op in SCAN:
            scan = Scan(i, events, commands or [i.n_dst] * i.n_src, geometry)
            self._scan(scan, start)
        elif i.op == Op.SOFTMAX:
            self._softmax(i, start)
        else:
            self._first = start + 1
            self._last = start + i.n_dst
            self._walked(self._last + 1)
            if i.op == Op.NUDGE:
                self._ready = self._last
        self._before = i

    def halt(self) -> int:
        """Cycles of the run."""
        return max(self._complete + 1, self._idle)

    def _walked(self, free: int) -> None:
        """Scanner and walker are free from this cycle on."""
        empty = self._last + self._lead + self._step
        self._free = free
        self._ready = max(free, empty)
        self._idle = max(free, empty + 1)

    def _early(self, i: Instruction) -> int:
        """When a scan can be taken that need not wait until the lanes are empty."""
        before = self._before
        if before is None or i.op in WALK or self.config.single_port:
            return self._ready
        scan_may_start = max(self._free, self._last + self._lead + self._step - SHORTEST)
        if before.op in (Op.MARK, Op.LEARN):
            return scan_may_start
        if i.op == Op.GATHER and before.op == Op.STEP and i.src == before.dst:
            return max(scan_may_start, self._first + self._lead + self._step - READS)
        if i.op != Op.GATHER and before.op in (Op.STEP, Op.RESET):
            return scan_may_start
        return self._ready

    def _softmax(self, i: Instruction, start: int) -> None:
        """Three walks, each of which runs empty through lanes and trees; a division before the last."""
        levels = (self.config.lanes - 1).bit_length()
        registers = self.config.registers
        flight = EXPONENTIAL + registers.exponential + max(levels, PRODUCT) + 1
        through = self._lead + max(PRESCALED + flight, self._step + 1 + registers.exponential)
        again = start
        for walk in range(3):
            self._last = again + i.n_dst
            again = self._last + through
            if walk == 1:
                again += DIVISION + 1
        self._walked(again + 1)

    def _scan(self, scan: Scan, start: int) -> None:
        simulate = self._direct_scan if self.config.single_port else self._buffered_scan
        free, ready = simulate(scan, start)
        self._walked(free)
        if scan.i.op in (Op.DRIVE, Op.GATHER):
            self._ready = ready

    def _direct_scan(self, scan: Scan, start: int) -> tuple[int, int]:
        """Scanner that sends events straight from the memory outputs.

        Returns the cycles in which scanner and walker are free, and in which the next instruction can begin
        if it need not wait for the lanes.
        """
        i = scan.i
        walker = Walker(scan, self.config)
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
            room = walker.begin(valid)
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
        """Scanner that sends events from a copy of the group; returns as :meth:`_direct_scan`."""
        i = scan.i
        walker = Walker(scan, self.config)
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
            now += i.n_dst + 1
        while True:
            now += 1
            scanning = left > 0 or waiting or pending > 0 or walker.offered
            valid = walker.commands > 0 and not (learning and (fetch_request or hold_memory) or walker.waits)
            room = walker.begin(valid)
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
