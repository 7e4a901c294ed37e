"""Presets: network and training settings of each data set.

The descriptions of the data sets with names are in the files of equilif/presets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from equilif.data import Name
from equilif.data.sets.characters import Text
from equilif.data.sets.dataset import DataSet
from equilif.training.settings import netfile, tables
from equilif.training.settings.description import Description
from equilif.training.settings.patches import NO_CHANGES, Patches, ask_feedback
from equilif_golden.fixed import DEFAULT
from equilif_golden.network import Network, TransformerSizes
from equilif_golden.schedule import Schedule

OWN_HIDDEN = 128
#: learning rate for few inputs, and for more than OWN_MANY: there MNIST's
OWN_LEARNING_RATES = (0.05, 0.02)
OWN_MANY = 256
OWN_SAMPLES = 15_000  #: that a network sees while it learns, if that is in OWN_EPOCHS
OWN_EPOCHS = (10, 100)  #: the fewest and the most
OWN_HEADS = 8  #: heads of an attention layer: the program of 16 is longer than an engine holds
#: how chains of several hidden populations learn (docs/notes/deep_networks.md): by errors, without feedback
DEEP: Mapping[str, dict[str, Any]] = {
    "phases": {"free": 8, "window": 8, "contrast": "errors"},
    "start": {"bias": 0.05, "scale": 1.0},
}
#: how they learn by nudged phases: feedback of the first synapses is weaker (docs/notes/feedback_scaling.md)
NUDGED: Mapping[str, dict[str, Any]] = {
    "phases": {"free": 48, "nudged": 32, "window": 16},
    "start": {"bias": 0.0, "scale": 0.7},
}
NUDGED_FEEDBACK = (0.5, 0.5, 0.5)
#: how a chain learns whose inputs reach the output directly, too (docs/notes/continual_learning.md)
DIRECT: Mapping[str, dict[str, Any]] = {
    "phases": {"free": 24, "nudged": 8, "window": 8},
    "start": {"bias": 0.0},
}
#: phases in which spike rates reach the fixed point (docs/explanation/implicit_differentiation.md)
SETTLED = {"free": 24, "nudged": 16, "window": 8}


def own(data: DataSet) -> Description:
    """Default for own data, by their size."""
    samples = len(data.x_train)
    if data.tokens_train is not None:
        return own_memory(data, own_learning(samples, data.n_features)["epochs"])
    return own_rows(samples, data.n_features, data.name)


def own_rows(samples: int, features: int, name: str) -> Description:
    """Default for rows, by the number of training samples and of inputs.

    Chosen on parts held out of the training samples of scikit-learn's wine, breast_cancer and digits: what
    does well on all three.
    """
    return Description.of({**tables.chain(OWN_HIDDEN), "learning": own_learning(samples, features)}, name)


def suited(base: Description, hidden: Sequence[int] | None, changes: Patches = NO_CHANGES) -> Description:
    """``base`` for at most one hidden population; for several a chain without feedback, after an attention
    layer or not, which learns from errors.

    The chain has the phases and initial weights of :data:`DEEP`, and the training of ``base``; that in
    floating point also its phases.  With ``changes`` that :func:`.patches.ask_feedback` it learns by nudged
    phases, those of :data:`NUDGED`; in floating point and after an attention layer it is ``base`` then.
    Attention layers in floating point leave ``base``, too.
    """
    method = base.learning or (None if base.loaded else base.rates)
    if hidden is None or len(hidden) < 2 or method is None:
        return base
    content = base.content()
    if ask_feedback(changes):
        if base.rates is not None or base.loaded:
            return base
        scales = NUDGED_FEEDBACK[: len(hidden)]
        learning = nudged_learning(content["learning"])
        chain = tables.chain(*hidden, feedback_scales=scales)
        return Description.of({**chain, **NUDGED, "learning": learning}, base.data)
    found: dict[str, Any] = {**content, **base.usual(hidden, feedback=False), **DEEP}
    found["start"] = {**content["start"], **DEEP["start"]}
    if base.rates is not None:
        found["phases"] = {**DEEP["phases"], "free": base.schedule.free, "window": base.schedule.window}
    return Description.of(found, base.data)


def direct(base: Description) -> Description:
    """``base``, a chain of one hidden population, with a synapse from the inputs to the output, so that it
    contains the linear classifier.
    """
    if len(base.layers) != 1 or len(base.hidden) != 1:
        raise ValueError(f"direct needs one hidden population, not {len(base.layers)} layers")
    content = base.content()
    joined = {"from": ["input"], "to": "output"}
    return Description.of({**content, **DIRECT, "synapse": [*content["synapse"], joined]}, base.data)


def nudged_learning(learning: Mapping[str, Any]) -> dict[str, Any]:
    """Training of several hidden populations by nudged phases, from that of one: longer, in smaller steps.

    The largest learning rate is that of the first of four populations, which learns at 8 times the rate.
    """
    rate = min(0.015, round(0.4 * learning["learning_rate"], 6))
    longer = {"epochs": 2 * learning["epochs"], "schedule": "linear", "decay": 0.05}
    return {**learning, "learning_rate": rate, **longer}


def own_learning(samples: int, features: int) -> dict[str, Any]:
    """Training of a chain on this number of samples."""
    return {
        "epochs": min(OWN_EPOCHS[1], max(OWN_EPOCHS[0], round(OWN_SAMPLES / max(1, samples)))),
        "learning_rate": OWN_LEARNING_RATES[features > OWN_MANY],
        "decay": 0.05,
        "schedule": "linear",
    }


def own_memory(data: DataSet, epochs: int) -> Description:
    """Default with attention: of texts, or of series as the preset of vowels.

    ValueError for word vectors that are too wide.
    """
    assert data.about is not None and data.tokens_train is not None
    code = data.about.encoding
    width = data.tokens_train.table.shape[1]
    # fan-in of a hidden neuron without bias and outputs
    most = DEFAULT.max_fan_in - 1 - data.n_classes
    if width > most:
        raise ValueError(
            f"tokens have {width:,} values, an attention layer takes {most:,}: give narrower vectors"
        )
    spans = code.kind == "series"
    network = tables.memory(
        code.steps,
        min(OWN_HEADS, most // width),
        128 if spans else 64,
        query_learning_rate_scale=1.0 if spans else 32.0,
    )
    learning = {
        "epochs": epochs,
        "learning_rate": 0.02 if spans else 0.003,
        "decay": 0.05,
        "schedule": "linear",
    }
    start = {"query": 0.0 if spans else 0.3}
    loading = {"n_pos": code.places} if spans else {}
    return Description.of({**network, "learning": learning, "start": start, "loading": loading}, data.name)


def own_rates(data: DataSet) -> Description:
    """Default for training in floating point: neurons and epochs as own(), the rest as for the digits."""
    if data.about is not None and data.about.encoding.attention:
        raise ValueError("train-rates does not support data.attention: use `equilif train`")
    preset = own(data)
    rates = {**RATES["digits"].content()["rates"], "epochs": preset.epochs}
    return Description.of({**tables.chain(*preset.hidden), "phases": SETTLED, "rates": rates}, data.name)


def transformer(
    text: Text,
    *,
    layers: int = 2,
    features: int = 64,
    heads: int = 4,
    hidden: int = 256,
    window: int = 8,
    **training: Any,
) -> Description:
    """A transformer that predicts the next character; ``training``: keys of [text].

    features  neurons per position between the layers
    heads     of the self-attention
    hidden    neurons per position inside a feed-forward layer
    window    time steps of a window of spikes; there are two windows more than layers
    """
    symbols = len(text.alphabet)
    schedule = Schedule(free=window * (layers + 2), nudged=window, window=window)
    sizes = text.positions, symbols, features, layers, symbols
    network = Network.transformer(TransformerSizes(*sizes, heads=heads, hidden=hidden), schedule=schedule)
    return Description.of_network(network, text.name, sized=True, text=training)


#: a file per named data set; in ``rates`` those for training in floating point, in ``conv`` those of
#: convolutions
FOLDER = Path(__file__).parents[2] / "presets"


class _Presets(Mapping[str, Description]):
    """The presets of a folder by name, each read from its file when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, Description] = {}

    def __getitem__(self, name: str) -> Description:
        if name not in list(self):
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = netfile.read(self._folder / f"{name}.toml", str(name)).description
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return (str(name) for name in Name)

    def __len__(self) -> int:
        return len(Name)


PRESETS: Mapping[str, Description] = _Presets(FOLDER)
#: of training in floating point
RATES: Mapping[str, Description] = _Presets(FOLDER / "rates")
