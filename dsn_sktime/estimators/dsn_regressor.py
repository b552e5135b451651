"""DSNRegressor: the Dynamic Sparse Network for numbers instead of class labels."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from dsn_sktime.estimators.docstrings import shares_docs
from dsn_sktime.estimators.dsn_classifier import DSNClassifier
from dsn_sktime.estimators.dsn_estimator import DSNEstimator
from dsn_sktime.estimators.network_regressor import NetworkRegressor
from dsn_sktime.training import Callback, Objective


@shares_docs(DSNClassifier, without=("classes_", "n_classes_"))
class DSNRegressor(DSNEstimator, NetworkRegressor):
    """Dynamic Sparse Network for time series regression.

    The network of :class:`DSNClassifier` with one output: a number for each series, such as the
    heart rate of a recording. It is trained by the mean squared error of the standardized target.
    The recipe is that of the classifier, which was chosen for classification.

    Parameters
    ----------
    validation_fraction : float in [0, 1), default=0.0
        Share of the training series, drawn at random, that is held back for validation. The
        loss on them, or on ``validation_data`` of :meth:`fit`, is computed after each epoch:
        "val_loss" in ``history_``. ``keep="best"`` then follows it, and
        :class:`~dsn_sktime.training.EarlyStopping` may. With ``keep="average"`` it is that of
        the network before averaging.
    head : {"ridge", "bins", "linear"}, default="ridge"
        From pooled features to the output, as in :class:`DSNClassifier`. "ridge" averages the
        output of a network that is trained with "bins" with those of two ridge regressions on
        mean, maximum and share of positive values of activations: of all layers of the network,
        and of an untrained layer of random kernels for each variate. Losses in ``history_`` are
        always those of the head that is trained.
    n_estimators : int, default=1
        Networks whose predictions are averaged. They have different seeds, and different settings
        unless ``diverse=False``.
    verbose : {0, 1, 2}, default=0
        1 shows a progress bar with loss and time left, 2 prints a line per epoch.

    Attributes
    ----------
    networks_ : list of torch.nn.Module
        The trained networks. Their output is the standardized target.
    target_mean_, target_scale_ : float
        Mean of the training targets and their standard deviation, weighted by
        ``sample_weight``. Series held back for validation do not count.
    history_ : list of dict
        One record per network and epoch: "network", "epoch" (both from 0), "loss", "lr",
        "drop_fraction", "n_dropped", "n_grown", "seconds"; with a validation set also
        "val_loss", with ``max_seconds`` also "progress", the share of the training that is
        done. The losses are mean squared errors of the standardized target: predicting the
        mean has 1.

    See Also
    --------
    DSNClassifier : For class labels; its notes on series and its references hold here, too.

    Notes
    -----
    A target with several columns is fitted column by column, with networks for each.

    Examples
    --------
    >>> from dsn_sktime import DSNRegressor
    >>> from sktime.datasets import load_covid_3month
    >>> X_train, y_train = load_covid_3month("train")
    >>> X_test, y_test = load_covid_3month("test")
    >>> regressor = DSNRegressor(n_epochs=2, n_layers=2, n_filters=4, random_state=0)
    >>> regressor.fit(X_train, y_train)
    DSNRegressor(...)
    >>> regressor.predict(X_test).shape
    (61,)
    """

    def __init__(
        self,
        n_epochs: int = 50,
        batch_size: int | str = "auto",
        lr: float = 3e-3,
        *,
        max_seconds: float | None = None,
        lr_min: float = 1e-4,
        schedule: str = "one_cycle",
        weight_decay: float = 0.0,
        keep: str = "average",
        update_bn: bool = True,
        validation_fraction: float = 0.0,
        n_layers: int = 4,
        n_filters: int = 47,
        n_bottleneck: int | None = None,
        kernel_size: int = 39,
        n_kernel_groups: int = 3,
        sparsity: float = 0.8,
        growth: str | None = "random",
        alpha: float = 0.5,
        delta_t: int = 5,
        topology_init: str = "first",
        padding: str = "replicate",
        n_pool: int = 50,
        head: str = "ridge",
        standardize: bool = True,
        n_estimators: int = 1,
        diverse: bool = True,
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
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.keep = keep
        self.update_bn = update_bn
        self.validation_fraction = validation_fraction
        self.n_layers = n_layers
        self.n_filters = n_filters
        self.n_bottleneck = n_bottleneck
        self.kernel_size = kernel_size
        self.n_kernel_groups = n_kernel_groups
        self.sparsity = sparsity
        self.growth = growth
        self.alpha = alpha
        self.delta_t = delta_t
        self.topology_init = topology_init
        self.padding = padding
        self.n_pool = n_pool
        self.head = head
        self.standardize = standardize
        self.n_estimators = n_estimators
        self.diverse = diverse
        self.n_jobs = n_jobs
        self.device = device
        self.backend = backend
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state
        super().__init__()

    def _ridge_targets(
        self, targets: Tensor, weight: Tensor, n_outputs: int, objective: Objective
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        return targets.double().numpy()[:, None], weight.double().numpy(), False
