"""Server of the page on this machine."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST = "127.0.0.1"


class PageServer(ThreadingHTTPServer):
    """Serves one page at ``/``, to this machine only; port 0: a free one.

    ``serve_forever`` runs it.  OSError when the port is in use.
    """

    def __init__(self, page: str, port: int):
        self.page = page.encode()
        super().__init__((HOST, port), _Handler)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        known = self.path == "/"
        self.send_response(200 if known else 404)
        body = self.server.page if known else b"not found\n"
        self.send_header("Content-Type", "text/html; charset=utf-8" if known else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """No line for each request."""
