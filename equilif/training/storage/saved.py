"""A saved network, and the data that it belongs to.

Wherever a network and data meet they are compared here: classes by their names, encoding, scaling and shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equilif.data import Name, own
from equilif.data.encoding import Encoding
from equilif.data.encoding.about import About
from equilif.data.own import EvaluationSamples
from equilif.data.sets import images, sequences
from equilif.data.sets.characters import TextFiles
from equilif.data.sets.dataset import DataSet, NamedSet
from equilif.training.names import reads_run
from equilif.training.settings.presets import PRESETS
from equilif.training.storage.history import NETWORK
from equilif.training.storage.records import identity_of
from equilif_golden import network as networks
from equilif_golden.network import Network, Weights


@dataclass(frozen=True)
class Saved:
    """A network of ``path``.

    ``identity``: the data that it belongs to; None where the file does not record them.  ``origin``: see
    equilif_golden.network.SavedNetwork.
    """

    path: Path
    network: Network
    weights: Weights
    identity: About | NamedSet | None
    origin: str | None = None

    @property
    def note(self) -> str:
        """A line for the user of a network that does not record its training data."""
        return (
            f"{self.path} does not record its training data: its inputs are taken as raw 8-bit values, its "
            "classes as the numbers of its outputs"
        )

    @property
    def _origin(self) -> tuple[str, ...]:
        return () if self.origin is None else (f"{self.path}: {self.origin}",)

    @property
    def encoding(self) -> Encoding | None:
        """Encoding of the samples, if a user's own data are recorded."""
        return self.identity.encoding if isinstance(self.identity, About) else None

    # -- data --------------------------------------------------------------------------------------
    def data_set(self, folder: Path | None = None) -> DataSet:
        """The data set that it was trained on.

        ``folder``: of a data set with a name; the place of a user's own data that have moved.  ValueError
        when it is not there, or is another one.
        """
        if isinstance(self.identity, About):
            return own.reload(self.identity, folder, name=self.identity.name)
        if self.identity is None:
            raise ValueError(
                f"{self.path} does not record its training data: name the data, or train it with `equilif "
                "train`"
            )
        found = _load(self.identity, folder)
        if self.identity.digest != found.digest:
            raise ValueError(
                f"{found.name} is not the data that {self.path} was trained on: digest {found.digest[:12]}, "
                f"not {self.identity.digest[:12]}; give their folder with --data, or name {found.name} to "
                "take these"
            )
        return found

    def test_samples(
        self, source: Name | Path | None = None, folder: Path | None = None, label: str | None = None
    ) -> tuple[str, EvaluationSamples, tuple[str, ...]]:
        """Samples for evaluation: name of the data, samples, and notes.  ``label``: column of the classes in
        the table ``source``, where it is another one than in training.

        Without ``source`` those that it was trained on, else a data set by name or path.  ValueError when its
        classes are others, or its samples cannot be read as those of training were.
        """
        name, found, notes = self._test_samples(source, folder, label)
        return name, found, (*notes, *filter(None, [found.note]), *self._origin)

    def _test_samples(
        self, source: Name | Path | None, folder: Path | None, label: str | None
    ) -> tuple[str, EvaluationSamples, tuple[str, ...]]:
        own_data = isinstance(source, Path) or source is None and isinstance(self.identity, About)
        if folder is not None and own_data:
            raise ValueError("--data is the folder of a named data set: give the path of your own data")
        if label is not None and not isinstance(source, Path):
            raise ValueError("label is a column of your own table: give its path, or leave the label out")
        if isinstance(source, Path):
            return self._file_samples(source, label)
        if source is not None:
            return self._set_samples(source, folder)
        if isinstance(self.identity, About):
            return self.identity.name, own.samples(self.identity), ()
        found = self.data_set(folder)
        return found.name, own.test_part(found), ()

    def _file_samples(self, path: Path, label: str | None) -> tuple[str, EvaluationSamples, tuple[str, ...]]:
        """Samples of a file or folder, read as those of training were."""
        identity = self.identity
        if identity is None:
            found = own.raw_samples(path, self.network.n_inputs, self.network.n_outputs)
            return path.name, found, (self.note,)
        about = identity if isinstance(identity, About) else own.about_set(identity)
        return about.name, own.samples(about, path, label), ()

    def _set_samples(self, name: Name, folder: Path | None) -> tuple[str, EvaluationSamples, tuple[str, ...]]:
        """The test samples of a data set with a name."""
        identity = self.identity
        if identity is None:
            return name, own.test_part(PRESETS[name].load(folder)), (self.note,)
        if isinstance(identity, NamedSet) and identity.name == name:
            found = _load(identity, folder)
            own.require_classes(name, found.class_names, identity.labels)
            same = identity.digest == found.digest
            note = f"{name} is not the data that {self.path} was trained on, by its digest"
            return name, own.test_part(found), () if same else (note,)
        if name in sequences.NAMES:
            origin = identity.path if isinstance(identity, About) else identity.name
            raise ValueError(f"{self.path} was trained on {origin}, not on {name}")
        about = identity if isinstance(identity, About) else own.about_set(identity)
        return name, own.samples_of_set(about, images.load(name, folder)), ()

    def check(self, data: DataSet) -> tuple[str, ...]:
        """Notes for using this network on ``data``; ValueError when they do not match: its classes,
        or what its inputs mean, are others.
        """
        return (*self._check(data), *self._origin)

    def _check(self, data: DataSet) -> tuple[str, ...]:
        wanted = self.identity
        there = data.identity
        if wanted is None:
            if data.about is not None and data.about.scaling.kind != "bytes":
                raise ValueError(
                    f"{self.path} does not record its training data, so the scaling of {data.name} is "
                    "unknown: give raw 8-bit inputs, or train it with `equilif train PATH`"
                )
            return (self.note,)
        if there is None:
            raise ValueError(f"{data.name} has no class names, {self.path} has")
        own.require_classes(data.name, there.labels, wanted.labels)
        if isinstance(wanted, NamedSet) and isinstance(there, NamedSet):
            if wanted.name == there.name and _plain(wanted.loading) == _plain(there.loading):
                return ()
            if not (wanted.shape and there.shape):  # sequences
                raise ValueError(
                    f"{self.path} was trained on {_described(wanted)}, not on {_described(there)}: give the "
                    "data of its training"
                )
        a = wanted if isinstance(wanted, About) else own.about_set(wanted)
        b = there if isinstance(there, About) else own.about_set(there)
        if a.shape != b.shape:
            raise ValueError(f"samples of {data.name} have shape {b.shape}, those of {self.path} {a.shape}")
        if (a.scaling, a.encoding, a.labels) != (b.scaling, b.encoding, b.labels):
            raise ValueError(
                f"{self.path} was trained on other data, or on these in another split: {b.path} is scaled in "
                "another way now; give the data and options of its training"
            )
        return ()

    def require_sizes(self, data: DataSet) -> None:
        """ValueError unless the network has the inputs of ``data``, and an output for each class."""
        net = self.network
        if net.n_inputs != data.n_features or net.n_outputs < data.n_classes:
            raise ValueError(
                f"{self.path} has {net.n_inputs} inputs and {net.n_outputs} outputs, {data.name} needs "
                f"{data.n_features} and {data.n_classes}"
            )


def read(path: Path) -> Saved:
    """A network.npz; ValueError when it is something else."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder, a file is wanted: {path / NETWORK}")
    reads_run(path.parent)
    found = networks.read(path)
    identity = identity_of(path, found.about)
    if isinstance(identity, TextFiles):
        raise ValueError(f"{path} predicts characters, it has no classes: use `equilif generate`")
    return Saved(path, found.network, found.weights, identity, found.origin)


def _load(identity: NamedSet, folder: Path | None) -> DataSet:
    """The data set, with the options of its training."""
    if PRESETS[identity.name].memory is None:
        return images.load(identity.name, folder)
    return sequences.data_set(identity.name, folder, identity.loading)


def _plain(loading: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a file has them."""
    return {name: str(v) if isinstance(v, Path) else v for name, v in loading.items()}


def _described(named: NamedSet) -> str:
    options = ", ".join(f"{name} {value}" for name, value in named.loading.items())
    return f"{named.name} ({options})" if options else named.name
