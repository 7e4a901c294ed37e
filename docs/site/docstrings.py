"""Docstrings of the project as Markdown, for the reference of the Python API (mkdocs.yml)."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

#: what stands in columns, or under its name, keeps its lines
ALIGNED = re.compile(r"\S {3,}\S|\n {2,}\S")
ROLE = re.compile(r":\w+:`~?([^`]+)`")
#: code, which stays as it is; or the name of something that may have a place in the reference
NAME = re.compile(r"(`[^`]*`)|\b(equilif\w*(?:\.\w+)+)")


def markdown(text: str) -> str:
    paragraphs = re.split(r"\n\s*\n", text)
    return "\n\n".join(_paragraph(p) for p in paragraphs)


def _paragraph(text: str) -> str:
    if ALIGNED.search(text) and not text.startswith("    "):
        return "\n".join(f"    {line}" for line in text.splitlines())
    return text if text.startswith("    ") else NAME.sub(_linked, ROLE.sub(r"`\1`", text))


def _linked(found: re.Match[str]) -> str:
    code, name = found.groups()
    return code or f'<autoref identifier="{name}" optional>{name}</autoref>'


class Docstrings(Extension):
    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
