from amaranth.hdl import Elaboratable, Module, Signal

class Algorithm:
    def __call__(self, data_width: int = ...) -> Parameters: ...

class Parameters: ...

class Processor(Elaboratable):
    start: Signal
    data: Signal
    valid: Signal
    crc: Signal
    match_detected: Signal

    def __init__(self, parameters: Parameters) -> None: ...
    def elaborate(self, platform: object) -> Module: ...
