"""Bits per character of transformers on the sources of Python's standard library.

    python -m benchmarks.next_character FOLDER [--layers 2] [--standard] [--steps 3000] [--spikes 200]

The text is the modules of the standard library that are single files (4.7 MB with Python 3.11); nine tenths
are for training.  A run continues where the one in FOLDER ended.  --standard: a transformer with layer
normalisation, GELU and unbounded activations, with the same sizes, batches, optimiser and schedule.
--spikes: also the bits per character of the saved network's spikes, on this number of validation sequences.
"""

from __future__ import annotations

import argparse
import json
import math
import sysconfig
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from equilif.data.characters import Text, read
from equilif.training.names import TEXT
from equilif.training.text import Settings, TextRun, Writer
from equilif_golden import files
from equilif_golden.real.transformer import position_codes, probabilities
from equilif_golden.schedule import Schedule

EVERY = 250  #: steps between validations


def text_of(settings: Settings) -> Text:
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return read(sources, symbols=settings.symbols, positions=settings.positions)


class Standard(torch.nn.Module):
    """A transformer with layer normalisation before each sublayer."""

    def __init__(self, s: Settings, *, sines: bool):
        super().__init__()
        self.settings = s
        self.embedding = torch.nn.Embedding(s.symbols, s.features)
        codes = position_codes(s.positions, s.features) if sines else np.zeros((s.positions, s.features))
        self.position = torch.nn.Parameter(torch.tensor(codes, dtype=torch.float32) * 0.03)
        torch.nn.init.normal_(self.embedding.weight, 0, 0.02)
        if not sines:
            torch.nn.init.normal_(self.position, 0, 0.02)
        self.layers = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(
                s.features, s.heads, s.hidden, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(s.layers)
        )
        self.norm = torch.nn.LayerNorm(s.features)
        self.output = torch.nn.Linear(s.features, s.symbols)
        self.register_buffer("mask", torch.full((s.positions, s.positions), -torch.inf).triu(1))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        r = self.embedding(codes) + self.position
        for layer in self.layers:
            r = layer(r, self.mask)
        logits: torch.Tensor = self.output(self.norm(r))
        return logits

    def loss(self, codes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self(codes).flatten(0, 1), labels.flatten())


def standard(run: TextRun, folder: Path, *, sines: bool) -> None:
    """The same for a standard transformer, with the sequences of ``run``."""
    s = run.settings
    torch.manual_seed(s.seed)
    model = Standard(s, sines=sines)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    optimiser = torch.optim.AdamW(model.parameters(), s.learning_rate, weight_decay=0.0)
    decay = torch.optim.lr_scheduler.LambdaLR(optimiser, run.trainer.decay.lr_lambdas[0])
    starts = np.random.default_rng(0).integers(0, len(run.text.validation) - s.positions, 400)
    points = []
    total = 0.0
    for step in range(s.steps):
        rng = np.random.default_rng((s.seed, step))
        x, y = sequences(run.text.train, rng.integers(0, len(run.text.train) - s.positions, s.batch_size), s)
        loss = model.loss(x, y)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        decay.step()
        total += float(loss.detach()) / math.log(2)
        if (step + 1) % EVERY == 0 or step + 1 == s.steps:
            with torch.no_grad():
                x, y = sequences(run.text.validation, starts, s)
                found = float(model.loss(x, y)) / math.log(2)
            points.append({"step": step + 1, "validation": found})
            print(step + 1, f"{found:.4f}", flush=True)
            files.write(folder / "points.json", json.dumps(points).encode())


def sequences(codes: np.ndarray, starts: np.ndarray, s: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    found = torch.tensor(np.stack([codes[i : i + s.positions + 1] for i in starts]).astype(np.int64))
    return found[:, :-1], found[:, 1:]


def of_spikes(writer: Writer, run: TextRun, n: int, free: int) -> float:
    """Bits per character of ``free`` time steps of spikes, on the first ``n`` validation sequences."""
    window = min(free // 4, 16)  # longer ones overflow the charge of the default formats
    schedule = Schedule(free=free, nudged=window, window=window)
    writer = replace(writer, network=replace(writer.network, schedule=schedule))
    codes = run.text.validation
    starts = np.random.default_rng(0).integers(0, len(codes) - run.settings.positions, 400)[:n]
    x, y = run.batch(codes, starts)
    output = writer.network.neurons[writer.network.output]
    rates = torch.tensor(writer.kernel.settle(x.numpy()).rates[:, 0, output] / 256)
    p = probabilities(rates, run.settings.positions)
    return -float(p.gather(2, y[..., None]).log2().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--standard", choices=("sines", "random"), help="position codes of a standard transformer"
    )
    parser.add_argument("--hidden-rates", type=float, default=0.5, help="factor inside feed-forward layers")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation, on rates in training")
    parser.add_argument("--spike-steps", type=int, default=0, help="last steps, which learn from spikes")
    parser.add_argument("--window", type=int, default=8, help="time steps, in which these measure rates")
    parser.add_argument("--teacher", help="network.npz of another folder")
    parser.add_argument("--spikes", type=int, default=0)
    a = parser.parse_args()
    torch.set_num_threads(1)
    a.folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        layers=a.layers,
        steps=a.steps,
        seed=a.seed,
        hidden_rates=a.hidden_rates,
        noise=a.noise,
        spike_steps=a.spike_steps,
        window=a.window,
        teacher=a.teacher,
    )
    there = (a.folder / TEXT).exists()
    run = TextRun.resume(a.folder, text_of) if there else TextRun.start(settings, text_of(settings))
    print(f"{len(run.text.train):,} characters, {run.model.network.n_weights:,} weights")
    if a.standard:
        standard(run, a.folder, sines=a.standard == "sines")
        return
    while run.step < run.settings.steps:
        print(asdict(run.train(EVERY)), flush=True)
        run.save(a.folder)
    if a.spikes:
        writer = Writer.load(a.folder / "network.npz")
        for free in (32, 64, 128):
            print(f"{free} time steps {of_spikes(writer, run, a.spikes, free):.4f}", flush=True)


if __name__ == "__main__":
    main()
