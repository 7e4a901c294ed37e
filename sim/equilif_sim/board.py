"""A board in simulation: the complete design, pins and all, behind a pseudo-terminal.

    host program <-- pseudo-terminal --> bytes <-- start, 8 bits, stop --> rx, tx of equilif_hdl.top.Top,
    compiled by Verilator

What a board has in its FPGA is simulated cycle by cycle, the UART too; only the clock stands still while
neither side has anything to say.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import select
import tty
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from amaranth.back import verilog

import equilif_golden
import equilif_hdl
from equilif_golden.engine.config import EngineConfig
from equilif_golden.link.protocol import FRAME_BYTES
from equilif_hdl.link.uart import SMALLEST_DIVISOR
from equilif_hdl.top import Top
from equilif_sim.library import cache_dir, compiled, keep, kept, require

DRIVER = r"""
#include "Vboard.h"
#include "verilated.h"
#include <cstdint>
#include <memory>
// one bit lasts `divisor` cycles on both sides; frames of 10 bits, low bit first
struct Board {
    VerilatedContext context; std::unique_ptr<Vboard> top; const int divisor; uint64_t cycles = 0, quiet = 0;
    int sending = 0, send_timer = 0, receiving = 0, receive_timer = 0; unsigned send_bits = 0, received = 0;
    bool answered = true;
    Board(int divisor) : top(new Vboard(&context)), divisor(divisor) {
        top->rx = 1; top->rst = 1; tick(); tick(); top->rst = 0;
    }
    void tick() { top->clk = 0; top->eval(); top->clk = 1; top->eval(); cycles++; }
};
extern "C" {
Board *board_new(int divisor) { return new Board(divisor); }
void board_free(Board *b) { Verilated::threadContextp(&b->context); delete b; }    // the destructor uses the thread's context
uint64_t board_cycles(Board *b) { return b->cycles; }
// Runs until a reply ends, nothing more can come, `room` or `most` cycles are used up.  Returns whether nothing more can come.
int board_run(Board *b, const uint8_t *in, int n_in, int *taken, uint8_t *out, int room, int *n_out, uint64_t most) {
    *taken = *n_out = 0;
    for (uint64_t k = 0; k < most && *n_out < room; k++) {
        if (b->sending && !--b->send_timer) { b->sending--; b->send_bits >>= 1; b->send_timer = b->divisor; }
        if (!b->sending && *taken < n_in) {
            b->send_bits = 0x200u | in[(*taken)++] << 1; b->sending = 10; b->send_timer = b->divisor; b->answered = false;
        }
        b->top->rx = b->sending ? b->send_bits & 1 : 1;
        b->tick();
        if (b->receiving) {
            if (!--b->receive_timer) {
                b->receive_timer = b->divisor;
                if (--b->receiving) b->received = b->received >> 1 | b->top->tx << 7;
                else {
                    out[(*n_out)++] = b->received;
                    b->answered = b->received == 0xC0;
                    if (b->answered) return 0;
                }
            }
        } else if (!b->top->tx) { b->receiving = 9; b->receive_timer = b->divisor + b->divisor / 2; b->received = 0; }
        b->quiet = b->sending || b->receiving || b->top->busy ? 0 : b->quiet + 1;
        // after a reply at most an OVERRUN follows, and at once; before one a whole frame may be walked twice
        if (b->quiet > (b->answered ? 64 + b->divisor : 300000)) return 1;
    }
    return 0;
}
}
"""

CHUNK = 50_000  #: cycles between two looks at the terminal
ROOM = 4096


def _sources() -> list[str]:
    """All that the design is made of."""
    files = [
        path
        for package in (equilif_golden, equilif_hdl)
        for folder in package.__path__
        for path in sorted(Path(folder).rglob("*.py"))
    ]
    return [version("amaranth"), *(f"{path.name}\0{path.read_text()}" for path in files)]


class Board:
    """The design of one board, running; a port for equilif.host.client by itself, without a terminal.

    Other arguments: see equilif_hdl.top.Top.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        divisor: int = SMALLEST_DIVISOR,
        state_ram: str | None = None,
        frame_bytes: int = FRAME_BYTES,
        build_id: int | None = None,
    ):
        """``divisor``: cycles a bit, the fewest by default; ``build_id``: by default a hash of the design's
        sources and sizes.
        """
        arguments: dict[str, Any] = {
            "clock_hz": divisor,
            "baud": 1,
            "state_ram": state_ram,
            "frame_bytes": frame_bytes,
        }
        key = hashlib.sha256(
            "\0".join([*_sources(), repr(config), repr(arguments), repr(build_id)]).encode()
        ).hexdigest()[:16]
        self.config = config
        self.divisor = divisor
        self.build_id = int(key[:8], 16) if build_id is None else build_id
        text = cache_dir() / "verilog" / f"{key}.v"  # elaboration takes seconds
        if not kept(text):
            require(text)
            top = Top(config, build_id=self.build_id, **arguments)
            keep(text, verilog.convert(top, name="board", emit_src=False).encode())
        self._lib: Any = ctypes.CDLL(str(compiled("board", text.read_text(), DRIVER)))
        self._lib.board_new.restype = ctypes.c_void_p
        self._lib.board_cycles.restype = ctypes.c_uint64
        self._board = ctypes.c_void_p(self._lib.board_new(divisor))
        self._out = (ctypes.c_uint8 * ROOM)()
        self._waiting = b""
        self._ready = b""

    def __del__(self) -> None:
        if getattr(self, "_board", None):
            self._lib.board_free(self._board)

    @property
    def cycles(self) -> int:
        """Clock cycles so far."""
        return int(self._lib.board_cycles(self._board))

    def run(self, data: bytes) -> tuple[int, bytes, bool]:
        """Some of ``data`` goes into rx: how many bytes of it, what came out of tx, and whether the board
        now waits for more.
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

    def write(self, data: bytes, /) -> int:
        self._waiting += data
        return len(data)

    def read(self, size: int = 1, /) -> bytes:
        idle = False
        while not self._ready and not idle:
            taken, self._ready, idle = self.run(self._waiting)
            self._waiting = self._waiting[taken:]
        out, self._ready = self._ready[:size], self._ready[size:]
        return out


class Terminal:
    """A pseudo-terminal with a board at its end.

    ``path`` is what a host program opens.  :meth:`serve` runs the board until :meth:`stop`, called from
    another thread or a signal handler.
    """

    def __init__(self, board: Board):
        self.board = board
        # the far end stays open here, else the terminal would hang up whenever a host program ends
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self._wake, self._stopper = os.pipe()
        self.path = os.ttyname(self._theirs)

    def serve(self) -> None:
        waiting = b""
        idle = True
        while True:
            # a host that sends faster than the board takes is held up by the terminal's own buffer
            listening = [self._ours, self._wake] if len(waiting) < ROOM else [self._wake]
            ready, _, _ = select.select(listening, [], [], None if idle and not waiting else 0)
            if self._wake in ready:
                return
            if ready:
                waiting += os.read(self._ours, ROOM)
            taken, out, idle = self.board.run(waiting)
            waiting = waiting[taken:]
            while out and select.select([], [self._ours], [], 1.0)[1]:
                # to a host that does not listen bytes are lost, as on a wire
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
