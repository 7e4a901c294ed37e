"""Simulated board: the complete design, with its pins, behind a pseudo-terminal or a UDP port.

    host program <-- pseudo-terminal --> bytes <-- link peer --> pins of equilif_hdl.top.Top, in Verilator
    host program <-- UDP port --> frames of Ethernet <-- link peer --> pins

The design is simulated cycle by cycle, including the transport; the clock stops while both sides are idle.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import select
import socket
import tty
from importlib.metadata import version
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

import equilif_golden
import equilif_hdl
from equilif_golden.engine.config import EngineConfig
from equilif_golden.extras import needs
from equilif_golden.link.flash import Area
from equilif_golden.link.protocol import END, FRAME_BYTES, MAX_SAMPLES, slip, unslip
from equilif_golden.link.udp import Station, datagram, opened
from equilif_golden.sdram import ClockedSdram
from equilif_hdl.front_end.listener import Microphone
from equilif_hdl.front_end.sensor import Adc
from equilif_hdl.link.transport import Transport
from equilif_hdl.link.uart import MIN_DIVISOR, Uart
from equilif_hdl.link.udp import Udp
from equilif_hdl.top import Top
from equilif_sim.engine.external import WithSdram
from equilif_sim.flash_chip import CHIP, NO_CHIP, content_of
from equilif_sim.library import cache_dir, compiled, is_stored, require, store
from equilif_sim.link_peer import link_peer
from equilif_sim.microphone import NO_MICROPHONE, adc_model, microphone_model
from equilif_sim.sdram_chip import WORDS, violations

with needs("hdl,sim"):
    from amaranth.back import verilog
    from amaranth.lib.wiring import Component

DRIVER = r"""
#include "Vboard.h"
#include "verilated.h"
#include <cstdint>
#include <memory>
#include <vector>
LINK_PEER
CHIP
MICROPHONE
struct Board {
    VerilatedContext context;
    std::unique_ptr<Vboard> top;
    LinkPeer line;
    Chip chip;
    Microphone microphone;
    uint64_t cycles = 0;
    uint64_t quiet = 0;     // cycles since anything was going on
    bool answered = true;   // the last thing on the line was the end of a reply
    bool spoiled = false;   // the next byte to the board will be
    Board() : top(new Vboard(&context)) {
        line.reset(*top);
        top->rst = 1;
        tick();
        tick();
        top->rst = 0;
    }
    // reset, as by a button: registers are as at power-up, memories are not
    void reset() {
        line = LinkPeer();
        line.reset(*top);
        answered = true;
        top->rst = 1;
        tick();
        top->rst = 0;
    }
    void tick() {
        chip.before(*top);
        microphone.before(*top);
        top->clk = 0;
        top->eval();
        top->clk = 1;
        top->eval();
        chip.after(*top);
        microphone.after(*top);
        cycles++;
    }
};
extern "C" {
Board *board_new() { return new Board; }
void board_free(Board *b) {
    Verilated::threadContextp(&b->context);     // the destructor uses the thread's context
    delete b;
}
void board_reset(Board *b) { b->reset(); }
void board_spoil(Board *b) { b->spoiled = true; }
void board_cut(Board *b) { b->chip.cut(); }
void board_flash(Board *b, uint8_t *content) { b->chip.content = content; }
unsigned board_violation(Board *b) { return VIOLATION; }
int board_active(Board *b) { return b->chip.active(*b->top); }
int board_fault(Board *b) { return b->chip.fault(*b->top); }
void board_play(Board *b, const uint8_t *bits, uint64_t n) { b->microphone.play(bits, n); }
uint64_t board_left(Board *b) { return b->microphone.left(); }
uint64_t board_idle(Board *b) { return b->microphone.idle; }
void board_button(Board *b, int learn, int label) { b->microphone.button(learn, label); }
void board_wait(Board *b, uint64_t cycles) { while (cycles--) b->tick(); }
int board_text(Board *b, uint8_t *out, int room) { return b->microphone.take(out, room); }
uint64_t board_cycles(Board *b) { return b->cycles; }
// Runs until a reply ends, nothing more can come, the bits of the microphone end, or `room` or `max_cycles`
// cycles are used up.
// Returns whether nothing more can come.
int board_run(
    Board *b, const uint8_t *in, int n_in, int *taken, uint8_t *out, int room, int *n_out, uint64_t max_cycles
) {
    *taken = 0;
    *n_out = 0;
    bool playing = b->microphone.left();
    for (uint64_t k = 0; k < max_cycles && *n_out < room; k++) {
        while (b->line.ready() && *taken < n_in) {
            b->line.send(in[(*taken)++], !b->spoiled);
            b->spoiled = false;
            b->answered = false;
        }
        b->line.before(*b->top);
        b->tick();
        uint8_t byte;
        if (b->line.after(*b->top, byte)) {
            out[(*n_out)++] = byte;
            b->answered = byte == END;
            if (b->answered) return 0;
        }
        if (playing && !b->microphone.left()) return 0;
        b->quiet = !b->line.idle() || b->top->busy || b->chip.active(*b->top)
                || b->microphone.left() ? 0 : b->quiet + 1;
        // after a reply at most an OVERRUN follows, and at once; before one a whole frame may be walked twice
        if (b->quiet > (b->answered ? 64 + LinkPeer::gap : 300000)) return 1;
    }
    return 0;
}
}
"""

#: the minimum of clock cycles per bit
FASTEST = Uart(MIN_DIVISOR)
#: see equilif_hdl.link.standalone.StandaloneTrainer: a host retries a refused frame within 100,000 cycles
IDLE_TIMEOUT_BITS = 17
CHUNK = 20_000  #: cycles between polls of the terminal
ROOM = 4096
#: longer than a word of the live controller, in cycles
REST_CYCLES = 300_000
LOCALHOST = "127.0.0.1"
#: of all host programs of a simulated network
HOST_MAC = bytes.fromhex("020000000001")
#: IPv4 address and UDP port
Address = tuple[str, int]


def _sources() -> list[str]:
    """Source files of the design, for the build ID."""
    files = [
        path
        for package in (equilif_golden, equilif_hdl)
        for folder in package.__path__
        for path in sorted(Path(folder).rglob("*.py"))
    ]
    return [version("amaranth"), *(f"{path.name}\0{path.read_text()}" for path in files)]


class SimulatedBoard:
    """A running design; usable as a port of equilif.host.client without a terminal.

    Other arguments: see equilif_hdl.top.Top.
    """

    variant = ""  #: of a design other than Top: identifies its source

    def __init__(
        self,
        config: EngineConfig,
        *,
        transport: Transport = FASTEST,
        state_ram: str | None = None,
        frame_bytes: int = FRAME_BYTES,
        max_samples: int = MAX_SAMPLES,
        flash: Area | None = None,
        flash_file: Path | None = None,
        idle_timeout_bits: int = IDLE_TIMEOUT_BITS,
        build_id: int | None = None,
        front_end: Microphone | Adc | None = None,
        sdram: ClockedSdram | None = None,
    ):
        """``build_id``: default: a hash of the sources and sizes of the design.  ``flash_file``: file of the
        flash content, which survives this process; default: in memory.
        """
        arguments: dict[str, Any] = {
            "transport": transport,
            "state_ram": state_ram,
            "frame_bytes": frame_bytes,
            "max_samples": max_samples,
        }
        if flash is not None:
            arguments |= {"flash": flash, "idle_timeout_bits": idle_timeout_bits}
        if front_end is not None:
            arguments["front_end"] = front_end
        if sdram is not None:
            arguments["sdram"] = sdram
        self.adc = front_end if isinstance(front_end, Adc) else None
        ingredients = [*_sources(), repr(config), repr(arguments), repr(build_id), self.variant]
        key = hashlib.sha256("\0".join(ingredients).encode()).hexdigest()[:16]
        self.transport = transport
        self.config = config
        self.build_id = int(key[:8], 16) if build_id is None else build_id
        driver = DRIVER.replace("LINK_PEER", f"const uint8_t END = {END};\n{link_peer(transport)}")
        driver = driver.replace("CHIP", NO_CHIP if flash is None else CHIP)
        driver = driver.replace("MICROPHONE", self._source(front_end))
        driver = driver.replace("VIOLATION", "b->top->violation" if sdram or config.external else "0")
        text = cache_dir() / "verilog" / f"{key}.v"  # elaboration takes seconds
        if not is_stored(text):
            require(text)
            top = self._design(build_id=self.build_id, **arguments)
            design = verilog.convert(top, name="board", emit_src=False)
            store(text, (design + WORDS if sdram or config.external else design).encode())
        self._lib: Any = ctypes.CDLL(str(self._compiled(text.read_text(), driver)))
        self._lib.board_new.restype = ctypes.c_void_p
        self._lib.board_cycles.restype = ctypes.c_uint64
        self._lib.board_left.restype = ctypes.c_uint64
        self._lib.board_idle.restype = ctypes.c_uint64
        #: content of the chip
        self.flash = None if flash is None else content_of(flash_file)
        self._board = ctypes.c_void_p(self._lib.board_new())
        if self.flash is not None:
            self._content = (ctypes.c_uint8 * len(self.flash)).from_buffer(self.flash)
            self._lib.board_flash(self._board, self._content)
        self._out = (ctypes.c_uint8 * ROOM)()
        self._waiting = b""
        self._ready = b""

    def _design(self, **arguments: Any) -> Component:
        """The design; its module is named board."""
        top = Top(self.config, **arguments)
        sdram = arguments.get("sdram") or self.config.external
        return WithSdram(top, sdram) if sdram else top

    def _source(self, front_end: Microphone | Adc | None) -> str:
        """C++ of the microphone or ADC."""
        if isinstance(front_end, Adc):
            return adc_model(front_end)
        return NO_MICROPHONE if front_end is None else microphone_model(front_end)

    def _compiled(self, text: str, driver: str) -> Path:
        return compiled("board", text, driver)

    def __del__(self) -> None:
        if getattr(self, "_board", None):
            self._lib.board_free(self._board)

    @property
    def cycles(self) -> int:
        """Clock cycles so far."""
        return int(self._lib.board_cycles(self._board))

    def run(self, data: bytes) -> tuple[int, bytes, bool]:
        """Send ``data`` to the board; returns the number of bytes sent, the bytes received, and whether the
        board waits for more.
        """
        taken = ctypes.c_int()
        n = ctypes.c_int()
        idle = self._lib.board_run(
            self._board,
            data,
            len(data),
            ctypes.byref(taken),
            self._out,
            ROOM,
            ctypes.byref(n),
            ctypes.c_uint64(CHUNK),
        )
        return taken.value, bytes(self._out[: n.value]), bool(idle)

    @property
    def violations(self) -> list[str]:
        """Rules of the SDRAM that were violated."""
        return violations(self._lib.board_violation(self._board))

    @property
    def active(self) -> bool:
        """Whether the standalone trainer is active."""
        return bool(self._lib.board_active(self._board))

    @property
    def fault(self) -> bool:
        """Whether the standalone trainer stopped with a fault."""
        return bool(self._lib.board_fault(self._board))

    def work(self, max_cycles: int = 1 << 40) -> bytes:
        """Run until the standalone trainer stops; returns the bytes received.  RuntimeError if it is still
        active after ``max_cycles``.
        """
        first = self.cycles
        output = b""
        while self.active:
            output += self.run(b"")[1]
            if self.cycles - first > max_cycles:
                raise RuntimeError(f"the trainer is still active after {max_cycles} cycles")
        return output

    def play(self, bits: npt.NDArray[np.uint8]) -> None:
        """Bits of the microphone, or bytes of the readings of an ADC, from now on; :meth:`run` and
        :meth:`listen` take them.
        """
        self._bits = np.ascontiguousarray(bits, np.uint8)
        pointer = self._bits.ctypes.data_as(ctypes.c_void_p)
        self._lib.board_play(self._board, pointer, ctypes.c_uint64(len(self._bits)))

    def button(self, pressed: bool, label: int = 0) -> None:
        """Pins of the learn button and of the label from now on."""
        self._lib.board_button(self._board, int(pressed), label)

    @property
    def idle_bits(self) -> int:
        """Number of bits of the microphone that :meth:`play` did not give: 0, 1, 0, 1 .., silence."""
        return int(self._lib.board_idle(self._board))

    @property
    def answers(self) -> bytes:
        """Text of the live controller since the last call."""
        n = self._lib.board_text(self._board, self._out, ROOM)
        return bytes(self._out[:n])

    def listen(self, bits: npt.NDArray[np.uint8]) -> bytes:
        """Play ``bits``, and return the answers."""
        self.play(bits)
        while self._lib.board_left(self._board):
            self.run(b"")
        return self.answers

    def play_readings(self, readings: npt.NDArray[np.int64]) -> None:
        """Play readings (n, channels) of an ADC, from the next one of channel 0 on."""
        self.play(np.ascontiguousarray(readings, "<u2").view(np.uint8).ravel())

    def finish(self, cycles: int = 0) -> None:
        """Run until what is played has ended, and ``cycles`` more."""
        while self._lib.board_left(self._board):
            self.run(b"")
        self._lib.board_wait(self._board, ctypes.c_uint64(cycles))

    def rest(self, cycles: int = REST_CYCLES) -> None:
        """Run until the trainer has not been active for ``cycles``: the end of a lesson, between whose rounds
        the engine runs.
        """
        end = self.cycles + cycles
        while self.cycles < end:
            self.finish(1000)
            if self.active:
                end = self.cycles + cycles

    def step(self, cycles: int) -> None:
        """Run ``cycles``, or until a reply is received."""
        n = ctypes.c_int()
        taken = ctypes.c_int()
        self._lib.board_run(
            self._board,
            self._waiting,
            len(self._waiting),
            ctypes.byref(taken),
            self._out,
            ROOM,
            ctypes.byref(n),
            ctypes.c_uint64(cycles),
        )
        self._waiting = self._waiting[taken.value :]
        self._ready += bytes(self._out[: n.value])

    def reset(self) -> None:
        """Reset: registers as at power-up; memories and flash are kept."""
        self._lib.board_reset(self._board)
        self._waiting = b""
        self._ready = b""

    def cut(self, cycles: int) -> None:
        """Power cut after ``cycles``: a flash operation remains incomplete."""
        self.step(cycles)
        self._lib.board_cut(self._board)
        self.reset()

    def spoil(self) -> None:
        """Damage the next byte to the board."""
        self._lib.board_spoil(self._board)

    def write(self, data: bytes, /) -> int:
        self._waiting += data
        return len(data)

    def read(self, size: int = 1, /) -> bytes:
        idle = False
        while not self._ready and not idle:
            taken, self._ready, idle = self.run(self._waiting)
            self._waiting = self._waiting[taken:]
            # a standalone trainer never becomes idle: limit the wait for a reply
            idle = idle or self.active and not self._waiting
        out, self._ready = self._ready[:size], self._ready[size:]
        return out


class Terminal:
    """A pseudo-terminal that is connected to a board.

    ``path``: device file for a host program.  :meth:`serve` runs the board until :meth:`stop`, called from
    another thread or a signal handler.
    """

    def __init__(self, board: SimulatedBoard):
        self.board = board
        # keep the other end open, else the terminal hangs up when a host program ends
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self._wake, self._stopper = os.pipe()
        self.path = os.ttyname(self._theirs)

    def serve(self) -> None:
        waiting = b""
        idle = True
        while True:
            # flow control for a fast host: the buffer of the terminal
            listening = [self._ours, self._wake] if len(waiting) < ROOM else [self._wake]
            ready, _, _ = select.select(listening, [], [], None if idle and not waiting else 0)
            if self._wake in ready:
                return
            if ready:
                waiting += os.read(self._ours, ROOM)
            taken, out, idle = self.board.run(waiting)
            waiting = waiting[taken:]
            while out and select.select([], [self._ours], [], 1.0)[1]:
                # bytes to a host that does not read are lost, as on a wire
                out = out[os.write(self._ours, out) :]

    def stop(self) -> None:
        os.write(self._stopper, b"\0")

    def close(self) -> None:
        for fd in (self._ours, self._theirs, self._wake, self._stopper):
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BoardNetwork:
    """The network of a board: datagrams of host programs.  ValueError for another link than UDP.

    The bytes of such a board are frames of Ethernet, each encoded by SLIP.
    """

    def __init__(self, board: SimulatedBoard):
        if not isinstance(board.transport, Udp):
            raise ValueError(f"a board with {board.transport} has no UDP port: choose the link udp")
        self.board = board
        self.station = board.transport.station
        self._received = b""

    def frame(self, payload: bytes, sender: Address) -> bytes:
        """Bytes of a datagram to the board."""
        ip, port = sender
        return slip(datagram(Station(HOST_MAC, IPv4Address(ip).packed, port), self.station, payload))

    def datagrams(self, line: bytes) -> list[tuple[bytes, Address]]:
        """Payloads and receivers of the complete datagrams in bytes of the board, and in those before."""
        *frames, self._received = (self._received + line).split(bytes([END]))
        found = [opened(unslip(frame)[0]) for frame in frames]
        return [(f[2], (str(IPv4Address(f[1].ip)), f[1].port)) for f in found if f is not None]


class Cable:
    """A host program in this process: a socket as of equilif.host.udp.Datagrams."""

    refused = False

    def __init__(self, network: BoardNetwork, address: Address = ("192.168.1.7", 40123)):
        self.network = network
        self.address = address
        self._waiting: list[bytes] = []

    def send(self, payload: bytes, /) -> int:
        self.network.board.write(self.network.frame(payload, self.address))
        return len(payload)

    def receive(self, seconds: float) -> bytes | None:
        """The next datagram; None when the board waits for more."""
        while not self._waiting:
            line = self.network.board.read(ROOM)
            if not line:
                return None
            self._waiting = [payload for payload, to in self.network.datagrams(line) if to == self.address]
        return self._waiting.pop(0)

    def close(self) -> None:
        """Do nothing."""


class Server:
    """A UDP port of this computer that is connected to a board; otherwise as Terminal."""

    def __init__(self, network: BoardNetwork, port: int):
        self.network = network
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((LOCALHOST, port))
        except OSError as e:
            self._socket.close()
            raise OSError(f"UDP port {port} cannot be used ({e.strerror}): choose another one") from e
        self._socket.setblocking(False)
        self._wake, self._stopper = os.pipe()
        self.path = f"udp://{LOCALHOST}:{self._socket.getsockname()[1]}"

    def serve(self) -> None:
        waiting = b""
        idle = True
        while True:
            ends: list[Any] = [self._socket, self._wake]
            ready, _, _ = select.select(ends, [], [], None if idle and not waiting else 0)
            if self._wake in ready:
                return
            if ready:
                payload, sender = self._socket.recvfrom(ROOM)
                if len(waiting) < ROOM:  # else lost, as in a network
                    waiting += self.network.frame(payload, sender)
            taken, out, idle = self.network.board.run(waiting)
            waiting = waiting[taken:]
            for payload, receiver in self.network.datagrams(out):
                with contextlib.suppress(OSError):  # a program that has ended
                    self._socket.sendto(payload, receiver)

    def stop(self) -> None:
        os.write(self._stopper, b"\0")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        os.close(self._wake)
        os.close(self._stopper)
