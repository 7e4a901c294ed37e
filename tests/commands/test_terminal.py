"""Terminals, files and pipes: whatever is at the other end, nothing that is printed gets lost."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from equilif import results
from equilif.commands import reason
from equilif.data.sets import images
from equilif.show import console
from equilif.show import hardware as show_hardware
from equilif.training.storage.records import about_data
from equilif_golden import network
from tests.programs import program, python

EQUILIF = (sys.executable, "-m", "equilif")
WIDE = {"COLUMNS": "250"}


def run(*arguments, env=None, **options):
    """Run a command in a separate process."""
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | (env or {})
    return subprocess.run(
        [*EQUILIF, *map(str, arguments)],
        env=environment,
        **{"capture_output": True, "timeout": 300, **options},
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """An untrained network for the digits."""
    path = tmp_path_factory.mktemp("saved") / "network.npz"
    net = network.Network.chain(64, 16, 10)
    network.save(path, net, net.initial_weights(), about_data(images.digits()))
    return path


def on_terminal(*arguments, columns):
    """What a command prints on a terminal that is so wide."""
    leader, follower = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(
        [*EQUILIF, *map(str, arguments)], stdout=follower, stderr=follower, env=environment
    ) as process:
        os.close(follower)
        output = b""
        while select.select([leader], [], [], 300)[0]:
            try:
                output += os.read(leader, 1 << 16)
            except OSError as e:  # Linux tells the end of a terminal so
                assert e.errno == errno.EIO
                break
    os.close(leader)
    assert process.returncode == 0, output
    return re.sub(r"\x1b\[[\d;]*m", "", output.decode()).replace("\r\n", "\n")


# -- JSON ------------------------------------------------------------------------------------------
@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_json_to_standard_output(name, saved, tmp_path):
    done = run("evaluate", saved, "--json", name, cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["command"] == "evaluate"
    assert b"of 360 test samples" in done.stderr
    assert not list(tmp_path.iterdir())


def test_json_to_file_of_standard_output(tmp_path):
    out = tmp_path / "out.json"
    with out.open("wb") as f:
        done = run("boards", "--json", out, stdout=f, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 0 and b"icebreaker" in done.stderr
    assert json.loads(out.read_bytes())["command"] == "boards"


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "target", [".", "file/below", "/proc/nowhere/x", "/dev/fd/77", "/dev/fd/" + 40 * "9", "x" * 300]
)
def test_unwritable_json_target(target, saved, tmp_path):
    (tmp_path / "file").write_text("mine")
    done = run("train", "digits", "--epochs", 500, "--out", "o", "--json", target, cwd=tmp_path, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"


# -- characters ------------------------------------------------------------------------------------
@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1"])
def test_ascii_fallback(encoding, saved, tmp_path):
    done = run("evaluate", saved, "--json", tmp_path / "e.json", env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0 and b"of 360 test samples" in done.stdout, done.stderr
    assert json.loads((tmp_path / "e.json").read_bytes())["samples"] == 360


def test_undecodable_file_name(tmp_path):
    done = run("evaluate", os.fsdecode(b"\xff\x1b[31m\nx.npz"), cwd=tmp_path, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: there is no \\xff\\x1b[31m; x.npz\n"


# -- width -----------------------------------------------------------------------------------------
@pytest.mark.sampled(1)
@pytest.mark.parametrize("columns", [1, 12, 30, 80, 200])
def test_narrow_terminal_keeps_digits(columns, saved, tmp_path):
    output = on_terminal("evaluate", saved, "--json", tmp_path / "e.json", columns=columns)
    confusion = json.loads((tmp_path / "e.json").read_bytes())["confusion"]
    assert "…" not in output
    rows = re.findall(r"^(\d) ((?: +(?:\d+|·)){10}) +[\d.]+%", output, flags=re.MULTILINE)
    assert [int(true) for true, _ in rows] == list(range(10))
    assert [[0 if n == "·" else int(n) for n in cells.split()] for _, cells in rows] == confusion


@pytest.mark.sampled(1)
@pytest.mark.parametrize("env", [{"COLUMNS": "20"}, {}, {"COLUMNS": "0"}, {"COLUMNS": "-3"}, {"LINES": "0"}])
def test_pipe_is_not_folded(env):
    done = run("boards", "--network", "784-64-10", env=env, text=True)
    assert done.returncode == 0
    assert done.stdout == run("boards", "--network", "784-64-10", env=WIDE, text=True).stdout


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", ["COLUMNS", "TERMINAL_WIDTH"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "", "²", pytest.param("9" * 5000, id="long")])
def test_invalid_terminal_width(name, value):
    done = run("train", "--help", env={name: value}, text=True)
    assert done.returncode == 0 and "--epochs" in done.stdout, done.stderr


# -- brackets --------------------------------------------------------------------------------------
def test_brackets_in_messages(capsys):
    assert console.console.render_str(f"[bold]{console.literal('[/x] [bold]y')}[/]").plain == "[/x] [bold]y"
    console.console.print(console.table("[/t]", ["[/c]", "n"], [["[/x]", "[red]1"]]))
    console.fail("[/x] is [bold]no")
    output = capsys.readouterr()
    assert "[/t]" in output.out and "[/c]" in output.out and "[/x]" in output.out and "[red]1" in output.out
    assert output.err == "error: [/x] is [bold]no\n"


# -- ends ------------------------------------------------------------------------------------------
def test_broken_pipe():
    # away before the first word: a reader that takes a line may leave when all has been written
    command = f"{{ sleep 0.5; {sys.executable} -m equilif boards; }} | true; echo ${{PIPESTATUS[0]}}"
    done = program("bash", "-c", command)
    assert done.stdout == "141\n" and done.stderr == ""


def test_full_disk_at_standard_output():
    with Path("/dev/full").open("wb") as full:
        done = run("boards", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 2 and done.stderr == b"error: standard output: No space left on device\n"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("descriptors", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_closed_descriptors(descriptors, tmp_path):
    command = f"{sys.executable} -m equilif boards --json {tmp_path}/b.json {descriptors}"
    program("bash", "-c", command)
    assert json.loads((tmp_path / "b.json").read_bytes())["command"] == "boards"


#: commands that lose the first Ctrl-C
INTERRUPTED = {
    "Python 3.11 wraps what __set_name__ raises in a RuntimeError": """
class Attribute:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt
def command():
    type('Made', (), {'x': Attribute()})
""",
    "a library clears it": """
sys.argv = ["equilif", "boards"]
boards = program._command
def command():
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        pass
    return boards()
""",
    "Python drops what is raised in a destructor": """
class Dropped:
    def __del__(self):
        raise KeyboardInterrupt
def command():
    Dropped()
    time.sleep(60)
""",
}


@pytest.mark.parametrize("name", INTERRUPTED)
def test_interrupt_is_not_lost(name):
    code = f"import signal, sys, time\nfrom equilif import __main__ as program\n{INTERRUPTED[name]}"
    done = python(f"{code}\nprogram._command = command\nprogram.main()", status=130)
    assert (done.stdout, done.stderr) == ("", "error: interrupted\n")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("after", [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8])
def test_interrupt_at_any_time(after, tmp_path):
    """From the first line of ``main``; before that it is Python that answers."""
    ready = "import sys; from equilif.__main__ import main; sys.stderr.write('r'); sys.stderr.flush(); "
    code = (
        f"{ready}sys.argv = ['equilif', 'train', '--epochs', '100', '--out', {str(tmp_path / 'o')!r}]; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as p:
        assert p.stderr is not None and p.stderr.read(1) == "r"
        time.sleep(after)
        p.send_signal(signal.SIGINT)
        _, message = p.communicate(timeout=60)
    assert (p.returncode, message) == (130, "error: interrupted\n")


def test_interrupt_waits_for_an_import(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import os, signal, time\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "time.sleep(0.2)\n"
        "print('imported', flush=True)\n"
    )
    code = """
import time
from equilif import __main__ as program

def command():
    import slow
    time.sleep(60)

program._command = command
program.main()
"""
    done = python(code, status=130, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert (done.stdout, done.stderr) == ("imported\n", "error: interrupted\n")


# -- reasons ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "error, word",
    [
        (OSError(errno.ENOSPC, "No space left on device", "results/x"), "results/x"),
        (OSError(errno.ENOSPC, "No space left on device"), "standard output"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.npz"), "x.npz"),
        (OSError("no number"), "no number"),
        (RecursionError("maximum"), "nested"),
        (MemoryError("Unable to allocate 2 TiB"), "2 TiB"),
        (ValueError("size must be 1..9"), "size must be 1..9"),
        (ValueError(), "ValueError"),
    ],
)
def test_reason_of_exception(error, word):
    assert word in reason(error) and "[Errno" not in reason(error)


def test_reason_contains_no_number_of_its_cause():
    cause = OSError(errno.EIO, "Input/output error")
    error = ValueError(f"the port cannot be read ({cause}), not [Errno 2]")
    error.__cause__ = cause
    cause.__context__ = error
    assert "[Errno 5]" not in reason(error) and "[Errno 2]" in reason(error)


def test_multiline_error(capsys):
    console.fail("yosys:\n  ERROR: syntax\n\n  in line 3\n")
    assert capsys.readouterr().err == "error: yosys:; ERROR: syntax; in line 3\n"


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError):
        results.write_json(tmp_path / "a.json", {"x": np.float64("nan")})
    assert not list(tmp_path.iterdir())


def test_absent_cell_types_are_hidden(capsys):
    """nextpnr for Gowin counts cells that are its own."""
    show_hardware.bitstream(
        {
            "board": {"title": "a board"},
            "utilisation": {"LUT4": {"used": 7, "available": 10}, "DUMMY_CELL": {"used": 64, "available": 0}},
            "timing": {"f_max": 60.0, "constraint": 27.0, "path_ns": 16.0, "logic_ns": 9.0},
            "seed": 1,
            "build_id": "00000000",
            "weights": 16,
            "config": {"lanes": 4},
        }
    )
    shown = capsys.readouterr()
    assert "LUT4" in shown.out + shown.err
    assert "DUMMY_CELL" not in shown.out + shown.err
