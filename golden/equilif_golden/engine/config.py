"""Sizes and options of an engine: the same object parameterises the model, the RTL and the compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from equilif_golden.engine.features import OPTIONS, Options, has
from equilif_golden.fixed import DEFAULT, Numerics, truth, whole


class Pipeline(StrEnum):
    """How weights and sums travel through the lanes.

    A pipeline changes cycles and cells, never a result.  n is the number of groups that an instruction
    goes through; "walk" is the length of a simple one, MARK.

    ==========  ===========  ===============================  ==============================================
    pipeline    walk         made for                         what it costs
    ==========  ===========  ===============================  ==============================================
    SPRAM       12 + n       weights in single-port RAM, as   a group of LEARN takes two cycles, as does an
                             the iCE40UP5K has it             event of GATHER or DRIVE with a single group
    SMALL       12 + n       dual-port weights in a small     an event with a single group takes two cycles
                             FPGA
    FORWARDING  13 + n       dual-port weights in an FPGA     a register and a multiplexer of the sum's width
                             with room                        a lane: a sum that is written is used at once;
                                                              a queue of four instructions
    DEEP        18 + n (1)   an FPGA that weights fill: its   beside that registers at the weights, in the
                             wires are long                   exchange, the LIF neuron, the update and
                                                              wherever a decision can be made a cycle ahead,
                                                              and a copy of the scanned group
    ==========  ===========  ===============================  ==============================================

    (1) 20 + n with 32 lanes, see EngineConfig.far

    Cells of an engine of 8 lanes and 49,152 weights, with memories, without its host (Yosys 0.52,
    ``synth_ecp5``): SMALL 11,153 LUT4 and 3,636 flip-flops; FORWARDING 11,609 and 3,841; DEEP 9,045 and
    5,880, its values being in block RAM.

    Boards: SPRAM iCEBreaker, iCESugar; SMALL Tang Nano 9K; FORWARDING Tang Nano 20K; DEEP ULX3S 25F, ULX3S
    85F, OrangeCrab, Colorlight i5.
    """

    SPRAM = "spram"
    SMALL = "small"
    FORWARDING = "forwarding"
    DEEP = "deep"

    @property
    def single_port(self) -> bool:
        """The weight memory reads or writes in a cycle, not both."""
        return self is Pipeline.SPRAM

    @property
    def forwarding(self) -> bool:
        """A sum that is written in this cycle can be read in this cycle."""
        return self not in (Pipeline.SPRAM, Pipeline.SMALL)

    @property
    def weight_stages(self) -> int:
        """Registers around the weight memory: of a deep pipeline 1 before it and 2 behind it."""
        return 3 if self.deep else 0

    @property
    def deep(self) -> bool:
        """Registers wherever the paths of an engine that fills a large device are long."""
        return self is Pipeline.DEEP

    @classmethod
    def of(cls, *, single_port: bool = False, forwarding: bool = True, weight_stages: int = 0) -> Pipeline:
        """The pipeline that had these properties when they were written; ValueError when none had them.

        A pipeline with one register at the weights has become DEEP, which had two of them then.
        """
        deep = weight_stages in (1, 2)
        for pipeline in cls:
            properties = pipeline.single_port, pipeline.forwarding, pipeline.deep
            if properties == (single_port, forwarding, deep) and (deep or not weight_stages):
                return pipeline
        raise ValueError(
            f"no pipeline has single_port {single_port}, forwarding {forwarding} and "
            f"weight_stages {weight_stages}: there are {', '.join(cls)}"
        )


@dataclass(frozen=True, kw_only=True)
class EngineConfig(Options):
    """Sizes and options of an engine.  ValueError when one is not possible.

    Options are those of equilif_golden.engine.features.Options.

    lanes : int
        P, a power of two: so many weights, neurons or values are worked on in a cycle.
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
    """

    lanes: int = 4
    tiles: int = 4096
    value_groups: int = 256
    state_groups: int = 128
    program_words: int = 256
    pipeline: Pipeline = Pipeline.FORWARDING
    numerics: Numerics = DEFAULT

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {"lanes": _lanes(self.lanes), "pipeline": _pipeline(self.pipeline)}
        for name, most in (
            ("tiles", 1 << 15),
            ("value_groups", 1 << 10),
            ("state_groups", 1 << 10),
            ("program_words", 1 << 11),
        ):
            checked[name] = whole(getattr(self, name), name, 4, most)
        for name in ("value_groups", "state_groups"):
            if checked[name] & (checked[name] - 1):
                raise ValueError(f"{name} must be a power of two, not {checked[name]}")
        for name in OPTIONS:
            checked[name] = truth(getattr(self, name), name)
        if not isinstance(self.numerics, Numerics):
            raise ValueError(f"numerics must be Numerics, not {self.numerics!r}")
        if self.state_groups > self.value_groups:
            raise ValueError(
                f"state_groups {self.state_groups} must not exceed value_groups {self.value_groups}"
            )
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> EngineConfig:
        """The configuration that ``dataclasses.asdict`` was given; ValueError when there is none.

        What is not there has its default.  Records of older versions have ``single_port``, ``forwarding``
        and ``weight_stages`` in place of ``pipeline``, or a pipeline "registered", which has become DEEP.
        """
        known = dict(raw)
        older = {name: known.pop(name) for name in _OLDER if name in known}
        strange = known.keys() - {field.name for field in fields(cls)}
        if strange:
            raise ValueError(f"an engine has no {', '.join(sorted(map(str, strange)))}")
        if older and "pipeline" in known:
            raise ValueError(f"an engine has a pipeline or {', '.join(older)}, not both")
        if older:
            known["pipeline"] = Pipeline.of(**older)
        if known.get("pipeline") == "registered":
            known["pipeline"] = Pipeline.DEEP
        if isinstance(known.get("numerics"), Mapping):
            known["numerics"] = _numerics(known["numerics"])
        return cls(**known)

    @property
    def single_port(self) -> bool:
        return self.pipeline.single_port

    @property
    def forwarding(self) -> bool:
        return self.pipeline.forwarding

    @property
    def weight_stages(self) -> int:
        return self.pipeline.weight_stages

    @property
    def deep(self) -> bool:
        return self.pipeline.deep

    @property
    def far(self) -> bool:
        """A deep pipeline whose lanes fill a large die: it has more registers where wires cross it."""
        return self.deep and self.lanes >= FAR_LANES

    @property
    def exchange_stages(self) -> int:
        """Registers in the exchange between banks and lanes, and behind it."""
        return self.deep + self.far

    @property
    def loops(self) -> int:
        """How deep REPEAT nests."""
        return 2 if any(option.nests and has(self, name) for name, option in OPTIONS.items()) else 1

    @property
    def n_weights(self) -> int:
        return self.tiles * self.lanes**2


#: what stood in the place of ``pipeline``
_OLDER = ("single_port", "forwarding", "weight_stages")
_LANES = (2, 4, 8, 16, 32)
#: lanes from which on they fill a large die
FAR_LANES = 32


def _lanes(value: Any) -> int:
    lanes = whole(value, "lanes", _LANES[0], _LANES[-1])
    if lanes not in _LANES:
        raise ValueError(f"lanes must be 2, 4, 8, 16 or 32, not {lanes}")
    return lanes


def _pipeline(value: Any) -> Pipeline:
    try:
        return Pipeline(value)
    except ValueError:
        raise ValueError(f"pipeline must be one of {', '.join(Pipeline)}, not {value!r}") from None


def _numerics(raw: Mapping[str, Any]) -> Numerics:
    strange = raw.keys() - {field.name for field in fields(Numerics)}
    if strange:
        raise ValueError(f"number formats have no {', '.join(sorted(map(str, strange)))}")
    return Numerics(**raw)
