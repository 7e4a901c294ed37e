"""Training on a text: a transformer that predicts the next character, in floating point.

The folder of a run has two files.  ``text.pt`` is the state: settings, alphabet, real weights, optimiser and
the bits per character so far.  ``network.npz`` is the quantised network with its alphabet.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from equilif.data.base.arrays import Bytes, Floats, Longs
from equilif.data.base.reading import content_of
from equilif.data.sets.characters import MAX_SYMBOLS, OTHER, Alphabet, Text, one_hot, windows
from equilif.training.names import NETWORK, TEXT
from equilif.training.settings.tables import ADAM_RATES, check_seed
from equilif.training.storage.history import digest
from equilif.training.storage.records import check_digest, reading, record
from equilif_golden import files
from equilif_golden import network as networks
from equilif_golden.extras import needs
from equilif_golden.fixed import check_float, check_int
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, Weights
from equilif_golden.schedule import Schedule

with needs("torch"):
    import torch

    from equilif_golden.real import transformer
    from equilif_golden.real.distillation import Distillation, Taught
    from equilif_golden.real.rates import Rates
    from equilif_golden.real.trainer import Trainer

TASK = "next-character"
EVERY = 250  #: steps between validations, after which a run is saved
#: sequences that a validation takes, drawn once
VALIDATED = 400
BATCH = 50  #: of these together
MAX_SHOWN = 10  #: unknown characters that a note lists
COLD = 1e-3  #: temperature below which the most probable character is taken
MAX_LENGTH = 1_000_000  #: of a generated text
#: largest values of settings
MAX = {
    "positions": 1024,
    "layers": 64,
    "features": 4096,
    "heads": 4096,
    "hidden": 1 << 14,
    "steps": 1_000_000_000,
    "batch_size": 1 << 14,
    "window": 128,
}
#: content of text.pt
PARTS = frozenset({"settings", "characters", "text", "teacher", "points", "state"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A transformer and its training.

    positions        characters of a sequence
    features         neurons per position between the layers
    heads            of the self-attention
    hidden           neurons per position inside a feed-forward layer
    steps            number of updates
    batch_size       sequences per update
    hidden_rates     factor of the rates inside feed-forward layers, for fewer time steps of spikes
    noise            standard deviation of noise on the rates in training, for fewer time steps of spikes
    spike_steps      last updates, from a new rise of the learning rate, that learn from the rates of spikes
    window           time steps of a window of spikes; there are two windows more than layers
    teacher          network.npz of another run, whose probabilities and features the network also learns
    """

    positions: int = 64
    symbols: int = 96
    layers: int = 2
    features: int = 64
    heads: int = 4
    hidden: int = 256
    steps: int = 3000
    batch_size: int = 32
    learning_rate: float = 2e-3
    hidden_rates: float = 0.5
    noise: float = 0.0
    spike_steps: int = 0
    window: int = 8
    seed: int = 0
    teacher: str | None = None

    def __post_init__(self) -> None:
        for name, most in MAX.items():
            check_int(getattr(self, name), name, 1, most)
        check_int(self.symbols, "symbols", 2, MAX_SYMBOLS)
        check_float(self.learning_rate, "learning_rate", *ADAM_RATES)
        check_float(self.hidden_rates, "hidden_rates", 0.1, 10)
        check_float(self.noise, "noise", 0, 1)
        check_int(self.spike_steps, "spike_steps", 0, self.steps - 1)
        check_seed(self.seed)

    @property
    def network(self) -> Network:
        return Network.transformer(
            self.positions,
            self.symbols,
            self.features,
            self.layers,
            self.symbols,
            heads=self.heads,
            hidden=self.hidden,
            schedule=Schedule(free=self.window * (self.layers + 2), nudged=self.window, window=self.window),
        )


@dataclass(frozen=True)
class Point:
    """Bits per character after a number of steps: mean since the last point, and of validation."""

    step: int
    train: float
    validation: float


@dataclass
class TextRun:
    """Settings, text, what learns, and its course.

    ``teacher``: digest of the teacher, or None.
    """

    settings: Settings
    text: Text
    trainer: Trainer
    points: list[Point] = field(default_factory=list)
    teacher: str | None = None

    @classmethod
    def start(cls, settings: Settings, text: Text) -> Self:
        """ValueError if the network does not fit the text."""
        settings = replace(settings, symbols=len(text.alphabet))
        network = settings.network
        model = Rates(
            network, transformer.initial_weights(network, settings.seed, hidden=settings.hidden_rates)
        )
        teacher = Writer.load(Path(settings.teacher)) if settings.teacher else None
        trainer = Trainer(
            model,
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            warm_up=min(100, settings.steps // 10),
            restart=settings.steps - settings.spike_steps if settings.spike_steps else None,
            noise=settings.noise,
            batch=settings.batch_size,
            scales=transformer.learning_rates(network, settings.hidden_rates),
            centres=transformer.centres(network, settings.hidden_rates),
            loss=transformer.cross_entropy,
            distillation=_distillation(settings, model, text.alphabet, teacher) if teacher else None,
            clip=1.0,
        )
        return cls(settings, text, trainer, teacher=teacher.digest if teacher else None)

    @classmethod
    def resume(cls, folder: Path, text: Callable[[Settings], Text]) -> Self:
        """The run of a folder; ``text``: reads the text for these settings.

        ValueError when text or teacher are not those that it began with.
        """
        path = folder / TEXT
        raw = content_of(path)
        with reading(path, "a checkpoint of `equilif train-text`"):
            try:
                with warnings.catch_warnings(action="ignore"):
                    found = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
            except (pickle.UnpicklingError, OSError) as e:
                raise ValueError("it is damaged, or was not saved by this command") from e
            if not isinstance(found, Mapping) or set(found) != PARTS:
                raise ValueError(f"it must have {', '.join(sorted(PARTS))}")
            check_digest(found["text"], "text")
            if found["teacher"] is not None:
                check_digest(found["teacher"], "teacher")
            settings = record(Settings, found["settings"])
            points = [record(Point, p) for p in found["points"]]
        given = text(settings)
        if (given.alphabet.characters, given.digest) != (found["characters"], found["text"]):
            raise ValueError(
                f"{folder} was trained on another text: give the same files, with the same names where there "
                "are several, or begin a new run with another --out"
            )
        run = cls.start(settings, given)
        if found["teacher"] != run.teacher:
            raise ValueError(
                f"{settings.teacher} is not the teacher that {folder} began with: restore that file, or "
                "begin a new run with another --out"
            )
        with reading(path, "a checkpoint of `equilif train-text`"):
            run.trainer.restore(found["state"])
        run.points = points
        return run

    @property
    def model(self) -> Rates:
        found = self.trainer.model
        assert isinstance(found, Rates)
        return found

    @property
    def step(self) -> int:
        """Number of updates so far."""
        return int(self.trainer.decay.last_epoch)

    def batch(self, codes: Bytes, starts: Longs) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and labels of the sequences from ``starts``."""
        found = windows(codes, starts, self.settings.positions + 1)
        x = one_hot(found[:, :-1], self.settings.symbols)
        on = self.trainer.device
        return torch.tensor(x, device=on), torch.tensor(found[:, 1:].astype(np.int64), device=on)

    def train(self, steps: int, progress: Callable[[int, float], None] = lambda step, bits: None) -> Point:
        """Some updates, then validation.  ``progress``: gets step and bits per character of each batch."""
        s = self.settings
        codes = self.text.train
        total = 0.0
        last = min(self.step + check_int(steps, "steps", 1, MAX["steps"]), s.steps)
        first = self.step
        while self.step < last:
            rng = np.random.default_rng((s.seed, self.step))
            starts = rng.integers(0, len(codes) - s.positions, s.batch_size)
            x, y = self.batch(codes, starts)
            of_spikes = self.step >= s.steps - s.spike_steps
            self.trainer.spikes = self.model.network.schedule if of_spikes else None
            loss, _ = self.trainer.step([x], y, s.batch_size)
            bits = float(loss.detach().mean()) / math.log(2)
            total += bits
            progress(self.step, bits)
        self.points.append(Point(self.step, total / max(1, last - first), self.validate()))
        return self.points[-1]

    def finish(
        self,
        folder: Path,
        progress: Callable[[int, float], None] = lambda step, bits: None,
        report: Callable[[Point], None] = lambda point: None,
    ) -> None:
        """Train to the end; validated, reported and saved every EVERY steps.  ``progress``: as of train."""
        while self.step < self.settings.steps:
            point = self.train(EVERY, progress)
            self.save(folder)
            report(point)

    def validate(self) -> float:
        """Bits per character of the same sequences of the validation text, from the rates of the output."""
        codes = self.text.validation
        starts = np.random.default_rng(0).integers(0, len(codes) - self.settings.positions, VALIDATED)
        output = self.model.part[self.model.network.output]
        total = 0.0
        with torch.no_grad():
            for some in np.split(starts, range(BATCH, len(starts), BATCH)):
                x, y = self.batch(codes, some)
                p = transformer.probabilities(self.model(x)[0][:, output], self.settings.positions)
                total -= float(p.gather(2, y[..., None]).log2().mean(1).sum())
        return total / VALIDATED

    def save(self, folder: Path) -> None:
        """The state, then the network."""
        buffer = io.BytesIO()
        torch.save(
            {
                "settings": asdict(self.settings),
                "characters": self.text.alphabet.characters,
                "text": self.text.digest,
                "teacher": self.teacher,
                "points": [asdict(p) for p in self.points],
                "state": self.trainer.state(),
            },
            buffer,
        )
        files.write(folder / TEXT, buffer.getvalue())
        about = {"task": TASK, "characters": self.text.alphabet.characters}
        networks.save(folder / NETWORK, self.model.network, self.model.quantised(), about)


class Teacher(torch.nn.Module):
    """A trained network as a teacher: its outputs, and its features as those of ``population``."""

    def __init__(self, model: Rates, positions: int, population: str):
        super().__init__()
        self.model = model
        self.positions = positions
        self.population = population

    def forward(self, x: torch.Tensor) -> Taught:
        rates, drive = self.model(x)
        logits = transformer.SCALE * drive.clamp(0, 1).unflatten(1, (self.positions, -1))
        features = rates[:, self.model.part[_features(self.model.network)]]
        return Taught(logits, {self.population: features.unflatten(1, (self.positions, -1))})


def _features(network: Network) -> str:
    """The population that the output reads."""
    return next(s.pre for s in network.synapses if s.post == network.output and s.kernel)


def _distillation(settings: Settings, student: Rates, alphabet: Alphabet, teacher: Writer) -> Distillation:
    """ValueError if the teacher does not fit."""
    same = teacher.alphabet == alphabet and teacher.positions == settings.positions
    if not same:
        raise ValueError(
            f"the teacher {settings.teacher} sees {teacher.positions} positions of {len(teacher.alphabet)} "
            f"symbols, this network {settings.positions} of {len(alphabet)}: both need the same text and "
            "positions"
        )
    name = _features(student.network)
    features = teacher.network[_features(teacher.network)].maps
    return Distillation(student, Teacher(teacher.model, settings.positions, name), {name: features})


@dataclass(frozen=True)
class Writer:
    """A trained network that continues a text, by its rates in floating point or by its spikes."""

    network: Network
    weights: Weights
    alphabet: Alphabet

    @classmethod
    def load(cls, path: Path) -> Self:
        """Network of a run; ValueError for a file that holds another one."""
        network, weights = networks.load(path)
        about = networks.about(path)
        if about is None or about.get("task") != TASK:
            raise ValueError(f"{path} predicts no characters: train a network with `equilif train-text`")
        with reading(path, "a network of `equilif train-text`"):
            alphabet = Alphabet(about.get("characters", ""))
            n = len(alphabet)
            if not network.inputs or network.n_inputs % n or network.n_outputs != network.n_inputs:
                raise ValueError(f"its alphabet has {n} characters, its network does not")
        return cls(network, weights, alphabet)

    @property
    def positions(self) -> int:
        """Characters that it sees at most."""
        return self.network.n_inputs // len(self.alphabet)

    @property
    def digest(self) -> str:
        """SHA-256 of network, weights and alphabet."""
        described = json.dumps([self.network.to_dict(), digest(self.weights), self.alphabet.characters])
        return hashlib.sha256(described.encode()).hexdigest()

    @cached_property
    def model(self) -> Rates:
        return Rates(self.network, self.weights)

    @cached_property
    def kernel(self) -> Kernel:
        return Kernel(self.network, self.weights)

    def notes(self, prompt: str) -> Iterator[str]:
        """Notes on a prompt: characters that the network does not know."""
        unknown = self.alphabet.unknown(prompt[-self.positions :])
        if unknown:
            shown = ", ".join(map(repr, unknown[:MAX_SHOWN])) + (", ..." if len(unknown) > MAX_SHOWN else "")
            yield f"the network does not know {shown}: it reads {OTHER!r} in their place"

    def inputs(self, text: str) -> Bytes:
        """Input (1, n_inputs) of the last characters of a text; ValueError for an empty one."""
        if not text:
            raise ValueError("the prompt is empty: give at least one character")
        codes = self.alphabet.encode(text[-self.positions :])
        x = np.zeros((1, self.network.n_inputs), np.uint8)
        x[:, : len(codes) * len(self.alphabet)] = one_hot(codes[None], len(self.alphabet))
        return x

    def probabilities(self, text: str, *, spikes: bool = False) -> Floats:
        """Probabilities (symbols,) of the next character."""
        x = self.inputs(text)
        output = self.network.neurons[self.network.output]
        if spikes:
            rates = torch.tensor(self.kernel.settle(x).rates[:, 0, output] / 256)
        else:
            with torch.no_grad():
                rates = self.model(torch.tensor(x))[0][:, output]
        p = transformer.probabilities(rates, self.positions)[0, min(len(text), self.positions) - 1]
        return np.asarray(p.double().numpy())

    def generate(
        self, prompt: str, length: int, *, temperature: float, seed: int, spikes: bool
    ) -> Iterator[str]:
        """The next characters, drawn from ``p ** (1 / temperature)``; 0: the most probable ones."""
        check_float(temperature, "temperature", 0, 100)
        rng = np.random.default_rng(check_seed(seed))
        text = prompt
        for _ in range(check_int(length, "length", 1, MAX_LENGTH)):
            p = self.probabilities(text, spikes=spikes)
            p[-1] = 0  # characters outside the alphabet
            if temperature >= COLD:
                p = np.exp(np.log(np.maximum(p, 1e-30) / p.max()) / temperature) * (p > 0)
                drawn = int(rng.choice(len(p), p=p / p.sum()))
            else:
                drawn = int(p.argmax())
            text += self.alphabet.characters[drawn]
            yield text[-1]

    def attention(self, text: str) -> dict[str, Floats]:
        """Attention (heads, n, n) of the last n characters to each other, by self-attention population."""
        n = min(len(text), self.positions)
        with torch.no_grad():
            found = self.model.attention(torch.tensor(self.inputs(text)))
        return {name: np.asarray(p[0, :, :n, :n].double().numpy()) for name, p in found.items()}
