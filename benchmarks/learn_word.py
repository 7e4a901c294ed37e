"""Learning a word: a network that knows nine digits of five speakers learns the tenth and a sixth speaker.

    python -m benchmarks.learn_word --data DIR [--json FILE]

A choice is a digit and a speaker.  The preset of the spoken digits, with --queries queries, is trained on the
other nine digits of the other five speakers.  Then the procedure of `equilif listen --learn` (equilif.lesson)
adds a class, and learns --utterances of the digit (by the five speakers) and as many of the speaker (one of
every digit), with --replay stored training samples of each old digit.

Accuracy is of test samples: old digits of old speakers, the new digit of old speakers, old digits of the new
speaker, and the new digit of the new speaker, each before and after.  Cycles are those of the engine of the
ULX3S 85F, whose program memory holds 8 queries.

--validation takes the test samples from the training part, a fifth of it, with other choices: settings were
chosen so, with 16 queries and the first three choices.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from equilif import lesson
from equilif.data.sets import sequences
from equilif.data.sets.dataset import DataSet
from equilif.data.sets.recordings import speakers
from equilif.lesson import Words
from equilif.results import machine, write_json
from equilif.training.backends.phases import EquilibriumPropagation, epoch_plan
from equilif.training.settings.description import Description
from equilif.training.settings.presets import PRESETS
from equilif_boards import BOARDS
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.model import EngineModel
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.samples import one_hot

#: digit and number of the speaker
CHOICES = ((0, 0), (3, 1), (5, 2), (7, 3), (9, 4))
VALIDATION_CHOICES = ((1, 5), (6, 0), (8, 2), (2, 1), (4, 3))
BOARD = "ulx3s-85f"
QUERIES = 8  #: of the 16 of the preset: the program fits the board
TIMED = 5  #: samples whose cycles are counted
VALIDATION_PART = 5  #: validation takes one training sample in five
Indices = npt.NDArray[np.int64]


class SpokenDigits(NamedTuple):
    """Spoken digits of both parts: speakers by sample, and which training samples are tested on."""

    data: DataSet
    who: Indices
    who_test: Indices
    held: npt.NDArray[np.bool_]  #: training samples, nothing unless ``validation``

    @classmethod
    def load(cls, preset: Description, folder: Path | None, validation: bool) -> SpokenDigits:
        data = sequences.data_set(preset.data, folder, preset.options)
        who, who_test = speakers(folder)
        held = np.zeros(len(who), np.bool_)
        if validation:
            held[np.random.default_rng(0).permutation(len(who))[: len(who) // VALIDATION_PART]] = True
        return cls(data, who, who_test, held)

    def groups(self, digit: int, speaker: int) -> Mapping[str, Indices]:
        """Test samples by what is new of them."""
        test = self.held.any()
        y = self.data.y_train[self.held] if test else self.data.y_test
        who = self.who[self.held] if test else self.who_test
        return {
            "old": np.flatnonzero((y != digit) & (who != speaker)),
            "new digit": np.flatnonzero((y == digit) & (who != speaker)),
            "new speaker": np.flatnonzero((y != digit) & (who == speaker)),
            "both": np.flatnonzero((y == digit) & (who == speaker)),
        }

    def accuracies(self, kernel: Kernel, digit: int, groups: Mapping[str, Indices]) -> dict[str, float]:
        """Accuracies of a network whose class numbers are :func:`relabelled`."""
        d = self.data
        assert d.tokens_train is not None
        if self.held.any():
            at = np.flatnonzero(self.held)
            x, y, tokens = d.x_train[at], d.y_train[at], d.tokens_train.take(at)
        else:
            assert d.tokens_test is not None
            x, y, tokens = d.x_test, d.y_test, d.tokens_test
        right = kernel.predict(x, tokens=tokens) == relabelled(y, digit)
        return {name: float(right[group].mean()) for name, group in groups.items()}


def relabelled(y: Indices, digit: int) -> Indices:
    """Class numbers with ``digit`` as the last one."""
    last = 9
    return np.where(y == digit, last, y - (y > digit))


def known(spoken: SpokenDigits, digit: int, speaker: int) -> DataSet:
    """The old digits of the old speakers; their test samples are not used."""
    d = spoken.data
    assert d.tokens_train is not None and d.tokens_test is not None
    at = np.flatnonzero(~spoken.held & (d.y_train != digit) & (spoken.who != speaker))
    test = np.flatnonzero(d.y_test != digit)
    return replace(
        d,
        x_train=d.x_train[at],
        y_train=relabelled(d.y_train[at], digit),
        tokens_train=d.tokens_train.take(at),
        x_test=d.x_test[test],
        y_test=relabelled(d.y_test[test], digit),
        tokens_test=d.tokens_test.take(test),
        classes=(),
    )


def trained(data: DataSet, preset: Description, seed: int) -> Kernel:
    """A network that knows all training samples of these data."""
    learner = EquilibriumPropagation.start(preset, data, seed).learner
    assert isinstance(learner, Kernel)
    for epoch in range(preset.epochs):
        plan = epoch_plan(preset, data, seed, epoch)
        learner.set_learning_rate(plan.learning_rate)
        x, tokens = plan.samples()
        learner.train(x, data.y_train, plan.order, tokens=tokens)
    return learner


def utterances(spoken: SpokenDigits, digit: int, speaker: int, n: int, seed: int) -> Words:
    """``n`` of the digit by the old speakers, and as many of the new speaker."""
    rng = np.random.default_rng((seed, digit, speaker))
    d, who = spoken.data, spoken.who
    y = d.y_train
    assert d.tokens_train is not None

    def draw(where: npt.NDArray[np.bool_], k: int) -> Raw:
        return rng.choice(np.flatnonzero(where & ~spoken.held), k, replace=False)

    others = [s for s in np.unique(who) if s != speaker]
    each = np.bincount(np.arange(n) % len(others), minlength=len(others))
    parts = [draw((y == digit) & (who == s), k) for s, k in zip(others, each.tolist(), strict=True)]
    each = np.bincount(np.arange(n) % 10, minlength=10)
    parts += [draw((y == k) & (who == speaker), m) for k, m in enumerate(each.tolist())]
    at = np.concatenate(parts)
    tokens = [d.tokens_train.table[d.tokens_train.rows_of(j)] for j in at]
    return Words.of(tokens, list(relabelled(y[at], digit)), d.tokens_train.table.shape[1])


def cycles(kernel: Kernel, words: Words, learning_rate: float) -> float:
    """Mean cycles of a training sample on the engine of BOARD, by the engine model, which is compared."""
    config = BOARDS[BOARD].config
    learner = Kernel(kernel.network, kernel.weights, learning_rate=learning_rate)
    chip = Chip(EngineModel(config), kernel.network, kernel.weights, learning_rate=learning_rate)
    targets = one_hot(words.labels, kernel.network.n_outputs)
    nothing = np.zeros(0, np.int64)
    runs = [chip.sample(nothing, targets[j], tokens=words.tokens.take([j])).cycles for j in range(TIMED)]
    learner.train(None, words.labels, range(TIMED), tokens=words.tokens)
    if any((w != chip.weights[name]).any() for name, w in learner.weights.items()):
        raise AssertionError("engine and kernel differ")
    return float(np.mean(runs))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--utterances", type=int, default=lesson.UTTERANCES)
    parser.add_argument(
        "--replay", type=int, default=lesson.REPLAY, help="stored samples of a digit; 0: none"
    )
    parser.add_argument("--passes", type=int, default=lesson.PASSES)
    parser.add_argument("--learning-rate", type=float, default=lesson.LEARNING_RATE)
    parser.add_argument("--epochs", type=int, help="of the training before (default: the preset's)")
    parser.add_argument("--choices", type=int, default=len(CHOICES))
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    content = PRESETS["spoken"].content()
    content["population"]["query"]["heads"] = options.queries
    if options.epochs is not None:
        content["learning"]["epochs"] = options.epochs
    preset = Description.of(content, "spoken")
    spoken = SpokenDigits.load(preset, options.data, options.validation)
    rows: list[dict[str, Any]] = []
    choices = VALIDATION_CHOICES if options.validation else CHOICES
    for seed, (digit, speaker) in enumerate(choices[: options.choices]):
        old = known(spoken, digit, speaker)
        before = trained(old, preset, seed)
        groups = spoken.groups(digit, speaker)
        words = lesson.drawn(old, options.replay, seed)
        words = words.plus(utterances(spoken, digit, speaker, options.utterances, seed))
        after = Kernel(*lesson.with_class(before.network, before.weights))
        lesson.learn(after, words, passes=options.passes, learning_rate=options.learning_rate, seed=seed)
        row = {
            "digit": digit,
            "speaker": speaker,
            "samples": len(words),
            "before": spoken.accuracies(before, digit, groups),
            "after": spoken.accuracies(after, digit, groups),
        }
        rows.append(row)
        show(f"digit {digit}, speaker {speaker}", [row])
    show("mean", rows)
    each = None
    if options.queries <= QUERIES:
        each = cycles(after, words, options.learning_rate)
        total = each * options.passes * len(words)
        seconds = total / BOARDS[BOARD].clock_hz
        print(f"{BOARD}: {each:,.0f} cycles a training sample, {total:,.0f} for the lesson, {seconds:.2f} s")
    if options.json:
        write_json(
            options.json, {"options": vars(options), "rows": rows, "cycles": each, "machine": machine()}
        )


def show(name: str, rows: list[dict[str, Any]]) -> None:
    found = []
    for group in rows[0]["before"]:
        before, after = (100 * np.mean([r[when][group] for r in rows]) for when in ("before", "after"))
        found.append(f"{group} {before:.1f} -> {after:.1f} %")
    print(f"{name:22} {', '.join(found)}", flush=True)


if __name__ == "__main__":
    main()
