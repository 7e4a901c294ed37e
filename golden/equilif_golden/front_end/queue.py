"""Queue of words: one is at work in the engine, another waits, while the front end captures the next.

The frames of a word stay in the ring of the segmentation, so the queue holds only where they are.  A word
that ends while another one waits is lost; the one before it is *followed* by a loss.  A word is *stale* when
STALE frames came after it: new frames overwrite its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from equilif_golden.front_end.segmentation import LONGEST, RING, Word

DEPTH = 2
#: frames after the end of a word, by which it must be fetched; fetching takes less than one
STALE = RING - LONGEST


@dataclass
class Queued:
    """A word; ``age``: frames since its end, at most STALE."""

    word: Word
    age: int = 0
    followed: bool = False  #: words after it were lost

    @property
    def stale(self) -> bool:
        return self.age == STALE


class WordQueue:
    """Words in the order of their ends; the first one is at work."""

    def __init__(self) -> None:
        self.words: list[Queued] = []

    @property
    def first(self) -> Queued | None:
        """The word at work."""
        return self.words[0] if self.words else None

    def frame(self) -> None:
        """A frame of the stream, before the word that ends in it."""
        for queued in self.words:
            queued.age = min(queued.age + 1, STALE)

    def push(self, word: Word) -> None:
        """A word that ends."""
        if len(self.words) < DEPTH:
            self.words.append(Queued(word))
        else:
            self.words[-1].followed = True

    def done(self) -> None:
        """The first word is finished."""
        del self.words[:1]
