"""Learning a word: a network that knows nine digits of five speakers learns the tenth and a sixth speaker.

    python -m benchmarks.learn_word --data DIR [--json FILE]

A choice is a digit and a speaker.  The preset of the spoken digits, with --queries queries, is trained on the
other nine digits of the other five speakers, with an output for the tenth digit that never learns.  Then it
learns --utterances of the digit (by the five speakers) and as many of the speaker (one of every digit), in
--passes passes at --learning-rate.  A pass also has --replay stored training samples of each old digit, in
random order.

Accuracy is of test samples: old digits of old speakers, the new digit of old speakers, old digits of the new
speaker, and the new digit of the new speaker, each before and after.  Cycles are those of the engine of the
ULX3S 85F, whose program memory holds 8 queries.

--validation takes the test samples from the training part, a fifth of it, with other choices: settings were
chosen so, with 16 queries.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from equilif.data import sequences
from equilif.data.dataset import DataSet
from equilif.data.recordings import speakers
from equilif.results import machine, write_json
from equilif.training.description import Description
from equilif.training.presets import PRESETS
from equilif.training.train import EquilibriumPropagation, epoch_plan
from equilif_boards import BOARDS
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.model import EngineModel
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, Weights
from equilif_golden.samples import one_hot

#: digit and number of the speaker
CHOICES = ((0, 0), (3, 1), (5, 2), (7, 3), (9, 4))
VALIDATION_CHOICES = ((1, 5), (6, 0), (8, 2))
BOARD = "ulx3s-85f"
QUERIES = 8  #: of the 16 of the preset: the program fits the board
TIMED = 5  #: samples whose cycles are counted
VALIDATION_PART = 5  #: validation takes one training sample in five
Indices = npt.NDArray[np.int64]


class Spoken(NamedTuple):
    """Spoken digits of both parts: speakers by sample, and which training samples are tested on."""

    data: DataSet
    who: Indices
    who_test: Indices
    held: npt.NDArray[np.bool_]  #: training samples, nothing unless ``validation``

    @classmethod
    def load(cls, preset: Description, folder: Path | None, validation: bool) -> Spoken:
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

    def accuracies(self, kernel: Kernel, groups: Mapping[str, Indices]) -> dict[str, float]:
        d = self.data
        assert d.tokens_train is not None
        if self.held.any():
            at = np.flatnonzero(self.held)
            right = kernel.predict(d.x_train[at], tokens=d.tokens_train.take(at)) == d.y_train[at]
        else:
            right = kernel.predict(d.x_test, tokens=d.tokens_test) == d.y_test
        return {name: float(right[group].mean()) for name, group in groups.items()}


def trained(spoken: Spoken, preset: Description, digit: int, speaker: int, seed: int) -> Kernel:
    """The network that knows the old digits of the old speakers."""
    data = spoken.data
    learner = EquilibriumPropagation.start(preset, data, seed).learner
    assert isinstance(learner, Kernel)
    known = ~spoken.held & (data.y_train != digit) & (spoken.who != speaker)
    for epoch in range(preset.epochs):
        plan = epoch_plan(preset, data, seed, epoch)
        learner.set_learning_rate(plan.learning_rate)
        x, tokens = plan.samples()
        learner.train(x, data.y_train, plan.order[known[plan.order]], tokens=tokens)
    return learner


def lesson(
    spoken: Spoken, digit: int, speaker: int, options: argparse.Namespace, seed: int
) -> tuple[Raw, Raw]:
    """New utterances, and stored samples of the old digits."""
    rng = np.random.default_rng((seed, digit, speaker))
    y, who = spoken.data.y_train, spoken.who

    def draw(where: npt.NDArray[np.bool_], n: int) -> Raw:
        return rng.choice(np.flatnonzero(where & ~spoken.held), n, replace=False)

    others = [s for s in np.unique(who) if s != speaker]
    each = np.bincount(np.arange(options.utterances) % len(others), minlength=len(others))
    new = [draw((y == digit) & (who == s), n) for s, n in zip(others, each, strict=True)]
    each = np.bincount(np.arange(options.utterances) % 10, minlength=10)
    new += [draw((y == d) & (who == speaker), n) for d, n in enumerate(each)]
    stored = [draw((y == d) & (who != speaker), options.replay) for d in range(10) if d != digit]
    return np.concatenate(new), np.concatenate(stored)


def learned(
    spoken: Spoken,
    network: Network,
    weights: Weights,
    new: Raw,
    stored: Raw,
    options: argparse.Namespace,
    seed: int,
) -> Kernel:
    """The network after the lesson."""
    kernel = Kernel(network, weights, learning_rate=options.learning_rate)
    data = spoken.data
    for k in range(options.passes):
        order = np.random.default_rng((seed, k, 3)).permutation(np.concatenate([new, stored]))
        kernel.set_learning_rate(options.learning_rate * (1 - k / options.passes))
        kernel.train(data.x_train, data.y_train, order, tokens=data.tokens_train)
    return kernel


def cycles(spoken: Spoken, kernel: Kernel, order: Raw, learning_rate: float) -> float:
    """Mean cycles of a training sample on the engine of BOARD, by the engine model, which is compared."""
    data = spoken.data
    assert data.tokens_train is not None
    config = BOARDS[BOARD].config
    learner = Kernel(kernel.network, kernel.weights, learning_rate=learning_rate)
    chip = Chip(EngineModel(config), kernel.network, kernel.weights, learning_rate=learning_rate)
    targets = one_hot(data.y_train, kernel.network.n_outputs)
    runs = [
        chip.sample(data.x_train[j], targets[j], tokens=data.tokens_train.take([j])).cycles
        for j in order[:TIMED]
    ]
    learner.train(data.x_train, data.y_train, order[:TIMED], tokens=data.tokens_train)
    if any((w != chip.weights[name]).any() for name, w in learner.weights.items()):
        raise AssertionError("engine and kernel differ")
    return float(np.mean(runs))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--utterances", type=int, default=10)
    parser.add_argument("--replay", type=int, default=20, help="stored samples of each old digit; 0: none")
    parser.add_argument("--passes", type=int, default=40)
    parser.add_argument("--learning-rate", type=float, default=0.02)
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
    spoken = Spoken.load(preset, options.data, options.validation)
    rows: list[dict[str, Any]] = []
    choices = VALIDATION_CHOICES if options.validation else CHOICES
    for seed, (digit, speaker) in enumerate(choices[: options.choices]):
        before = trained(spoken, preset, digit, speaker, seed)
        groups = spoken.groups(digit, speaker)
        new, stored = lesson(spoken, digit, speaker, options, seed)
        after = learned(spoken, before.network, before.weights, new, stored, options, seed)
        row = {
            "digit": digit,
            "speaker": speaker,
            "samples": len(new) + len(stored),
            "before": spoken.accuracies(before, groups),
            "after": spoken.accuracies(after, groups),
        }
        rows.append(row)
        show(f"digit {digit}, speaker {speaker}", [row])
    show("mean", rows)
    each = None
    if options.queries <= QUERIES:
        each = cycles(spoken, before, new, options.learning_rate)
        total = each * options.passes * (len(new) + len(stored))
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
