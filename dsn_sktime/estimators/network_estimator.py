"""Base class of all estimators: from series and targets to trained networks and predictions."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from sktime.base import BaseEstimator
from torch import Tensor, nn

from dsn_sktime._version import __version__
from dsn_sktime.estimators.ensemble import PROGRESS, EnsembleFit, Trained, draw_seeds
from dsn_sktime.estimators.fitted import check_trained
from dsn_sktime.estimators.memory import Sizes, check_memory
from dsn_sktime.estimators.onnx_export import export_onnx
from dsn_sktime.estimators.parameters import (
    check_callbacks,
    check_n_jobs,
    check_seed,
    resolve_device,
)
from dsn_sktime.estimators.saving import load_estimator, save_estimator
from dsn_sktime.estimators.sklearn_compat import SklearnCompatMixin
from dsn_sktime.kernels import compile_kernels
from dsn_sktime.layers import BACKENDS
from dsn_sktime.panel import (
    Panel,
    RawPanel,
    Standardization,
    match_variates,
    read_panel,
    read_sample_weight,
    warn_about_axes,
    warn_user,
)
from dsn_sktime.runtime import compute_threads, default_switches, n_threads
from dsn_sktime.training import (
    Batch,
    Callback,
    Checkpoint,
    Objective,
    Recipe,
    Trainer,
    Use,
    random_stream,
)
from dsn_sktime.training.checks import brief_repr, check_choice, check_integer, check_number

if TYPE_CHECKING:
    from dsn_sktime.estimators.ridge_head import RidgeHeadFit

# Batches of a prediction: as many series as suit the sparse kernels best, several times of them
# where series are short, but of long ones few enough time steps to keep memory small.
_SERIES_PER_BATCH = 16
_MAX_SERIES = 64
_STEPS_OF_SEVERAL = 2**15
_STEPS_PER_BATCH = 2**16

_MIN_BATCH_SIZES = {"auto": 8, "paper": 2}

# Increased when the content of checkpoints changes: old ones are then not found.
_CHECKPOINT_FORMAT = 3

# Parameters that do not change the trained networks.
_NEUTRAL_PARAMETERS = ("backend", "callbacks", "device", "n_jobs", "random_state", "verbose")


class NetworkEstimator(SklearnCompatMixin, BaseEstimator):
    """Estimator of series whose fitted state is one or more torch networks.

    Holds what does not depend on the kind of target: reading of series, devices, seeds,
    ensembles, names of checkpoints, predictions in batches, pickling. A subclass derives
    from this class first and from sktime's base class of its task second. One for a *task*
    writes ``_read_target``, ``_validation_rows``, ``_encoded``, ``_score``, ``_exported_output``
    and an ``_fit`` that calls ``_fit_networks``. One for a *network* writes ``_check_shape``,
    ``_sizes``, ``_build_network`` and ``_recipe``, and extends ``_check_parameters``.
    """

    _tags = {
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
    max_seconds: float | None
    validation_fraction: float
    standardize: bool
    n_estimators: int
    n_jobs: int | None
    device: str
    backend: str
    callbacks: list[Callback] | None
    verbose: int
    random_state: int | np.random.RandomState | None
    networks_: list[nn.Module]
    heads_: list[nn.Module | None]

    def _check_parameters(self) -> None:
        """Raise if a parameter is out of range for any series."""
        resolve_device(self.device)
        check_n_jobs(self.n_jobs)
        check_seed(self.random_state)
        check_integer("n_estimators", self.n_estimators, 1)
        if not (isinstance(self.batch_size, str) and self.batch_size in _MIN_BATCH_SIZES):
            # BatchNorm has no variance to divide by in a batch of one.
            check_integer("batch_size", self.batch_size, 2, or_else=", 'auto' or 'paper'")
        check_number("lr", self.lr, "(0, inf)")
        self._recipe(n_series=2)  # checks its parameters
        check_choice("backend", self.backend, BACKENDS)
        check_choice("standardize", self.standardize, (True, False))
        check_number("validation_fraction", self.validation_fraction, "[0, 1)")
        check_choice("verbose", self.verbose, tuple(PROGRESS))
        check_callbacks(self.callbacks, self.random_state)

    def _check_shape(self, n_variates: int, n_steps: int, n_outputs: int) -> None:
        """Raise if no network with these parameters can read series of this shape."""
        raise NotImplementedError

    def _sizes(self, n_variates: int, n_steps: int, n_outputs: int) -> Sizes:
        raise NotImplementedError

    def _relative_cost(self, number: int) -> float:
        """Return how long a network of the ensemble trains, relative to the others."""
        return 1.0

    def _build_network(
        self, n_variates: int, n_steps: int, n_outputs: int, number: int, generator: torch.Generator
    ) -> nn.Module:
        """Return an untrained network that maps (B, m, L) and lengths to (B, n_outputs).

        ``number`` is its place in the ensemble, counted from 0.
        """
        raise NotImplementedError

    def _recipe(self, n_series: int) -> Recipe:
        raise NotImplementedError

    def _read_target(self, y: Any, raw: RawPanel) -> Any:
        """Return the target in a container of sktime and in the order of the series."""
        raise NotImplementedError

    @default_switches()
    def make_network(
        self, n_variates: int, n_steps: int, n_outputs: int, number: int = 0
    ) -> nn.Module:
        """Return a new, untrained network of this estimator's sizes.

        It is the network that ``fit`` starts from where ``random_state`` is an integer. The
        estimator need not be fitted and is not changed.

        Parameters
        ----------
        n_variates : int
            Variates m of a series.
        n_steps : int
            Time steps L of the longest series.
        n_outputs : int
            Outputs per series: classes of a classifier, 1 of a regressor.
        number : int, default=0
            Which network, from 0 to ``n_estimators - 1``.

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
        shape = n_variates, n_steps, n_outputs
        for name, size in zip(("n_variates", "n_steps", "n_outputs"), shape, strict=True):
            check_integer(name, size, 1)
        check_integer("number", number, 0)
        if number not in range(self.n_estimators):
            last = self.n_estimators - 1
            raise ValueError(f"number must lie from 0 to n_estimators - 1, {last}, found {number}.")
        check_memory(self, 1, shape)
        self._check_shape(*shape)
        seeded = torch.Generator().manual_seed(self._seeds()[number])
        return self._build_network(*shape, number, seeded)

    def _seeds(self) -> list[int]:
        # Of a copy, so that a RandomState is not advanced.
        return draw_seeds(copy.deepcopy(self.random_state), self.n_estimators).tolist()

    @default_switches()
    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation_data: Any = None) -> Self:
        """Fit the estimator.

        Parameters
        ----------
        X : array of shape (n, m, L), list of arrays, frame or other container of series
            n series of m variates and L time steps. A 2-D array or a frame with one index
            level has a univariate series per row; a list has an array (variates, time
            steps) or a frame (time steps, variates) per series, which may differ in length;
            a frame with the index (series, time) has a column per variate. Missing values
            are NaN or masked; trailing steps that are missing in every variate are padding.
        y : array-like of shape (n,) or (n, 1)
            Target of each series: a classifier's class labels or a regressor's numbers. A Series
            whose index holds the ids of the series is put into their order.
        sample_weight : array-like of shape (n,) or None, default=None
            Weight of each series in the loss, of which only the ratios count. A series of
            weight 0 is left out. None gives all the same weight.
        validation_data : (X_val, y_val) or None, default=None
            Series and targets, in containers as ``X`` and ``y``, that the loss and a
            classifier's accuracy are computed on after each epoch; see ``validation_fraction``,
            which must then be 0. The networks are not trained on them.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter, ``X``, ``y`` or ``validation_data`` is invalid.
        FloatingPointError
            If the training loss or the validation loss is no longer finite.
        KeyboardInterrupt
            If training is interrupted by Ctrl-C.

        Notes
        -----
        If an exception is raised, an earlier fit is kept. Ctrl-C after the first epoch leaves
        the estimator fitted, with a warning that says so: as if a callback had stopped training
        after the last complete epoch, without the networks that were not begun. Of networks
        that other processes train, those that are complete are kept. Predictions are possible
        once a last pass over the training series is done; a second Ctrl-C skips it, and the
        earlier fit is kept.
        """
        self._check_parameters()
        raw = self._read_training_series(X)
        if sample_weight is not None:
            raw = replace(raw, sample_weight=read_sample_weight(sample_weight, raw))
        y = self._read_target(y, raw)
        if validation_data is not None:
            raw = replace(raw, validation=self._read_validation(validation_data, raw, y))
        with self._restored_on_error():
            # sktime's fit resets the instance first and checks X and y afterwards. It fits
            # one estimator per column of y, to labels that are in order by now.
            super().fit(replace(raw, ids=None), y)
        if self.__dict__.pop("_is_interrupted", False):
            self._propagate_interrupt()
        return self

    def _propagate_interrupt(self) -> None:
        try:
            warn_user(
                f"training was interrupted: this {type(self).__name__} is fitted nevertheless, "
                f"with what was trained so far of {len(self.networks_)} of {self.n_estimators} "
                "networks. history_ has their epochs."
            )
        finally:  # Also where warnings are errors.
            raise KeyboardInterrupt

    def _read_validation(self, validation_data: Any, raw: RawPanel, y: Any) -> tuple[RawPanel, Any]:
        """Return the validation series and their targets; raise unless ``raw`` and ``y`` match."""
        if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
            raise ValueError(
                "validation_data must be a pair (X_val, y_val) or None, found "
                f"{brief_repr(validation_data)}."
            )
        if self.validation_fraction:
            raise ValueError(
                "validation_data must be None where validation_fraction is above 0, found both "
                f"and validation_fraction={self.validation_fraction}. Set validation_fraction=0."
            )
        with _naming("validation_data"):
            found = read_panel(validation_data[0], raw.variate_names)
            whose = "of the training series"
            found = match_variates(found, raw.n_variates, raw.variate_names, whose)
            target = self._read_target(validation_data[1], found)
        if np.ndim(y) > 1 or np.ndim(target) > 1:
            raise ValueError(
                "validation_data must be None unless y is 1-D, found shapes "
                f"{np.shape(y)} of y and {np.shape(target)} of y_val. Fit once per column."
            )
        return found, target

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments; the estimator is then no longer fitted.

        An unknown name raises ValueError and changes nothing.
        """
        with self._restored_on_error():
            return super().set_params(**params)

    @contextmanager
    def _restored_on_error(self) -> Iterator[None]:
        before = dict(vars(self))
        try:
            yield
        except BaseException:
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
            If ``X`` is invalid.
        NotFittedError
            If the estimator is not fitted.
        """
        return super().predict(X)

    @default_switches()
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of predicted labels, or the R² of predicted numbers.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`; each series counts by its weight.

        Returns
        -------
        float
            At most 1, which is perfect.

        Raises
        ------
        ValueError, TypeError
            As :meth:`predict`, or if ``y`` has other columns or is of another type than in
            :meth:`fit`.
        NotFittedError
            If the estimator is not fitted.
        """
        self.check_is_fitted()
        raw = read_panel(X, getattr(self, "variate_names_", None))
        y = self._read_target(y, raw)
        if sample_weight is not None:
            sample_weight = read_sample_weight(sample_weight, raw)
        return self._score(y, self.predict(raw), sample_weight)

    def _score(self, y: Any, predicted: Any, sample_weight: np.ndarray | None) -> float:
        raise NotImplementedError

    @staticmethod
    def _read_training_series(X: Any) -> RawPanel:
        if isinstance(X, RawPanel):
            return X
        raw = read_panel(X)
        warn_about_axes(raw)
        return raw

    # Series are read once, by one function: sktime gets a RawPanel, in fit and in predict, and
    # must not check or convert it.

    def _check_input(self, X: RawPanel, *args: Any, **kwargs: Any) -> dict[str, Any]:
        # Whatever they are: all series are allowed.
        unknown = {"is_univariate": False, "is_equal_length": False, "has_nans": True}
        return {"mtype": "RawPanel", **unknown}

    def _convert_X(self, X: RawPanel, X_mtype: str) -> RawPanel:  # noqa: N802
        return X

    def _check_convert_X_for_predict(self, X: Any) -> RawPanel:  # noqa: N802
        names = getattr(self, "variate_names_", None)
        raw = read_panel(X, names)
        if not hasattr(self, "n_variates_"):  # A single class needs no network.
            return raw
        whose = f"that this {type(self).__name__} was fitted with"
        return match_variates(raw, self.n_variates_, names, whose)

    def _training_rows(self, raw: RawPanel, y: np.ndarray) -> tuple[RawPanel, np.ndarray]:
        """Return the series to train on and their targets.

        Series of weight 0 are left out, and the weights if all others are equal. Others may be
        held back for validation.
        """
        if raw.sample_weight is not None:
            rows = np.flatnonzero(raw.sample_weight)
            raw, y = raw.take(rows), y[rows]
            if np.all(raw.sample_weight == 1):
                raw = replace(raw, sample_weight=None)
        if not self.validation_fraction:
            return raw, y
        rng = random_stream(self._seeds()[0], Use.VALIDATION, epoch=0)
        held_back = self._validation_rows(y, rng)
        rest = np.setdiff1d(np.arange(len(y)), held_back)
        validation = raw.take(held_back), y[held_back]
        return replace(raw.take(rest), validation=validation), y[rest]

    def _validation_rows(self, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the rows to hold back; raise if there are too few."""
        raise NotImplementedError

    def _encoded(self, y: np.ndarray) -> Tensor:
        """Return targets as the objective reads them."""
        raise NotImplementedError

    def _fit_networks(
        self, raw: RawPanel, y: np.ndarray, n_outputs: int, objective: Objective
    ) -> None:
        """Train the networks on series and their targets, of shape (n,)."""
        shape = raw.n_variates, int(raw.lengths.max()), n_outputs
        check_memory(self, len(raw), shape)
        self._check_shape(*shape)
        identity = Standardization.identity(raw.n_variates)
        standardization = Standardization.fit(raw) if self.standardize else identity
        data, validation = _as_batch(raw, self._encoded(y), standardization), None
        if raw.validation is not None:
            series, target = raw.validation
            with _naming("validation_data"):
                validation = _as_batch(series, self._encoded(target), standardization)
        if self.backend != "dense" and resolve_device(self.device).type == "cpu":
            # Before progress bars open, and before several processes would each compile.
            compile_kernels()
        recipe, run_id = self._recipe(len(raw)), self._run_id(data, validation)
        fit = EnsembleFit(self, data, validation, shape, objective, recipe, run_id)
        trained = fit.train_all()
        self._is_interrupted = len(trained) < self.n_estimators or any(
            one.is_interrupted for one in trained
        )
        self._network_shape = shape
        self.n_variates_ = raw.n_variates
        self.variate_names_ = raw.variate_names
        self.mean_, self.scale_ = standardization
        self._set_fitted(trained)

    def _begin_head(
        self, data: Batch, shape: tuple[int, int, int], objective: Objective, number: int, seed: int
    ) -> RidgeHeadFit | None:
        """Fit as much of a head as needs no trained network; None if networks have their own."""
        return None

    def _build_head(
        self, n_variates: int, n_steps: int, n_outputs: int, number: int, file_format: int
    ) -> nn.Module | None:
        """Build the module that a file's tensors are loaded into."""
        return None

    def _set_fitted(self, trained: list[Trained]) -> None:
        self._network_numbers = [one.number for one in trained]
        self.networks_ = [one.network for one in trained]
        self.heads_ = [one.head for one in trained]
        self.history_ = [
            {"network": place, **record}
            for place, one in enumerate(trained)
            for record in one.history
        ]
        best_epochs = [one.best_epoch for one in trained]
        self.best_epoch_: int | list[int] = best_epochs
        if self.n_estimators == 1:
            self.network_ = self.networks_[0]
            self.best_epoch_ = best_epochs[0]

    def _outputs(self, raw: RawPanel) -> np.ndarray:
        """Return each network's output for each series: float64 (n_estimators, n, n_outputs)."""

        def outputs(network: Any, head: Any, *series: Any) -> Tensor:
            return network(*series) if head is None else head(network, *series)

        return self._apply(raw, outputs)

    def _apply(self, raw: RawPanel, function: Callable[..., Tensor]) -> np.ndarray:
        """Apply ``function(network, head, values, lengths)`` to all networks and batches.

        Returns float64 of shape (n_estimators, n, ...).
        """
        check_n_jobs(self.n_jobs)
        panel = Panel.from_raw(raw, Standardization(self.mean_, self.scale_))
        with compute_threads(n_threads(self.n_jobs)), torch.no_grad():
            found = [self._apply_to_batch(one, function) for one in prediction_batches(panel)]
        # From here on without torch, which waits forever for its threads in a forked process.
        outputs = np.concatenate(found, axis=1)
        overflown = ~np.isfinite(outputs).all((0, 2))
        if overflown.any():
            raise FloatingPointError(
                "X must have values for which the networks' outputs are finite, found others for "
                f"series {overflown.argmax()} (counted from 0). Rescale it to the scale "
                "of the training series, or fit again if its values are on that scale."
            )
        return outputs

    def _apply_to_batch(self, batch: Panel, function: Callable[..., Tensor]) -> np.ndarray:
        batch = batch.to(next(self.networks_[0].parameters()).device)
        members = zip(self.networks_, self.heads_, strict=True)
        found = [function(*member, batch.values, batch.lengths) for member in members]
        return torch.stack(found).cpu().double().numpy()

    def _settings(self) -> dict[str, Any]:
        """Return the parameters, with all numbers as Python numbers.

        Grids are often numpy arrays; checkpoints hold Python numbers only.
        """
        return {name: _as_python(value) for name, value in self.get_params(deep=False).items()}

    def _arguments_for(self, function: Callable[..., Any]) -> dict[str, Any]:
        """Return the parameters that a network or a recipe takes by the same name."""
        settings = self._settings()
        taken = inspect.signature(function).parameters
        return {name: settings[name] for name in taken if name in settings}

    def _batch_size(self, n_series: int) -> int:
        if isinstance(self.batch_size, str):
            return max(min(n_series // 10, 16), _MIN_BATCH_SIZES[self.batch_size])
        return int(self.batch_size)

    def _run_id(self, data: Batch, validation: Batch | None) -> str:
        """Return a digest of the data and of every setting that changes the result."""
        settings = self._settings()
        shaping = {name: settings[name] for name in settings if name not in _NEUTRAL_PARAMETERS}
        seed = settings["random_state"] if isinstance(self.random_state, Integral) else None
        made_by = type(self).__name__, __version__, _CHECKPOINT_FORMAT
        callbacks = [repr(c) for c in self.callbacks or () if not isinstance(c, Checkpoint)]
        digest = hashlib.sha256(repr((made_by, shaping, seed, callbacks)).encode())
        for batch in filter(None, (data, validation)):
            digest.update(repr((batch.values.shape, batch.target.tolist())).encode())
            digest.update(batch.values.numpy().reshape(-1).data)
            for more in (batch.lengths, batch.sample_weight):
                if more is not None:
                    digest.update(more.numpy().data)
        return digest.hexdigest()[:16]

    @default_switches()
    def to_file(self, path: str | Path) -> None:
        """Write the fitted estimator to one file, which can be loaded without executing code.

        Networks are stored from the CPU. Left out are callbacks, a ``random_state`` that is a
        RandomState, hooks on modules, and settings of ``set_config``, ``set_output`` and of
        metadata routing.
        The file is replaced atomically.

        Parameters
        ----------
        path : str or Path
            The file is a ``.npz`` of numpy whatever its name.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If a module was replaced by one of your own, ``y`` had several columns, or labels or
            names of variates are objects other than strings and numbers.
        OSError
            If the file cannot be written.

        See Also
        --------
        from_file : Load the file.
        """
        save_estimator(self, path)

    def to_onnx(self, path: str | Path) -> None:
        """Write the fitted estimator to an ONNX file, which needs neither torch nor dsn_sktime.

        The model reads ``series``, float64 of shape (n, m, L) with the variates in the order of
        ``fit``. A classifier's computes ``probabilities``, float64 of shape (n, c), a regressor's
        ``predictions``, float64 of shape (n,), in units of the target: standardization, networks,
        heads and the average of an ensemble. n and L may differ from call to call. NaN is treated
        as in :meth:`predict`: trailing time steps that are missing in every variate are padding,
        other missing values are set to the mean of their variate. Infinite values are not refused.

        The metadata of the file have the entries "classes", a JSON list of a classifier's labels,
        and "variates", one of the variates' names, where the training series were in frames.

        Parameters
        ----------
        path : str or Path
            Replaced atomically.

        Raises
        ------
        ImportError
            If onnx or onnxscript is not installed.
        NotFittedError
            If the estimator is not fitted, or has no network as ``y`` had a single class or
            several columns.
        ValueError
            If the estimator has modules that are not of dsn_sktime or torch.
        OSError
            If the file cannot be written.
        """
        check_trained(self)
        export_onnx(self, path, *self._exported_output())

    def _exported_output(self) -> tuple[str, Callable, dict[str, Any]]:
        """Return the name of exported predictions, what computes them from outputs, metadata."""
        raise NotImplementedError

    @classmethod
    @default_switches()
    def from_file(cls, path: str | Path) -> Self:
        """Load an estimator that :meth:`to_file` wrote.

        It predicts bit for bit as the one that was saved. No code from the file is executed.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        estimator
            Fitted, on the CPU.

        Raises
        ------
        ValueError
            If the file is damaged, was written by a later version or holds another class.
        OSError
            If the file cannot be read.
        """
        return load_estimator(cls, path)

    def _restore(self, fitted: dict[str, Any]) -> None:
        """Set the state that ``fit`` leaves for a target with one column."""
        self.__dict__.update(fitted, _y_metadata={"is_univariate": True}, _is_fitted=True)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle networks from the CPU, so that a machine without a GPU can load them."""
        state = dict(vars(self))
        if "networks_" in state:
            state["networks_"] = [_on_cpu(network) for network in self.networks_]
            state["heads_"] = [head and _on_cpu(head) for head in self.heads_]
        if "network_" in state:
            state["network_"] = state["networks_"][0]
        return state


def _as_batch(raw: RawPanel, target: Tensor, standardization: Standardization) -> Batch:
    """Standardize series, and convert what belongs to them."""
    panel, weight = Panel.from_raw(raw, standardization), raw.sample_weight
    weights = None if weight is None else torch.from_numpy(weight.astype(np.float32))
    return Batch(panel.values, panel.lengths, target, weights)


@contextmanager
def _naming(parameter: str) -> Iterator[None]:
    """Name the parameter in errors about what it holds."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{parameter}: {error}") from None


def _as_python(value: Any) -> Any:
    if isinstance(value, dict):
        return {_as_python(key): _as_python(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        items = map(_as_python, value)
        return list(items) if isinstance(value, list) else tuple(items)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def prediction_batches(panel: Panel, max_series: int = _MAX_SERIES) -> Iterator[Panel]:
    """Yield parts that networks predict fast and in little memory."""
    n_steps = panel.values.shape[2]
    n_times = max(1, min(max_series, _STEPS_OF_SEVERAL // n_steps) // _SERIES_PER_BATCH)
    return panel.chunks(min(n_times * _SERIES_PER_BATCH, max(1, _STEPS_PER_BATCH // n_steps)))


def _on_cpu(module: nn.Module) -> nn.Module:
    if next(module.parameters()).device.type == "cpu":
        return module
    return copy.deepcopy(module).cpu()
