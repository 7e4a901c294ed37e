"""Accuracy of a two-layer encoder on SST-2: from scratch, pre-trained, distilled from a teacher.

    python -m benchmarks.sst2_encoder DATA FOLDER [--held-out] [--seeds 3] [--masked 6000] [--spikes]
    python -m benchmarks.sst2_encoder DATA FOLDER --quick

DATA has SST-2, GloVe vectors and the reviews of IMDB (`equilif data`).  Words are GloVe vectors, which learn
too.  Two kinds of pre-training read the reviews, without their labels:

    words    vectors of WIDTH values, by which a word is predicted from its neighbours (CBOW with negative
             sampling, Mikolov et al. 2013)
    masked   the encoder itself predicts masked words from the features of its last layer, starting from
             pre-trained words

FOLDER keeps both, and a later run with this folder takes them.

The encoder is Network.transformer without a causal mask, of as many positions as the sentence has words, so
that there is no padding; its answer is the mean of the outputs of all positions.  The teacher is a standard
transformer on the pre-trained words.  --held-out: accuracy on 1,500 sentences of the training part, to choose
settings by.  --spikes: also that of the golden model, in four windows of 8 time steps.  --quick: every part
on few samples, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from equilif.data import texts
from equilif.data.ragged import Ragged
from equilif_golden import files
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, Weights
from equilif_golden.real import transformer
from equilif_golden.real.distillation import Distillation, Taught
from equilif_golden.real.rates import Rates
from equilif_golden.real.trainer import Trainer
from equilif_golden.schedule import Schedule

Tensor = torch.Tensor
POSITIONS = 64  #: words of a sentence at most
FEATURES, LAYERS, HEADS, HIDDEN = 64, 2, 4, 256
CLASSES = 2
WIDTH = 64  #: values of a pre-trained word
PASSES = 4  #: of pre-training over the reviews
NEIGHBOURS, NEGATIVES = 8, 5
BATCH = 64
EPOCHS = 2
DROPPED = 0.2  #: fraction of the words of a training sentence, and of masked words
MASKED = 6000  #: updates of pre-training
MASKED_WORDS = 2048  #: of an update
MASKED_LENGTHS = 16, 32, 48, 64  #: of segments of reviews
NEGATIVE_WORDS = 1024  #: that masked words are told from, in addition to each other
SAVED = 500  #: updates between messages and checkpoints
QUICK = 256  #: sentences, and reviews, of --quick
SCHEDULE = Schedule(free=32, nudged=8, window=8)


# -- words -----------------------------------------------------------------------------------------
def predict_words(
    words: Any, off: Any, kept: Any, noise: Any, a: Any, b: Any, first: float, last: float, rng: Any
) -> float:
    """Mean loss of one pass: vectors ``a`` of the neighbours and ``b`` of the word learn in place.

    ``kept``: probability of a word.  ``noise``: words to draw negative samples from.  The learning rate
    falls from ``first`` to ``last``.  :func:`pre_trained` compiles it.
    """
    d = a.shape[1]
    mean = np.empty(d, np.float32)
    step = np.empty(d, np.float32)
    review = np.empty(np.diff(off).max(), np.int64)
    total = 0.0
    count = 0
    for sample in range(len(off) - 1):
        n = 0
        for i in range(off[sample], off[sample + 1]):
            if rng.random() < kept[words[i]]:
                review[n] = words[i]
                n += 1
        rate = np.float32(first + (last - first) * off[sample] / off[-1])
        for i in range(n):
            reach = 1 + rng.integers(0, NEIGHBOURS)
            begin, end = max(0, i - reach), min(n, i + reach + 1)
            if end - begin < 2:
                continue
            mean[:] = 0
            step[:] = 0
            for j in range(begin, end):
                if j != i:
                    mean += a[review[j]]
            mean /= np.float32(end - begin - 1)
            for k in range(NEGATIVES + 1):
                word = review[i] if k == 0 else noise[rng.integers(0, len(noise))]
                if k and word == review[i]:
                    continue
                p = 1 / (1 + math.exp(-np.dot(mean, b[word])))
                error = rate * np.float32((k == 0) - p)
                step += error * b[word]
                b[word] += error * mean
                if k == 0:
                    total -= math.log(p + 1e-9)
                    count += 1
            for j in range(begin, end):
                if j != i:
                    a[review[j]] += step
    return total / max(1, count)


def pre_trained(reviews: Ragged, n: int) -> np.ndarray:
    """Vectors (n, WIDTH) of standard deviation 1 over the reviews; zero for words that are in none."""
    counts = np.bincount(reviews.rows, minlength=n)
    share = counts / counts.sum()
    kept = np.minimum(1, np.sqrt(1e-4 / np.maximum(share, 1e-12)))
    rng = np.random.default_rng(0)
    noise = rng.choice(n, 1 << 20, p=share**0.75 / (share**0.75).sum())
    a = ((rng.random((n, WIDTH)) - 0.5) / WIDTH).astype(np.float32)
    b = np.zeros_like(a)
    one_pass: Any = numba.njit(predict_words, fastmath=True)
    for k in range(PASSES):
        first, last = (0.05 * (1 - at / PASSES) + 0.002 for at in (k, k + 1))
        loss = one_pass(reviews.rows, reviews.off, kept, noise, a, b, first, last, rng)
        print(f"words, pass {k + 1}: loss {loss:.4f}", flush=True)
    centred = a - share @ a
    centred[counts == 0] = 0  # only their GloVe vector is known
    found: np.ndarray = centred / np.sqrt(share @ centred**2)
    return found


@dataclass(frozen=True)
class Corpus:
    """SST-2 and its words: vectors (words, width) of standard deviation about 1, zero for the mean word."""

    train: Ragged
    test: Ragged
    reviews: Ragged
    vectors: np.ndarray
    pre_trained: np.ndarray

    @classmethod
    def read(cls, data: Path, folder: Path, *, held_out: bool, quick: bool = False) -> Corpus:
        """``folder`` keeps pre-trained words.  Words are numbered alike with and without ``held_out``."""
        found = texts.sst2(data, max_tokens=POSITIONS, vectors=data)
        row = {word: k for k, word in enumerate(found.words)}
        train, test = found.train, found.test
        if held_out:
            held = texts.sst2(data, max_tokens=POSITIONS, vectors=data, validation_sentences=1500)
            number = np.array([row.get(word, len(row)) for word in held.words], np.int32)
            train, test = (Ragged(number[p.rows], p.off, p.labels) for p in (held.train, held.test))
        reviews = texts.imdb(data, max_tokens=1024, vectors=data)
        here = np.array([row.get(word, -1) for word in reviews.words])
        samples = []
        for part in (reviews.train, reviews.test):
            words = here[part.rows]
            off = np.concatenate([[0], np.cumsum(words >= 0)])[part.off]
            samples.append(Ragged(words[words >= 0].astype(np.int32), off, part.labels))
        together = Ragged(
            np.concatenate([s.rows for s in samples]),
            np.concatenate([samples[0].off, samples[0].off[-1] + samples[1].off[1:]]),
            np.concatenate([s.labels for s in samples]),
        )
        if quick:
            train, test, together = (part.take(np.arange(QUICK)) for part in (train, test, together))
        vectors = found.table / found.table.std()
        path = folder / "words.npy"
        if not path.exists():
            np.save(path, pre_trained(together, len(vectors)))
        return cls(train, test, together, vectors, np.load(path))

    @property
    def both(self) -> np.ndarray:
        return np.concatenate([self.vectors, self.pre_trained], 1)


def batches(
    part: Ragged, size: int, rng: np.random.Generator | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Words (n, positions) and labels (n, 1) of sentences of one length; ``rng``: in random order."""
    found = []
    for length in np.unique(part.lengths()):
        chosen = np.flatnonzero(part.lengths() == length)
        if rng is not None:
            rng.shuffle(chosen)
        found += [chosen[k : k + size] for k in range(0, len(chosen), size)]
    for k in range(len(found)) if rng is None else rng.permutation(len(found)):
        some = part.take(found[k])
        yield torch.tensor(some.rows.reshape(len(found[k]), -1)).long(), torch.tensor(some.labels)[:, None]


def learn(part: Ragged, n_words: int, epochs: int, seed: int, step: Callable[[Tensor, Tensor], Any]) -> None:
    """Call ``step`` with every batch; dropped words are the mean word, whose number is ``n_words``."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        for words, labels in batches(part, BATCH, rng):
            dropped = torch.tensor(rng.random(words.shape) < DROPPED)
            step(torch.where(dropped, n_words, words), labels)


def updates(part: Ragged, epochs: int) -> int:
    """Number of batches."""
    return epochs * sum(-(-int(n) // BATCH) for n in np.bincount(part.lengths()))


def accuracy(answer: Callable[[Tensor], Tensor], part: Ragged) -> float:
    """``answer``: scores (n, 1, classes) of words (n, positions)."""
    right = 0
    with torch.no_grad():
        for words, labels in batches(part, 100):
            right += int((answer(words).view(len(words), -1).argmax(1) == labels[:, 0]).sum())
    return right / len(part)


# -- networks --------------------------------------------------------------------------------------
class Standard(torch.nn.Module):
    """A transformer with layer normalisation before each sublayer, and the mean of its positions."""

    def __init__(self, vectors: np.ndarray):
        super().__init__()
        table = np.concatenate([vectors, np.zeros((1, vectors.shape[1]))])
        self.table = torch.nn.Parameter(torch.tensor(table, dtype=torch.float32))
        self.embedding = torch.nn.Linear(table.shape[1], FEATURES)
        self.position = torch.nn.Parameter(torch.randn(POSITIONS, FEATURES) * 0.02)
        self.layers = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(
                FEATURES, HEADS, HIDDEN, 0.1, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(LAYERS)
        )
        self.norm = torch.nn.LayerNorm(FEATURES)
        self.output = torch.nn.Linear(FEATURES, CLASSES)

    def forward(self, words: Tensor) -> Taught:
        r = self.embedding(self.table[words]) + self.position[: words.shape[1]]
        for layer in self.layers:
            r = layer(r)
        mean = self.norm(r).mean(1, keepdim=True)
        return Taught(self.output(mean), {f"features{LAYERS}": mean})


def standard(corpus: Corpus, seed: int) -> Standard:
    """Trained on the labels."""
    torch.manual_seed(seed)
    model = Standard(corpus.both)
    rest = [p for name, p in model.named_parameters() if name != "table"]
    optimiser = torch.optim.AdamW(
        [
            {"params": rest, "weight_decay": 0.05},
            {"params": [model.table], "lr": 3e-4, "weight_decay": 0.0},
        ],
        1e-3,
    )
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates(corpus.train, EPOCHS))

    def step(words: Tensor, labels: Tensor) -> None:
        loss = torch.nn.functional.cross_entropy(
            model(words).logits[:, 0], labels[:, 0], label_smoothing=0.05
        )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        decay.step()

    learn(corpus.train, len(corpus.vectors), EPOCHS, seed, step)
    return model.eval()


def network(positions: int, width: int) -> Network:
    return Network.transformer(
        positions,
        width,
        FEATURES,
        LAYERS,
        CLASSES,
        heads=HEADS,
        hidden=HIDDEN,
        causal=False,
        schedule=SCHEDULE,
    )


class Sentence(Rates):
    """An encoder for sentences of some length, with the weights of ``owner``."""

    def __init__(self, owner: Encoder, positions: int):
        super().__init__(network(positions, owner.words.shape[1]))
        self.owner = (owner,)  # no module of this one

    @property
    def w(self) -> dict[str, Tensor]:
        found = self.owner[0].w
        codes = found["bias-embedding"].view(POSITIONS, FEATURES)
        codes = codes[: self.n_inputs // self.owner[0].words.shape[1]]
        shape = next(self.network.shape(s) for s in self.network.plastic if s.name == "bias-embedding")
        return {s.name: found[s.name] for s in self.network.plastic} | {
            "bias-embedding": codes.reshape(shape)
        }


class Encoder(Rates):
    """Words (n, positions) to mean rates (n, maps of all populations) and output drives (n, classes).

    A word is rates of the table (words + 1, width): 1/2 and SPREAD times its vector; the last is the mean.
    """

    def __init__(self, vectors: np.ndarray, seed: int):
        net = network(POSITIONS, vectors.shape[1])
        start = transformer.initial_weights(net, seed)
        # words have a mean of 1/2, which the bias removes
        drive = start["tokens-embedding"].sum(0) * transformer.CENTRE
        start["bias-embedding"] -= (
            np.rint(np.tile(drive, POSITIONS)).astype(np.int64).reshape(start["bias-embedding"].shape)
        )
        super().__init__(net, start)
        table = np.concatenate([vectors, np.zeros((1, vectors.shape[1]))])
        rates = (transformer.CENTRE + transformer.SPREAD * table).clip(0, 1)
        self.words = torch.nn.Parameter(torch.tensor(rates, dtype=torch.float32))
        self.sentences: dict[int, Sentence] = {}
        self.part = {}
        at = 0
        for p in net.lif:
            self.part[p.name] = slice(at, at + p.maps)
            at += p.maps

    @property
    def w(self) -> dict[str, Tensor]:
        return {**super().w, "words": self.words}

    def constrain(self) -> None:
        super().constrain()
        with torch.no_grad():
            self.words.clamp_(0, 1)

    def sentence(self, positions: int) -> Sentence:
        if positions not in self.sentences:
            self.sentences[positions] = Sentence(self, positions)
        return self.sentences[positions]

    def forward(self, x: Tensor, *_: Any, **options: Any) -> tuple[Tensor, Tensor]:
        positions = x.shape[1]
        model = self.sentence(positions)
        rates, drive = model.respond(model.static(self.words[x].flatten(1)), **options)
        means = [rates[:, part].unflatten(1, (positions, -1)).mean(1) for part in model.part.values()]
        return torch.cat(means, 1), drive.unflatten(1, (positions, -1)).mean(1)

    def answer(self, words: Tensor) -> Tensor:
        """Mean rates of the output, (n, classes)."""
        rates: Tensor = self(words)[0]
        return rates[:, self.part["output"]]

    def spikes(self, words: Tensor) -> Tensor:
        """The same of the golden model; the table in 8 bits."""
        model = self.sentence(words.shape[1])
        weights: Weights = model.quantised()
        x = (self.words[words] * 256).round().clamp(0, 255).flatten(1).to(torch.uint8)
        rates = Kernel(model.network, weights).settle(x.numpy()).rates[:, 0]
        found = rates[:, model.network.neurons["output"]].reshape(len(words), -1, CLASSES)
        return torch.tensor(found.mean(1))


class Masked(Encoder):
    """An encoder that predicts the vectors of masked words, from the features of its last layer."""

    def __init__(self, vectors: np.ndarray, seed: int):
        super().__init__(vectors, seed)
        self.prediction = torch.nn.Parameter(torch.randn(FEATURES, vectors.shape[1]) * 0.02)

    @property
    def w(self) -> dict[str, Tensor]:
        return {**super().w, "prediction": self.prediction}

    def forward(self, x: Tensor, *masked: Any, **options: Any) -> tuple[Tensor, Tensor]:
        """Rates of all positions, and predicted vectors (n, width) at the n ``masked`` positions."""
        (where,) = masked
        model = self.sentence(x.shape[1])
        rates, _ = model.respond(model.static(self.words[x].flatten(1)), **options)
        features = rates[:, model.part[f"features{LAYERS}"]].unflatten(1, (x.shape[1], -1))
        return rates, (features[where] - transformer.CENTRE) / transformer.SPREAD @ self.prediction

    def loss(self, vectors: Tensor, words: Tensor, drawn: Tensor) -> Tensor:
        """Cross entropy (n,) of n masked words among each other and ``drawn`` ones.

        All occur as often as in the reviews, so that this estimates a softmax over all words whose bias is
        the logarithm of their frequency.
        """
        candidates = torch.cat([words, drawn])
        table = (self.words[candidates] - transformer.CENTRE) / transformer.SPREAD
        own = torch.arange(len(words))
        same = words[:, None] == candidates
        same[own, own] = False
        return torch.nn.functional.cross_entropy(
            (vectors @ table.T).masked_fill(same, -torch.inf), own, reduction="none"
        )


def masked(corpus: Corpus, steps: int, seed: int, path: Path) -> Masked:
    """Pre-trained on segments of the reviews; ``path`` has the weights of the last checkpoint."""
    torch.manual_seed(seed)
    model = Masked(corpus.both, seed)
    rng = np.random.default_rng(seed)
    reviews = corpus.reviews
    lengths = reviews.lengths()

    def drawn(vectors: Tensor, words: Tensor) -> Tensor:
        others = reviews.rows[rng.integers(0, len(reviews.rows), NEGATIVE_WORDS)]
        return model.loss(vectors, words, torch.tensor(others).long())

    trainer = Trainer(
        model,
        steps=steps,
        learning_rate=2e-3,
        warm_up=min(200, steps // 10),
        scales=transformer.learning_rates(model.network) | {"words": 0.1},
        centres=transformer.centres(model.network),
        loss=drawn,
        clip=1.0,
    )
    total = 0.0
    for step in range(steps):
        length = int(rng.choice(MASKED_LENGTHS))
        long = np.flatnonzero(lengths >= length)
        some = rng.choice(long, MASKED_WORDS // length, p=lengths[long] / lengths[long].sum())
        first = reviews.off[some] + rng.integers(0, lengths[some] - length + 1)
        words = torch.tensor(reviews.rows[first[:, None] + np.arange(length)]).long()
        where = torch.tensor(rng.random(words.shape) < DROPPED)
        x = torch.where(where, len(corpus.vectors), words)
        each, _ = trainer.step([x, where], words[where], int(where.sum()))
        total += float(each.detach().mean())
        if (step + 1) % SAVED == 0 or step + 1 == steps:
            print(f"masked words, update {step + 1}: loss {total / (step % SAVED + 1):.4f}", flush=True)
            total = 0.0
            torch.save(model.state_dict(), path)
    return model


@dataclass(frozen=True)
class FineTuning:
    """Settings of the training on labels."""

    epochs: int = EPOCHS
    learning_rate: float = 1e-3


def encoder(
    corpus: Corpus,
    vectors: np.ndarray,
    seed: int,
    teacher: Standard | None = None,
    start: Masked | None = None,
    settings: FineTuning = FineTuning(),
) -> Encoder:
    """Trained on the labels and, with a teacher, on its outputs and the mean of its last layer; ``start``:
    from these weights.
    """
    torch.manual_seed(seed)
    model = Encoder(vectors, seed)
    if start is not None:
        model.load_state_dict({k: v for k, v in start.state_dict().items() if k != "prediction"})
    trainer = Trainer(
        model,
        steps=updates(corpus.train, settings.epochs),
        learning_rate=settings.learning_rate,
        warm_up=100,
        scales=transformer.learning_rates(model.network) | {"words": 0.1},
        centres=transformer.centres(model.network),
        loss=transformer.cross_entropy,
        distillation=None
        if teacher is None
        else Distillation(model, teacher, {f"features{LAYERS}": FEATURES}),
        clip=1.0,
    )
    learn(
        corpus.train,
        len(corpus.vectors),
        settings.epochs,
        seed,
        lambda words, labels: trainer.step([words], labels, len(words)),
    )
    return model


@dataclass(frozen=True)
class Variant:
    """Pre-training and teacher of an encoder."""

    words: bool = False
    masked: bool = False
    distilled: bool = False


#: those with masked words have pre-trained words, too
VARIANTS = {
    "labels": Variant(),
    "distilled": Variant(distilled=True),
    "words": Variant(words=True),
    "words-distilled": Variant(words=True, distilled=True),
    "masked": Variant(words=True, masked=True),
    "masked-distilled": Variant(words=True, masked=True, distilled=True),
}
#: by whether the encoder itself is pre-trained
FINE_TUNING = {False: FineTuning(), True: FineTuning(epochs=3, learning_rate=5e-4)}


def measure(
    corpus: Corpus,
    seed: int,
    variants: dict[str, Variant],
    start: Masked | None,
    a: argparse.Namespace,
    found: dict[str, dict[str, float]],
) -> None:
    """Train the encoders of one seed; their accuracies are added to ``found`` and to the folder."""

    def report(name: str, value: float) -> None:
        found.setdefault(name, {})[str(seed)] = value
        print(f"seed {seed}, {name}: {value:.2%}", flush=True)
        files.write(a.folder / "accuracy.json", json.dumps(found).encode())

    teacher = None
    if any(v.distilled for v in variants.values()):
        teacher = standard(corpus, seed)
        report("teacher", accuracy(lambda words: teacher(words).logits, corpus.test))
    for name, v in variants.items():
        model = encoder(
            corpus,
            corpus.both if v.words else corpus.vectors,
            seed,
            teacher if v.distilled else None,
            start if v.masked else None,
            FINE_TUNING[v.masked],
        )
        torch.save(model.state_dict(), a.folder / f"{name}-{seed}.pt")
        report(name, accuracy(model.answer, corpus.test))
        if a.spikes:
            report(f"{name}, spikes", accuracy(model.spikes, corpus.test))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 0")
    parser.add_argument("--masked", type=int, default=MASKED, help="updates of pre-training by masked words")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=VARIANTS, help="encoders")
    parser.add_argument("--spikes", action="store_true")
    parser.add_argument("--quick", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(1)
    a.folder.mkdir(parents=True, exist_ok=True)
    corpus = Corpus.read(a.data, a.folder, held_out=a.held_out, quick=a.quick)
    chosen = [VARIANTS[name] for name in a.only]
    start = None
    if any(v.masked for v in chosen):
        path = a.folder / "masked.pt"
        if path.exists():
            start = Masked(corpus.both, 0)
            start.load_state_dict(torch.load(path))
        else:
            start = masked(corpus, 20 if a.quick else a.masked, 0, path)
    found: dict[str, dict[str, float]] = {}
    for seed in range(a.seeds):
        measure(corpus, seed, dict(zip(a.only, chosen, strict=True)), start, a, found)


if __name__ == "__main__":
    main()
