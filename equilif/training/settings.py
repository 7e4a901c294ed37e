"""How the mean rates of each data set are trained in real numbers unless told otherwise.

No torch here: only the training itself needs it (equilif.training.rates).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from equilif.data import images, own, sequences
from equilif.data.about import About
from equilif.data.arrays import Bytes
from equilif.data.dataset import DataSet
from equilif.training import convolved, presets
from equilif.training.preset import MOST_EPOCHS, MemoryPreset, Preset, check_seed
from equilif.training.presets import PRESETS
from equilif.training.records import record
from equilif_golden.fixed import Raw, finite, truth, whole
from equilif_golden.network import MOST_NEURONS, Network, Weights
from equilif_golden.schedule import Schedule

#: chosen on 300 training images of the digits, 16 and 32 maps
MAPS_START = {"bias": 0.1, "scale": 0.25}
MAPS_LR = 1e-3  #: a larger one silences maps for good
FOR_IMAGES = ("shift", "flip", "channels")
FOR_TOKENS = ("asked", "table_lr", "token_dropout")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A run.  ValueError for a value that cannot be."""

    data: str
    hidden: tuple[int, ...]
    epochs: int
    batch: int = 128
    lr: float = 2e-3  #: of AdamW in the first step, falling to zero as a cosine
    weight_decay: float = 0.0
    dropout: float = 0.0
    shift: float = 0.0  #: part of the training images moved by a pixel, anew each epoch
    flip: float = 0.0  #: part of them mirrored
    feedback: bool = True
    #: convolutions before the hidden populations, as they are typed (equilif.training.convolved.Asked)
    channels: tuple[str, ...] = ()
    without: tuple[int, ...] = ()  #: classes that are not trained
    #: memory of a sequence's tokens in front, where it is not that of the preset
    asked: MemoryPreset | None = None
    #: learning rate of the table of tokens, relative to the others; 0: tokens stay as the data have them
    table_lr: float = 0.0
    token_dropout: float = 0.0  #: part of a training sample's tokens left out, anew each epoch
    #: training samples to choose settings by: they are not learned from, and stand for the test set
    hold_out: int = 0
    seed: int = 0
    schedule: Schedule = Schedule()
    about: About | None = None  #: of a user's own data, how they are read

    def __post_init__(self) -> None:
        if self.about is None and self.data not in PRESETS:
            raise ValueError(f"data must be one of {', '.join(PRESETS)}, not {self.data!r}")
        for size in self.hidden:
            whole(size, "hidden", 1, MOST_NEURONS)
        for text in self.channels:
            convolved.Asked.of(text)
        whole(self.epochs, "epochs", 1, MOST_EPOCHS)
        whole(self.batch, "batch", 1, 1 << 20)
        finite(self.lr, "lr", 1e-9, 10)
        finite(self.weight_decay, "weight_decay", 0, 10)
        finite(self.dropout, "dropout", 0, 0.99)
        finite(self.shift, "shift", 0, 1)
        finite(self.flip, "flip", 0, 1)
        finite(self.table_lr, "table_lr", 0, 1e6)
        finite(self.token_dropout, "token_dropout", 0, 1)
        truth(self.feedback, "feedback")
        whole(self.hold_out, "hold_out", 0, 1 << 31)
        check_seed(self.seed)
        if self._tokens is not None:
            self._check_sequence()
        else:
            self._check_inputs()
        if self.about is not None:
            self._check_own(self.about)

    @property
    def _tokens(self) -> MemoryPreset | None:
        """Of the preset."""
        return None if self.about is not None else PRESETS[self.data].memory

    @property
    def memory(self) -> MemoryPreset | None:
        """In front of a sequence's hidden populations, with a table of tokens where it learns."""
        m = self._tokens and (self.asked or self._tokens)
        if m is None:
            return None
        scale = 1.0 if m.table_scale is None else m.table_scale
        return dataclasses.replace(m, table_scale=scale if self.table_lr else None)

    @property
    def preset(self) -> Preset:
        """Of the data set, with this network and these phases."""
        preset = PRESETS[self.data]
        if self._tokens is None:
            return preset
        return dataclasses.replace(
            preset, hidden=self.hidden, schedule=self.schedule, memory=self.memory, crop=0.0, mask=0
        )

    def tokens_of(self, tokens: int | None = None, **loading: Any) -> MemoryPreset | None:
        """The memory with another number of tokens, and other options of the loader; None when neither is
        given.

        ValueError where there is no memory.
        """
        given = {name: value for name, value in loading.items() if value is not None}
        if tokens is None and not given:
            return None
        m = self.memory
        if m is None:
            name = "tokens" if tokens is not None else next(iter(given))
            raise ValueError(_for_tokens(name, self.data))
        sequences.check_options(self.data, given)
        return dataclasses.replace(
            m, tokens=m.tokens if tokens is None else tokens, loading={**m.loading, **given}
        )

    def _check_own(self, about: About) -> None:
        """ValueError for what own data cannot be."""
        if about.encoding.memory:
            raise ValueError("own data in a memory are trained by `equilif train`: leave out data.memory")
        for name in FOR_IMAGES:
            if getattr(self, name) and not about.image:
                raise ValueError(f"{_typed(name)} is for images, {self.data} holds none: leave it out")

    def _check_sequence(self) -> None:
        """What is for images changes nothing in a sequence: ValueError."""
        for name in FOR_IMAGES:
            if getattr(self, name):
                raise ValueError(f"{_typed(name)} is for images, {self.data} has none: leave it out")
        if not self.feedback:
            raise ValueError(f"feedback cannot be left out: the memory of {self.data} is trained with it")

    def _check_inputs(self) -> None:
        """What is for tokens changes nothing without them: ValueError."""
        for name in FOR_TOKENS:
            if getattr(self, name):
                raise ValueError(_for_tokens(name, self.data))

    def load(self, folder: Path | None = None) -> DataSet:
        """The data set, without what is held out; ValueError when it does not fit the settings.

        ``folder``: of a data set with a name; the path of own data that have moved.
        """
        if self.about is None:
            d = self.preset.load(folder)
        else:
            d = own.again(self.about, folder, name=self.data)
        for label in self.without:
            whole(label, f"without, a class of {d.name},", 0, d.n_classes - 1)
        left = d.n_classes - len(set(self.without))
        if left < 2:
            raise ValueError(
                f"without holds back {d.n_classes - left} of {d.n_classes} classes: at least two must be "
                "left to tell apart"
            )
        return d.holding_out(self.hold_out) if self.hold_out else d

    def network(self, d: DataSet) -> Network:
        """A sequence has the memory of its preset in front."""
        if d.tokens_train is not None:
            return self.preset.network(d)
        options: dict[str, Any] = {"schedule": self.schedule, "feedback": self.feedback}
        if self.channels:
            asked = [convolved.Asked.of(text) for text in self.channels]
            return convolved.network(d, asked, self.hidden, **options)
        return Network.chain(d.n_features, *self.hidden, d.n_classes, **options)

    def initial_weights(self, network: Network, data: DataSet | None = None) -> Weights:
        """Maps with feedback start nearer to 0: they are heard by many, and would all be full on."""
        if network.memories:
            return self.preset.initial_weights(network, self.seed, data)
        start = MAPS_START if network.maps and not network.forward else {}
        return network.initial_weights(self.seed, **start)

    def inputs(self, d: DataSet, epoch: int) -> Bytes:
        """Training images of an epoch."""
        rng = np.random.default_rng((self.seed, epoch, 1))
        x = images.shifted(d.x_train, rng, self.shift, d.shape) if self.shift else d.x_train
        return images.mirrored(x, rng, self.flip, d.shape) if self.flip else x

    def order(self, d: DataSet, epoch: int) -> Raw:
        """Order of the training samples in an epoch, without those of classes that are held back."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(d.x_train))
        return order[~np.isin(d.y_train[order], self.without)]

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """ValueError names the key that is something else."""
        return record(cls, d)


#: keys of the table learning for training in real numbers: what each may be, and what it means
KEYS: Mapping[str, tuple[str, str]] = {
    "epochs": ("1..1048576", "times that every training sample is shown"),
    "batch": ("1..1048576", "samples a step, of all processes together"),
    "lr": ("1e-9..10", "learning rate of AdamW in the first step, falling to zero as a cosine"),
    "weight_decay": ("0..10", "of AdamW"),
    "dropout": ("0..0.99", "part of the hidden neurons that a sample does without"),
    "shift": ("0..1", "images: part of them moved by a pixel, anew each epoch"),
    "flip": ("0..1", "images: part of them mirrored, anew each epoch"),
    "feedback": ("true, false", "symmetric synapses; false: forward ones only"),
    "table_lr": ("0..1e6", "sequences: learning rate of the table of tokens, relative to lr; 0: none"),
    "token_dropout": ("0..1", "sequences: part of a sample's tokens left out, anew each epoch"),
    "without": ("classes", "class to hold back, or a list of classes"),
    "hold_out": ("0..2147483648", "training samples kept from learning, in place of the test set"),
}


def _typed(name: str) -> str:
    """A field as it is typed at the command line."""
    return "conv:" if name == "channels" else name


def _for_tokens(name: str, data: str) -> str:
    return f"{name} is for a memory of tokens, {data} has none: leave it out"


#: phases long enough that the rates of spikes are those of the fixed point (docs/rates.md)
SETTLED = Schedule(free=24, nudged=16, window=8)
SETTINGS = {
    s.data: s
    for s in (
        Settings(
            data="digits",
            hidden=(64,),
            epochs=20,
            batch=32,
            lr=3e-3,
            schedule=dataclasses.replace(SETTLED, nudged=12),
        ),
        Settings(
            data="mnist",
            hidden=(512,),
            epochs=20,
            shift=0.7,
            schedule=dataclasses.replace(SETTLED, nudged=12, beta=1.0),
        ),
        Settings(
            data="fashion",
            hidden=(1000,),
            epochs=100,
            lr=1e-3,
            weight_decay=0.01,
            dropout=0.1,
            shift=0.2,
            flip=0.5,
            feedback=False,
            schedule=SETTLED,
        ),
        Settings(data="cifar10", hidden=(1000,), epochs=20, lr=1e-3, shift=0.5, flip=0.5, schedule=SETTLED),
        Settings(
            data="snippets",
            hidden=(64,),
            epochs=3,
            batch=32,
            lr=1e-3,
            weight_decay=0.5,
            asked=MemoryPreset(tokens=64, heads=8, gain=2, sharpness=2),
            table_lr=3.0,
            token_dropout=0.3,
            schedule=SETTLED,
        ),
        Settings(
            data="imdb",
            hidden=(64,),
            epochs=4,
            batch=64,
            lr=1e-3,
            weight_decay=0.5,
            asked=MemoryPreset(
                tokens=600, heads=16, gain=2, sharpness=2, loading={"drop": 50, "bigrams": 30_000}
            ),
            table_lr=3.0,
            token_dropout=0.6,
            schedule=SETTLED,
        ),
        Settings(data="vowels", hidden=(128,), epochs=40, batch=16, lr=3e-3, schedule=SETTLED),
        Settings(data="spoken", hidden=(128,), epochs=20, batch=32, schedule=SETTLED),
    )
}


def suggested(data: DataSet) -> Settings:
    """For data of one's own: as many neurons and epochs as `equilif train` suggests, the rest as for the
    digits.
    """
    preset = presets.own(data)
    return dataclasses.replace(
        SETTINGS["digits"],
        data=data.name,
        hidden=preset.hidden,
        epochs=preset.epochs,
        schedule=SETTLED,
        about=data.about,
    )
