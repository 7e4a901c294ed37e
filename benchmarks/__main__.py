"""Run a benchmark, or list all.

python -m benchmarks                  list the benchmarks
python -m benchmarks NAME --help      its options
python -m benchmarks NAME OPTIONS
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from benchmarks.registry import BENCHMARKS, RECORDS, Benchmark

HEADINGS = ("name", "measures", "network", "data", "metric", "record")


def listing() -> str:
    """Table of all benchmarks."""
    rows = [HEADINGS]
    for b in BENCHMARKS:
        files = ", ".join(Path(record.file).name for record in RECORDS if record.benchmark == b.name)
        rows.append((b.name, b.measures, b.network, b.data, b.metric, files))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


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


def parser_of(benchmark: Benchmark, module: ModuleType) -> argparse.ArgumentParser:
    """Parser for the parameters of ``module.main``: keyword-only ones are options, others are positional."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {benchmark.name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    hints = get_type_hints(module.main, include_extras=True)
    for name, parameter in inspect.signature(module.main).parameters.items():
        settings = option(hints[name], parameter.default)
        plain = name.rstrip("_")  # the name of a built-in function
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            required = parameter.default is inspect.Parameter.empty
            parser.add_argument(f"--{plain.replace('_', '-')}", dest=name, required=required, **settings)
        elif settings.get("action") == "extend":
            parser.add_argument(name, **{**settings, "nargs": "*", "metavar": plain.upper()})
        else:
            parser.add_argument(name, metavar=plain.upper(), **settings)
    if get_origin(hints["return"]) is dict:
        parser.add_argument("--json", type=Path, metavar="FILE", help="file for the result and the machine")
    return parser


def run(benchmark: Benchmark, arguments: Sequence[str]) -> int:
    """Exit code: 1 if a comparison has failed, 2 for bad input."""
    module = importlib.import_module(f"benchmarks.{benchmark.name}")
    parser = parser_of(benchmark, module)
    options = vars(parser.parse_args(arguments))
    json = options.pop("json", None)
    main: Callable[..., int | Mapping[str, Any] | None] = module.main
    try:
        found = main(**options)
    except (ValueError, OSError) as e:
        parser.exit(2, f"{parser.prog}: error: {e}\n")
    except RuntimeError as e:
        from equilif.results import ToolFailed  # the list of records needs no packages

        if not isinstance(e, ToolFailed):
            raise
        parser.exit(2, f"{parser.prog}: error: {e}\n")
    if not isinstance(found, Mapping):
        return found or 0
    if json:
        from equilif.results import machine, write_json

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
    known = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    if name not in known:
        print(
            f"python -m benchmarks: error: no benchmark {name!r}; without a name all are listed",
            file=sys.stderr,
        )
        return 2
    return run(known[name], others)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
