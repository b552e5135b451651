"""The core of every estimator here: from series and targets to trained networks and back."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable
from math import inf
from numbers import Integral, Real
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.utils import check_random_state
from sktime.base import BaseEstimator
from torch import Tensor, nn

from dsn_sktime._version import __version__
from dsn_sktime.estimators.inputs import read_series
from dsn_sktime.estimators.parameters import (
    check_callbacks,
    check_choice,
    check_integer,
    check_n_jobs,
    check_number,
    check_seed,
    is_text,
    resolve_device,
)
from dsn_sktime.estimators.sklearn_compat import SklearnCompatMixin
from dsn_sktime.panel import Panel
from dsn_sktime.runtime import compute_threads, default_switches, n_threads
from dsn_sktime.training import Callback, Checkpoint, ProgressBar, Trainer
from dsn_sktime.training.recipe import Schedule

__all__ = ["NetworkEstimator"]

# Batches of a prediction: as many series as the sparse kernels do best, but no more time
# steps than keep its memory small.
_SERIES_PER_BATCH = 16
_STEPS_PER_BATCH = 2**18

# Raised when what checkpoints hold changes: old ones are then not found.
_CHECKPOINT_FORMAT = 3

# Parameters that do not change what is learned.
_NEUTRAL_PARAMETERS = ("callbacks", "device", "n_jobs", "random_state", "verbose")


class _Trained(NamedTuple):
    network: nn.Module
    history: list[dict[str, Any]]
    best_epoch: int


class NetworkEstimator(SklearnCompatMixin, BaseEstimator):
    """Estimator of series whose fitted state is one or more torch networks.

    Holds what does not depend on the kind of target: reading of series, devices, seeds,
    ensembles, names of checkpoints, predictions in batches, pickling. A subclass derives
    from this class first and from sktime's base class of its task second. One for a *task*
    writes ``_read_target`` and an ``_fit`` that encodes the target and calls
    ``_fit_networks``. One for a *network* writes ``_check_shape``, ``_build_network`` and
    ``_recipe``, and extends ``_check_parameters``.
    """

    _tags = {
        # The first is what all but 3-D arrays are converted to: the only one of the two
        # that can hold series of unequal length.
        "X_inner_mtype": ["df-list", "numpy3D"],
        "y_inner_mtype": "numpy1D",
        "capability:multithreading": True,
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:missing_values": True,
        "capability:random_state": True,
        "property:randomness": "derandomized",
        "python_dependencies": ["torch>=2.3"],
    }

    # Name of a network in progress bars.
    _network_name: str
    _trainer: type[Trainer] = Trainer

    n_epochs: int
    batch_size: int | str
    lr: float
    lr_min: float
    n_estimators: int
    n_jobs: int | None
    device: str
    callbacks: list[Callback] | None
    verbose: int
    random_state: int | np.random.RandomState | None
    networks_: list[nn.Module]

    def _check_parameters(self) -> None:
        """Raise if a parameter is out of range, whatever the series are."""
        resolve_device(self.device)
        check_n_jobs(self.n_jobs)
        check_seed(self.random_state)
        check_integer("n_epochs", self.n_epochs, 1)
        check_integer("n_estimators", self.n_estimators, 1)
        if not is_text(self.batch_size, "auto"):
            # BatchNorm has no variance to divide by in a batch of one.
            check_integer("batch_size", self.batch_size, 2, or_else=" or 'auto'")
        check_number("lr", self.lr, "(0, inf)", lambda lr: 0 < lr < inf)
        check_number("lr_min", self.lr_min, f"[0, lr={self.lr!r}]", lambda lr: 0 <= lr <= self.lr)
        check_choice("verbose", self.verbose, (0, 1))
        check_callbacks(self.callbacks, self.random_state)

    def _check_shape(self, n_variates: int, n_steps: int, n_outputs: int) -> None:
        """Raise if no network with these parameters can read series of this shape."""
        raise NotImplementedError

    def _build_network(
        self, n_variates: int, n_steps: int, n_outputs: int, generator: torch.Generator
    ) -> nn.Module:
        """Return an untrained network that maps (B, m, L) and lengths to (B, n_outputs)."""
        raise NotImplementedError

    def _recipe(self, n_series: int) -> Schedule:
        raise NotImplementedError

    def _read_target(self, X: Any, y: Any) -> Any:
        """Return the target in a container of sktime; raise if it does not suit the series."""
        raise NotImplementedError

    @default_switches()
    def make_network(self, n_variates: int, n_steps: int, n_outputs: int) -> nn.Module:
        """Return a new, untrained network of this estimator's sizes.

        It is the network that ``fit`` starts from where ``n_estimators`` is 1 and
        ``random_state`` an integer. The estimator need not be fitted and is not changed.

        Parameters
        ----------
        n_variates : int
            Variates m of a series.
        n_steps : int
            Time steps L of the longest series.
        n_outputs : int
            Outputs per series: classes of a classifier.

        Returns
        -------
        torch.nn.Module
            On the CPU. Maps values (B, m, L) and lengths (B,) to outputs (B, n_outputs).

        Raises
        ------
        ValueError, TypeError
            If a parameter or a size is out of range.
        """
        self._check_parameters()
        shape = {"n_variates": n_variates, "n_steps": n_steps, "n_outputs": n_outputs}
        for name, size in shape.items():
            check_integer(name, size, 1)
        self._check_shape(**shape)
        # A copy, so that a RandomState is not advanced.
        seed = copy.deepcopy(self)._draw_seeds(1)[0]
        return self._build_network(**shape, generator=_generator(seed))

    @default_switches()
    def fit(self, X: Any, y: Any) -> Self:
        """Fit the estimator.

        Parameters
        ----------
        X : array of shape (n, m, L) or any other sktime panel container
            n series of m variates and L time steps; a 2-D array holds univariate
            series. Series may differ in length. Missing values (NaN) are set to 0.
        y : array-like of shape (n,)
            Target of each series: a classifier's class labels.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter, ``X`` or ``y`` is not as it should be.
        FloatingPointError
            If the training loss is no longer finite.

        Notes
        -----
        Whatever is raised, an estimator that was fitted before is still fitted as before.
        Only Ctrl-C leaves it unfitted.
        """
        self._check_parameters()
        X = read_series(X)
        y = self._read_target(X, y)
        before = dict(vars(self))
        try:
            # sktime's fit resets the instance first and checks X and y afterwards.
            return super().fit(X, y)
        except Exception:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    @default_switches()
    def predict(self, X: Any) -> Any:
        """Predict the target of each series.

        Parameters
        ----------
        X : array of shape (n, m, L) or any other sktime panel container
            Series with the variates of those in :meth:`fit`, of any length.

        Returns
        -------
        array of shape (n,)

        Raises
        ------
        ValueError, TypeError
            If ``X`` is not as it should be.
        NotFittedError
            If the estimator is not fitted.
        """
        return super().predict(X)

    def _internal_convert(self, X: Any, y: Any = None) -> Any:
        # sktime calls this in fit, whose series are read already, and in predict.
        return super()._internal_convert(read_series(X) if y is None else X, y)

    def _fit_networks(
        self, X: np.ndarray | list, targets: Tensor, n_outputs: int, **of_trainer: Any
    ) -> None:
        """Train the networks and store them.

        Parameters
        ----------
        X : array of shape (n, m, L) or list of n frames of shape (length, m)
        targets : tensor of shape (n,)
            Encoded targets as the loss reads them.
        n_outputs : int
        **of_trainer
            What the trainer needs to know of the task; tensors are moved to the device.
        """
        panel = Panel.from_sktime(X)
        self._check_shape(panel.n_variates, panel.values.shape[2], n_outputs)
        run_id = self._run_id(panel, targets)
        n_processes = 1 if self.n_jobs is None else min(self.n_estimators, n_threads(self.n_jobs))
        n_each = n_threads(self.n_jobs) // n_processes
        train = delayed(self._train)
        trained = Parallel(n_jobs=n_processes)(
            train(panel, targets, n_outputs, of_trainer, seed, number, run_id, n_each)
            for number, seed in enumerate(self._draw_seeds(self.n_estimators))
        )
        self.n_variates_ = panel.n_variates
        self._remember(trained)

    @default_switches()  # again, as this may be another thread or process
    def _train(
        self,
        panel: Panel,
        targets: Tensor,
        n_outputs: int,
        of_trainer: dict[str, Any],
        seed: int,
        number: int,
        run_id: str,
        n_kernel_threads: int,
    ) -> _Trained:
        """Train one network; runs in a process of its own where ``n_jobs`` says so."""
        device = resolve_device(self.device)
        shape = (panel.n_variates, panel.values.shape[2], n_outputs)
        progress = [ProgressBar()] if self.verbose else []
        with compute_threads(n_kernel_threads):
            trainer = self._trainer(
                self._build_network(*shape, generator=_generator(seed)).to(device),
                self._recipe(len(panel)),
                seed=int(seed),
                callbacks=[*(self.callbacks or ()), *progress],
                run_id=f"{run_id}-{number}",
                name=f"{self._network_name} {number + 1}/{self.n_estimators}",
                **{
                    name: value.to(device) if isinstance(value, Tensor) else value
                    for name, value in of_trainer.items()
                },
            )
            trainer.fit(panel.to(device), targets.to(device))
        history = [{"network": number, **record} for record in trainer.history]
        return _Trained(trainer.network, history, trainer.best_epoch)

    def _remember(self, trained: list[_Trained]) -> None:
        self.networks_ = [network for network, _, _ in trained]
        self.history_ = [record for _, history, _ in trained for record in history]
        best_epochs = [best_epoch for _, _, best_epoch in trained]
        self.best_epoch_: int | list[int] = best_epochs
        if self.n_estimators == 1:
            self.network_ = self.networks_[0]
            self.best_epoch_ = best_epochs[0]

    def _outputs(self, X: np.ndarray | list) -> Tensor:
        """Return each network's output for each series: float64 (n_estimators, n, n_outputs)."""
        panel = Panel.from_sktime(X)
        if panel.n_variates != self.n_variates_:
            raise ValueError(
                f"X must have the {self.n_variates_} variates that this "
                f"{type(self).__name__} was fitted with, found {panel.n_variates}. Arrays "
                "have the axes (series, variates, time steps)."
            )
        size = min(_SERIES_PER_BATCH, max(1, _STEPS_PER_BATCH // panel.values.shape[2]))
        with compute_threads(n_threads(self.n_jobs)), torch.no_grad():
            return torch.cat([self._batch_outputs(batch) for batch in panel.chunks(size)], dim=1)

    def _batch_outputs(self, batch: Panel) -> Tensor:
        batch = batch.to(next(self.networks_[0].parameters()).device)
        outputs = [network(batch.values, batch.lengths) for network in self.networks_]
        return torch.stack(outputs).cpu().double()

    def _draw_seeds(self, n: int) -> np.ndarray:
        # None stands for fresh entropy: numpy's global generator is not ours to advance.
        rng = np.random.RandomState() if self.random_state is None else self.random_state
        return check_random_state(rng).randint(2**31 - 1, size=n)

    def _settings(self) -> dict[str, Any]:
        """Return the parameters, with Python's numbers for all others.

        Grids are often numpy arrays; checkpoints hold Python's numbers only.
        """
        return {name: _as_python(value) for name, value in self.get_params(deep=False).items()}

    def _arguments_for(self, function: Callable[..., Any]) -> dict[str, Any]:
        """Return the parameters that a network or a recipe takes by the same name."""
        settings = self._settings()
        taken = inspect.signature(function).parameters
        return {name: settings[name] for name in taken if name in settings}

    def _batch_size(self, n_series: int) -> int:
        if self.batch_size == "auto":
            return max(min(n_series // 10, 16), 2)
        return self._settings()["batch_size"]

    def _run_id(self, panel: Panel, targets: Tensor) -> str:
        """Return a digest of the data and of every setting that shapes the result."""
        settings = self._settings()
        shaping = {name: settings[name] for name in settings if name not in _NEUTRAL_PARAMETERS}
        seed = settings["random_state"] if isinstance(self.random_state, Integral) else None
        made_by = type(self).__name__, __version__, _CHECKPOINT_FORMAT
        callbacks = [repr(c) for c in self.callbacks or () if not isinstance(c, Checkpoint)]
        digest = hashlib.sha256(repr((made_by, shaping, seed, callbacks)).encode())
        digest.update(repr((panel.values.shape, targets.tolist())).encode())
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


def _as_python(value: Any) -> Any:
    if isinstance(value, bool | str) or not isinstance(value, Real | np.generic):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(seed))


def _on_cpu(network: nn.Module) -> nn.Module:
    if next(network.parameters()).device.type == "cpu":
        return network
    return copy.deepcopy(network).cpu()
