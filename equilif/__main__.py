"""python -m equilif"""

from __future__ import annotations

from equilif.cli import main

main()
