"""Lowest package versions that pyproject.toml allows, as pip constraints for ``./run min-versions``.

They include packages of extras that ``./run min-versions`` does not install.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
#: requirement with a lower bound: name and version
BOUND = re.compile(r"([A-Za-z][\w.-]*)[^>=]*>=([\w.]+)")


def min_versions() -> Iterator[str]:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    groups = [project["dependencies"], *(extras[name] for name in extras if name != "dev")]
    for group in groups:
        for requirement in group:
            found = BOUND.match(requirement)
            if found:
                yield f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    print("\n".join(sorted(set(min_versions()))))
