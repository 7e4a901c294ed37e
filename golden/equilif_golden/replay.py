"""Replay: after each new sample a network learns some stored ones again, so that it forgets no old class.

A board repeats this for a learned word (equilif_golden.link.standalone); the order of stored samples is the
trainer's.  For each new sample

    learn       the new sample
    replay      the next ``per_sample`` stored samples of the order, a permutation that changes each time
    store       the new sample, if the reservoir has room or balance demands it, see :meth:`Reservoir.plan`

Everything is integers and follows from the seed and the samples so far, however they are divided into calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import Raw, check_int, integers
from equilif_golden.places import PlacedError
from equilif_golden.sample_order import SAMPLE_BITS
from equilif_golden.sample_order import order as slot_order

U8 = npt.NDArray[np.uint8]

BITS = (1, 2, 4, 8)  #: of a stored value
MAX_STORED = 1 << SAMPLE_BITS
MAX_PER_SAMPLE = 255
ZEROS, OTHERS = 4, 2  #: bits of the remainder, in Rice's code of a run of zeros and of other values
#: arrays of files, and their largest values
STATE = {
    "settings": 0xFFFFFFFF,
    "progress": 0xFFFFFFFF,
    "seen": (1 << 62) - 1,
    "labels": 0xFFFF,
    "codes": 0xFF,
    "sums": (1 << 62) - 1,
}


class Mixed(NamedTuple):
    """New samples with their replays: the samples ``order`` of ``x`` and ``labels``.  ``commit`` keeps
    what is to be stored.
    """

    x: U8
    labels: Raw
    order: Raw
    commit: Callable[[], None]


class Replay(ABC):
    """What is stored of a stream, and the samples that it gives."""

    seen: Raw  #: samples of each class so far

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """Inputs of the samples so far; 0 before the first one."""

    @property
    @abstractmethod
    def n_bytes(self) -> int:
        """Size of what is stored."""

    @abstractmethod
    def plan(self, x: U8, labels: Raw, order: Raw, *, replays: bool = True) -> Mixed:
        """The samples ``order`` of x (n, inputs), each followed by its replays; changes nothing."""

    @abstractmethod
    def forget(self, classes: Raw) -> None:
        """Drop what is stored of these classes."""

    @abstractmethod
    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The content as arrays, by name, for a file; inverse of :func:`from_state`."""

    def store(self, x: U8, labels: Raw) -> None:
        """Take samples that the network has learned in another way."""
        self.plan(x, labels, np.arange(len(x)), replays=False).commit()

    def require(self, n_inputs: int, n_classes: int) -> None:
        """ValueError unless the samples so far, if there are some, are of a network with these."""
        if len(self.seen) > n_classes or self.n_inputs not in (0, n_inputs):
            raise ValueError(
                f"replay holds samples of {self.n_inputs} inputs and {len(self.seen)} classes, the network "
                f"has {n_inputs} and {n_classes}"
            )

    def _seen_with(self, labels: Raw) -> Raw:
        """A copy of ``seen`` with room for these classes."""
        return np.pad(self.seen, (0, max(0, int(labels.max(initial=-1)) + 1 - len(self.seen))))


class Reservoir(Replay):
    """Stored samples of a stream, as many of each class as possible.

    size         room, in samples
    per_sample   stored samples that are learned after each new one
    bits         of a stored value: the upper ones of 8; a replayed value has its range stretched to 0 .. 255
    seed         of the order and of the choice of samples

    ValueError for a value out of range.
    """

    def __init__(self, size: int, per_sample: int, *, bits: int = 8, seed: int = 0):
        self.size = check_int(size, "replay", 1, MAX_STORED, "stored samples")
        self.per_sample = check_int(per_sample, "replay_per_sample", 0, MAX_PER_SAMPLE)
        self.bits = check_int(bits, "replay_bits", BITS[0], BITS[-1])
        if self.bits not in BITS:
            raise PlacedError(f"replay_bits must be 1, 2, 4 or 8, not {bits}", ("replay_bits",))
        self.seed = check_int(seed, "seed", 0, 0xFFFFFFFF)
        self._x = np.zeros((0, 0), np.uint8)
        self.labels = np.zeros(0, np.int64)  #: of the stored samples
        self.seen = np.zeros(0, np.int64)  #: samples of each class so far
        self._turn = self._epoch = 0
        self._random = self.seed or 1
        self._order = self._order_of(0)

    def __repr__(self) -> str:
        return f"<Reservoir of {self.size:,}, {len(self.labels):,} stored in {self.bits} bits>"

    @property
    def n_inputs(self) -> int:
        return self._x.shape[1]

    @property
    def x(self) -> U8:
        """Stored samples as they are replayed, (stored, inputs)."""
        return self._x[: len(self.labels)]

    def _order_of(self, epoch: int) -> Raw:
        return slot_order(self.size, self.seed, epoch)

    def quantized(self, x: U8) -> U8:
        """Samples as they are replayed."""
        factor = 255 // ((1 << self.bits) - 1)
        return ((x >> (8 - self.bits)) * factor).astype(np.uint8)

    # -- procedure ---------------------------------------------------------------------------------
    def plan(self, x: U8, labels: Raw, order: Raw, *, replays: bool = True) -> Mixed:
        """As :meth:`Replay.plan`.

        A sample is stored in the next slot as long as one is left.  Then a sample of a class that has fewer
        than the largest replaces one of the largest class; one of a largest class replaces one of that class,
        with the probability that leaves all its samples the same chance.  Without ``replays`` samples are
        only stored.
        """
        n, stored = len(x), len(self.labels)
        slots = np.concatenate([np.arange(n, n + stored), np.zeros(self.size - stored, np.int64)])
        classes = np.concatenate([self.labels, np.full(self.size - stored, -1)])
        seen = self._seen_with(labels[order])
        counts = np.bincount(self.labels, minlength=len(seen))
        turn, epoch, random, permutation = self._turn, self._epoch, self._random, self._order
        learned: list[int] = []
        for j, label in zip(order.tolist(), labels[order].tolist(), strict=True):
            learned.append(j)
            left = min(self.per_sample, stored) if replays else 0
            while left:
                slot = permutation[turn]
                turn += 1
                if turn == self.size:
                    turn, epoch = 0, epoch + 1
                    permutation = self._order_of(epoch)
                if slot < stored:
                    learned.append(slots[slot])
                    left -= 1
            seen[label] += 1
            if stored < self.size:
                slot = stored
                stored += 1
            else:
                random = xorshift(random)
                of, chosen = choose(label, counts, int(seen[label]), random)
                if chosen >= counts[of]:
                    continue
                slot = int(np.flatnonzero(classes == of)[chosen])
                counts[of] -= 1
            counts[label] += 1
            classes[slot] = label
            slots[slot] = n + len(self.labels) + j
        changed = np.flatnonzero(slots[:stored] >= n + len(self.labels))
        stores = slots[changed] - n - len(self.labels)

        def commit() -> None:
            if not self._x.size:
                self._x = np.zeros((self.size, x.shape[1]), np.uint8)
            self._x[changed] = self.quantized(x[stores])
            if epoch != self._epoch:
                self._order = self._order_of(epoch)
            self.labels, self.seen = classes[:stored], seen
            self._turn, self._epoch, self._random = turn, epoch, random

        return Mixed(
            np.concatenate([x, self.x.reshape(-1, x.shape[1]), self.quantized(x)]),
            np.concatenate([labels, self.labels, labels]),
            np.array(learned, np.int64),
            commit,
        )

    def forget(self, classes: Raw) -> None:
        kept = np.flatnonzero(~np.isin(self.labels, classes))
        self._x[: len(kept)] = self._x[kept]
        self.labels = self.labels[kept]
        self.seen = _without(self.seen, classes)

    # -- files -------------------------------------------------------------------------------------
    @property
    def n_bytes(self) -> int:
        """Size of the packed samples, and of their labels of a byte each."""
        return len(pack(self._codes, self.bits)) + len(self.labels)

    @property
    def _codes(self) -> U8:
        return (self.x >> (8 - self.bits)).astype(np.uint8)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "settings": np.array([self.size, self.per_sample, self.bits, self.seed]),
            "progress": np.array([self._turn, self._epoch, self._random]),
            "seen": self.seen,
            "labels": self.labels,
            "codes": pack(self._codes, self.bits),
        }

    @classmethod
    def of_state(cls, values: Mapping[str, Raw], n_inputs: int) -> Self:
        size, per_sample, bits, seed = _numbers(values, "settings", 4)
        made = cls(size, per_sample, bits=bits, seed=seed)
        turn, made._epoch, random = _numbers(values, "progress", 3)
        made._turn = check_int(turn, "turn of replay", 0, size - 1)
        made._random = check_int(random, "random number of replay", 1, 0xFFFFFFFF)
        made._order = made._order_of(made._epoch)
        made.labels, made.seen = values["labels"], values["seen"]
        n = len(made.labels)
        counts = np.bincount(made.labels, minlength=len(made.seen))
        if n > size or len(counts) != len(made.seen) or (counts > made.seen).any():
            raise ValueError(f"replay has {n} samples of {len(counts)} classes, which its counts contradict")
        codes = unpack(values["codes"].astype(np.uint8), bits, n, n_inputs)
        made._x = np.zeros((size, n_inputs), np.uint8)
        made._x[:n] = made.quantized((codes << (8 - bits)).astype(np.uint8))
        return made


class ClassMeans(Replay):
    """Replay without stored samples: the new sample, moved from the mean of its class to that of another,
    stands for a sample of the other class.

    The sum of the samples of each class is stored.  After each new sample follow at most ``per_sample``
    others, one of each class at most, the classes taking turns.
    """

    def __init__(self, per_sample: int):
        self.per_sample = check_int(per_sample, "replay_per_sample", 0, MAX_PER_SAMPLE)
        self.seen = np.zeros(0, np.int64)
        self.sums = np.zeros((0, 0), np.int64)  #: of the samples of each class, (classes, inputs)
        self._turn = 0

    def __repr__(self) -> str:
        return f"<ClassMeans of {len(self.seen)} classes>"

    @property
    def n_inputs(self) -> int:
        return self.sums.shape[1]

    @property
    def n_bytes(self) -> int:
        """Size of sums and counts of four bytes each."""
        return 4 * (self.sums.size + self.seen.size)

    def plan(self, x: U8, labels: Raw, order: Raw, *, replays: bool = True) -> Mixed:
        """As :meth:`Replay.plan`."""
        seen = self._seen_with(labels[order])
        sums = np.zeros((len(seen), x.shape[1]), np.int64)
        sums[: len(self.sums)] = self.sums.reshape(-1, x.shape[1])
        turn = self._turn
        learned: list[int] = []
        moved: list[U8] = []
        classes: list[int] = []
        for j, label in zip(order.tolist(), labels[order].tolist(), strict=True):
            learned.append(j)
            seen[label] += 1
            sums[label] += x[j]
            others = np.flatnonzero(seen)
            others = others[others != label]
            residual = x[j] - sums[label] // seen[label]
            for _ in range(min(self.per_sample, len(others)) if replays else 0):
                # the next one, or the first after the last
                other = int(others[np.searchsorted(others, turn) % len(others)])
                turn = other + 1
                learned.append(len(x) + len(moved))
                moved.append(np.clip(residual + sums[other] // seen[other], 0, 255).astype(np.uint8))
                classes.append(other)

        def commit() -> None:
            self.seen, self.sums, self._turn = seen, sums, turn

        return Mixed(
            np.concatenate([x, np.array(moved, np.uint8).reshape(-1, x.shape[1])]),
            np.concatenate([labels, np.array(classes, np.int64)]),
            np.array(learned, np.int64),
            commit,
        )

    def forget(self, classes: Raw) -> None:
        self.seen = _without(self.seen, classes)
        self.sums = np.where(self.seen[:, None] > 0, self.sums, 0)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "settings": np.array([self.per_sample]),
            "progress": np.array([self._turn]),
            "seen": self.seen,
            "sums": self.sums.ravel(),
        }

    @classmethod
    def of_state(cls, values: Mapping[str, Raw], n_inputs: int) -> Self:
        (per_sample,) = _numbers(values, "settings", 1)
        made = cls(per_sample)
        (made._turn,) = _numbers(values, "progress", 1)
        made.seen = values["seen"]
        sums = values["sums"]
        if sums.size != len(made.seen) * n_inputs:
            raise ValueError(f"replay has {sums.size} sums of {len(made.seen)} classes and {n_inputs} inputs")
        made.sums = sums.reshape(len(made.seen), n_inputs)
        if (made.sums > made.seen[:, None] * 255).any():
            raise ValueError("replay has a sum that is larger than its samples can be")
        return made


def from_state(state: Mapping[str, npt.NDArray[Any]], n_inputs: int, n_classes: int) -> Replay:
    """What :meth:`Replay.state` gave, for a network; ValueError for values that do not fit it."""
    kind = next((kind for kind, names in KINDS.items() if set(state) == set(names)), None)
    if kind is None:
        raise ValueError(f"replay has {', '.join(sorted(state))}, which belong to no kind of it")
    values = {name: integers(state[name], f"{name} of replay", 0, STATE[name]).reshape(-1) for name in state}
    made = kind.of_state(values, n_inputs)
    made.require(n_inputs, n_classes)
    return made


#: arrays of a file
KINDS: dict[type[Reservoir | ClassMeans], tuple[str, ...]] = {
    Reservoir: ("settings", "progress", "seen", "labels", "codes"),
    ClassMeans: ("settings", "progress", "seen", "sums"),
}


def choose(label: int, counts: Raw, seen: int, random: int) -> tuple[int, int]:
    """Class of a full reservoir whose sample a new one replaces, and which of its samples; none of them if
    there is no such sample.

    ``counts``: stored samples of each class.  ``seen``: samples of the new one's class so far, with it.
    """
    largest = int(counts.argmax())
    if counts[label] == counts[largest]:
        return label, random * seen >> 32
    return largest, random * int(counts[largest]) >> 32


def _without(seen: Raw, classes: Raw) -> Raw:
    """Numbers of samples of each class, 0 for these classes."""
    return np.where(np.isin(np.arange(len(seen)), classes), 0, seen)


def _numbers(values: Mapping[str, Raw], name: str, n: int) -> list[int]:
    if len(values[name]) != n:
        raise ValueError(f"{name} of replay are {len(values[name])}, not {n}")
    found: list[int] = values[name].tolist()
    return found


def xorshift(x: int) -> int:
    """Next of Marsaglia's 32-bit random numbers, none of which is 0."""
    x ^= x << 13 & 0xFFFFFFFF
    x ^= x >> 17
    return x ^ x << 5 & 0xFFFFFFFF


# -- packed samples --------------------------------------------------------------------------------
def pack(codes: U8, bits: int) -> U8:
    """Samples (n, inputs) of codes below 2**bits as bytes; each begins with a new byte.

    Runs of zeros and runs of other codes take turns, zeros first.  A run is its length in Rice's code, that
    of other codes less one; then follow the codes, unless they have one bit.
    """
    return np.frombuffer(b"".join(_packed(row, bits) for row in codes), np.uint8)


def _packed(row: U8, bits: int) -> bytes:
    edges = np.flatnonzero(np.diff(row != 0, prepend=False, append=False)).tolist()
    text = ""
    at = 0
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        text += _rice(first - at, ZEROS) + _rice(last - first - 1, OTHERS)
        if bits > 1:
            text += "".join(f"{code:0{bits}b}" for code in row[first:last].tolist())
        at = last
    if at < len(row):
        text += _rice(len(row) - at, ZEROS)
    text += "0" * (-len(text) % 8)
    return int("1" + text, 2).to_bytes(len(text) // 8 + 1, "big")[1:]


def _rice(n: int, bits: int) -> str:
    return "1" * (n >> bits) + "0" + f"{n & (1 << bits) - 1:0{bits}b}"


def unpack(content: U8, bits: int, n: int, n_inputs: int) -> U8:
    """Inverse of :func:`pack`; ValueError for other content."""
    reader = _Reader("".join(f"{byte:08b}" for byte in content.tolist()))
    codes = np.zeros((n, n_inputs), np.uint8)
    for row in codes:
        at = 0
        while at < n_inputs:
            at += reader.rice(ZEROS)
            if at >= n_inputs:
                break
            run = reader.rice(OTHERS) + 1
            if at + run > n_inputs:
                break
            row[at : at + run] = [reader.number(bits) for _ in range(run)] if bits > 1 else 1
            at += run
        if at != n_inputs:
            raise ValueError(f"replay has a sample that is not of {n_inputs} inputs")
        reader.at += -reader.at % 8
    if reader.at != len(reader.text):
        raise ValueError(f"replay has other codes than those of {n} samples")
    return codes


class _Reader:
    """Numbers of packed samples, whose bits are ``text``."""

    def __init__(self, text: str):
        self.text = text
        self.at = 0

    def number(self, bits: int) -> int:
        self.at += bits
        return int(self.text[self.at - bits : self.at], 2)

    def rice(self, bits: int) -> int:
        end = self.text.index("0", self.at)
        high = end - self.at
        self.at = end + 1
        return high << bits | self.number(bits)
