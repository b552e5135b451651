"""The part of a network classifier that is not about its network: sktime's contract."""

from __future__ import annotations

import copy
import hashlib
from math import inf
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sktime.classification.base import BaseClassifier
from sktime.datatypes import convert_to
from torch import nn

from dsn_sktime import __version__
from dsn_sktime.panel import Panel, check_real
from dsn_sktime.parameters import (
    check_callbacks,
    check_choice,
    check_class_weight,
    check_integer,
    check_n_jobs,
    check_number,
    check_seed,
)
from dsn_sktime.runtime import compute_threads, n_threads, resolve_device
from dsn_sktime.sklearn_compat import SklearnCompatMixin
from dsn_sktime.training import (
    Callback,
    Checkpoint,
    CrossEntropy,
    ProgressBar,
    Recipe,
    Trainer,
)

__all__ = ["BaseNetworkClassifier"]

# Prediction batch: as many series as the sparse kernels do best, but no more time steps
# than keep its memory small.
_SERIES_PER_CHUNK = 16
_STEPS_PER_CHUNK = 2**18
# Raised when what checkpoints hold changes: old ones are then not found.
_CHECKPOINT_FORMAT = 2

# Parameters that do not change what is learned.
_NEUTRAL_PARAMETERS = ("callbacks", "device", "n_jobs", "random_state", "verbose")


class BaseNetworkClassifier(SklearnCompatMixin, BaseClassifier):
    """Classifier whose fitted state is one or more torch networks, trained with Adam.

    A subclass has the parameters below, extends ``_check_parameters`` (raise if one is
    out of range) and ``_check_panel`` (raise if the series do not fit them), and writes
    ``_build_network`` and ``_recipe``. Its networks map values (B, m, L) and lengths to
    scores (B, c).
    """

    _tags = {
        # The first is what all but 3-D arrays are converted to: the only one of the two
        # that series of unequal length fit in.
        "X_inner_mtype": ["df-list", "numpy3D"],
        "y_inner_mtype": "numpy1D",
        "capability:class_weight": True,
        "capability:multithreading": True,
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:missing_values": True,
        "capability:predict_proba": True,
        "capability:random_state": True,
        "property:randomness": "derandomized",
        "python_dependencies": ["torch>=2.3"],
    }

    # What a progress bar calls a network.
    _network_name: str
    _trainer: type[Trainer] = Trainer

    n_epochs: int
    batch_size: int | str
    lr: float
    lr_min: float
    class_weight: dict | str | None
    n_estimators: int
    n_jobs: int | None
    device: str
    callbacks: list[Callback] | None
    verbose: int
    random_state: int | np.random.RandomState | None
    networks_: list[nn.Module]

    def _check_parameters(self) -> None:
        resolve_device(self.device)
        check_n_jobs(self.n_jobs)
        check_seed(self.random_state)
        check_integer("n_epochs", self.n_epochs, 1)
        check_integer("n_estimators", self.n_estimators, 1)
        if self.batch_size != "auto":
            # BatchNorm has no variance to divide by in a batch of one.
            check_integer("batch_size", self.batch_size, 2, or_else=" or 'auto'")
        check_number("lr", self.lr, "(0, inf)", lambda lr: 0 < lr < inf)
        check_number("lr_min", self.lr_min, f"[0, lr={self.lr!r}]", lambda lr: 0 <= lr <= self.lr)
        check_choice("verbose", self.verbose, (0, 1))
        check_class_weight(self.class_weight)
        check_callbacks(self.callbacks, self.random_state)

    def _check_panel(self, panel: Panel) -> None:
        """Raise if a network with these parameters cannot take the series."""
        raise NotImplementedError

    def _build_network(self, panel: Panel, generator: torch.Generator) -> nn.Module:
        raise NotImplementedError

    def _recipe(self, n_series: int) -> Recipe:
        raise NotImplementedError

    def fit(self, X: Any, y: Any) -> BaseNetworkClassifier:
        """Fit the classifier.

        Parameters
        ----------
        X : array of shape (n, m, L) or any other sktime panel container
            n series of m variates and L time steps; a 2-D array holds univariate
            series. Series may differ in length. Missing values (NaN) are set to 0.
        y : array-like of shape (n,)
            Class labels.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter, ``X`` or ``y`` is not as it should be. A classifier that was
            fitted before is then still fitted as before.
        FloatingPointError
            If the training loss is no longer finite. The classifier is then not fitted.
        """
        self._check_parameters()
        _check_container(X)
        y = _as_labels(X, y)
        before = dict(vars(self))
        try:
            return super().fit(X, y)
        except Exception:
            # sktime's fit resets the instance first and checks X and y afterwards.
            if not hasattr(self, "n_variates_"):
                self.__dict__.clear()
                self.__dict__.update(before)
            raise

    def _fit(self, X: np.ndarray | list, y: np.ndarray) -> BaseNetworkClassifier:
        panel = Panel.from_sktime(X)
        self._check_panel(panel)
        class_weight = self._class_weights(y)
        self.n_variates_ = panel.n_variates
        run_id = self._run_id(panel, y, *self._shaping_callbacks())
        codes = torch.from_numpy(np.searchsorted(self.classes_, y))
        n_processes = 1 if self.n_jobs is None else min(self.n_estimators, n_threads(self.n_jobs))
        n_each = n_threads(self.n_jobs) // n_processes
        trained = Parallel(n_jobs=n_processes)(
            delayed(self._train)(panel, codes, class_weight, seed, number, run_id, n_each)
            for number, seed in enumerate(self._draw_seeds(self.n_estimators))
        )
        self._remember(trained)
        return self

    def _class_weights(self, y: np.ndarray) -> np.ndarray:
        if not isinstance(self.class_weight, dict):
            return compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        # Not left to scikit-learn, which looks up the label "1" as the integer 1.
        classes = self.classes_.tolist()
        unknown = [label for label in self.class_weight if label not in classes]
        if unknown:
            raise ValueError(
                f"class_weight must have labels of y, {classes}, found {unknown}. Remove "
                "them; a label left out has weight 1."
            )
        return np.array([self.class_weight.get(label, 1.0) for label in classes])

    def _shaping_callbacks(self) -> list[str]:
        """Describe the callbacks that may change the result: all but checkpoints."""
        return [repr(c) for c in self.callbacks or () if not isinstance(c, Checkpoint)]

    def _train(
        self,
        panel: Panel,
        codes: torch.Tensor,
        class_weight: np.ndarray,
        seed: int,
        number: int,
        run_id: str,
        n_kernel_threads: int,
    ) -> tuple[nn.Module, list[dict[str, Any]], int]:
        """Train one network; runs in a process of its own where ``n_jobs`` says so."""
        device = resolve_device(self.device)
        generator = torch.Generator().manual_seed(int(seed))
        progress = [ProgressBar()] if self.verbose else []
        with compute_threads(n_kernel_threads):
            trainer = self._trainer(
                self._build_network(panel, generator).to(device),
                self._recipe(len(panel)),
                CrossEntropy(torch.tensor(class_weight, dtype=torch.float32)),
                seed=int(seed),
                callbacks=[*(self.callbacks or ()), *progress],
                run_id=f"{run_id}-{number}",
                name=f"{self._network_name} {number + 1}/{self.n_estimators}",
            )
            trainer.fit(panel.to(device), codes.to(device))
        history = [{"network": number, **record} for record in trainer.history]
        return trainer.network, history, trainer.best_epoch

    def _batch_size(self, n_series: int) -> int:
        if self.batch_size == "auto":
            return max(min(n_series // 10, 16), 2)
        return self._settings()["batch_size"]

    def _remember(self, trained: list[tuple[nn.Module, list[dict[str, Any]], int]]) -> None:
        self.networks_ = [network for network, _, _ in trained]
        self.history_ = [record for _, history, _ in trained for record in history]
        best_epochs = [best_epoch for _, _, best_epoch in trained]
        self.best_epoch_: int | list[int] = best_epochs
        if self.n_estimators == 1:
            self.network_ = self.networks_[0]
            self.best_epoch_ = best_epochs[0]

    def _internal_convert(self, X: Any, y: Any = None) -> Any:
        _check_container(X)
        return super()._internal_convert(X, y)

    def _predict_proba(self, X: np.ndarray | list) -> np.ndarray:
        panel = Panel.from_sktime(X)
        if panel.n_variates != self.n_variates_:
            raise ValueError(
                f"X must have the {self.n_variates_} variates that this "
                f"{type(self).__name__} was fitted with, found {panel.n_variates}. Arrays "
                "have the axes (series, variates, time steps)."
            )
        size = min(_SERIES_PER_CHUNK, max(1, _STEPS_PER_CHUNK // panel.values.shape[2]))
        with compute_threads(n_threads(self.n_jobs)), torch.no_grad():
            return np.concatenate([self._probabilities(part) for part in panel.chunks(size)])

    def _probabilities(self, panel: Panel) -> np.ndarray:
        device = next(self.networks_[0].parameters()).device
        batch = panel.to(device)
        each = [
            network(batch.values, batch.lengths).double().softmax(1) for network in self.networks_
        ]
        return torch.stack(each).mean(0).cpu().numpy()

    def fit_predict(self, X: Any, y: Any, cv: Any = None, change_state: bool = True) -> np.ndarray:
        """Fit, and predict the labels of the same series.

        Parameters
        ----------
        X, y
            As in :meth:`fit`.
        cv : int, scikit-learn splitter or None, default=None
            If given, each series is predicted by a classifier fitted without it. An int
            is the number of stratified folds. The test folds must hold each series once.
        change_state : bool, default=True
            Whether this instance is left fitted to all of ``X``.

        Returns
        -------
        array of shape (n,)

        Raises
        ------
        ValueError
            As :meth:`fit`, or if the test folds are no partition.
        """
        if cv is None:
            return (self if change_state else self.clone()).fit(X, y).predict(X)
        probabilities = self._cross_fitted(X, y, cv, change_state)
        return np.unique(y)[probabilities.argmax(1)]

    def fit_predict_proba(
        self, X: Any, y: Any, cv: Any = None, change_state: bool = True
    ) -> np.ndarray:
        """Fit, and predict the class probabilities of the same series.

        Parameters and errors are those of :meth:`fit_predict`.

        Returns
        -------
        array of shape (n, c)
            Columns in the order of the sorted labels of ``y``.
        """
        if cv is None:
            return (self if change_state else self.clone()).fit(X, y).predict_proba(X)
        return self._cross_fitted(X, y, cv, change_state)

    def _cross_fitted(self, X: Any, y: Any, cv: Any, change_state: bool) -> np.ndarray:
        # sktime's own fails on 3-D arrays and on string labels.
        y = np.asarray(_as_labels(X, y))
        if y.ndim != 1:
            raise ValueError(
                f"y must be 1-D where cv is given, found shape {y.shape}. Call once per column."
            )
        classes = np.unique(y)
        panel = X if isinstance(X, np.ndarray) else convert_to(X, "df-list", "Panel")
        probabilities = np.zeros((len(y), len(classes)))
        n_tests = np.zeros(len(y), dtype=int)
        for train, test in check_cv(cv, y, classifier=True).split(np.zeros(len(y)), y):
            fold = self.clone().fit(_rows(panel, train), y[train])
            columns = np.searchsorted(classes, fold.classes_)
            probabilities[np.ix_(test, columns)] = fold.predict_proba(_rows(panel, test))
            n_tests[test] += 1
        if (n_tests != 1).any():
            raise ValueError(
                "the test folds of cv must hold each series once, found "
                f"{np.count_nonzero(n_tests == 0)} series in none and "
                f"{np.count_nonzero(n_tests > 1)} in several. Use KFold or StratifiedKFold."
            )
        if change_state:
            self.fit(X, y)
        return probabilities

    def _draw_seeds(self, n: int) -> np.ndarray:
        # None stands for fresh entropy: numpy's global generator is not ours to advance.
        rng = np.random.RandomState() if self.random_state is None else self.random_state
        return check_random_state(rng).randint(2**31 - 1, size=n)

    def _settings(self) -> dict[str, Any]:
        """Return the parameters, with Python's numbers for numpy's.

        Grids are often numpy arrays; checkpoints hold Python's numbers only.
        """
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.get_params(deep=False).items()
        }

    def _run_id(self, panel: Panel, y: np.ndarray, *more: object) -> str:
        """Digest of the data and of every setting that shapes the result."""
        settings = self._settings()
        shaping = {name: settings[name] for name in settings if name not in _NEUTRAL_PARAMETERS}
        seed = settings["random_state"] if isinstance(self.random_state, Integral) else None
        made_by = type(self).__name__, __version__, _CHECKPOINT_FORMAT
        digest = hashlib.sha256(repr((made_by, shaping, seed, more)).encode())
        digest.update(repr((panel.values.shape, y.tolist())).encode())
        digest.update(panel.values.numpy().reshape(-1).data)
        if panel.lengths is not None:
            digest.update(panel.lengths.numpy().data)
        return digest.hexdigest()[:16]

    def __getstate__(self) -> dict[str, Any]:
        """Pickle networks from the CPU, so that a machine without a GPU can load them."""
        state = dict(vars(self))
        if "networks_" in state:
            state["networks_"] = [_on_cpu(network) for network in self.networks_]
        if "network_" in state:
            state["network_"] = state["networks_"][0]
        return state


def _as_labels(X: Any, y: Any) -> Any:
    if isinstance(y, list | tuple | pd.Categorical | pd.Index):
        y = np.asarray(y)
    if y is None or np.ndim(y) == 0:
        raise ValueError(f"y must hold one class label per series, found {y!r}.")
    n_missing = int(np.count_nonzero(pd.isna(y)))
    if n_missing:
        raise ValueError(
            f"y must hold one class label per series, found {n_missing} missing labels. "
            "Remove these series or label them."
        )
    if np.ndim(y) == 1:
        try:
            np.unique(np.asarray(y))
        except TypeError as error:
            kinds = " and ".join(sorted({type(label).__name__ for label in y}))
            raise TypeError(
                f"y must hold class labels that can be sorted, found {kinds}. Convert them to "
                "one type, for example with y.astype(str)."
            ) from error
    if _n_series(X) not in (None, len(y)):
        raise ValueError(
            f"X and y must be of the same length, found {_n_series(X)} series in X and {len(y)} "
            "labels in y. Arrays have the axes (series, variates, time steps)."
        )
    return y


def _n_series(X: Any) -> int | None:
    """Count the series of the common containers; None leaves the others to sktime."""
    if isinstance(X, pd.DataFrame) and X.index.nlevels == 2:
        return X.index.droplevel(-1).nunique()
    return len(X) if isinstance(X, np.ndarray | list) or _is_nested(X) else None


def _is_nested(X: Any) -> bool:
    return isinstance(X, pd.DataFrame) and X.size > 0 and isinstance(X.iat[0, 0], pd.Series)


def _check_container(X: Any) -> None:
    if isinstance(X, np.ndarray):
        check_real(X)
        if X.ndim not in (2, 3):
            raise ValueError(
                "X must have the axes (series, variates, time steps), or (series, time steps) of "
                f"univariate series, found shape {X.shape}."
            )
    if (isinstance(X, np.ndarray) and 0 in X.shape) or (isinstance(X, list) and not X):
        found = "an empty list" if isinstance(X, list) else f"shape {X.shape}"
        raise ValueError(
            f"X must have at least one series, one variate and one time step, found {found}."
        )


def _rows(panel: np.ndarray | list, rows: np.ndarray) -> np.ndarray | list:
    return panel[rows] if isinstance(panel, np.ndarray) else [panel[row] for row in rows]


def _on_cpu(network: nn.Module) -> nn.Module:
    if next(network.parameters()).device.type == "cpu":
        return network
    return copy.deepcopy(network).cpu()
