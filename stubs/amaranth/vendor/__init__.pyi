from amaranth.build import Platform

class LatticeECP5Platform(Platform):
    device: str
    package: str
    speed: str

class GowinPlatform(Platform):
    part: str
    family: str
    series: str
    size: str
    subseries_f: str

    _apicula_required_tools: list[str]
    _apicula_command_templates: list[str]

    def parse_part(self) -> None: ...
