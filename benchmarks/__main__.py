"""Run a benchmark, or list all.

python -m benchmarks                  list the benchmarks
python -m benchmarks NAME --help      its options
python -m benchmarks NAME OPTIONS
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from equilif.results import ToolFailed, machine, write_json

HELPERS = {"__main__", "common", "mutant_programs", "training"}  #: modules that are no benchmarks
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in HELPERS)


def listing() -> str:
    """All benchmarks with the first line of their docstrings."""
    texts = {name: ast.parse((Path(__file__).parent / f"{name}.py").read_text()) for name in NAMES}
    return "\n".join(
        f"{name:16} {(ast.get_docstring(text) or '').splitlines()[0]}" for name, text in texts.items()
    )


def option(hint: Any, default: Any) -> dict[str, Any]:
    """Settings of argparse for a parameter of this type."""
    text = ""
    while NoneType in get_args(hint) or get_origin(hint) is Annotated:
        if get_origin(hint) is Annotated:
            hint, text = get_args(hint)
        else:
            (hint,) = set(get_args(hint)) - {NoneType}
    if hint is bool:
        return {"action": "store_true", "help": text}
    settings: dict[str, Any] = {"default": default}
    if get_origin(hint) is Sequence:
        (hint,) = get_args(hint)
        settings = {"nargs": "+", "action": "extend", "default": []}
    elif default is not None and default is not inspect.Parameter.empty:
        text += f" (default: {default})"
    return {**settings, "type": hint, "help": text}


def parser_of(name: str, module: ModuleType) -> argparse.ArgumentParser:
    """Parser for the parameters of ``module.main``: keyword-only ones are options, others are positional."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    hints = get_type_hints(module.main, include_extras=True)
    for key, parameter in inspect.signature(module.main).parameters.items():
        settings = option(hints[key], parameter.default)
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            required = parameter.default is inspect.Parameter.empty
            parser.add_argument(f"--{key.replace('_', '-')}", required=required, **settings)
        elif settings.get("action") == "extend":
            parser.add_argument(key, **{**settings, "nargs": "*", "metavar": key.upper()})
        else:
            parser.add_argument(key, metavar=key.upper(), **settings)
    if get_origin(hints["return"]) is dict:
        parser.add_argument("--json", type=Path, metavar="FILE", help="file for the result and the machine")
    return parser


def run(name: str, arguments: Sequence[str]) -> int:
    """Exit code: 1 if a comparison has failed, 2 for bad input."""
    module = importlib.import_module(f"benchmarks.{name}")
    parser = parser_of(name, module)
    options = vars(parser.parse_args(arguments))
    json = options.pop("json", None)
    main: Callable[..., int | Mapping[str, Any] | None] = module.main
    try:
        found = main(**options)
    except (ValueError, OSError, ToolFailed) as e:
        parser.exit(2, f"{parser.prog}: error: {e}\n")
    if not isinstance(found, Mapping):
        return found or 0
    if json:
        write_json(json, {**found, "machine": machine()})
    return int(bool(found.get("mismatches")))


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        print(listing())
        return 0
    name, *others = arguments
    if name in ("-h", "--help"):
        print(__doc__)
        return 0
    if name not in NAMES:
        print(
            f"python -m benchmarks: error: no benchmark {name!r}; without a name all are listed",
            file=sys.stderr,
        )
        return 2
    return run(name, others)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
