"""A board without a board: ``equilif simulate``."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from equilif.extras import needs
from equilif.results import ToolFailed
from equilif_boards import Board
from equilif_hdl.top import uart_divisor

with needs("hdl,sim"):
    from amaranth._toolchain import ToolNotFound
    from amaranth.back.verilog import YosysError

    from equilif_hdl.link.uart import SMALLEST_DIVISOR
    from equilif_sim import board as simulation
    from equilif_sim.verilated import BuildFailed


class Simulated:
    """The design of a board in simulation; ``baud`` as on its UART, or the fastest there is."""

    def __init__(self, board: Board, baud: int | None = None):
        self.clock_hz = board.clock_hz
        self.divisor = uart_divisor(board.clock_hz, baud) if baud else SMALLEST_DIVISOR
        try:
            self.board = simulation.Board(
                board.config, divisor=self.divisor, state_ram=board.state_ram, frame_bytes=board.frame_bytes
            )
        except (BuildFailed, YosysError, ToolNotFound) as e:
            raise ToolFailed(str(e)) from e
        except FileNotFoundError as e:  # make, the C++ compiler
            raise ToolFailed(f"{e.filename} is not installed; Verilator's output is compiled with it") from e

    @property
    def build_id(self) -> int:
        return self.board.build_id

    def serve(self, link: Path | None, ready: Callable[[str], None]) -> dict[str, Any]:
        """Until SIGINT or SIGTERM.

        ``ready`` gets the port's path; ``link`` becomes a symbolic link to it, for that time.
        """
        with simulation.Terminal(self.board) as terminal:
            if link:
                if link.exists() and not link.is_symlink():
                    raise ValueError(f"{link} is a file: choose another name for --link")
                link.unlink(missing_ok=True)
                link.symlink_to(terminal.path)
            before = {
                s: signal.signal(s, lambda *_: terminal.stop()) for s in (signal.SIGINT, signal.SIGTERM)
            }
            start = time.monotonic()
            try:
                ready(str(link or terminal.path))
                terminal.serve()
            finally:
                for s, handler in before.items():
                    signal.signal(s, handler)
                if link:
                    link.unlink(missing_ok=True)
        return {
            "port": terminal.path,
            "cycles": self.board.cycles,
            "board_seconds": self.board.cycles / self.clock_hz,
            "seconds": time.monotonic() - start,
        }
