"""Lines of code of each folder against the budget of pyproject.toml.

A line counts if it has a token that is no comment and no docstring.  Exit code 1 if a folder, or all
together, is above its budget; the last column is the difference to the last tag.
"""

from __future__ import annotations

import ast
import io
import subprocess
import tokenize
import tomllib
from collections import Counter

from benchmarks.common import ROOT

EMPTY = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
OTHERS = "boards, examples, docs"


def code_lines(text: str) -> int:
    """Lines of code of a module."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                if isinstance(first.value.value, str):
                    docstrings.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in EMPTY:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def git(*arguments: str) -> str:
    """Output of git; empty if it fails."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout


def count(commit: str, budget: dict[str, int]) -> Counter[str]:
    """Lines of code by folder: of a commit, or of the tree without one."""
    found: Counter[str] = Counter()
    listed = ["ls-tree", "-r", "--name-only", commit] if commit else ["ls-files"]
    for name in git(*listed).splitlines():
        if name.endswith(".py") and (commit or (ROOT / name).exists()):
            text = git("show", f"{commit}:{name}") if commit else (ROOT / name).read_text()
            folder = name.partition("/")[0]
            found[folder if folder in budget else OTHERS] += code_lines(text)
    found["all"] = found.total()
    return found


def main() -> int:
    budget = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["code-budget"]
    tag = git("describe", "--tags", "--abbrev=0").strip()
    now = count("", budget)
    before = count(tag, budget) if tag else None
    for folder, most in budget.items():
        since = f"{now[folder] - before[folder]:+8,} since {tag}" if before else ""
        above = "  above the budget" if now[folder] > most else ""
        print(f"{folder:24}{now[folder]:8,} of {most:7,}{since}{above}")
    return int(any(now[folder] > most for folder, most in budget.items()))
