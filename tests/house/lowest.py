"""The lowest versions that pyproject.toml allows, as constraints for pip: ``./run floors`` installs them.

Packages of the extras that ``./run floors`` leaves out are constrained as well; they are not installed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
#: a requirement with a lower bound: name, and the bound
BOUND = re.compile(r"([A-Za-z][\w.-]*)[^>=]*>=([\w.]+)")


def lowest() -> Iterator[str]:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    groups = [project["dependencies"], *(extras[name] for name in extras if name != "dev")]
    for group in groups:
        for requirement in group:
            found = BOUND.match(requirement)
            if found:
                yield f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    print("\n".join(sorted(set(lowest()))))
