"""Settings of lessons, by a host and by a board alone.

Imports nothing, so that ``equilif --help`` starts fast.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LessonSettings:
    """Settings of a lesson.

    stored : samples of each class in the memory of a network at first.
    utterances : new samples of a board.
    passes : over new and stored samples; of a board alone, over each new sample.
    replay_per_sample : stored samples that a board alone learns after a new one; a host: all.
    learning_rate : of the first pass, from which it falls linearly; of a board alone constant.
    label_rate : of a single sample that is learned by the label of the pins or of a host.
    new_classes : unused outputs of a network in the flash of a board.
    kept : learned words that a board alone keeps for replay, in units of 16.
    """

    stored: int = 20
    utterances: int = 10
    passes: int = 40
    replay_per_sample: int = 4
    learning_rate: float = 0.02
    label_rate: float = 0.01
    new_classes: int = 1
    kept: int = 0


SETTINGS = LessonSettings()
#: of a board alone; chosen on validation samples (docs/notes/lessons_without_a_host.md)
BOARD_SETTINGS = LessonSettings(passes=60, learning_rate=0.0075)
