"""How each data set is learned unless other settings are given.

The numbers of the data sets with names are in the files of equilif/presets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from equilif.data import Name
from equilif.data.dataset import DataSet
from equilif.training import netfile
from equilif.training.preset import MemoryPreset, Preset
from equilif_golden.fixed import DEFAULT

OWN_HIDDEN = 128
#: learning rate for few inputs, and for more than OWN_MANY: there MNIST's
OWN_ETA = (0.05, 0.02)
OWN_MANY = 256
OWN_SAMPLES = 15_000  #: that a network sees while it learns, if that is in OWN_EPOCHS
OWN_EPOCHS = (10, 100)  #: the fewest and the most
OWN_HEADS = 8  #: queries of a memory: the program of 16 is longer than an engine holds


def own(data: DataSet) -> Preset:
    """For data of one's own, by their size.

    Chosen on parts held out of the training samples of scikit-learn's wine, breast_cancer and digits: what
    does well on all three.
    """
    epochs = min(OWN_EPOCHS[1], max(OWN_EPOCHS[0], round(OWN_SAMPLES / len(data.x_train))))
    if data.tokens_train is not None:
        return own_memory(data, epochs)
    return Preset(
        data=data.name,
        hidden=(OWN_HIDDEN,),
        epochs=epochs,
        eta=OWN_ETA[data.n_features > OWN_MANY],
        decay=0.05,
        form="linear",
    )


def own_memory(data: DataSet, epochs: int) -> Preset:
    """For texts as words, by the numbers of snippets; for series as spans, by those of vowels.

    ValueError for word vectors that are too wide.
    """
    assert data.about is not None and data.tokens_train is not None
    code = data.about.encoding
    width = data.tokens_train.table.shape[1]
    most = DEFAULT.max_fan_in - 1 - data.n_classes  # of what a hidden neuron hears beside bias and output
    if width > most:
        raise ValueError(f"tokens have {width:,} values, a memory takes {most:,}: give narrower vectors")
    spans = code.kind == "series"
    return Preset(
        data=data.name,
        hidden=(128,) if spans else (64,),
        epochs=epochs,
        eta=0.02 if spans else 0.003,
        decay=0.05,
        form="linear",
        memory=MemoryPreset(
            tokens=code.steps,
            heads=min(OWN_HEADS, most // width),
            query=0 if spans else 0.3,
            query_scale=1 if spans else 32,
            loading={"n_pos": code.places} if spans else {},
        ),
    )


#: a file for each data set with a name
FOLDER = Path(__file__).parent.parent / "presets"


class _Presets(Mapping[str, Preset]):
    """The presets by name, each read from its file when it is asked for."""

    def __init__(self) -> None:
        self._read: dict[str, Preset] = {}

    def __getitem__(self, name: str) -> Preset:
        if name not in set(Name):
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = netfile.read(FOLDER / f"{name}.toml").preset(str(name))
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return (str(name) for name in Name)

    def __len__(self) -> int:
        return len(Name)


PRESETS: Mapping[str, Preset] = _Presets()
