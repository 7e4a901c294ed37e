"""Sizes and options of an engine: the same object parameterises the model, the RTL and the compiler."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from equilif_golden.engine.features import EVERYTHING, OPTIONS, Options, has
from equilif_golden.fixed import (
    DEFAULT,
    Numerics,
    check_bool,
    check_choice,
    check_int,
    from_fields,
    short_repr,
)
from equilif_golden.sdram import ClockedSdram


class Pipeline(StrEnum):
    """Pipeline of weights and sums through the lanes.

    A pipeline changes cycles and cells, never a result.  n is the number of groups that an instruction
    goes through; "walk" is the length of a simple one, MARK.

    ========  =======  ====================================  ===============================================
    pipeline  walk     made for                              properties
    ========  =======  ====================================  ===============================================
    SPRAM     12 + n   weights in single-port RAM, as the    a group of LEARN takes two cycles, as does an
                       iCE40UP5K has it                      event of GATHER or DRIVE with a single group
    DEEP      16 + n   weights in RAM that reads and writes  :class:`Registers`, by the number of lanes; a
                       in a cycle; 2 or 4 lanes              sum that is written is used at once; the
              18 + n   8 or 16 lanes                         scanner copies its group; a scan may begin
              20 + n   32 lanes                              before the lanes are empty
    ========  =======  ====================================  ===============================================

    Boards: SPRAM iCEBreaker, iCESugar; DEEP ULX3S 25F, ULX3S 85F, OrangeCrab, Colorlight i5, Icepi Zero,
    Tang Nano 9K, Tang Nano 20K.
    """

    SPRAM = "spram"
    DEEP = "deep"


@dataclass(frozen=True, kw_only=True)
class Registers:
    """Pipeline registers in addition to those of every engine: the number in series at each place.

    equilif_golden.engine.cycles and equilif_hdl.engine.stages.Timing count their cycles.
    """

    weight_input: int = 0  #: at the inputs of the weight memories
    weight_output: int = 0  #: at their outputs
    butterfly: int = 0  #: inside and after the butterfly between banks and lanes
    gain: int = 0  #: in the products of u+ and u- with the gain; 0: the walker multiplies
    update_product: int = 0  #: after the product of u- and v-
    noise: int = 0  #: after the look-up of LEARN's noise
    neuron: int = 0  #: before and after the LIF neuron
    exponential: int = 0  #: in the exponential of SOFTMAX
    constants: int = 0  #: between the instruction's constants and the lanes
    state_write: int = 0  #: before the write ports of neuron state and values
    state_read: int = 0  #: before the read address of values, for scanner and host; it takes no cycle
    spike_count: int = 0  #: after the spike counts of groups of neighbouring lanes
    host: int = 0  #: between host and memories; the second one after the decoding of a write
    queue: int = 0  #: entries of the instruction queue before the dispatcher

    @property
    def weight_read(self) -> int:
        """Registers between the address of a weight and its data."""
        return self.weight_input + self.weight_output


_FEW_LANES = Registers(
    weight_input=1, weight_output=1, neuron=1, constants=1, state_write=1, state_read=1, queue=4
)
#: longer wires
_LANES_8 = Registers(
    weight_input=1,
    weight_output=2,
    butterfly=1,
    gain=2,
    update_product=1,
    noise=1,
    neuron=1,
    exponential=1,
    constants=1,
    state_write=1,
    state_read=1,
    spike_count=1,
    host=1,
    queue=4,
)
#: wires across a large die
_LANES_32 = replace(_LANES_8, butterfly=2, neuron=2, host=2)
#: DEEP pipeline, by number of lanes
_DEEP = {2: _FEW_LANES, 4: _FEW_LANES, 8: _LANES_8, 16: _LANES_8, 32: _LANES_32}


#: tiles that an instruction can address
MAX_ADDRESSED_TILES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class ExternalWeights(ClockedSdram):
    """Weights in an SDRAM.  ValueError when the chip or its clock does not exist.

    tiles : int
        Tiles of P x P weights; their numbers follow those on the chip.
    tables : bool
        The engine fetches rows of an embedding table in it, and adds their changes.
    """

    tiles: int
    tables: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "tiles", check_int(self.tiles, "tiles", 1, MAX_ADDRESSED_TILES))
        object.__setattr__(self, "tables", check_bool(self.tables, "tables"))


@dataclass(frozen=True, kw_only=True)
class EngineConfig(Options):
    """Sizes and options of an engine.  ValueError when one is not possible.

    Options are those of equilif_golden.engine.features.Options.

    lanes : int
        P, a power of two: weights, neurons or values that are processed per cycle.
    tiles : int
        Of P x P weights.
    value_groups : int
        Groups of P values: inputs, targets and rates.
    state_groups : int
        Groups of P LIF neurons.
    program_words : int
        32-bit words of program memory, three an instruction.
    pipeline : Pipeline
        How weights and sums travel through the lanes.
    numerics : Numerics
        Its number formats.
    external : ExternalWeights or None
        Weights in an SDRAM, in addition to those on the chip.
    """

    lanes: int = 4
    tiles: int = 4096
    value_groups: int = 256
    state_groups: int = 128
    program_words: int = 256
    pipeline: Pipeline = Pipeline.DEEP
    numerics: Numerics = DEFAULT
    external: ExternalWeights | None = None

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {"lanes": _lanes(self.lanes)}
        checked["pipeline"] = Pipeline(check_choice(self.pipeline, "pipeline", Pipeline))
        for name, limit in (
            ("tiles", 1 << 15),
            ("value_groups", 1 << 10),
            ("state_groups", 1 << 10),
            ("program_words", 1 << 11),
        ):
            checked[name] = check_int(getattr(self, name), name, 4, limit)
        for name in ("value_groups", "state_groups"):
            if checked[name] & (checked[name] - 1):
                raise ValueError(f"{name} must be a power of two, not {checked[name]}")
        for name in OPTIONS:
            checked[name] = check_bool(getattr(self, name), name)
        if not isinstance(self.numerics, Numerics):
            raise ValueError(f"numerics must be Numerics, not {short_repr(self.numerics)}")
        if self.state_groups > self.value_groups:
            raise ValueError(
                f"state_groups {self.state_groups} must not exceed value_groups {self.value_groups}"
            )
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        self._check_external()

    def _check_external(self) -> None:
        if self.external is None:
            return
        if not isinstance(self.external, ExternalWeights):
            raise ValueError(f"external must be ExternalWeights, not {short_repr(self.external)}")
        if self.single_port:
            raise ValueError("external weights need dual-port weights on the chip: take another pipeline")
        if self.all_tiles > MAX_ADDRESSED_TILES:
            raise ValueError(
                f"an instruction addresses {MAX_ADDRESSED_TILES} tiles, not {self.tiles} on the chip and "
                f"{self.external.tiles} external ones"
            )
        if self.external.tables and (not self.attention or self.sdram_words < 2):
            raise ValueError(
                "embedding tables need attention, and P weights in 2 words of the SDRAM or more: "
                "take an engine without tables"
            )
        chip = self.external.chip
        if self.all_tiles * self.lanes * self.sdram_words > chip.words:
            raise ValueError(
                f"{self.all_tiles} tiles of {self.lanes}x{self.lanes} weights do not fit {chip.name}"
            )

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> EngineConfig:
        """The configuration that ``dataclasses.asdict`` was given; ValueError when there is none.

        A missing field has its default.
        """
        known = dict(raw)
        for name, kind in (("numerics", Numerics), ("external", ExternalWeights)):
            if isinstance(known.get(name), Mapping):
                known[name] = from_fields(kind, known[name])
        return from_fields(cls, known)

    @property
    def single_port(self) -> bool:
        """The weight memory reads or writes in a cycle, not both."""
        return self.pipeline is Pipeline.SPRAM

    @property
    def registers(self) -> Registers:
        """Pipeline registers."""
        return Registers() if self.single_port else _DEEP[self.lanes]

    @property
    def loops(self) -> int:
        """Depth of nested REPEAT."""
        return 2 if any(option.nests and has(self, name) for name, option in OPTIONS.items()) else 1

    @property
    def all_tiles(self) -> int:
        """Tiles on the chip, then external ones."""
        return self.tiles + (self.external.tiles if self.external else 0)

    @property
    def sdram_words(self) -> int:
        """Words of the SDRAM that hold P weights of 16 bits."""
        return 16 * self.lanes // self.external.chip.width if self.external else 0

    @property
    def n_weights(self) -> int:
        """Weights on the chip."""
        return self.tiles * self.lanes**2


class Unlimited(EngineConfig):
    """One lane, every option, memories as large as a network needs: for compiled code, not for a device.

    Its programs have all phases, also for networks that are not trained.
    """

    def __init__(self, numerics: Numerics):
        sizes = dict.fromkeys(("tiles", "value_groups", "state_groups", "program_words"), sys.maxsize)
        for name, value in {**sizes, **EVERYTHING, "lanes": 1, "numerics": numerics}.items():
            object.__setattr__(self, name, value)


def _lanes(value: Any) -> int:
    lanes = check_int(value, "lanes", min(_DEEP), max(_DEEP))
    if lanes not in _DEEP:
        raise ValueError(f"lanes must be 2, 4, 8, 16 or 32, not {lanes}")
    return lanes
