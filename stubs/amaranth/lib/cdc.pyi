from amaranth.hdl import Elaboratable, Module, Value

class FFSynchronizer(Elaboratable):
    def __init__(
        self,
        i: Value,
        o: Value,
        *,
        o_domain: str = ...,
        init: int | None = ...,
        reset_less: bool = ...,
        stages: int = ...,
        max_input_delay: float | None = ...,
    ) -> None: ...
    def elaborate(self, platform: object) -> Module: ...

class ResetSynchronizer(Elaboratable):
    def __init__(
        self, arst: Value, *, domain: str, stages: int = ..., max_input_delay: float | None = ...
    ) -> None: ...
    def elaborate(self, platform: object) -> Module: ...
