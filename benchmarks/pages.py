"""Tables in the pages of docs/ that a benchmark makes."""

from __future__ import annotations

from pathlib import Path

from equilif_golden import files

MARKS = "<!-- table -->", "<!-- end of table -->"  #: lines of a page that its table stands between
DOCS = Path(__file__).parent.parent / "docs"


def with_table(text: str, table: str) -> str:
    """A page with this table in the place of the one that it has."""
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{after}"


def write_table(page: Path, table: str) -> None:
    """Write the page anew."""
    files.write(page, with_table(page.read_text(), table).encode())
