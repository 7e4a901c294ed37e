"""Claims: their commands, and records of runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from benchmarks import evidence, records
from benchmarks.claims import CLAIMS, OUTPUT, Claim
from tests.formal.assumptions import ASSUMPTIONS

ROOT = Path(__file__).parents[2]
every_claim = pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)


def test_claim_names_are_unique():
    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names)
    assert set(records.read(evidence.TABLE)["claims"]) <= set(names)


@every_claim
def test_claim_commands_select_tests(claim):
    """The named tests exist; test_docs.py checks commands of equilif."""
    parts = shlex.split(claim.command)
    if "pytest" not in parts:
        assert parts[0] == "equilif" or parts[:3] == ["python", "-m", "benchmarks"]
        return
    path = ROOT / parts[parts.index("pytest") + 1]
    files = [path] if path.is_file() else sorted(path.glob("test_*.py"))
    text = "\n".join(file.read_text() for file in files)
    wanted = parts[parts.index("-k") + 1] if "-k" in parts else ""
    if wanted.startswith("not "):
        wanted = ""  # any other file
    assert re.search(rf"^def test_\w*{wanted}", text, re.M)
    assert "-m" not in parts[3:] or re.search(r"pytest\.mark\.(long|regress)", text)


def claim(command):
    return Claim("it", "what it proves", command)


def test_results_are_recorded():
    good, proven = evidence.run_claim(claim("python -c 'print(\"3 passed in 1.2s\")'"))
    assert good["result"] == "3 passed" and evidence.versions()["python"] and not proven
    assert evidence.run_claim(claim("python -c 'print(7); raise SystemExit(1)'"))[0]["result"] == "FAILED: 7"
    two = claim('python -c \'print("f_max 5"); print("file")\'')
    shown = [
        evidence.run_claim(two._replace(shows=shows))[0]["result"]
        for shows in ("", "f_max.*", r"max (\d)", OUTPUT)
    ]
    assert shown == ["file", "f_max 5", "5", "f_max 5\nfile"]


def test_proofs_are_recorded():
    code = f"import os; open(os.environ['{evidence.LEDGER}'], 'w').write('7')"
    assert evidence.run_claim(claim(f'python -c "{code}"'))[1] == [7]


def test_junit_report(tmp_path):
    case = '<testcase classname="tests.{}" name="{}" time="1.5">{}</testcase>'
    cases = [
        case.format("test_kernel", "test_it[4]", ""),
        case.format("test_kernel", "test_that", "<skipped/>"),
        case.format("test_kernel_else", "test_it", "<failure/>"),
        case.format("engine.test_engine", "test_cycles", "<failure/>"),
        case.format("engine.test_engine", "test_random_programs[P4]", ""),
    ]
    report = tmp_path / "report.xml"
    suite = f'<testsuite timestamp="2026-01-02T03:04:05">{"".join(cases)}</testsuite>'
    report.write_text(f"<testsuites>{suite}</testsuites>")
    found = evidence.of_tests(report)
    assert {name: record["result"] for name, record in found.items()} == {
        "kernel": "1 skipped, 1 passed",
        "cycles": "FAILED: 1 failed",
    }
    assert found["kernel"]["seconds"] == 3 and found["kernel"]["date"] == "2026-01-02"


def test_proofs_of_claim():
    assert set(records.read(evidence.PROOFS_SUMMARY)["claims"]) <= {claim.name for claim in CLAIMS}


def test_proofs_by_block():
    proof = {"block": "equilif_hdl.blocks.lif", "prop": "v", "assumes": ["held"], "seconds": 1.25}
    found = evidence.summary([proof, proof, {**proof, "prop": "netlist = RTL (ECP5): Lif", "assumes": []}])
    assert found["blocks.lif"] == {
        "properties": ["v"],
        "netlists": ["ECP5"],
        "assumes": ["held"],
        "proofs": 3,
        "seconds": pytest.approx(3.75, abs=0.2),
    }


@pytest.mark.parametrize("name", ASSUMPTIONS)
def test_assumptions_are_used_and_checked(name):
    source = "\n".join(path.read_text() for path in (ROOT / "tests" / "formal").glob("test_*.py"))
    assert f'.assume("{name}"' in source or f'.assume(\n        "{name}"' in source
    for path in re.findall(r"tests/[\w/]+\.py", ASSUMPTIONS[name].checked):
        assert (ROOT / path).exists()


# -- renewal ---------------------------------------------------------------------------------------
def state(record, entry, date, changed="code", seconds=None):
    return records.RecordState(record, entry, "0123456", date, changed, seconds)


STATES = [
    state("flips", "", "2026-01-01"),
    state("accuracy", "digits", "2026-01-03"),
    state("accuracy", "mnist-64", "2026-01-01"),
    state("claims", "kernel", "2026-01-02", seconds=5),
    state("proofs", "kernel", "2026-01-02"),
    state("claims", "speed", "2026-01-02", changed=""),
    state("claims", "bus", "2026-01-02", changed=None),
    state("amd", "", "2025-12-01"),
]


def test_important_and_old_records_are_renewed_first(monkeypatch):
    monkeypatch.setattr(evidence, "digest", lambda record, entry: {"code": "1"})
    found = evidence.work(STATES, {}, Path("d"))
    assert [(one.record, one.entry) for one in found] == [
        ("accuracy", "digits"),  # of README
        ("amd", ""),
        ("flips", ""),
        ("accuracy", "mnist-64"),
        ("claims", "kernel"),
    ]
    failed = {found[-1].command: {"result": evidence.FAILED, "inputs": {"code": "1"}, "seconds": 1}}
    assert len(evidence.work(STATES, failed, Path("d"))) == len(found) - 1
    assert [one.record for one in evidence.work(STATES, {}, None)] == ["amd", "flips", "claims"]


def test_renewal_within_its_time(tmp_path, monkeypatch, capsys):
    """What does not fit is left; the rest goes on after an interruption."""
    monkeypatch.setattr(evidence, "digest", lambda record, entry: {})
    monkeypatch.setattr(evidence, "JOURNAL", tmp_path / "journal.json")
    monkeypatch.setattr(records, "states", lambda: STATES)
    ran = []

    def executed(command, seconds):
        ran.append(command.split()[3])
        if len(ran) == 1:
            raise KeyboardInterrupt
        return "done"

    monkeypatch.setattr(evidence, "executed", executed)
    with pytest.raises(KeyboardInterrupt):
        evidence.renew(0.1, Path("d"))
    (first,) = records.read(evidence.JOURNAL).values()
    assert ran == ["evidence"] and first["result"] == evidence.INTERRUPTED  # the others may need more time
    evidence.renew(1, Path("d"))
    assert ran[1:] == ["accuracy", "amd", "flips", "accuracy", "evidence"]
    assert "5 done" in capsys.readouterr().out


def test_command_has_a_time_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "FULL", tmp_path)
    command = "python -c 'import time; {}'"
    assert evidence.executed(command.format("pass"), 60) == "done"
    assert evidence.executed(command.format("raise SystemExit(1)"), 60) == evidence.FAILED
    assert evidence.executed(command.format("time.sleep(60)"), 0.1) == "out of time"
