"""Lessons of a board without a host: old and new digits before and after ten utterances of a new one.

    python -m benchmarks.board_lessons --data DIR [--validation] [--json FILE]

Network, choices and groups of test samples are those of benchmarks.learn_word, with --queries queries.  Ten
utterances of the digit, by the five old speakers, are learned one after the other as the live controller and
the trainer of a board do: each one --rounds times, each time followed by the next --replay stored samples, of
which the flash has --stored of each old digit.  Constant --learning-rate.

The settings were chosen with --validation.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import learn_word
from benchmarks.learn_word import CHOICES, VALIDATION_CHOICES, Spoken
from equilif.host.lessons import LEARNING_RATE, REPLAY, ROUNDS
from equilif.results import machine, write_json
from equilif.training.description import Description
from equilif.training.presets import PRESETS
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel


def taught(kernel: Kernel, spoken: Spoken, new: Raw, stored: Raw, rounds: int, replay: int) -> None:
    """Lessons of the new utterances, each as on a board."""
    data = spoken.data
    at = 0
    for j in new:
        for _ in range(rounds):
            samples = [stored[k % len(stored)] for k in range(at, at + replay)]
            at += replay
            kernel.train(data.x_train, data.y_train, np.array([j, *samples]), tokens=data.tokens_train)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--queries", type=int, default=6)
    parser.add_argument("--stored", type=int, default=9)
    parser.add_argument("--utterances", type=int, default=10)
    parser.add_argument("--replay", type=int, default=REPLAY)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    content = PRESETS["spoken"].content()
    content["population"]["query"]["heads"] = options.queries
    preset = Description.of(content, "spoken")
    spoken = Spoken.load(preset, options.data, options.validation)
    drawn = argparse.Namespace(utterances=options.utterances, replay=options.stored)
    rows: list[dict[str, Any]] = []
    for seed, (digit, speaker) in enumerate(VALIDATION_CHOICES if options.validation else CHOICES):
        kernel = learn_word.trained(spoken, preset, digit, speaker, seed)
        groups = spoken.groups(digit, speaker)
        new, stored = learn_word.lesson(spoken, digit, speaker, drawn, seed)
        rng = np.random.default_rng(seed)
        before = spoken.accuracies(kernel, groups)
        kernel.set_learning_rate(options.learning_rate)
        new = rng.permutation(new[: options.utterances])
        taught(kernel, spoken, new, rng.permutation(stored), options.rounds, options.replay)
        rows.append(
            {"digit": digit, "speaker": speaker, "before": before, "after": spoken.accuracies(kernel, groups)}
        )
        learn_word.show(f"digit {digit}, speaker {speaker}", rows[-1:])
    learn_word.show("mean", rows)
    if options.json:
        write_json(options.json, {"options": vars(options), "rows": rows, "machine": machine()})


if __name__ == "__main__":
    main()
