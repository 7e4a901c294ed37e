"""Training on a text: a transformer that predicts the next character, in floating point."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from equilif.data.base.arrays import Bytes, Floats, Longs
from equilif.data.sets.characters import OTHER, Alphabet, Text, TextFiles, one_hot, windows
from equilif.training.backends.rates import FloatingPoint
from equilif.training.settings.description import Description
from equilif.training.settings.tables import check_seed
from equilif.training.storage.history import EpochRecord, Mark, Progress, digest
from equilif.training.storage.records import identity_of
from equilif_golden import network as networks
from equilif_golden.extras import needs
from equilif_golden.fixed import check_float, check_int
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, Weights

with needs("torch"):
    import torch

    from equilif_golden.real import transformer
    from equilif_golden.real.distillation import Distillation, Taught
    from equilif_golden.real.rates import Rates
    from equilif_golden.real.trainer import Distributed, Trainer, TrainerSettings

#: sequences that a validation takes, drawn once
VALIDATED = 400
BATCH = 50  #: of these together
MAX_SHOWN = 10  #: unknown characters that a note lists
COLD = 1e-3  #: temperature below which the most probable character is taken
MAX_LENGTH = 1_000_000  #: of a generated text


@dataclass
class NextCharacter(FloatingPoint[Text]):
    """Training on a text.

    ``teacher``: digest of the teacher; empty without one.
    """

    teacher: str = ""

    @classmethod
    def start(cls, plan: Description, data: Text, seed: int, make: object = None) -> Self:
        """ValueError if the network does not fit the text."""
        s = plan.require_text()
        network = _network(plan, data)
        weights = transformer.initial_weights(network, check_seed(seed), hidden=s.hidden_rates)
        model = Rates(network, weights)
        teacher = Writer.load(Path(s.teacher)) if s.teacher else None
        steps = s.epochs * s.steps
        trainer = Trainer(
            model,
            TrainerSettings(
                steps=steps,
                learning_rate=s.learning_rate,
                warm_up=min(100, steps // 10),
                restart=steps - s.spike_steps if s.spike_steps else None,
                noise=s.noise,
                batch=s.batch_size,
                clip=1.0,
            ),
            scales=transformer.learning_rates(network, s.hidden_rates),
            centres=transformer.centres(network, s.hidden_rates),
            loss=transformer.cross_entropy,
            distillation=_distillation(model, data, teacher, seed) if teacher else None,
        )
        return cls(plan, seed, data, trainer, Distributed(), teacher.digest if teacher else "")

    @property
    def samples(self) -> int:
        s = self.plan.require_text()
        return s.steps * s.batch_size

    @property
    def test_samples(self) -> int:
        return VALIDATED

    def state(self) -> dict[str, Any]:
        return {**super().state(), "teacher": self.teacher}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state["teacher"] != self.teacher:
            raise ValueError(
                f"{self.plan.require_text().teacher} is not the teacher that it began with: restore that file"
            )
        super().restore(state)

    def batch(self, codes: Bytes, starts: Longs) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and labels of the sequences from ``starts``."""
        found = windows(codes, starts, self.data.positions + 1)
        x = one_hot(found[:, :-1], len(self.data.alphabet))
        on = self.trainer.device
        return torch.tensor(x, device=on), torch.tensor(found[:, 1:].astype(np.int64), device=on)

    def epoch(
        self, number: int, at: Mark, report: Callable[[Progress], None], *, test: bool = True
    ) -> EpochRecord:
        """Updates, then validation."""
        s = self.plan.require_text()
        codes = self.data.train
        learning_rate = self.trainer.learning_rate
        noise = torch.Generator(self.trainer.device).manual_seed(1000 * self.seed + number)
        loss = accuracy = 0.0
        start = time.perf_counter()
        for k in range(1, s.steps + 1):
            rng = np.random.default_rng((self.seed, self.counter))
            x, y = self.batch(codes, rng.integers(0, len(codes) - self.data.positions, s.batch_size))
            of_spikes = self.counter >= s.epochs * s.steps - s.spike_steps
            self.trainer.spikes = self.network.schedule if of_spikes else None
            each, drive = self.trainer.step([x], y, s.batch_size, noise)
            loss += float(each.detach().mean()) / math.log(2)
            accuracy += float((drive.view(*y.shape, -1).argmax(-1) == y).double().mean())
            done = k * s.batch_size
            report(Progress(done, self.samples, done / (time.perf_counter() - start), loss=loss / k))
        seconds = time.perf_counter() - start
        test_loss, test_accuracy = self.validate() if test else (None, math.nan)
        return EpochRecord(
            epoch=number + 1,
            learning_rate=learning_rate,
            loss=loss / s.steps,
            test_loss=test_loss,
            train_accuracy=accuracy / s.steps,
            test_accuracy=test_accuracy,
            samples_per_second=self.samples / seconds,
        )

    def validate(self) -> tuple[float, float]:
        """Bits per character and accuracy of the same sequences of the validation text, from the rates of the
        output.
        """
        codes = self.data.validation
        starts = np.random.default_rng(0).integers(0, len(codes) - self.data.positions, VALIDATED)
        output = self.model.part[self.network.output]
        bits = hits = 0.0
        with torch.no_grad():
            for some in np.split(starts, range(BATCH, len(starts), BATCH)):
                x, y = self.batch(codes, some)
                p = transformer.probabilities(self.model(x)[0][:, output], self.data.positions)
                bits -= float(p.gather(2, y[..., None]).log2().mean(1).sum())
                hits += float((p.argmax(-1) == y).double().mean(1).sum())
        return bits / VALIDATED, hits / VALIDATED


def _network(plan: Description, text: Text) -> Network:
    """The network of a plan; ValueError if it does not fit the text."""
    network = plan.network(text)
    positions, symbols = plan.sequence
    outputs = network.n_outputs
    if (positions, symbols, outputs) != (text.positions, len(text.alphabet), text.n_features):
        raise ValueError(
            f"the network has {positions} positions of {symbols} symbols and {outputs} outputs, {text.name} "
            f"needs {text.positions}, {len(text.alphabet)} and {text.n_features}"
        )
    return network


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
    """The population that the output reads; ValueError unless they are maps."""
    found = [s.pre for s in network.synapses if s.post == network.output and s.kernel]
    if not found:
        raise ValueError("a teacher needs an output that reads maps by a kernel: leave text.teacher out")
    return found[0]


def _distillation(student: Rates, text: Text, teacher: Writer, seed: int) -> Distillation:
    """ValueError if the teacher does not fit."""
    if teacher.alphabet != text.alphabet or teacher.positions != text.positions:
        raise ValueError(
            f"the teacher sees {teacher.positions} positions of {len(teacher.alphabet)} symbols, this "
            f"network {text.positions} of {len(text.alphabet)}: both need the same text and positions"
        )
    name = _features(student.network)
    features = teacher.network[_features(teacher.network)].maps
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # its maps start random
        return Distillation(student, Teacher(teacher.model, text.positions, name), {name: features})


@dataclass(frozen=True)
class Writer:
    """A trained network that continues a text, by its rates in floating point or by its spikes."""

    network: Network
    weights: Weights
    alphabet: Alphabet

    @classmethod
    def load(cls, path: Path) -> Self:
        """Network of a run; ValueError for a file that holds another one."""
        found = networks.read(path)
        network, weights = found.network, found.weights
        identity = identity_of(path, found.about)
        if not isinstance(identity, TextFiles):
            raise ValueError(f"{path} predicts no characters: train a network with `equilif train-text`")
        n = len(identity.characters)
        if not network.inputs or network.n_inputs % n or network.n_outputs != network.n_inputs:
            raise ValueError(f"{path}: its alphabet has {n} characters, its network does not")
        return cls(network, weights, Alphabet(identity.characters))

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
