"""Readable names in exported Verilog.

    RTLIL of Amaranth --> [ plain ] --> Yosys --> Verilog --> [ inline ] --> Verilog

Amaranth numbers signals of one name (``valid$12``), ports that it adds (``port$1321$0``) and signals of
memory ports (``$signature__addr$3``), and joins the names of modules by dots.  Verilog must escape all of
these.  :func:`plain` names a port after a signal on the same net, and a signal of a memory after the memory.

Yosys declares a net for every operator, and keeps that of a register without use which it removes.
:func:`inline` writes the operator in place of its net where the net has one use, and drops nets without use.
"""

from __future__ import annotations

import functools
import re
from collections import Counter

NAME = re.compile(r"\\[\w$.]+")
MODULE = re.compile(r"^module (\\\S+)\n.*?^end$", re.MULTILINE | re.DOTALL)
WIRE = re.compile(r"^  wire (.*)(\\\S+)$", re.MULTILINE)
#: what is connected to an added port
CONNECTED_PORT = re.compile(r"^ *connect (\\port\$\S+) (\\\S+)", re.MULTILINE)
MEMORY_PORT = re.compile(
    r'^  cell \$mem(rd|wr)_v2 \S+\n    parameter \\MEMID "\\\\(\S+)"\n(.*?)^  end$', re.MULTILINE | re.DOTALL
)
CONNECTED_MEMORY = re.compile(r"^    connect \\(ADDR|DATA|EN) (?:\{ )?(\\\S*\$\S*)", re.MULTILINE)
DIRECTIONS = {"rd": "read", "wr": "write"}
ESCAPED = re.compile(r"\\(\S+) ")
VERILOG_MODULE = re.compile(r"^module .*?^endmodule$", re.MULTILINE | re.DOTALL)
OPERATOR = re.compile(r"^  assign (_\d+_) = (.*);$", re.MULTILINE)
#: what an operator can replace a net in
STATEMENT = re.compile(r"^( *(?:assign [^=]+ = |[^=;]+ <= |if \())(.*)(\)|;)", re.MULTILINE)
DEFINITION = re.compile(r"^  (?:wire (?:\[[\d:]+\] )?|assign )(_\d+_)(?: = .*)?;\n", re.MULTILINE)
DECLARATION = re.compile(r"^  wire (?:\[[\d:]+\] )?(\w+);\n", re.MULTILINE)
#: data of a memory, from the register that Yosys adds
READ_DATA = re.compile(r"^  assign (\w+) = (_\d+_);$", re.MULTILINE)
SIGNED = re.compile(r"\$signed|>>>")
INDEX = re.compile(r"_\d+_(?=\[)|\w\[[^]]*_\d+_[^]]*\]")
ATOM = re.compile(r"[\w']+(\[[\d:]+\])?|\{[^{}]*\}")
NET = re.compile(r"(?<![\w$])_\d+_(?![\w$])")
MAX_OPERATOR = 100  #: characters that replace a net


def plain(rtlil: str) -> str:
    """RTLIL of Amaranth, without its numbers in names."""
    modules = {found[1]: found[0] for found in MODULE.finditer(rtlil)}
    memories = {module: _memory_names(text) for module, text in modules.items()}
    taken = set(NAME.findall(rtlil))
    ports: dict[str, str] = {}
    for module, text in modules.items():
        for name, signal in CONNECTED_PORT.findall(text):
            if name not in ports and not signal.startswith(r"\port$"):
                ports[name] = _free(memories[module].get(signal, signal), taken)
                if signal in memories[module]:
                    memories[module][signal] = _free(ports[name], taken)
        for kind, name in WIRE.findall(text):
            if "put " in kind and "$" in name and not name.startswith(r"\port$"):
                ports.setdefault(name, _free(name, taken))

    def renamed(found: re.Match[str]) -> str:
        names = {**memories[found[1]], **ports}
        taken_here = taken | set(names.values())
        for _, name in WIRE.findall(found[0]):
            if "$" in name and name not in names:
                names[name] = _free(name, taken_here)
        return "\n".join(_renamed_line(line, names) for line in found[0].split("\n"))

    return MODULE.sub(renamed, rtlil)


def _memory_names(module: str) -> dict[str, str]:
    """New names of the numbered signals of memory ports in a module."""
    taken = set(NAME.findall(module))
    names: dict[str, str] = {}
    for direction, memory, body in MEMORY_PORT.findall(module):
        for port, signal in CONNECTED_MEMORY.findall(body):
            if signal not in names:
                names[signal] = _free(f"\\{memory}_{DIRECTIONS[direction]}_{port.lower()}", taken)
    return names


def _free(name: str, taken: set[str]) -> str:
    """``name`` without the number that Amaranth added; numbered anew if ``taken``, to which it is added."""
    base = re.sub(r"\$\d+$", "", name).replace("$", "")
    k = 0
    new = base
    while new in taken:
        k += 1
        new = f"{base}_{k}"
    taken.add(new)
    return new


def _renamed_line(line: str, names: dict[str, str]) -> str:
    """A line of RTLIL; names of modules have dots, all other names may be in ``names``."""
    if line.lstrip().startswith(("attribute", "parameter")):
        return line
    if line.startswith(("module ", "  cell ")):
        return line.replace(".", "_")
    return NAME.sub(lambda found: names.get(found[0], found[0]), line)


def inline(verilog: str) -> str:
    """Verilog of Yosys with fewer nets, and without escaped names.

    Operands have the width of their result (``hdl/explicit.v``), so an operator means the same in place of
    its net.  Signed operators, indexed nets and nets in an index keep their nets.
    """
    taken = set(re.findall(r"\w+", verilog))
    plain_names: dict[str, str] = {}
    for name in dict.fromkeys(ESCAPED.findall(verilog)):
        new = re.sub(r"\W", "_", name)
        while new in taken:  # as a keyword is
            new += "_"
        taken.add(new)
        plain_names[name] = new
    verilog = ESCAPED.sub(lambda found: plain_names[found[1]], verilog)
    return VERILOG_MODULE.sub(lambda found: _inlined(found[0]), verilog)


def _inlined(module: str) -> str:
    names = Counter(re.findall(r"(?<!\.)\b\w+", module))
    module = DECLARATION.sub(lambda found: found[0] if names[found[1]] > 1 else "", module)
    uses = Counter(NET.findall(module))
    kept = {net for index in INDEX.findall(module) for net in NET.findall(index)}
    operators = {
        net: text
        for net, text in OPERATOR.findall(module)
        # its declaration, its assignment and one use
        if uses[net] == 3 and net not in kept and not SIGNED.search(text)
    }

    @functools.cache
    def expanded(text: str) -> str:
        for net in dict.fromkeys(NET.findall(text)):
            if net in operators:
                part = expanded(operators[net])
                operand = part if text == net or ATOM.fullmatch(part) else f"({part})"
                longer = re.sub(rf"(?<![\w$]){net}(?![\w$])", operand, text)
                text = longer if len(longer) <= MAX_OPERATOR else text
        return text

    for name, net in READ_DATA.findall(module):
        wire = re.compile(rf"^  wire (.*\b{name};)$", re.MULTILINE)
        register = re.compile(rf"^  reg .*\b{net};\n", re.MULTILINE)
        if register.search(module) and wire.search(module) and not re.search(rf"put .*\b{name};", module):
            module = register.sub("", module).replace(f"  assign {name} = {net};\n", "")
            module = re.sub(rf"\b{net}\b", name, wire.sub(r"  reg \1", module))
    module = STATEMENT.sub(lambda found: found[1] + expanded(found[2]) + found[3], module)
    uses = Counter(NET.findall(module))
    dropped = {net for net in operators if uses[net] == 2}
    module = DEFINITION.sub(lambda found: "" if found[1] in dropped else found[0], module)
    numbers = {net: f"_{k}_" for k, net in enumerate(dict.fromkeys(NET.findall(module)))}
    return NET.sub(lambda found: numbers[found[0]], module)
