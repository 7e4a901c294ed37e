"""A classifier with the interface of scikit-learn."""

from __future__ import annotations

import dataclasses
import re
import warnings
from pathlib import Path
from typing import Any, Literal, Self
from unicodedata import is_normalized

import numpy as np
import numpy.typing as npt

from equilif.data import own
from equilif.data.base.reading import LARGEST
from equilif.data.encoding import scaling
from equilif.data.encoding.about import About, LabelType
from equilif.data.formats import Content
from equilif.data.formats.arrays import content
from equilif.data.own.parts import check_class, class_names
from equilif.training.lesson_settings import BOARD_SETTINGS
from equilif_golden import network as networks
from equilif_golden.engine.chip import Chip
from equilif_golden.extras import needs
from equilif_golden.fixed import as_array, check_bool, check_choice, check_float, check_int
from equilif_golden.kernel import Kernel
from equilif_golden.lazy import lazy
from equilif_golden.replay import MAX_STORED, ClassMeans, Replay, Reservoir

with needs("cli,data"):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data

    from equilif.lesson import with_class
    from equilif.training.backends.phases import EquilibriumPropagation
    from equilif.training.resolve import Hidden, Request, adapted, layers, resolve
    from equilif.training.run import Run
    from equilif.training.settings import presets, tables
    from equilif.training.settings.description import Description, Sizes
    from equilif.training.storage.records import read_identity

with lazy():  # optional packages
    from equilif.host import ports

NAME = "data"  #: of the samples in messages and files
RUNNING = "running"
MEANS = "means"
REPLAY = ("replay", "replay_per_sample", "replay_bits")  #: parameters
FIXED = ("hidden", "input_range", "direct", *REPLAY)  #: parameters that only fit changes
#: types of classes, as a file records them
TYPES: dict[str, type] = {
    "text": np.str_,
    "integer": np.int64,
    "real": np.float64,
    "boolean": np.bool_,
}
KINDS: dict[str, LabelType] = {"i": "integer", "u": "integer", "f": "real", "b": "boolean"}
INTEGER = re.compile(r"0|-?[1-9]\d*", re.ASCII)  #: name of a class that is one
MAX_CLIPPED = 0.05  #: part of the values of a call that may lie beyond the scale without a warning


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A spiking network that learns by Equilibrium Propagation, one sample at a time.

    It computes in integers what the engine computes, bit for bit: :meth:`to_board` goes on with the same
    weights on an FPGA board.  :meth:`fit` gives the weights of `equilif train` on the same samples.

    Parameters
    ----------
    hidden : int, or sequence of int and str
        Sizes of the hidden populations; for images (n, height, width[, colours]) also convolutions before
        them, "conv:MAPS[:KERNEL[:STRIDE]]".  Several layers learn from errors, as in `equilif train`.
    epochs : int or None
        Passes of :meth:`fit` over the samples; None: the default of the network, for rows 15,000 samples in
        all, in 10 to 100 passes.
    learning_rate : float or None
        Of the first epoch; it falls linearly to 5 % in the last.  None: 0.05, above 256 inputs 0.02.
    input_range : (float, float), "running" or None
        (low, high): values of all features that become the inputs 0 and 255.  None: fitted, for each
        feature, to the samples of :meth:`fit` or of the first :meth:`partial_fit`.  "running": mean and
        deviation of the last samples (about 256), which follow a drift.  Values outside are clipped and
        counted; a call in which more than 5 % are gives a warning, unless the range is running.
    replay : int or "means"
        Room for stored samples, balanced over the classes.  :meth:`partial_fit` learns some of them again
        after each new one, so that old classes are not forgotten; :meth:`fit` fills it.  0: none.  "means":
        no sample is stored, only the sum of each class, and the new sample is moved to the means of others.
    replay_per_sample : int
        Samples that are learned after each new one.
    replay_bits : 1, 2, 4 or 8
        Bits of a stored input.
    direct : bool
        Whether the features reach the outputs directly, too, so that the network contains the linear
        classifier; for one hidden population.  Its phases are twice as long.
    random_state : int, RandomState or None
        Seed of the initial weights and of the order of the samples, which :meth:`fit` shuffles each epoch.

    Attributes
    ----------
    classes_ : array (n_classes,)
        The classes, sorted.
    learner_ : Kernel or Chip
        Network, weights and update counter: the golden model, or a board.
    scaling_ : equilif.data.encoding.scaling.FittedScaling
        From features to 8-bit inputs.
    n_clipped_ : int
        Values beyond the scale in all calls since :meth:`fit` or the first :meth:`partial_fit`.
    """

    classes_: npt.NDArray[Any]
    learner_: Kernel | Chip
    scaling_: scaling.FittedScaling
    n_clipped_: int
    _plan: Description
    _about: About
    #: output of each class
    _order: npt.NDArray[np.int64]
    #: parameters that only :meth:`fit` changes
    _fixed: dict[str, Any]

    def __init__(
        self,
        hidden: Hidden = (128,),
        *,
        epochs: int | None = None,
        learning_rate: float | None = None,
        input_range: tuple[float, float] | Literal["running"] | None = None,
        replay: int | Literal["means"] = 0,
        replay_per_sample: int = BOARD_SETTINGS.replay_per_sample,
        replay_bits: int = 8,
        direct: bool = False,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.hidden = hidden
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.input_range = input_range
        self.replay = replay
        self.replay_per_sample = replay_per_sample
        self.replay_bits = replay_bits
        self.direct = direct
        self.random_state = random_state

    # -- learning ----------------------------------------------------------------------------------
    def fit(self, X: Any, y: Any) -> Self:
        """Train a new network on samples X (n, ...) of classes y (n,)."""
        X, y = self._checked(X, y, reset=True)
        classes = np.unique(y)
        self._require_several(classes)
        # the data set of `equilif train`; its test part is the training part
        data = own.of_content(self._content(X, self._names(y)), NAME, self._given_scaling(X))
        found = resolve(
            Request(data=data, hidden=self.hidden, settings=self._settings("epochs", "learning_rate"))
        )
        plan = self._with_direct(found.description)
        seed = self._seed()
        replay = self._replay()
        run = Run.start(plan, data, seed)
        assert data.about is not None and isinstance(run.backend, EquilibriumPropagation)
        learner = run.backend.learner
        self._begin(learner, plan, data.about, classes)
        run.train(test=False)
        if replay is not None:
            replay.store(data.x_train, data.y_train)
            assert isinstance(learner, Kernel)
            learner.replay = replay
        return self

    def partial_fit(self, X: Any, y: Any, classes: npt.ArrayLike | None = None) -> Self:
        """Learn the samples once, in their order, at the learning rate of the first epoch.

        ``classes``: needed in the first call, which also fixes the network and, unless it is "running", the
        scale; later those that are known, and perhaps more.  A new class of a later call becomes another
        output; what the network has learned stays.  A feature that is constant in the first call is kept.  A
        first call with few samples needs ``input_range`` too.  ``learning_rate`` may change between calls.
        """
        first = not hasattr(self, "classes_")
        X, y = self._checked(X, y, reset=first)
        if first and classes is None:
            raise ValueError("classes is needed in the first call of partial_fit: all that are known so far")
        known = y if classes is None else np.asarray(classes)
        if not first:
            self._require_type(known)
        known = np.union1d(self.classes_, y) if classes is None else np.unique(known)
        if not first:
            self._require_known(known)
        self._require_among(y, known)
        if first:
            self._begin_stream(X, known)
        self._require_unchanged()
        if self.learning_rate not in (None, self._plan.learning_rate):
            self._plan = self._plan.changed(**self._settings("learning_rate"))
        running = self.scaling_.running
        if running is None:
            inputs = self._inputs(X)
        else:
            running, (inputs, clipped) = running.follow(X.reshape(len(X), -1).astype(np.float64))
            self._count(clipped, X.size)
        if len(known) > len(self.classes_):
            self._grow(known)
        self.learner_.set_learning_rate(self._plan.rate(0))
        self.learner_.train(inputs, self._order[np.searchsorted(self.classes_, y)], np.arange(len(y)))
        if running is not None:
            self.scaling_ = running.scaling(self.scaling_.names)
        return self

    def renew_replay(self, X: Any, y: Any) -> None:
        """Replace all stored samples of these classes, which have changed, by these."""
        check_is_fitted(self)
        X, y = self._checked(X, y, reset=False)
        self._require_among(y, self.classes_)
        if self.learner_.replay is not None:
            labels = self._order[np.searchsorted(self.classes_, y)]
            self.learner_.replay.forget(labels)
            self.learner_.replay.store(self._known(X), labels)

    @staticmethod
    def _require_among(y: npt.NDArray[Any], classes: npt.NDArray[Any]) -> None:
        unknown = np.setdiff1d(y, classes)
        if len(unknown):
            raise ValueError(f"class {unknown[0]} is not among classes, {classes}")

    def _require_type(self, classes: npt.NDArray[Any]) -> None:
        """ValueError unless these are of the type of the classes so far."""
        kinds = [KINDS.get(known.dtype.kind, "text") for known in (self.classes_, classes)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"classes are of type {kinds[0]}, {self.classes_}, not {kinds[1]}")

    def _require_known(self, classes: npt.NDArray[Any]) -> None:
        """ValueError unless these are the classes so far, or more."""
        missing = np.setdiff1d(self.classes_, classes)
        if len(missing):
            raise ValueError(f"classes must have those of earlier calls, {self.classes_}, not be {classes}")

    def _grow(self, classes: npt.NDArray[Any]) -> None:
        """Outputs for all these classes; the weights of new ones are 0."""
        old = self.learner_
        network, weights = old.network, old.weights
        new = self._names(np.setdiff1d(classes, self.classes_)).tolist()
        for name in new:
            check_class(name)
            network, weights = with_class(network, weights)
        state: dict[str, Any] = {
            "learning_rate": self._plan.rate(0),
            "counter": old.counter,
            "replay": old.replay,
        }
        if isinstance(old, Chip):
            self.learner_ = Chip(old.engine, network, weights, **state)
        else:
            self.learner_ = Kernel(network, weights, **state)
        self.classes_ = classes
        self._about = dataclasses.replace(self._about, labels=(*self._about.labels, *new))
        self._set_order()

    # -- a new network -----------------------------------------------------------------------------
    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Samples and classes that scikit-learn takes; masked ones are refused, not unmasked."""
        self._require_complete(X, y)
        X, y = validate_data(self, X, y, reset=reset, allow_nd=True)
        check_classification_targets(y)
        return X, y

    @staticmethod
    def _require_complete(*arrays: Any) -> None:
        """ValueError for masked elements, which scikit-learn would unmask."""
        for array in arrays:
            if isinstance(array, np.ma.MaskedArray):
                as_array(array, "X or y", "samples")

    def _settings(self, *names: str) -> dict[str, Any]:
        """Parameters as plain values."""
        return {name: _plain(getattr(self, name)) for name in names}

    def _seed(self) -> int:
        if self.random_state is None or isinstance(self.random_state, np.random.RandomState):
            return int(check_random_state(self.random_state).randint(1 << 31))
        return tables.check_seed(self.random_state)

    def _with_direct(self, plan: Description) -> Description:
        return presets.direct(plan) if check_bool(self.direct, "direct") else plan

    def _require_several(self, classes: npt.NDArray[Any]) -> None:
        if len(classes) < 2:
            raise ValueError(f"at least two classes are needed, there is one class: {classes[0]}")

    @staticmethod
    def _names(y: npt.NDArray[Any]) -> npt.NDArray[np.str_]:
        """Names of classes, as own data have them; ValueError for one in another form of Unicode, which would
        come back changed.
        """
        if y.dtype.kind == "b" or y.dtype.kind == "f" and not (y % 1).any():
            y = y.astype(np.int64)
        names: npt.NDArray[np.str_] = y.astype(np.str_)
        strange = next((name for name in names.tolist() if not is_normalized("NFC", name)), None)
        if strange is not None:
            raise ValueError(f'class {strange!r} is not in the form NFC: unicodedata.normalize("NFC", name)')
        return names

    @property
    def _columns(self) -> tuple[str, ...]:
        """Names of the features, where X had some."""
        return tuple(map(str, getattr(self, "feature_names_in_", ())))

    def _content(self, X: npt.NDArray[Any], names: npt.NDArray[np.str_]) -> Content:
        return dataclasses.replace(content(X, names, X, names), names=self._columns)

    def _given_scaling(self, X: npt.NDArray[Any]) -> scaling.FittedScaling | None:
        """The scaling of ``input_range``; None: to be fitted."""
        if self.input_range is None:
            return None
        if isinstance(self.input_range, str):
            check_choice(self.input_range, "input_range", (RUNNING,))
            rows = X.reshape(len(X), -1).astype(np.float64)
            if note := scaling.Running.note(rows, self._columns):
                warnings.warn(note, stacklevel=4)
            return scaling.Running.of(rows).scaling(self._columns)
        given = self.input_range if isinstance(self.input_range, tuple | list) else ()
        limits = [check_float(v, "input_range", -LARGEST, LARGEST) for v in given]
        if len(limits) != 2 or not limits[0] < limits[1]:
            raise ValueError(
                'input_range must be "running", None or (low, high) with low below high, not '
                f"{self.input_range!r:.40}"
            )
        low, high = limits
        shared = scaling.Column("rails" if low < 0 < high else "range", low, high, (low + high) / 2)
        return scaling.FittedScaling(kind="common", width=X[0].size, names=self._columns, columns=(shared,))

    def _begin_stream(self, X: npt.NDArray[Any], classes: npt.NDArray[Any]) -> None:
        """A network for a stream of samples, of which X are the first."""
        self._require_several(classes)
        found = self._content(X, self._names(np.resize(classes, len(X))))
        about = own.about_given(found, NAME, class_names(self._names(classes).tolist()))
        fitted = self._given_scaling(X) or scaling.fit(
            found.train.numbers, found.names, alike=found.alike, missing="refuse", keep_constant=True
        )
        if fitted.running is not None:
            fitted = scaling.Running.begin(fitted.width).scaling(found.names)
        specs, hidden = layers(self.hidden)
        if specs:
            raise ValueError("convolutions need fit: give sizes of hidden populations for partial_fit")
        base = presets.own_rows(len(X), fitted.n_inputs, NAME)
        plan = self._with_direct(adapted(base, Request(settings=self._settings("learning_rate")), hidden))
        network = plan.network(Sizes(fitted.n_inputs, len(classes)))
        plan.check_rates(network)
        weights = plan.initial_weights(network, self._seed())
        learner = Kernel(network, weights, learning_rate=plan.rate(0), replay=self._replay())
        self._begin(learner, plan, dataclasses.replace(about, scaling=fitted), classes)

    def _begin(self, learner: Any, plan: Description, about: About, classes: npt.NDArray[Any]) -> None:
        """The state of a network that has learned nothing, or of one that was loaded."""
        self.learner_ = learner
        self.classes_ = classes
        self.scaling_ = about.scaling
        self.n_clipped_ = 0
        self._plan = plan
        self._about = about
        self._set_order()
        self._fixed = {name: getattr(self, name) for name in FIXED}

    def _set_order(self) -> None:
        """Find the output of each class."""
        labels = self._about.labels
        self._order = np.array([labels.index(name) for name in self._names(self.classes_)], np.int64)

    def _replay(self) -> Replay | None:
        """The parameter ``replay``, before the first sample."""
        if isinstance(self.replay, str):
            check_choice(self.replay, "replay", (MEANS,))
            return ClassMeans(self.replay_per_sample)
        if check_int(self.replay, "replay", 0, MAX_STORED, "stored samples") == 0:
            return None
        return Reservoir(
            self.replay, self.replay_per_sample, bits=self.replay_bits, seed=self._seed() & 0xFFFFFFFF
        )

    def _require_unchanged(self) -> None:
        """ValueError for parameters that only :meth:`fit` can change."""
        for name, value in self._fixed.items():
            if getattr(self, name) is not value and getattr(self, name) != value:
                raise ValueError(
                    f"{name} was {value} and is {getattr(self, name)} now: call fit for another one"
                )

    # -- inputs ------------------------------------------------------------------------------------
    def _inputs(self, X: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        found = dataclasses.replace(self._about, scaling=self.scaling_).encode(X, "X")
        self._count(found.clipped, X.size)
        if note := self.scaling_.note(X):
            warnings.warn(note, stacklevel=4)
        return found.x

    def _count(self, clipped: int, values: int) -> None:
        self.n_clipped_ += clipped
        if clipped > MAX_CLIPPED * values and self.scaling_.running is None:
            warnings.warn(
                f"{clipped:,} of {values:,} values of X are outside the range of the first samples and are "
                'clipped: give input_range, or input_range="running" for a stream that drifts',
                stacklevel=4,
            )

    # -- use ---------------------------------------------------------------------------------------
    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Classes (n,) of samples X (n, ...): those of the outputs with the largest rates."""
        check_is_fitted(self)
        return self.classes_[np.argsort(self._order)[self.learner_.predict(self._known(X))]]

    def decision_function(self, X: Any) -> npt.NDArray[np.float64]:
        """Rates of the outputs, 0 to 1, (n, n_classes) in the order of ``classes_``; of two classes the rate
        of the second less that of the first, (n,).
        """
        rates = self.rates(X)
        return rates[:, 1] - rates[:, 0] if len(self.classes_) == 2 else rates

    def rates(self, X: Any) -> npt.NDArray[np.float64]:
        """Rates of the outputs, 0 to 1, (n, n_classes) in the order of ``classes_``."""
        check_is_fitted(self)
        rates: npt.NDArray[np.float64] = self.learner_.output_rates(self._known(X))[:, self._order] / 256
        return rates

    def _known(self, X: Any) -> npt.NDArray[np.uint8]:
        """Inputs of samples to predict."""
        self._require_complete(X)
        return self._inputs(validate_data(self, X, reset=False, allow_nd=True))

    def to_board(self, port: str) -> Self:
        """Load the network into the board at a serial port or UDP address; then predict and learn on it."""
        check_is_fitted(self)
        old = self.learner_
        with ports.proposing_builds(old.network):
            self.learner_ = Chip(
                ports.the_one(port, None),
                old.network,
                old.weights,
                learning_rate=self._plan.rate(0),
                counter=old.counter,
                replay=old.replay,
            )
        return self

    # -- files -------------------------------------------------------------------------------------
    def save(self, path: str | Path) -> None:
        """Network, weights, classes, columns, scaling and parameters as a network.npz, which every command of
        equilif takes.
        """
        check_is_fitted(self)
        parameters = {name: _plain(value) for name, value in self.get_params().items()}
        if isinstance(self.random_state, np.random.RandomState):
            parameters["random_state"] = None
        about = dataclasses.replace(
            self._about,
            scaling=self.scaling_,
            label_type=KINDS.get(self.classes_.dtype.kind, "text"),
            parameters=parameters,
        )
        learner = self.learner_
        networks.save(
            path,
            learner.network,
            learner.weights,
            dataclasses.asdict(about),
            learner.counter,
            replay=learner.replay,
        )

    @classmethod
    def load(cls, path: str | Path, **parameters: Any) -> Self:
        """Load a file of :meth:`save` or of `equilif train` on rows.

        ``parameters`` of the class replace those of the file; ValueError for those that only :meth:`fit`
        changes, except replay where the file has none.  Of a file of `equilif train` classes are integers
        where all their names are, else texts.
        """
        path = Path(path)
        about = read_identity(path)
        if not isinstance(about, About) or about.encoding.kind != "rows":
            raise ValueError(
                f"{path} does not say how features become inputs: load it by equilif.Kernel.load"
            )
        learner = Kernel.load(path)
        layers = Description.of_network(learner.network, NAME).layers
        kept = {k: tuple(v) if isinstance(v, list) else v for k, v in about.parameters.items()}
        known = {"hidden": layers, "input_range": None, **kept}
        made = cls(**{**known, **parameters})
        free = () if learner.replay is not None else REPLAY
        for name in parameters.keys() & known.keys() & {*FIXED}.difference(free):
            if _plain(parameters[name]) != _plain(known[name]):
                raise ValueError(f"{name} is {known[name]} in {path}, not {parameters[name]}: leave it out")
        if learner.replay is None:
            learner.replay = made._replay()
        made.n_features_in_ = about.shape[0]
        if about.scaling.names:
            made.feature_names_in_ = np.array(about.scaling.names, object)
        names = np.array(about.labels)
        integers = all(INTEGER.fullmatch(name) for name in about.labels)
        kind = TYPES[about.label_type or ("integer" if integers else "text")]
        classes = names == "1" if kind is np.bool_ else names.astype(kind)
        learning = presets.own_learning(0, about.scaling.n_inputs) | {
            name: value for name, value in made._settings("learning_rate").items() if value is not None
        }
        made._begin(
            learner, Description.of_network(learner.network, NAME, learning=learning), about, np.sort(classes)
        )
        return made


def _plain(value: Any) -> Any:
    """A parameter as JSON has it."""
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(v) for v in value] if isinstance(value, list | tuple | np.ndarray) else value
