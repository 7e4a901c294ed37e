"""Learned embedding tables.

test_kernel.py compares reference, kernel and engine on random networks with tables.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from equilif.data.sets import sequences
from equilif.data.sets.dataset import DataSet
from equilif.training.analysis.neighbours import neighbours
from equilif.training.backends.phases import epoch_plan
from equilif.training.run import Run
from equilif.training.settings import netfile
from equilif.training.settings.description import Description, Sizes
from equilif.training.settings.presets import PRESETS
from equilif.training.storage.history import digest
from equilif_golden.fixed import SQ
from equilif_golden.kernel import Kernel
from equilif_golden.network import Attention, Network, TokenRows, Tokens, load, save
from equilif_golden.reference import Reference
from equilif_golden.tokens import scatter_add
from tests.networks import LEARNS, data_set

NET = Network.attention(
    5, 6, 2, 12, 3, table_rows=8, table_learning_rate_scale=4.0, query_learning_rate_scale=2.0
)


def table(rows=8, seed=0):
    return np.random.default_rng(seed).integers(-4096, 4097, (rows, 6))


def tokens(*samples, rows=8):
    at = [row for sample in samples for row in sample]
    off = np.cumsum([0, *map(len, samples)])
    return TokenRows(np.zeros((rows, 6), np.int16), np.array(at, np.int32), off)


def weights(seed=1):
    return NET.initial_weights(seed) | {"memory-query": table()}


# -- the network -----------------------------------------------------------------------------------
def test_table_is_part_of_weights(tmp_path):
    assert NET.table is not None and NET.table.name == "memory-query"
    assert NET.table in NET.plastic and NET.shape(NET.table) == (8, 6)
    assert Network.attention(5, 6, 2, 4, 3).table is None
    save(tmp_path / "n.npz", NET, weights())
    again, found = load(tmp_path / "n.npz")
    assert again == NET and (found["memory-query"] == table()).all()


def test_description_without_table():
    """Networks without a table keep their files."""
    assert "table_rows" not in str(Network.attention(5, 6, 2, 4, 3).to_dict())
    assert NET.to_dict()["populations"][1]["table_rows"] == 8


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Attention("m", 5, table_rows=8), "table_rows"),
        (lambda: Attention("m", 5, dynamic_patterns=True, table_rows=0), "table_rows"),
        (lambda: Kernel(NET).predict(None, tokens=tokens([0], rows=7)), "7.*8"),
        (lambda: Kernel(NET).predict(None, tokens=tokens([8])), "rows"),
        (lambda: Reference(NET).infer(np.zeros((1, 0), int), Tokens.of([table(2)], 5)), "TokenRows"),
        (lambda: Kernel(NET, weights() | {"memory-query": table(7)}), "memory-query"),
    ],
)
def test_invalid_rows(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# -- learning --------------------------------------------------------------------------------------
def test_rows_of_sample_learn():
    kernel = Kernel(NET, weights(), learning_rate=0.025)
    kernel.train(None, [0], tokens=tokens([3, 6]))
    changed = (kernel.weights["memory-query"] != table()).any(axis=1)
    assert changed.tolist() == [False, False, False, True, False, False, True, False]


def test_repeated_row_learns_twice():
    """Each occurrence is updated separately; both changes are stored."""
    reference = Reference(NET, weights(), learning_rate=0.025)
    twins = Reference(
        NET, weights() | {"memory-query": np.vstack([table()[:7], table()[:1]])}, learning_rate=0.025
    )
    x, y = np.zeros((1, 0), int), np.array([[255, 0, 0]])
    reference.train(x, y, tokens([0, 0]))
    twins.train(x, y, tokens([0, 7]))
    changes = twins.weights["memory-query"] - np.vstack([table()[:7], table()[:1]])
    assert changes[0].any() and changes[7].any()
    assert (reference.weights["memory-query"][0] - table()[0] == changes[0] + changes[7]).all()


def test_row_update_saturates():
    weight = SQ(8, 0)
    before = np.array([[100, -100], [100, -100]])
    after = np.array([[127, -128], [50, 0]])
    found = np.array([[100, -100]])
    scatter_add(found, np.array([0, 0]), before, after, weight)
    assert found.tolist() == [[77, -28]]


def test_frozen_table_is_unchanged():
    net = Network.attention(5, 6, 2, 12, 3, table_rows=8)
    kernel = Kernel(net, weights(), learning_rate=0.025)
    kernel.train(None, [1, 2], tokens=tokens([3, 6], [1]))
    assert (kernel.weights["memory-query"] == table()).all()
    assert (kernel.weights["query-hidden1"] != weights()["query-hidden1"]).any()


# -- token dropout ---------------------------------------------------------------------------------
def test_token_dropout():
    rng = np.random.default_rng(3)
    given = tokens(*[rng.integers(0, 8, n) for n in (1, 0, 200, 1, 300)])
    left = given.dropout(np.random.default_rng(0), 0.4)
    lengths = np.diff(left.off)
    assert lengths[0] == lengths[3] == 1 and lengths[1] == 0
    assert 0.5 < lengths[2] / 200 < 0.7 and 0.5 < lengths[4] / 300 < 0.7
    for j in range(5):
        whole, part = given.rows_of(j).tolist(), left.rows_of(j).tolist()
        rest = iter(whole)
        assert all(row in rest for row in part), "in their order"
    assert given.dropout(rng, 0).rows.tolist() == given.rows.tolist()
    assert np.diff(given.dropout(rng, 1).off).tolist() == [1, 0, 1, 1, 1]


def test_token_dropout_is_deterministic():
    data = data_set()
    preset = LEARNS.changed(token_dropout=0.5)
    drawn = [epoch_plan(preset, data, 0, epoch).samples().tokens.rows.tolist() for epoch in (0, 1, 0)]
    assert drawn[0] != drawn[1] and drawn[0] == drawn[2] != data.tokens_train.rows.tolist()


# -- token crop and input mask ---------------------------------------------------------------------
def recordings(*lengths):
    """Tokens of three non-zero values and four position codes."""
    off = np.cumsum([0, *lengths])
    codes = np.full((off[-1], 7), 32, np.int16)
    codes[:, 3:] = sequences.position(sequences.places(off), 4).astype(np.int16) << 5
    return TokenRows(codes, np.arange(off[-1], dtype=np.int32), off)


def test_token_crop():
    given = recordings(1, 2, 0, 10, 29, 10)
    rng = np.random.default_rng(0)
    drawn = [given.crop(rng, 0.3) for _ in range(2000)]
    lengths = np.array([np.diff(left.off) for left in drawn])
    assert lengths.min(axis=0).tolist() == [1, 2, 0, 6, 13, 6]
    assert lengths.max(axis=0).tolist() == [1, 2, 0, 10, 29, 10]
    assert (np.diff(given.crop(rng, 0.5).off) > 0).tolist() == [True, True, False, True, True, True]
    for left in drawn[:50]:
        for j in range(left.n_samples):
            rows = left.rows_of(j)
            assert set(rows) <= set(given.rows_of(j)) and (np.diff(rows) == 1).all()
        again = sequences.with_positions(left, 4)
        assert (again.table == recordings(*np.diff(left.off)).table).all()
        assert again.rows.tolist() == list(range(len(left.rows))) and (again.off == left.off).all()


def test_input_mask():
    given = recordings(5, 3, 8, 2, 9, 4)
    whole = given.table.copy()
    left = sequences.masked(given, np.random.default_rng(1), 2, last=4)
    assert (given.table == whole).all() and (left.table[:, 3:] == whole[:, 3:]).all()
    hidden = [(left.sample(j)[:, :3] == 0) for j in range(6)]
    assert all((h == h[0]).all() for h in hidden)
    assert {tuple(h[0]) for h in hidden} == {(True, True, False), (False, True, True)}
    assert (sequences.masked(given, np.random.default_rng(1), 0, last=4).table == whole).all()
    with pytest.raises(ValueError, match="3 values"):
        sequences.masked(given, np.random.default_rng(1), 4, last=4)


def test_crop_and_mask_are_deterministic():
    tokens = recordings(*[9] * 6)
    x = np.zeros((6, 0), np.uint8)
    y = np.arange(6) % 2
    data = DataSet("vowels", x, y, x, y, tokens, tokens)
    preset = PRESETS["vowels"].changed(token_crop=0.5, input_mask=1, token_dropout=0.0, loading={"n_pos": 4})
    drawn = [epoch_plan(preset, data, 0, epoch).samples().tokens for epoch in (0, 1, 0)]
    assert drawn[0].off.tolist() == drawn[2].off.tolist() != drawn[1].off.tolist()
    assert (drawn[0].table == drawn[2].table).all()
    assert (drawn[0].table[:, 3:] == recordings(*np.diff(drawn[0].off)).table[:, 3:]).all()


@pytest.mark.parametrize("option", [{"token_crop": 0.2}, {"input_mask": 1}])
def test_augmentation_needs_fixed_tokens(option):
    for preset in (PRESETS["digits"], PRESETS["imdb"]):
        with pytest.raises(ValueError, match="not learned"):
            preset.changed(**option)


# -- runs and files --------------------------------------------------------------------------------


def test_resume_keeps_learned_table(tmp_path, monkeypatch):
    data = data_set()
    start = Run.start(LEARNS, data, 0)
    first = data.tokens_train.table.astype(int)
    assert (start.weights["memory-query"] == first).all()
    monkeypatch.setattr(Description, "load", lambda preset, folder=None: data)
    start.epoch(folder=tmp_path)
    monkeypatch.setattr("equilif.training.storage.history.check_data", lambda *what: None)
    again = Run.resume(tmp_path, data)
    for run in (start, again):
        run.epoch()
    assert digest(start.weights) == digest(again.weights)
    assert (again.weights["memory-query"] != first).any()


def test_table_needs_data():
    network = LEARNS.network(data_set())
    with pytest.raises(ValueError, match="table"):
        LEARNS.initial_weights(network, 0)


def test_token_dropout_needs_attention():
    with pytest.raises(ValueError, match="token_dropout"):
        PRESETS["digits"].changed(token_dropout=0.5)


def test_table_rows_from_data(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(netfile.written(LEARNS))
    assert "table_rows = 0" in path.read_text()
    file = netfile.read(path)
    assert file.preset("vowels") == LEARNS
    data = data_set()
    assert file.network(data) == LEARNS.network(data) and file.network(data).table is not None
    with pytest.raises(ValueError, match="'memory'"):
        file.network()
    path.write_text(path.read_text().replace("table_rows = 0", "table_rows = 99"))
    with pytest.raises(ValueError, match="line 12"):
        netfile.read(path).network(data)
    assert Description.of_network(LEARNS.network(data), sized=True).network(Sizes.of(data)).table is not None


# -- learned words ---------------------------------------------------------------------------------
def named():
    data = data_set()
    return replace(data, words=tuple(f"{'even' if k % 2 == 0 else 'odd'}{k}" for k in range(20)))


def test_nearest_words():
    data = named()
    network = LEARNS.network(data)
    first = data.tokens_train.table.astype(int)
    after = first.copy()
    after[3] = 2 * after[8] + 1  # now similar to another word
    weights = LEARNS.initial_weights(network, 0, data) | {"memory-query": after}
    (found,) = neighbours(network, weights, data, ["odd3"], n=3)
    assert found.after[0] == "even8" != found.before[0] and len(found.before) == 3
    assert found.cosine is not None and found.cosine < 0.999
    (most, *_) = neighbours(network, weights, data)
    assert most.word == "odd3", "it moved most"
    after[3] = 0
    (found,) = neighbours(network, weights, data, ["odd3"])
    assert found.after == () and found.cosine is None


@pytest.mark.parametrize(
    "change, words, message",
    [({}, ["odd33"], "'odd33'"), ({"words": ()}, [], "no trained embedding table")],
)
def test_unknown_words(change, words, message):
    data = replace(named(), **change)
    network = LEARNS.network(data)
    with pytest.raises(ValueError, match=message):
        neighbours(network, LEARNS.initial_weights(network, 0, data), data, words)
