"""Records: what they depend on; pages generated from records."""

from __future__ import annotations

import re

import pytest

from benchmarks import accuracy, inputs, pages, records, training
from benchmarks.claims import CLAIMS, NETWORKS
from benchmarks.registry import RECORDS, Record

RTLIL = """
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Block(wiring.Component):
    i: In(4)
    o: Out(4)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.i {operation} 1)
        return m
"""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Modules a, which imports b and reads a file, and c."""
    folder = tmp_path / "golden" / "equilif_golden"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text('"""A."""\nfrom equilif_golden import b\n\n\ndef f(x):\n    return b.g(x)\n')
    (folder / "b.py").write_text("def g(x):\n    return x + 1\n")
    (folder / "c.py").write_text("y = 1\n")
    (folder / "table.toml").write_text("z = 1\n")
    inputs._board_definitions()  # kept: the small tree has no table of boards
    monkeypatch.setattr(inputs, "ROOT", tmp_path)
    monkeypatch.setattr(inputs, "CACHE", tmp_path / "build" / "digests.json")
    monkeypatch.setitem(inputs.LOADED, "equilif_golden.b", "golden/equilif_golden/*.toml")
    clear()
    yield folder
    clear()


def clear():
    for cached in (inputs._read, inputs._known, inputs.tree):
        cached.cache_clear()


@pytest.mark.parametrize(
    "file, text, same",
    [
        ("a.py", '"""B."""\nfrom equilif_golden import b  # why\ndef f(x): return (b.g(x))\n', True),
        (
            "a.py",
            "from typing import Any\nfrom equilif_golden import b\ndef f(x: Any) -> Any: return b.g(x)\n",
            True,
        ),
        ("a.py", "from equilif_golden import b\n\n\ndef f(x):\n    return b.g(x) + 1\n", False),
        ("b.py", "def g(x):\n    return x + 2\n", False),
        ("c.py", "y = 2\n", True),
        ("table.toml", "z = 2\n", False),
    ],
)
def test_code_is_what_a_module_executes(tree, file, text, same):
    pattern = ["golden/equilif_golden/a.py"]
    before = inputs.code(pattern)
    (tree / file).write_text(text)
    clear()
    assert (inputs.code(pattern) == before) is same
    # where a result stands for a package, its modules do not count unless they are named
    assert (inputs.code(pattern, ("equilif_golden",)) == before) is False
    with pytest.raises(ValueError, match=r"none\.py"):
        inputs.code(["golden/equilif_golden/none.py"])


@pytest.mark.parametrize("compares", [False, True])
def test_rtl_stands_for_the_model(tree, monkeypatch, compares):
    """The code of the golden model counts where it is compared with the RTL."""
    found = inputs.RecordInputs(["equilif/bench.py"], [lambda: "rtl"], compares=compares)
    monkeypatch.setitem(inputs.INPUTS, "it", lambda _: found)
    (tree.parents[1] / "equilif").mkdir()
    (tree.parents[1] / "equilif" / "bench.py").write_text("from equilif_golden import c\n")
    before = inputs.computed("it", "")
    (tree / "c.py").write_text("y = 2\n")
    clear()
    assert (inputs.computed("it", "") != before) is compares


def test_rtlil_has_no_places():
    def block(text):
        names = {"__name__": __name__}
        exec(compile(text, "block", "exec", dont_inherit=True), names)
        return inputs.rtlil(names["Block"])

    text = RTLIL.format(operation="+")
    assert block(text) == block("# moved\n\n" + text) != block(RTLIL.format(operation="-"))


def test_digests_are_stored(tree):
    packages = ["equilif_golden"]
    made = iter(range(9))
    assert [inputs.stored("n", packages, lambda: next(made)) for _ in range(2)] == [0, 0]
    clear()
    assert inputs.stored("n", packages, lambda: next(made)) == 0
    (tree / "c.py").write_text("y = 2\n")
    clear()
    assert inputs.stored("n", packages, lambda: next(made)) == 1


@pytest.mark.parametrize(
    "command, same",
    [
        ("equilif train digits --epochs 20", True),
        ("equilif train digits --epochs 19", False),
        ("equilif train digits --set phases.free=24", False),
        ("equilif train digits --hidden 63", False),
    ],
)
def test_few_samples_depend_on_settings(command, same):
    assert (training.few_samples(command) == training.few_samples("equilif train digits")) is same


def test_every_record_and_claim_has_inputs():
    assert set(inputs.INPUTS) == {record.name for record in RECORDS}
    assert set(inputs.CLAIMS) == {claim.name for claim in CLAIMS}
    for find in inputs.CLAIMS.values():
        assert all(any(inputs.ROOT.glob(pattern)) for pattern in find().code)


# -- states ----------------------------------------------------------------------------------------
def only(folder, monkeypatch, content, *, entries="", part="", known=""):
    monkeypatch.setattr(records, "ROOT", folder)
    records.write(folder / "record.json", content)
    record = Record("it", "flips", "{entry}", entries, part, "record.json", known)
    return {s.entry: s.changed for s in records.states([record])}


NOW = {"rtl": "1", "code": "2"}


@pytest.fixture
def now(monkeypatch):
    monkeypatch.setattr(records, "digest", lambda record, entry: NOW)


def test_record_is_current_with_equal_inputs(now, tmp_path, monkeypatch):
    assert only(tmp_path, monkeypatch, {"inputs": NOW}) == {"": ""}
    assert only(tmp_path, monkeypatch, {"inputs": {**NOW, "code": "3"}}) == {"": "code"}
    assert only(tmp_path, monkeypatch, {"inputs": {"rtl": "3", "results": "2"}}) == {"": "code, results, rtl"}
    assert only(tmp_path, monkeypatch, {"commit": "0123456"}) == {"": "no digest"}


def test_entries_have_inputs(now, tmp_path, monkeypatch):
    known = {
        "a": {"part": {"inputs": NOW}},
        "b": {"inputs": NOW, "part": {"inputs": {}}},
        "c": {"inputs": NOW},
    }
    found = only(tmp_path, monkeypatch, {"all": known}, entries="all", part="part")
    assert found == {"a": "", "b": "no digest"}
    networks = {"all": {"digits": {"inputs": NOW}}}
    found = only(tmp_path, monkeypatch, networks, entries="all", known="claims.NETWORKS")
    assert found == {name: records.NOT_MEASURED if name != "digits" else "" for name in NETWORKS}


def test_inputs_that_need_a_missing_package(tmp_path, monkeypatch):
    def missing(record, entry):
        raise ModuleNotFoundError(entry)

    monkeypatch.setattr(records, "digest", missing)
    assert only(tmp_path, monkeypatch, {"inputs": NOW}) == {"": None}


def test_age_in_commits(tmp_path, monkeypatch):
    counted = []
    monkeypatch.setattr(records, "_git", lambda *arguments: counted.append(arguments) or "7")
    state = records.RecordState("it", "a", "recorded 0123456", "", "rtl")
    assert state.age == 7 and "0123456..HEAD" in counted[0]
    assert state._replace(changed="").age == state._replace(commit="-").age == 0


def test_records_command(capsys, monkeypatch):
    monkeypatch.setattr(records, "digest", lambda record, entry: NOW)
    records.main(all_=True)
    listed = capsys.readouterr().out
    for record in RECORDS:
        assert record.name in listed and (records.ROOT / record.file).exists()


def test_ci_checks_records():
    assert "-m benchmarks pages --check" in (records.ROOT / ".ci" / "run").read_text()


def test_summary_round_trip(tmp_path):
    content = {"a": {"b": [1, {"c": "x"}], "d": []}, "e": None}
    for depth in range(5):
        records.write(tmp_path / "r.json", content, depth)
        assert records.read(tmp_path / "r.json") == content
    assert (tmp_path / "r.json").read_text().count("\n") > 5


# -- pages -----------------------------------------------------------------------------------------
def test_pages_are_current():
    """After a new measurement:  python -m benchmarks pages.  CI compares the ages too."""
    assert [page.name for page, _ in pages.stale(None)] == []


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
    inline = [found for found in pages.MARKED.finditer(text) if not pages._is_table(found)]
    assert (names[-1:] == [pages.MEASURED]) is bool(inline)
    text = re.sub(r"^```.*?^```|^    .*?$|`[^`]*`", "", pages.MARKED.sub("", text), flags=re.S | re.M)
    typed = [part for part in text.split("\n\n") if re.search(FIGURE, part) and "for example" not in part]
    assert not typed


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A README with a figure and a table of two entries."""
    (tmp_path / "docs").mkdir()
    page = tmp_path / "README.md"
    page.write_text(
        "It is <!-- speed -->7<!-- end of speed -->.\n\n<!-- claims -->\n<!-- end of claims -->\n\n"
        "<!-- measured -->x<!-- end of measured -->\n"
    )
    content = {
        "speed": pages.PageContent(lambda: "8", ["claims"], pages.TIMED, ["speed"]),
        "claims": pages.PageContent(lambda: "| a |", ["claims"], pages.SIMULATED),
    }
    for name, value in (("ROOT", tmp_path), ("README", page), ("CONTENT", content)):
        monkeypatch.setattr(pages, name, value)
    return page


def test_page_has_origin_and_age_of_records(page, monkeypatch, capsys):
    states = [
        records.RecordState("claims", "speed", "0123456", "2026-01-02", "code"),
        records.RecordState("claims", "b", "9", "2026-01-03", ""),
        records.RecordState("claims", "c", "-", "", records.NOT_MEASURED),
    ]
    monkeypatch.setattr(records, "states", lambda: states)
    monkeypatch.setattr(records, "_git", lambda *_: str(pages.MAX_AGE))
    assert pages.main(check=True) == 1 and "README.md" in capsys.readouterr().out
    assert pages.main() == 0 and pages.main(check=True) == 0
    lines = page.read_text().splitlines()
    assert lines[0] == "It is <!-- speed -->8<!-- end of speed -->."
    assert "*Simulated. 2026-01-02 to 2026-01-03; older than the code: speed.*" in lines
    assert "2026-01-02, older than the code." in lines[-1]
    assert not list(pages.stale(None))  # a change of age alone
    states[0] = states[0]._replace(changed=None)  # where it is not known, the page stays
    assert pages.main(check=True) == 0
    states[0] = states[0]._replace(changed="")
    assert pages.main(check=True) == 1 and not list(pages.stale(None))
    assert pages.main() == 0 and "2026-01-03, current.*" in page.read_text()


def test_old_records_of_readme_fail(page, monkeypatch, capsys):
    states = [records.RecordState("claims", "speed", "0123456", "2026-01-02", "code")]
    monkeypatch.setattr(records, "states", lambda: states)
    monkeypatch.setattr(records, "_git", lambda *_: str(pages.MAX_AGE + 1))
    assert pages.main() == 0 and pages.main(check=True) == 1
    assert "claims speed" in capsys.readouterr().out


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
