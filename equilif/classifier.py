"""A classifier with the interface of scikit-learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from equilif.data import scaling
from equilif.data.about import About
from equilif.data.own import GIVEN
from equilif_golden import network as networks
from equilif_golden.extras import needs
from equilif_golden.kernel import Kernel

with needs("cli,data"):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data

    from equilif.training import presets, tables
    from equilif.training.description import Description, Sizes
    from equilif.training.records import read_identity
    from equilif.training.train import order

if TYPE_CHECKING:
    from equilif_golden.engine.chip import Chip


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A spiking network that learns by Equilibrium Propagation, one sample at a time.

    It computes in integers what the engine computes, bit for bit: :meth:`to_board` goes on with the same
    weights on an FPGA board.

    Parameters
    ----------
    hidden : sequence of int
        Sizes of the hidden populations.
    epochs : int or None
        Passes of :meth:`fit` over the samples; None: 15,000 samples in all, in 10 to 100 passes.
    learning_rate : float or None
        Of the first epoch; it falls linearly to 5 % in the last.  None: 0.05, above 256 features 0.02.
    input_range : (float, float) or None
        The values of all features that become the inputs 0 and 255.  None: fitted, for each feature, to the
        samples of :meth:`fit` or of the first :meth:`partial_fit`.  Values outside are clipped.
    random_state : int
        Seed of the initial weights and of the order of the samples, which :meth:`fit` shuffles each epoch.

    Attributes
    ----------
    classes_ : array (n_classes,)
        The classes, in the order of the outputs.
    learner_ : Kernel or Chip
        Network, weights and update counter: the golden model, or a board.
    scaling_ : equilif.data.scaling.Scaling
        From features to 8-bit inputs.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (128,),
        *,
        epochs: int | None = None,
        learning_rate: float | None = None,
        input_range: tuple[float, float] | None = None,
        random_state: int = 0,
    ):
        self.hidden = hidden
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.input_range = input_range
        self.random_state = random_state

    # -- learning ----------------------------------------------------------------------------------
    def fit(self, X: Any, y: Any) -> Self:
        """Train a new network on samples X (n, n_features) of classes y (n,)."""
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self._begin(X, np.unique(y))
        inputs = self._inputs(X)
        labels = np.searchsorted(self.classes_, y)
        for epoch in range(self._plan.epochs):
            self.learner_.set_learning_rate(self._plan.rate(epoch))
            self.learner_.train(inputs, labels, order(self.random_state, epoch, len(labels)))
        return self

    def partial_fit(self, X: Any, y: Any, classes: npt.ArrayLike | None = None) -> Self:
        """Learn the samples once, in their order, at the learning rate of the first epoch.

        ``classes``: all there will be; needed in the first call.  A first call with few samples needs
        ``input_range`` too.
        """
        first = not hasattr(self, "classes_")
        X, y = validate_data(self, X, y, reset=first)
        check_classification_targets(y)
        if first and classes is None:
            raise ValueError("classes is needed in the first call of partial_fit: all classes of the task")
        known = self.classes_ if classes is None else np.unique(np.asarray(classes))
        if not first and not np.array_equal(known, self.classes_):
            raise ValueError(f"classes must be those of the first call, {self.classes_}, not {known}")
        unknown = np.setdiff1d(y, known)
        if len(unknown):
            raise ValueError(f"class {unknown[0]} is not among classes: start a new Classifier with it")
        if first:
            self._begin(X, known)
        self.learner_.set_learning_rate(self._plan.rate(0))
        self.learner_.train(self._inputs(X), np.searchsorted(self.classes_, y), np.arange(len(y)))
        return self

    def _begin(self, X: npt.NDArray[Any], classes: npt.NDArray[Any]) -> None:
        """A network that has learned nothing."""
        if len(classes) < 2:
            raise ValueError(f"at least two classes are needed, there is one class: {classes[0]}")
        n, width = X.shape
        learning = presets.own_learning(n, width)
        given = {"epochs": self.epochs, "learning_rate": self.learning_rate}
        learning |= {name: value for name, value in given.items() if value is not None}
        content = {**tables.chain(*self.hidden), "learning": learning}
        self._plan = Description.of(content, "data")
        self.scaling_ = self._fitted(X)
        network = self._plan.network(Sizes(self.scaling_.n_inputs, len(classes)))
        self._plan.check_rates(network)
        weights = network.initial_weights(tables.check_seed(self.random_state))
        self.learner_: Kernel | Chip = Kernel(network, weights, learning_rate=self._plan.rate(0))
        self.classes_ = classes

    def _fitted(self, X: npt.NDArray[Any]) -> scaling.Scaling:
        width = X.shape[1]
        if self.input_range is None:
            return scaling.fit(X, (), alike=False, missing="refuse")
        low, high = map(float, self.input_range)
        shared = scaling.Column("rails" if low < 0 < high else "range", low, high, (low + high) / 2)
        return scaling.Scaling(kind="common", width=width, columns=(shared,))

    def _inputs(self, X: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        return self.scaling_.apply(X, "X").x

    # -- use ---------------------------------------------------------------------------------------
    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Classes (n,) of samples X (n, n_features): those of the outputs with the largest rates."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return self.classes_[self.learner_.predict(self._inputs(X))]

    def to_board(self, port: str) -> Self:
        """Load the network into the board at a serial port or SPI bus; from now on it predicts and learns."""
        from equilif.host.ports import the_one
        from equilif_golden.engine.chip import Chip

        check_is_fitted(self)
        old = self.learner_
        self.learner_ = Chip(
            the_one(port, None),
            old.network,
            old.weights,
            learning_rate=self._plan.rate(0),
            counter=old.counter,
        )
        return self

    # -- files -------------------------------------------------------------------------------------
    def save(self, path: str | Path) -> None:
        """Network, weights, classes and scaling as a network.npz, which every command of equilif takes.

        The learning settings are not in it: :meth:`load` takes them.
        """
        check_is_fitted(self)
        about = About(
            path="data",
            format=GIVEN,
            labels=tuple(map(str, self.classes_)),
            shape=(self.n_features_in_,),
            scaling=self.scaling_,
        )
        learner = self.learner_
        networks.save(path, learner.network, learner.weights, dataclasses.asdict(about), learner.counter)

    @classmethod
    def load(cls, path: str | Path, **parameters: Any) -> Self:
        """Load a file of :meth:`save` or of `equilif train` on a table; ``parameters``: those of the class.

        Classes are numbers where all their names are, else texts.
        """
        path = Path(path)
        about = read_identity(path)
        if not isinstance(about, About) or about.encoding.kind != "rows":
            raise ValueError(
                f"{path} does not say how features become inputs: load it by equilif.Kernel.load"
            )
        made = cls(**parameters)
        made.n_features_in_ = about.scaling.width
        names = np.array(about.labels)
        try:
            made.classes_ = names.astype(np.int64)
        except ValueError:
            made.classes_ = names
        made.scaling_ = about.scaling
        learning = presets.own_learning(0, made.n_features_in_)
        if made.learning_rate is not None:
            learning["learning_rate"] = made.learning_rate
        made.learner_ = Kernel.load(path)
        made._plan = Description.of_network(made.learner_.network, "data", learning=learning)
        return made
