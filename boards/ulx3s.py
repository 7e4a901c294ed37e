"""ULX3S with LFE5U-85F.  Weights in block RAM, neuron state in distributed RAM."""
from __future__ import annotations

from amaranth_boards.ulx3s import ULX3S_85F_Platform

from boards.board import Board
from boards.clock import Ecp5Pll
from golden.isa import EngineConfig

ULX3S_85F = Board(
    name="ulx3s-85f", title="ULX3S 85F (Lattice ECP5 LFE5U-85F)", platform=ULX3S_85F_Platform,
    clock=Ecp5Pll, clock_hz=45e6, baud=1_500_000, frame_bytes=4096,
    config=EngineConfig(lanes=16, tiles=768, value_groups=128, state_groups=32, weight_stages=2, program_words=1024),
    network=(784, 224, 10),
    state_ram="distributed",
    after_read=("setparam -set COLLISION_X_MASK 1'b1 t:$memrd_v2",),    # no reader uses what it read from a word that was being written
    nextpnr_opts="--router router2",         # router1 did not converge: the address lines of 192 block RAMs cross the whole die
    leds=(("led", 0), ("led", 1)),
    loader="ulx3s",
    high=("uart_tx_enable",),
)
