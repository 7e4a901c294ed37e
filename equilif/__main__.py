"""Entry point of ``equilif`` and ``python -m equilif``; imports the standard library only."""

from __future__ import annotations

import codecs
import os
import signal
import sys
import threading
from io import TextIOWrapper
from types import FrameType
from typing import TextIO

from equilif.interrupts import interrupted, pressed
from equilif_golden.extras import MissingExtra

#: what is printed where a terminal has no such character
PLAIN = {
    "✓": "ok",
    "✗": "x",
    "·": ".",
    "•": "*",
    "…": "...",
    "–": "-",
    "—": "-",
    "×": "x",
    **dict.fromkeys("─━═╌╍╴╸╶╺", "-"),
    **dict.fromkeys("│┃║", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼┏┓┗┛┡┩╇", "+"),
    **dict.fromkeys("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "*"),
}


#: seconds until an interruption that came at a bad time is sent again
AGAIN = 0.05


def main() -> None:
    """Run a command; its exit code."""
    sys.unraisablehook = _unraisable
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
        _terminal()
        code = _command()
    except BaseException as e:
        if not interrupted(e):
            raise
        print("error: interrupted", file=sys.stderr)
        code = 130
    sys.exit(_flushed(code))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, after an import that is under way.

    Compiled modules may not survive an exception while they are imported: pydantic panics.
    """
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            _send_again()
            return
        frame = frame.f_back
    pressed.append(number)
    raise KeyboardInterrupt


def _unraisable(error: sys.UnraisableHookArgs) -> None:
    """Send an interruption again that Python has dropped, for example in a destructor."""
    if interrupted(error.exc_value):
        _send_again()
    else:
        sys.__unraisablehook__(error)


def _send_again() -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    again = threading.Timer(AGAIN, signal.pthread_kill, (main_thread, signal.SIGINT))
    again.daemon = True
    again.start()


def _command() -> int:
    try:
        from equilif.cli import main as command
    except MissingExtra as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    try:
        command()
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else 0
    return 0


def _terminal() -> None:
    """Set up the terminal so that all output is printable."""
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        if not _is_size(os.environ.get(name, "1")):
            del os.environ[name]
    codecs.register_error("plain", _plain)
    sys.stdout = _open(sys.stdout)
    sys.stderr = _open(sys.stderr)


def _open(stream: TextIO | None) -> TextIO:
    """A stream that takes every character; one that was closed goes nowhere."""
    if stream is None:  # its number is taken at once, lest the next file that is opened gets it
        number = os.open(os.devnull, os.O_RDWR)
        return os.fdopen(number, "w", encoding="utf-8", errors="plain")
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="plain")
    return stream


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and int(text) > 0


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Substitutes for characters that the terminal lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or c.encode("unicode_escape").decode() for c in missing), error.end


def _flushed(code: int) -> int:
    """The exit code, once all that was printed is out."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left of it goes nowhere
        return 141
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if code == 0:  # a command that failed has reported its error already
            print(f"error: standard output: {e.strerror}", file=sys.stderr)
        return code or 2
    return code


if __name__ == "__main__":
    main()
