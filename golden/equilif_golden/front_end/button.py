"""Learn button: a short press and a long one.

The pin is sampled TICKS_HZ times a second, further apart than a contact bounces.  A press of 1 sample is
noise, one that ends after 2 .. LONG - 1 samples is short, and one is long as soon as it has LONG.
"""

from __future__ import annotations

from typing import Literal

TICKS_HZ = 64  #: samples of the pin in a second
SHORT = 2
LONG = 64  #: samples: a second


class Button:
    """State of the button."""

    def __init__(self) -> None:
        self.held = 0  #: samples of this press, at most LONG

    def tick(self, pressed: bool) -> Literal["", "short", "long"]:
        """A sample of the pin, and the press that it makes."""
        before = self.held
        self.held = min(before + 1, LONG) if pressed else 0
        if self.held == LONG != before:
            return "long"
        return "short" if not pressed and SHORT <= before < LONG else ""
