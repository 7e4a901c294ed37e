"""docs/evidence.md and docs/formal.md: no entry is dead, and both are what the command makes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from benchmarks import evidence
from tests.formal.assumptions import ASSUMPTIONS

ROOT = Path(__file__).parents[2]
every_claim = pytest.mark.parametrize("claim", evidence.CLAIMS, ids=lambda claim: claim.name)


def words(text: str) -> str:
    return " ".join(text.split())


def test_names_are_names_of_one_claim():
    names = [claim.name for claim in evidence.CLAIMS]
    assert len(set(names)) == len(names)
    assert set(evidence._read(evidence.RECORDS)) <= set(names)


@every_claim
def test_the_claim_still_stands(claim):
    assert words(claim.quote) in words((ROOT / claim.page).read_text())


@every_claim
def test_the_command_proves_something(claim):
    """The tests that it names are there; commands of equilif are checked with all pages."""
    parts = shlex.split(claim.command)
    if "pytest" not in parts:
        assert parts[0] == "equilif"
        return
    path = ROOT / parts[parts.index("pytest") + 1]
    files = [path] if path.is_file() else sorted(path.glob("test_*.py"))
    text = "\n".join(file.read_text() for file in files)
    wanted = parts[parts.index("-k") + 1] if "-k" in parts else ""
    if wanted.startswith("not "):
        wanted = ""  # any other will do
    assert re.search(rf"^def test_\w*{wanted}", text, re.M)
    assert "-m" not in parts[3:] or re.search(r"pytest\.mark\.(long|regress)", text)


def test_the_pages_are_those_of_the_command():
    """After a change:  python -m benchmarks.evidence"""
    assert (ROOT / "docs" / "evidence.md").read_text() == evidence.evidence()
    assert (ROOT / "docs" / "formal.md").read_text() == evidence.formal()


def claim(command):
    return evidence.Claim("it", "README.md", "", command)


def test_a_run_is_recorded_good_or_bad():
    good, proven = evidence.run(claim("python -c 'print(\"3 passed in 1.2s\")'"))
    assert good["result"] == "3 passed" and good["versions"]["python"] and not proven
    assert evidence.run(claim("python -c 'print(7); raise SystemExit(1)'"))[0]["result"] == "FAILED: 7"
    two = claim('python -c \'print("f_max 5"); print("file")\'')
    assert [evidence.run(c)[0]["result"] for c in (two, two._replace(says="f_max"))] == ["file", "f_max 5"]


def test_what_a_run_has_proven_is_recorded_with_it():
    code = f"import os; open(os.environ['{evidence.LEDGER}'], 'w').write('7')"
    assert evidence.run(claim(f'python -c "{code}"'))[1] == [7]


def test_a_report_of_all_tests_is_taken_apart(tmp_path):
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


def test_proofs_are_those_of_a_claim():
    names = {claim.name for claim in evidence.CLAIMS}
    assert {proof["claim"] for proof in evidence._read(evidence.PROOFS)["proofs"]} <= names


@pytest.mark.parametrize("name", ASSUMPTIONS)
def test_every_assumption_is_used_and_checked(name):
    source = "\n".join(path.read_text() for path in (ROOT / "tests" / "formal").glob("test_*.py"))
    assert f'.assume("{name}"' in source or f'.assume(\n        "{name}"' in source
    for path in re.findall(r"tests/[\w/]+\.py", ASSUMPTIONS[name].checked):
        assert (ROOT / path).exists()
