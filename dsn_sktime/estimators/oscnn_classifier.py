"""OSCNNClassifier: the Omni-Scale CNN as an estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dsn_sktime.estimators.docstrings import shares_docs
from dsn_sktime.estimators.dsn_classifier import DSNClassifier
from dsn_sktime.estimators.memory import Sizes
from dsn_sktime.estimators.network_classifier import NetworkClassifier
from dsn_sktime.oscnn import OSCNNNetwork, os_layer_shapes
from dsn_sktime.training import Callback, Recipe
from dsn_sktime.training.checks import brief_repr, check_integer


@shares_docs(DSNClassifier, without=("heads_", "n_activated_"))
class OSCNNClassifier(NetworkClassifier):
    """Omni-Scale CNN for time series classification.

    A convolutional network [1]_ whose first two layers have kernels of size 1 and of all
    prime sizes up to a quarter of the series' length, side by side, and whose third has
    kernels of sizes 1 and 2: sums of these sizes are all integers, so the network has a
    receptive field of every size up to half the length and none needs to be chosen. The
    defaults are the authors', except ``keep``, ``update_bn`` and ``standardize``. With the
    default 2,000 epochs a fit takes minutes to hours; try fewer ``n_epochs`` first.

    Parameters
    ----------
    n_epochs : int, default=2000
        Passes over the training series; at most as many with ``max_seconds``.
    batch_size : int, "auto" or "paper", default="paper"
        Series of a training batch, at least 2; "paper" is the authors' rule
        ``max(min(n // 10, 16), 2)`` for n training series, "auto" is at least 8.
    lr : float, default=1e-3
        Adam's learning rate at the start.
    max_seconds : float or None, default=None
        Seconds that a fit may take once the series are read and the kernels are compiled. The
        learning rate is not annealed to this end: it falls only when the training loss has
        stopped falling. Networks that are trained one after another share the time equally,
        those in processes run side by side. The first optimizer step of each is not counted if
        it takes more than half of its time, as where kernels are compiled. Kept to 10 % where
        the time is enough for a few epochs of each network; one optimizer step is always
        taken. Results then depend on the speed of the machine.
    lr_min : float, default=1e-4
        Lower bound of the learning rate.
    lr_factor : float in (0, 1), default=0.5
        Factor that reduces the learning rate when the training loss has stopped falling.
    patience : int, default=50
        Epochs without a new lowest training loss (by at least 0.01 %) that are tolerated;
        one more reduces the learning rate.
    keep : {"best", "last", "average"}, default="best"
        Weights of the trained network: those at the end of the epoch with the lowest mean
        training loss, those of the last epoch (the authors' choice), or the mean over the
        last quarter of the optimizer steps.
    max_kernel_size : int, default=89
        Upper bound of the kernel sizes, which go up to ``L // 4`` for training series of at
        most L time steps.
    layer_budgets : (int, int), default=(1024, 229376)
        Weights of the first layer per variate, and of the second layer. Each kernel size
        has as many filters as fit in; the third layer follows from the first.
    n_estimators : int, default=1
        Networks, trained with different seeds, whose probabilities are averaged. The
        authors' ensembles have 5 and 8.
    random_state : int, numpy RandomState or None, default=None
        Fixes initial weights and order of batches. None draws fresh entropy. numpy's and
        torch's global generators are neither used nor changed.

    Attributes
    ----------
    history_ : list of dict
        One record per network and epoch: "network", "epoch" (both from 0), "loss",
        "accuracy", "lr", "seconds"; with a validation set also "val_loss" and
        "val_accuracy", with ``max_seconds`` also "progress", the share of the training that
        is done.

    See Also
    --------
    DSNClassifier : The Dynamic Sparse Network, on the same base.
    dsn_sktime.analysis : Parameters and multiply-adds.

    Notes
    -----
    The guide lists the differences from the authors' code; the one that matters most is
    which epoch is kept: theirs is the last (``keep="last"``), here it is the one with the
    lowest mean training loss.

    Multivariate series are read by the first layer as a whole, each kernel over all
    variates; its budget grows with their number, as in the authors' example for
    multivariate data, so a network has as many channels as for a univariate series.

    Series may differ in length, within a panel and between ``fit`` and ``predict``:
    each is surrounded by zeros from its own last time step on, and pooling is over its own
    length. Missing values are set to the mean of their variate, or to 0, as by the
    authors, with ``standardize=False``.

    If ``y`` has a single class nothing is trained and that class is predicted always,
    which is sktime's convention; the attributes of the network are then not set.

    References
    ----------
    .. [1] W. Tang, G. Long, L. Liu, T. Zhou, M. Blumenstein and J. Jiang, "Omni-Scale
       CNNs: a simple and effective kernel size configuration for time series
       classification", International Conference on Learning Representations, 2022.

    Examples
    --------
    >>> from dsn_sktime import OSCNNClassifier
    >>> from sktime.datasets import load_unit_test
    >>> X_train, y_train = load_unit_test("train", return_type="numpy3D")
    >>> X_test, y_test = load_unit_test("test", return_type="numpy3D")
    >>> classifier = OSCNNClassifier(n_epochs=2, layer_budgets=(32, 1000), random_state=0)
    >>> classifier.fit(X_train, y_train)
    OSCNNClassifier(...)
    >>> classifier.predict_proba(X_test).shape
    (22, 2)
    """

    _tags = {"authors": ["Wensi-Tang", "dsn_sktime"], "maintainers": ["dsn_sktime"]}

    _network_name = "OS-CNN"

    networks_: list[OSCNNNetwork]  # type: ignore[assignment]

    def __init__(
        self,
        n_epochs: int = 2000,
        batch_size: int | str = "paper",
        lr: float = 1e-3,
        *,
        max_seconds: float | None = None,
        lr_min: float = 1e-4,
        lr_factor: float = 0.5,
        patience: int = 50,
        keep: str = "best",
        update_bn: bool = True,
        validation_fraction: float = 0.0,
        max_kernel_size: int = 89,
        layer_budgets: tuple[int, int] = (1024, 229376),
        standardize: bool = True,
        class_weight: dict | str | None = None,
        n_estimators: int = 1,
        n_jobs: int | None = None,
        device: str = "auto",
        backend: str = "auto",
        callbacks: list[Callback] | None = None,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.max_seconds = max_seconds
        self.lr_min = lr_min
        self.lr_factor = lr_factor
        self.patience = patience
        self.keep = keep
        self.update_bn = update_bn
        self.validation_fraction = validation_fraction
        self.max_kernel_size = max_kernel_size
        self.layer_budgets = layer_budgets
        self.standardize = standardize
        self.class_weight = class_weight
        self.n_estimators = n_estimators
        self.n_jobs = n_jobs
        self.device = device
        self.backend = backend
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state
        super().__init__()

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return small settings for sktime's contract tests."""
        tiny = {"n_epochs": 1, "batch_size": 16, "max_kernel_size": 5, "layer_budgets": (22, 200)}
        plateau = {"n_epochs": 2, "lr_factor": 0.1, "patience": 0, "lr_min": 0}
        return [tiny, {**tiny, **plateau, "n_estimators": 2, "max_kernel_size": 3}]

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_integer("max_kernel_size", self.max_kernel_size, 1)
        if not isinstance(self.layer_budgets, tuple | list) or len(self.layer_budgets) != 2:
            raise ValueError(
                "layer_budgets must be the weights of the first layer per variate and those of "
                f"the second, found {brief_repr(self.layer_budgets)}."
            )
        for number, budget in enumerate(self.layer_budgets):
            check_integer(f"layer_budgets[{number}]", budget, 1)

    def _check_shape(self, n_variates: int, n_steps: int, n_outputs: int) -> None:
        os_layer_shapes(n_variates, **self._network_sizes(n_steps))

    def _network_sizes(self, n_steps: int) -> dict[str, Any]:
        # Shorter series than 4 steps still have kernels of size 1.
        quarter = max(n_steps // 4, 1)
        first, second = self.layer_budgets
        return {
            "largest_kernel_size": min(quarter, int(self.max_kernel_size)),
            "layer_budgets": (int(first), int(second)),
        }

    def _sizes(self, n_variates: int, n_steps: int, n_outputs: int) -> Sizes:
        shapes = os_layer_shapes(n_variates, **self._network_sizes(n_steps))
        return Sizes(
            layers=len(shapes),
            sparse_weights=sum(shape.n_weights for shape in shapes),
            dense_weights=shapes[-1].out_channels * n_outputs,
            activations=n_steps * sum(shape.out_channels for shape in shapes),
        )

    def _build_network(
        self, n_variates: int, n_steps: int, n_outputs: int, number: int, generator: torch.Generator
    ) -> OSCNNNetwork:
        sizes = self._network_sizes(n_steps)
        return OSCNNNetwork(
            n_variates, n_outputs, **sizes, generator=generator, backend=self.backend
        )

    def _recipe(self, n_series: int) -> Recipe:
        numbers = {**self._arguments_for(Recipe), "batch_size": self._batch_size(n_series)}
        return Recipe(**{**numbers, "schedule": "plateau"})
