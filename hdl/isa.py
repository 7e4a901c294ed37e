"""golden.isa's instruction table as Amaranth layouts."""
from __future__ import annotations

from amaranth import Shape
from amaranth.lib import data

from golden.isa import FIELDS, EngineConfig
from golden.plasticity import DITHER_WIDTH

INSTRUCTION = data.StructLayout({name: Shape(width, signed) for name, width, signed in FIELDS})


def group_bits(config: EngineConfig) -> int:
    return (config.value_groups - 1).bit_length()


def lane_bits(config: EngineConfig) -> int:
    return (config.lanes - 1).bit_length()


def tile_bits(config: EngineConfig) -> int:
    return (config.tiles - 1).bit_length()


def event(config: EngineConfig) -> data.StructLayout:
    """A source neuron that takes part: its place, values, first tile of its walk and dither of its row."""
    return data.StructLayout({"e": lane_bits(config), "group": group_bits(config), "plus": 8, "minus": 8, "tile": tile_bits(config),
                              "dither": DITHER_WIDTH})


def command(config: EngineConfig) -> data.StructLayout:
    """What the lanes do in one cycle: one group of the destination."""
    return data.StructLayout({"op": 4, "column": 1, "group": group_bits(config), "value_group": group_bits(config),
                              "tile": tile_bits(config), "e": lane_bits(config),
                              "rotate": lane_bits(config), "scale": 9, "up": Shape(16, True), "um": Shape(16, True), "dither": DITHER_WIDTH})
