"""Samples that come one by one: a network predicts each, and learns it where its class is known.

Features and classes are those of the stream: the features of the first sample, a class as soon as it occurs.
The scale of each feature follows the stream, see equilif.data.encoding.scaling.Running.
"""

from __future__ import annotations

import copy
import csv
import json
import sys
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable
from unicodedata import normalize

import numpy as np

from equilif.classifier import INTEGER, Classifier
from equilif.data.base.reading import LARGEST, lines, reading, text
from equilif.data.encoding.scaling import Reals
from equilif.data.formats.tables import FLOAT, MISSING, label_column, numbers_of
from equilif.data.own.parts import check_class
from equilif_golden.extras import needs
from equilif_golden.fixed import check_choice, check_float
from equilif_golden.front_end.running_scale import MEMORY

STANDARD_INPUT = Path("-")
WINDOW = 1000  #: samples of the running accuracy
BAUD = 115_200
#: chosen on other streams than those of benchmarks/streams.py (docs/notes/continual_learning.md)
LEARNING_RATE, REPLAY, REPLAY_PER_SAMPLE = 0.03, 1000, 16
RECENT = 100  #: samples of the test for drift, and of what is stored after it
SIGMAS = 3  #: of that test
Features = Mapping[Any, Any]


@runtime_checkable
class DriftDetector(Protocol):
    """Detectors of river, such as ADWIN."""

    @property
    def drift_detected(self) -> bool:
        """Whether there is a drift at the last sample."""

    def update(self, x: bool) -> object:
        """Take whether the prediction of a sample was wrong."""


class ErrorTest:
    """Detector of drift in integers: the test of equal proportions (STEPD, Nishida and Yamauchi 2007).

    A drift is detected when the last RECENT predictions are wrong more often than those before them, since
    the last drift, by more than SIGMAS deviations.
    """

    def __init__(self) -> None:
        self.drift_detected = False
        self._last: deque[bool] = deque()
        self._samples = self._wrong = 0  #: before the last ones

    def update(self, x: bool) -> None:
        if self.drift_detected:
            self.__init__()  # type: ignore[misc]
        self._last.append(x)
        if len(self._last) > RECENT:
            self._wrong += self._last.popleft()
            self._samples += 1
        if self._samples < RECENT:
            return
        wrong = sum(self._last)
        every, n = wrong + self._wrong, RECENT + self._samples
        # difference of the proportions and its variance, both times the same factor
        excess = wrong * self._samples - self._wrong * RECENT
        variance = every * (n - every) * RECENT * self._samples
        self.drift_detected = excess > 0 and excess**2 * n > SIGMAS**2 * variance


class StreamLearner:
    """A classifier with the methods of river's.

    hidden, learning_rate, replay, replay_per_sample, replay_bits   as of equilif.Classifier
    drift   detector of drift: "errors" (ErrorTest), one of river, or None.  When it detects one, the last
            RECENT samples replace all stored samples of their classes
    seed    of weights and replay

    Features are numbers, by name; 1 and "1" are one name.  One that a sample lacks is taken as the running
    mean, and counted in ``n_missing``; one that the first sample did not have is ignored, and listed in
    ``ignored``.  Learning begins with the second class: up to then the last 256 samples are kept.  ``model``
    is the Classifier, None before.
    """

    def __init__(
        self,
        hidden: int = 64,
        learning_rate: float = LEARNING_RATE,
        replay: int = REPLAY,
        replay_per_sample: int = REPLAY_PER_SAMPLE,
        replay_bits: int = 8,
        drift: DriftDetector | Literal["errors"] | None = "errors",
        seed: int = 0,
    ):
        self.hidden = hidden
        self.learning_rate = learning_rate
        self.replay = replay
        self.replay_per_sample = replay_per_sample
        self.replay_bits = replay_bits
        self.drift = drift
        self.seed = seed
        self.model: Classifier | None = None
        self.n_drifts = 0  #: so far
        self.n_missing = 0  #: values of samples that were learned
        self.ignored: dict[str, None] = {}  #: features, in the order of their first occurrence
        self._detector = self._given_detector()
        self._recent: deque[tuple[Reals, Any]] = deque(maxlen=RECENT)
        self._known: tuple[Reals, Any] | None = None  # the last prediction
        self._names: tuple[str, ...] = ()
        self._first: deque[tuple[Reals, Any]] = deque(maxlen=MEMORY)

    @classmethod
    def of(cls, model: Classifier, drift: DriftDetector | Literal["errors"] | None = "errors") -> Self:
        """Goes on with a fitted classifier, whose columns are the features."""
        made = cls(drift=drift)
        made.model = model
        made._names = model.scaling_.names or tuple(map(str, range(model.scaling_.width)))
        # samples have no header here
        model.__dict__.pop("feature_names_in_", None)
        return made

    def class_of(self, label: str) -> Any:
        """The class that a text names: a number where those of the network are numbers."""
        if self.model is None or not INTEGER.fullmatch(label):
            return label
        number = {"i": int, "u": int, "f": float}.get(self.model.classes_.dtype.kind, str)
        return number(label)

    def learn_one(self, x: Features, y: Hashable) -> None:
        """Learn a sample of class ``y``."""
        self._names = self._names or tuple(map(str, x))
        row = self._values(x)
        self._count(x)
        if self.model is not None:
            wrong = self._detector is not None and self._predicted(row) != y
            self.model.partial_fit(row, [y])
            self._detect(wrong, row, y)
            return
        self._first.append((row, y))
        if y != self._first[0][1]:
            self._begin()

    def _given_detector(self) -> DriftDetector | None:
        if isinstance(self.drift, str):
            check_choice(self.drift, "drift", ("errors",))
            return ErrorTest()
        if not isinstance(self.drift, DriftDetector | None):
            raise ValueError(f'drift must be "errors", a detector of river or None, not {self.drift!r:.40}')
        # a detector has a state, and may be given to several learners
        return copy.deepcopy(self.drift)

    def _predicted(self, row: Reals) -> Any:
        """The class that was predicted of these values last, or is now."""
        assert self.model is not None
        if self._known is None or not np.array_equal(self._known[0], row):
            return self.model.predict(row)[0]
        return self._known[1]

    def _detect(self, wrong: bool, row: Reals, y: Any) -> None:
        """Renew what is stored if there is a drift."""
        self._known = None
        if self._detector is None or self.model is None:
            return
        self._recent.append((row, y))
        self._detector.update(wrong)
        if self._detector.drift_detected:
            self.n_drifts += 1
            self.model.renew_replay(
                np.concatenate([row for row, _ in self._recent]), [y for _, y in self._recent]
            )

    def _begin(self) -> None:
        model = Classifier(
            hidden=(self.hidden,),
            learning_rate=self.learning_rate,
            input_range="running",
            replay=self.replay,
            replay_per_sample=self.replay_per_sample,
            replay_bits=self.replay_bits,
            direct=True,
            random_state=self.seed,
        )
        labels = [y for _, y in self._first]
        rows = np.concatenate([row for row, _ in self._first])
        gone = np.isnan(rows)
        means = np.where(gone, 0, rows).sum(axis=0) / np.maximum(1, (~gone).sum(axis=0))
        model.partial_fit(np.where(gone, means, rows), labels, labels)
        model.scaling_ = replace(model.scaling_, names=self._names)
        self.model = model
        self._first.clear()

    def predict_proba_one(self, x: Features) -> dict[Any, float]:
        """Rates of the outputs, by class, in parts of their sum."""
        if self.model is None:
            return {y: 1.0 for _, y in self._first}
        row = self._values(x)
        rates = self.model.rates(row)[0]
        self._known = row, self.model.classes_[rates.argmax()]
        total = rates.sum()
        parts = rates / total if total else np.full(len(rates), 1 / len(rates))
        return dict(zip(self.model.classes_.tolist(), parts.tolist(), strict=True))

    def predict_one(self, x: Features) -> Any:
        """The class with the largest rate; None before the first sample was learned."""
        found = self.predict_proba_one(x)
        return max(found, key=found.__getitem__) if found else None

    def _values(self, x: Features) -> Reals:
        """Features as a row; a missing one has the mean of its samples, NaN before there is a network."""
        given = {str(name): value for name, value in x.items() if value is not None}
        if given.keys().isdisjoint(self._names):
            raise ValueError(
                f"a sample has none of the features {', '.join(self._names[:12])}, but "
                f"{', '.join(list(given)[:12]) or 'nothing'}"
            )
        row = np.empty((1, len(self._names)))
        for k, name in enumerate(self._names):
            if name in given:
                value = given[name]
                number = int(value) if isinstance(value, bool) else value
                row[0, k] = check_float(number, name, -LARGEST, LARGEST)
            else:
                row[0, k] = self._mean(k)
        return row

    def _count(self, x: Features) -> None:
        """Count what a sample lacks, and list what it has in addition."""
        given = [str(name) for name, value in x.items() if value is not None]
        self.n_missing += len(self._names) - len({*given} & {*self._names})
        self.ignored |= dict.fromkeys(name for name in given if name not in self._names)

    def _mean(self, k: int) -> float:
        if self.model is None:
            return np.nan
        columns = self.model.scaling_.columns
        if not columns:
            raise ValueError(f"{self._names[k]} is missing, and a scale of 8-bit values has no mean")
        return columns[min(k, len(columns) - 1)].mean

    def save(self, path: Path) -> None:
        """Write the network.npz, with the features as columns; ValueError before the second class."""
        if self.model is None:
            raise ValueError("nothing was learned: samples of two classes are needed at least")
        self.model.save(path)


# -- samples ---------------------------------------------------------------------------------------
class StreamSample(NamedTuple):
    """A sample of a stream; ``label`` is empty where its class is not known, a feature None where its value
    is not.
    """

    line: int
    features: dict[str, float | None]
    label: str


def read_samples(path: Path, label: str, baud: int | None = None) -> Iterator[StreamSample]:
    """Samples of a table with a header, or of JSON, an object a line; of a file, a pipe, a serial port, or of
    standard input, ``-``.  ``label``: column or key of the class.

    ValueError names the line that is none.
    """
    rows = ((k, text(f"{path} line {k}", raw).rstrip("\r\n")) for k, raw in enumerate(_lines(path, baud), 1))
    filled = ((k, line) for k, line in rows if line.strip())
    first = next(filled, None)
    if first is None:
        raise ValueError(f"{path} has no sample")
    number, line = first[0], first[1].removeprefix("\ufeff")
    if line.lstrip().startswith("{"):
        yield _of_json(path, number, line, label)
        for k, line in filled:
            yield _of_json(path, k, line, label)
        return
    mark = next((m for m in ("\t", ";") if m in line and "," not in line), ",")
    header = [name.strip() for name in next(csv.reader([line], delimiter=mark))]
    place = label_column(path, header, label)
    names = tuple(name for name in header if name != label)
    for k, line in filled:
        with reading(f"{path} line {k}"):
            cells = next(csv.reader([line], delimiter=mark, strict=True))
        if len(cells) != len(header):
            raise ValueError(f"{path} line {k} has {len(cells)} cells, its header {len(header)}")
        known = _class(path, k, cells.pop(place))
        values = numbers_of(path, k, names, [cell.strip() for cell in cells]).tolist()
        given = {name: v if v == v else None for name, v in zip(names, values, strict=True)}
        yield StreamSample(k, given, known)


def _of_json(path: Path, number: int, line: str, label: str) -> StreamSample:
    with reading(f"{path} line {number}", "a JSON object"):
        found = json.loads(line, object_pairs_hook=_object)
    if not isinstance(found, dict):
        raise ValueError(f"{path} line {number} is not a JSON object: {line[:40]!r}")
    known = found.pop(label, None)
    for name, value in found.items():
        if value is not None and type(value) not in (int, float, bool):
            raise ValueError(
                f"{path} line {number}: {name!r} is {str(value)[:40]!r}, no number: leave it out, or "
                "name the class by --label"
            )
    if not found:
        raise ValueError(f"{path} line {number} has no feature")
    return StreamSample(number, found, _class(path, number, known))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError for two values of one key, of which json would take the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key occurs twice in {', '.join(name for name, _ in pairs)[:80]}")
    return found


def _class(path: Path, number: int, value: object) -> str:
    """Name of a class as tables have it; empty where it is not known."""
    if value is not None and type(value) not in (str, int, float, bool):
        raise ValueError(f"{path} line {number}: the class is {str(value)[:40]!r}, no text or number")
    name = "" if value is None else normalize("NFC", str(value).strip())
    if name.casefold() in MISSING:
        return ""
    with reading(f"{path} line {number}"):
        check_class(name)
    return name.removesuffix(".0") if FLOAT.fullmatch(name) else name


def _lines(path: Path, baud: int | None) -> Iterable[bytes]:
    if path == STANDARD_INPUT:
        return sys.stdin.buffer
    if not path.is_char_device():
        if baud is not None:
            raise ValueError(f"--baud is for a serial port, {path} is none: leave it out")
        return lines(path)
    with needs("host"):
        import serial
    try:
        port = serial.Serial(str(path), BAUD if baud is None else baud)
    except (OSError, ValueError) as e:
        raise ValueError(f"{path} cannot be used as a serial port: {e}") from e
    return iter(port.readline, b"")


# -- evaluation ------------------------------------------------------------------------------------
class StreamAnswer(NamedTuple):
    """Prediction of a sample before it is learned; None before the first one is learned."""

    sample: StreamSample
    prediction: str | None
    rate: float  #: of the predicted output, in parts of the sum of all


class Prequential:
    """Accuracy of predictions that are made before the sample is learned; of all, and of the last ones."""

    def __init__(self, window: int = WINDOW):
        self.samples = self.right = self.unlabelled = 0
        self._last: deque[bool] = deque(maxlen=window)

    def add(self, right: bool) -> None:
        self.samples += 1
        self.right += right
        self._last.append(right)

    @property
    def accuracy(self) -> float | None:
        return self.right / self.samples if self.samples else None

    @property
    def recent_samples(self) -> int:
        return len(self._last)

    @property
    def recent(self) -> float | None:
        return sum(self._last) / len(self._last) if self._last else None


def follow(
    learner: StreamLearner,
    samples: Iterable[StreamSample],
    score: Prequential,
    report: Callable[[StreamAnswer], None] = lambda answer: None,
) -> None:
    """Predict each sample, then learn it where its class is known; ValueError names the line."""
    for sample in samples:
        with reading(f"line {sample.line}"):
            found = learner.predict_proba_one(sample.features)
            best = max(found, key=found.__getitem__) if found else None
            if sample.label:
                known = learner.class_of(sample.label)
                learner.learn_one(sample.features, known)
                score.add(best == known)
            else:
                score.unlabelled += 1
        report(StreamAnswer(sample, None if best is None else str(best), found.get(best, 0.0)))
