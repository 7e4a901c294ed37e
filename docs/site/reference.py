"""Pages of the site that are made from the code: the reference of commands, and that of the Python API.

mkdocs calls what is here (``hooks`` in mkdocs.yml).  These pages are in no folder: they cannot grow old.
"""

from __future__ import annotations

import html
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import equilif

ROOT = Path(__file__).parents[2]
COMMANDS = "reference/commands.md"
#: the page of `equilif lab`: ``./run lab --out docs/lab/index.html`` adds it to the site
LAB = "lab/index.html"
LAB_MARK = "<!-- lab -->"
PYTHON = "reference/python/"
FOLDERS = [ROOT, *(ROOT / name for name in ("golden", "hdl", "sim", "boards"))]
#: benches are tests, commands have a page of their own, and compiled code is the kernel's own
NOT_SHOWN = re.compile(
    r"equilif\.(cli|__main__|commands)|equilif_golden\.(compiled|decoder|executor)"
    r"|equilif_sim\.(blocks|engine|link|tools)"
)


def groups() -> dict[str, list[str]]:
    """Packages, and the modules that stand in each."""
    found: dict[str, list[str]] = {}
    for folder in FOLDERS:
        for package in sorted(folder.glob("equilif*/")):
            for init in sorted(package.rglob("__init__.py")):
                name = ".".join(init.parent.relative_to(folder).parts)
                modules = [f"{name}.{path.stem}" for path in sorted(init.parent.glob("[!_]*.py"))]
                found[name] = [m for m in (name, *modules) if not NOT_SHOWN.match(m)]
    return {name: modules for name, modules in found.items() if modules}


def commands() -> str:
    """Help text of every command."""
    typer = [sys.executable, "-m", "typer", "equilif.cli", "utils", "docs", "--name", "equilif"]
    text = subprocess.run(typer, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    text = text.replace("# `equilif`", "# Commands\n\n## equilif", 1)
    text = re.sub(r'<span style="[^"]*bold[^"]*">(.*?)</span>', r"`\1`", text, flags=re.S)
    text = re.sub(r"^## `(equilif .*?)`$", r"## \1", text, flags=re.M)
    text = re.sub(r"^\* `--help`: .*\n", "", text, flags=re.M)
    first = dict(re.findall(r"^## equilif (\S+)\n\n(.*)$", text, re.M))  # typer cuts them in its list
    text = re.sub(
        r"^\* `([a-z-]+)`(: .*)?$",
        lambda m: f"* [`{m[1]}`](#equilif-{m[1]}): {first[m[1]]}" if m[1] in first else m[0],
        text,
        flags=re.M,
    )
    text = re.sub(r"`[^`\n]*`", lambda span: html.unescape(span.group()), text)
    return re.sub(r" +\[(default: .*|required.*|[\dx].*)\]$", r" *\1*", text, flags=re.M)


def package_page(package: str, modules: list[str]) -> str:
    page = f"# {package}\n\n"
    if package == "equilif":
        page += "Public names of `from equilif import ...`:\n\n| name | description |\n|---|---|\n"
        for name, (module, there) in equilif.WHERE.items():
            paragraph = " ".join((getattr(equilif, name).__doc__ or "").split("\n\n")[0].split())
            page += f"| [{name}][{module}.{there}] | {paragraph.split('. ')[0].rstrip('.')}. |\n"
        page += "\n"
    return page + "\n".join(f"::: {module}\n" for module in modules)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, COMMANDS, content=commands()))
    for package, modules in groups().items():
        page = package_page(package, modules)
        files.append(File.generated(config, f"{PYTHON}{package}.md", content=page))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead to the page of `equilif lab`, if the site has it."""
    if LAB_MARK not in markdown or files.get_file_from_path(LAB) is None:
        return markdown
    target = posixpath.relpath(LAB, posixpath.dirname(page.file.src_uri) or ".")
    return markdown.replace(LAB_MARK, f"**[Run the engine in this browser]({target})**")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the Python API into the navigation, in the place of their folder."""
    pages = [{package: f"{PYTHON}{package}.md"} for package in groups()]
    nav: list[Any] = config.nav or []
    for section in nav:
        for entries in section.values() if isinstance(section, dict) else ():
            for entry in entries:
                if isinstance(entry, dict) and PYTHON in entry.values():
                    entry["Python API"] = pages
    return config
