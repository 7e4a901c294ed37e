"""Lessons of a board without a host: old and new digits before and after utterances of a new one.

    python -m benchmarks.board_lessons --data DIR [--validation] [--json FILE]

Network, choices and groups of test samples are those of benchmarks.learn_word, with --queries queries.
--utterances of the digit, by the five old speakers, are learned one after the other as the live controller
and the trainer of a board do: each one --rounds times, each time followed by the next --replay stored
samples, of which the flash has --stored of each old digit.  Constant --learning-rate.  With --new-speaker as
many lessons are utterances of the new speaker, one of every digit.

The settings were chosen with --validation.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import learn_word
from benchmarks.learn_word import CHOICES, VALIDATION_CHOICES, SpokenDigits
from equilif.lesson import Words, drawn, with_class
from equilif.results import machine, write_json
from equilif.training.lesson_settings import BOARD_SETTINGS
from equilif.training.settings.description import Description
from equilif.training.settings.presets import PRESETS
from equilif_golden.kernel import Kernel


def teach(
    kernel: Kernel, new: Words, stored: Words, rounds: int, replay: int, keep: int, rng: np.random.Generator
) -> None:
    """Lessons of the new utterances, each as on a board; with ``keep`` 0."""
    words = new.plus(stored)
    order = len(new) + rng.permutation(len(stored))
    at = 0
    for j in rng.permutation(len(new)):
        for _ in range(rounds):
            samples: list[int] = []
            while len(samples) < replay:
                if at == len(order):
                    at = 0
                    order = rng.permutation(order) if keep else order
                samples.append(order[at])
                at += 1
            kernel.train(None, words.labels, np.array([j, *samples]), tokens=words.tokens)
        order = np.append(order, [j] * keep).astype(np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--queries", type=int, default=6)
    parser.add_argument("--stored", type=int, default=18)
    parser.add_argument("--utterances", type=int, default=10)
    parser.add_argument("--new-speaker", action="store_true")
    parser.add_argument("--replay", type=int, default=BOARD_SETTINGS.replay_per_sample)
    parser.add_argument("--rounds", type=int, default=BOARD_SETTINGS.passes)
    parser.add_argument("--learning-rate", type=float, default=BOARD_SETTINGS.learning_rate)
    parser.add_argument("--draws", type=int, default=1, help="of utterances and stored words, per choice")
    parser.add_argument(
        "--keep", type=int, default=0, help="copies of a learned word that join the stored ones; boards: 0"
    )
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    content = PRESETS["spoken"].content()
    content["population"]["query"]["heads"] = options.queries
    preset = Description.of(content, "spoken")
    spoken = SpokenDigits.load(preset, options.data, options.validation)
    rows: list[dict[str, Any]] = []
    for seed, (digit, speaker) in enumerate(VALIDATION_CHOICES if options.validation else CHOICES):
        old = learn_word.known(spoken, digit, speaker)
        trained = learn_word.trained(old, preset, seed)
        groups = spoken.groups(digit, speaker)
        before = spoken.accuracies(trained, digit, groups)
        of_choice: list[dict[str, Any]] = []
        for draw in range(seed, seed + 10 * options.draws, 10):
            learner = Kernel(
                *with_class(trained.network, trained.weights), learning_rate=options.learning_rate
            )
            utterances = learn_word.utterances(spoken, digit, speaker, options.utterances, draw)
            # those of the old speakers come first
            new = utterances if options.new_speaker else utterances.take(range(options.utterances))
            stored = drawn(old, options.stored, draw)
            rng = np.random.default_rng(draw)
            teach(learner, new, stored, options.rounds, options.replay, options.keep, rng)
            after = spoken.accuracies(learner, digit, groups)
            of_choice.append({"digit": digit, "speaker": speaker, "before": before, "after": after})
        learn_word.show(f"digit {digit}, speaker {speaker}", of_choice)
        rows += of_choice
    learn_word.show("mean", rows)
    if options.json:
        write_json(options.json, {"options": vars(options), "rows": rows, "machine": machine()})


if __name__ == "__main__":
    main()
