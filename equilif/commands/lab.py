"""The engine as a web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from equilif.commands import panel
from equilif.commands.options import OUTPUT
from equilif.show import console as show
from equilif_golden import files
from equilif_golden.lazy import lazy

with lazy():
    from equilif.lab import build, serve

command = panel("Overview")


@command
def lab(
    out: Annotated[
        Path | None,
        typer.Option(help="Write the page to this file and stop.", show_default="none", metavar="FILE.html"),
        OUTPUT,
    ] = None,
    web_port: Annotated[
        int, typer.Option(help="TCP port on this machine; 0 for a free one.", min=0, max=65535)
    ] = 8051,
) -> dict[str, Any]:
    """Serve the page on which the RTL of the engine classifies and learns, on localhost until Ctrl-C.

    The page is one file without requests: it also works from a folder.  Verilator and Emscripten compile the
    engine once (minutes); `./run lab` installs them and writes build/lab/index.html.

    Example:  [bold]equilif lab[/]  and  [bold]equilif lab --out lab.html[/]
    """
    if out is not None:
        files.check(out)
    with show.console.status("compiling the engine, training the golden model"):
        page = build.page()
    if out is not None:
        files.write(out, page.encode())
        show.console.print(f"saved {show.literal(out)} ({len(page.encode()) / 1e6:.2f} MB)")
        return {"out": out, "bytes": len(page.encode())}
    try:
        server = serve.PageServer(page, web_port)
    except OSError as e:
        raise ValueError(f"port {web_port} cannot be used ({e.strerror}): give another --web-port") from e
    with server:
        show.console.print(f"{server.address}  (Ctrl-C ends)")
        server.serve_forever()
    return {"address": server.address}
