"""Sizes and options of an engine: the same object parameterises the model, the RTL and the compiler."""

from __future__ import annotations

from dataclasses import dataclass

from equilif_golden.fixed import DEFAULT, Numerics


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Sizes of an engine; the same object parameterises the model, the RTL and the compiler.

    lanes P (power of two), tiles of P x P weights, groups of P values, groups of P LIF neurons, 32-bit
    program words. ``single_port``: the weight memory reads or writes in one cycle (iCE40 SPRAM), so an
    update takes two cycles a group. ``forwarding``: sums are forwarded to a read in the cycle of their
    write; without, an event that has a single group takes two cycles. ``weight_stages``: registers around
    a large dual-port weight memory: 1 behind it, 2 before it as well, and a deep pipeline. All three
    change cycles, never results. ``softmax``: has what memories need: SOFTMAX, RELAY, the modes of DRIVE
    and LEARN, loops in loops. ``early``: has what phases need that end when their rates have settled:
    modes WATCH and EARLY, loops in loops. ``counters``: counts memory accesses and arithmetic of a run
    (equilif_golden.engine.activity).
    """

    lanes: int = 4
    tiles: int = 4096
    value_groups: int = 256
    state_groups: int = 128
    program_words: int = 256
    single_port: bool = False
    forwarding: bool = True
    weight_stages: int = 0
    softmax: bool = True
    early: bool = False
    counters: bool = False
    numerics: Numerics = DEFAULT

    def __post_init__(self) -> None:
        if self.lanes not in (2, 4, 8, 16, 32):
            raise ValueError(f"lanes must be 2, 4, 8, 16 or 32, not {self.lanes}")
        for name, most in (
            ("tiles", 1 << 15),
            ("value_groups", 1 << 10),
            ("state_groups", 1 << 10),
            ("program_words", 1 << 10),
        ):
            if not 4 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be in 4..{most}, not {getattr(self, name)}")
        for name in ("value_groups", "state_groups"):
            if getattr(self, name) & (getattr(self, name) - 1):
                raise ValueError(f"{name} must be a power of two, not {getattr(self, name)}")
        if self.weight_stages not in ((0,) if self.single_port else (0, 1, 2)):
            raise ValueError(
                f"weight_stages must be 0 to 2, and 0 with single_port, not {self.weight_stages}"
            )
        if self.state_groups > self.value_groups:
            raise ValueError(
                f"state_groups {self.state_groups} must not exceed value_groups {self.value_groups}"
            )

    @property
    def loops(self) -> int:
        """How deep REPEAT nests."""
        return 2 if self.softmax or self.early else 1

    @property
    def deep(self) -> bool:
        """Registers wherever the paths of an engine that fills a large device are long."""
        return self.weight_stages > 1

    @property
    def n_weights(self) -> int:
        return self.tiles * self.lanes**2
