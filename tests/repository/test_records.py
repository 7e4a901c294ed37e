"""Records: commit and inputs; pages generated from records."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from benchmarks import accuracy, pages, records
from benchmarks.claims import CLAIMS, NETWORKS
from benchmarks.registry import RECORDS, Record

COMMITTER = ("-c", "user.name=n", "-c", "user.email=e@example.org")


def git(folder, *arguments):
    done = subprocess.run(
        ["git", *COMMITTER, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with an input and its record."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    git(tmp_path, "init", "-q")
    (tmp_path / "hdl").mkdir()
    (tmp_path / "hdl" / "block.py").write_text("1\n")
    (tmp_path / "record.json").write_text("{}\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.setattr(records, "ROOT", tmp_path)
    for cached in (records._recorded, records._changed):
        cached.cache_clear()
    yield tmp_path
    for cached in (records._recorded, records._changed):
        cached.cache_clear()


def only(folder, content, *, entries="", part=""):
    records.write(folder / "record.json", content)
    record = Record("it", "flips", "{entry}", ("hdl",), entries, part, "record.json")
    return list(records.states([record]))


def test_record_is_stale_after_change(repository):
    commit = records.stamp(["hdl"])["commit"]
    assert only(repository, {"commit": commit})[0].is_current
    (repository / "hdl" / "block.py").write_text("2\n")
    assert records.stamp(["hdl"])["commit"] == f"{commit}+"
    records._changed.cache_clear()
    (found,) = only(repository, {"commit": commit})
    assert not found.is_current and "1 file changed" in found.changed and found.commit == commit


def test_record_without_commit(repository):
    (found,) = only(repository, {})
    assert found.is_current and git(repository, "rev-parse", "HEAD").startswith(found.commit.split()[1])


def test_entries_have_commits(repository):
    commit = records.stamp(["hdl"])["commit"]
    known = {"a": {"commit": commit}, "b c": {"recorded": "0123456"}, "none": {}}
    one, *others = only(repository, {"all": known}, entries="all")
    assert one.is_current and [(s.entry, s.changed) for s in others] == [("b c", None), ("none", None)]


def test_commit_of_partial_entry(repository):
    commit = records.stamp(["hdl"])["commit"]
    known = {"a": {"part": {"commit": commit}}, "b": {"commit": commit, "part": {}}, "c": {"commit": commit}}
    found = only(repository, {"all": known}, entries="all", part="part")
    assert [(s.entry, s.is_current) for s in found] == [("a", True), ("b", False)]


def test_unknown_history(repository, tmp_path, monkeypatch):
    (repository / "record.json").write_text('{"commit": "0123456789"}\n')
    git(repository, "commit", "-qam", "second")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", str(clone))
    for root in (clone, tmp_path / "nowhere"):
        root.mkdir(exist_ok=True)
        monkeypatch.setattr(records, "ROOT", root)
        records._recorded.cache_clear()
        records._changed.cache_clear()
        found = [*only(root, {"commit": "0123456789"}), *only(root, {})]
        if root is clone:
            assert [s.changed for s in found] == [None, None]
    monkeypatch.setattr(records, "_git", lambda *_: None)
    assert records.stamp()["commit"] == "" and only(clone, {})[0].changed is None


def test_records_command(capsys):
    records.main(all_=True)
    listed = capsys.readouterr().out
    for record in RECORDS:
        assert record.name in listed and (records.ROOT / record.file).exists()


def test_ci_runs_records():
    assert "-m benchmarks records" in (records.ROOT / ".ci" / "run").read_text()


def test_records_need_no_packages():
    """The list needs Python and git only."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "benchmarks", "records"], cwd=records.ROOT, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


def test_summary_round_trip(tmp_path):
    content = {"a": {"b": [1, {"c": "x"}], "d": []}, "e": None}
    for depth in range(5):
        records.write(tmp_path / "r.json", content, depth)
        assert records.read(tmp_path / "r.json") == content
    assert (tmp_path / "r.json").read_text().count("\n") > 5


# -- pages -----------------------------------------------------------------------------------------
def test_pages_are_current():
    """After a new measurement:  python -m benchmarks pages"""
    assert pages.main(check=True) == 0


def test_every_table_is_used():
    text = "".join(page.read_text() for page in pages.user_pages())
    unused = set(pages.CONTENT) - {found[1] for found in pages.MARKED.finditer(text)}
    assert unused <= {*(f"accuracy-{name}" for name in NETWORKS), *(claim.name for claim in CLAIMS)}


#: a measured figure: accuracy, speed, cycles, cells, equality
FIGURE = (
    r"\d\.\d+ ?%|\d [\w ]*samples(?:/s| per second)|\d,\d{3} [\w ]*(?:cycles|cells|LUTs)|\d\.\d+ times|"
    r"\d mismatches"
)


@pytest.mark.parametrize("page", pages.user_pages(), ids=lambda page: page.name)
def test_figures_are_from_records(page):
    """A measured figure of a user page is in a block of a record, or in a paragraph with "for example"."""
    text = page.read_text()
    names = [found[1] for found in pages.MARKED.finditer(text)]
    assert not names or names[-1] == pages.MEASURED
    text = re.sub(r"^```.*?^```|^    .*?$|`[^`]*`", "", pages.MARKED.sub("", text), flags=re.S | re.M)
    typed = [part for part in text.split("\n\n") if re.search(FIGURE, part) and "for example" not in part]
    assert not typed


def test_stale_page_is_rewritten(tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    page = tmp_path / "README.md"
    blocks = "".join(f"<!-- {name} -->\n<!-- end of {name} -->\n" for name in ("speed", pages.MEASURED))
    page.write_text(f"It is <!-- speed -->7<!-- end of speed -->.\n{blocks}")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "CONTENT", {"speed": pages.PageContent(lambda: "8", ["claims"], "speed")})
    states = [
        records.RecordState("claims", "speed", "0123456", " 1 file changed"),
        records.RecordState("claims", "b", "9", ""),
    ]
    monkeypatch.setattr(records, "states", lambda: states)
    assert pages.main(check=True) == 1 and "README.md" in capsys.readouterr().out
    assert pages.main() == 0 and pages.main(check=True) == 0
    assert page.read_text().splitlines()[0] == "It is <!-- speed -->8<!-- end of speed -->."
    assert "\n\n8\n\n" in page.read_text() and "0123456 (the code has changed since)" in page.read_text()
    states[0] = states[0]._replace(changed=None)  # without the history the page stays
    assert pages.main(check=True) == 0
    states[0] = states[0]._replace(changed="")
    assert pages.main(check=True) == 1


def test_accuracy_of_last_epochs():
    def run(*test):
        return {"epochs": [{"test_accuracy": a} for a in test]}

    assert accuracy.accuracies(run(0.5, 0.98765)) == [98.77]
    assert accuracy.accuracies({"accuracy": 0.9, "runs": [run(0.25, 0.9), run(0.8)]}) == [90.0, 80.0]


def test_learning_method_of_networks():
    """Label of each row: several hidden layers learn by errors, unless the command asks for nudged phases."""
    found = {name: pages.learned_by(of) for name, of in NETWORKS.items()}
    by_errors = {
        name
        for name, of in NETWORKS.items()
        if of.command.count("--hidden") > 1 and not name.endswith("phases")
    }
    assert found == {name: "errors" if name in by_errors else "nudged phases" for name in NETWORKS}


@pytest.mark.parametrize(
    "page", ["README.md", "docs/reference/results.md", "docs/how_to/reproduce_the_paper.md"]
)
def test_rows_say_how_they_learned(page):
    """No row of a table of accuracies is without its label."""
    tables = re.findall(
        r"^\|.*test accuracy.*\n\|[-|]+\n(?:\|.*\n)+", (records.ROOT / page).read_text(), re.M
    )
    assert tables
    for head, _, *rows in (table.splitlines() for table in tables):
        column = [cell.strip() for cell in head.split("|")].index("learned by")
        labels = {row.split("|")[column].strip() for row in rows}
        assert labels <= {"nudged phases", "errors", "implicit differentiation"}, (page, head)


def test_recorded_networks_match_commands():
    assert set(records.read(accuracy.TABLE)["networks"]) == set(NETWORKS)
