"""Sampled cases of ``./run test``."""

from __future__ import annotations

from types import SimpleNamespace

from tests.conftest import sample

CASES = [
    SimpleNamespace(nodeid=f"test[{lanes}-{name}]", callspec=SimpleNamespace(id=f"{lanes}-{name}"))
    for lanes in (4, 8, 16)
    for name in "abcdefg"
]


def test_sample_is_deterministic_and_covers_values():
    chosen = [case.callspec.id for case in sample("a test", CASES, 7)]
    assert len(set(chosen)) == 7
    assert chosen == [case.callspec.id for case in sample("a test", CASES[::-1], 7)]
    assert {name.split("-")[0] for name in chosen} == {"4", "8", "16"}
    assert {name.split("-")[1] for name in chosen} == set("abcdefg")
    assert len(sample("a test", CASES, 100)) == len(CASES)
