"""DSNClassifier: the Dynamic Sparse Network as an estimator."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from sklearn.base import TransformerMixin
from sklearn.utils._set_output import _get_output_config
from torch import Tensor

from dsn_sktime.estimators.dsn_estimator import DSNEstimator
from dsn_sktime.estimators.fitted import check_trained
from dsn_sktime.estimators.network_classifier import NetworkClassifier
from dsn_sktime.runtime import default_switches
from dsn_sktime.training import Callback, CrossEntropy, Objective

_PAPER: dict[str, Any] = {
    "n_epochs": 1000,
    "max_seconds": None,
    "batch_size": "paper",
    "lr": 3e-4,
    "lr_min": 1e-4,
    "schedule": "cosine",
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "keep": "best",
    "update_bn": False,
    "validation_fraction": 0.0,
    "n_layers": 4,
    "n_filters": 47,
    "n_bottleneck": None,
    "kernel_size": 39,
    "n_kernel_groups": 3,
    "sparsity": 0.8,
    "growth": "random",
    "alpha": 0.5,
    "delta_t": 5,
    "topology_init": "first",
    "padding": "replicate",
    "n_pool": 50,
    "head": "bins",
    "standardize": False,
    "class_weight": None,
    "n_estimators": 1,
    "diverse": False,
    "callbacks": None,
}


class DSNClassifier(TransformerMixin, DSNEstimator, NetworkClassifier):
    """Dynamic Sparse Network for time series classification.

    A convolutional network [1]_ with large kernels of which few taps are activated. It learns
    *which* taps to keep: every few epochs the smallest activated weights are dropped and the
    same number is grown elsewhere. Small, medium and large receptive fields are covered
    without tuning.

    The default recipe is not the paper's: 50 epochs with a one-cycle learning rate, the average
    of the last weights, and a ridge head. It takes seconds to minutes, where the paper's 1,000
    epochs take minutes to hours. :meth:`paper` returns a classifier with the recipe of the
    paper.

    Parameters
    ----------
    n_epochs : int, default=50
        Passes over the training series; at most as many with ``max_seconds``.
    batch_size : int, "auto" or "paper", default="auto"
        Series of a training batch, at least 2; "auto" is ``max(min(n // 10, 16), 8)`` for n
        training series, the paper's rule is ``max(min(n // 10, 16), 2)``.
    lr : float, default=3e-3
        Peak of the learning rate of "one_cycle"; of the others, that of the first epoch.
    max_seconds : float or None, default=None
        Seconds that a fit may take once the series are read and the kernels are compiled:
        training and heads of all networks. "cosine" and "one_cycle" anneal the rate to its end
        in this time; with "plateau", training ends when it is over. Networks that are trained
        one after another share the time equally, those in processes run side by side. The start
        of processes is not counted, nor is the first optimizer step of each network if it takes
        more than half of its time, as where kernels are compiled. Kept to 10 % where the time is
        enough for a few epochs of each network; one optimizer step is always taken. Results then
        depend on the speed of the machine.
    lr_min : float, default=1e-4
        Learning rate that "cosine" anneals ``lr`` to.
    schedule : {"one_cycle", "cosine", "plateau"}, default="one_cycle"
        Course of the learning rate: a warm-up over the first 30 % of the optimizer steps, then
        a half cosine to 0; a half cosine from epoch to epoch, the paper's; or ``lr`` halved
        after 50 epochs without a lower training loss.
    weight_decay : float, default=0.0
        Decoupled weight decay of all parameters, as in ``torch.optim.AdamW``.
    label_smoothing : float in [0, 1), default=0.0
        Share of each target that is spread evenly over all classes.
    keep : {"average", "best", "last"}, default="average"
        Weights of the trained network: the mean over the last quarter of the optimizer steps;
        those at the end of the epoch with the lowest mean training loss, the paper's; or those
        of the last epoch.
    update_bn : bool, default=True
        Recompute the running statistics of the BatchNorm layers for the weights that are
        kept, in one pass over the training series, as ``torch.optim.swa_utils.update_bn``.
        Always done with ``keep="average"``.
    validation_fraction : float in [0, 1), default=0.0
        Share of the training series that is held back for validation, drawn evenly from each
        class. Loss and accuracy on them, or on ``validation_data`` of :meth:`fit`, are computed
        after each epoch: "val_loss" and "val_accuracy" in ``history_``. ``keep="best"``
        then follows "val_loss", and :class:`~dsn_sktime.training.EarlyStopping` may follow
        either. With ``keep="average"`` they are those of the network before averaging.
    n_layers : int, default=4
        Dynamic sparse layers.
    n_filters : int, default=47
        Output channels of one kernel group; a layer has ``n_kernel_groups`` times as
        many.
    n_bottleneck : int or None, default=None
        Channels after the 1x1 convolution that starts each layer; None is ``n_filters``.
    kernel_size : int, default=39
        Taps (time steps) of a kernel, k.
    n_kernel_groups : int, default=3
        Kernel groups N: group i = 1..N may activate the first ``i * (k // N)`` taps,
        its exploration region. The paper's network without groups has as many channels in one:
        ``n_kernel_groups=1, n_filters=141, n_bottleneck=47``.
    sparsity : float in [0, 1), default=0.8
        Share of each exploration region that is not activated. 0, without groups, is the
        dense network.
    growth : {"random", "gradient"} or None, default="random"
        Where weights grow at a topology update: at random, or where the dense gradient
        is largest (DSN-grad). None keeps the first topology (DSN-fix).
    alpha : float in [0, 1], default=0.5
        First drop fraction: share of a group's activated weights that an update drops.
        It is annealed along a half cosine to 0.001 at 80 % of the training.
    delta_t : int, default=5
        Epochs between topology updates.
    topology_init : {"first", "random"}, default="first"
        First activated weights: the first taps of each region (the authors' code) or
        drawn uniformly from it.
    padding : {"replicate", "zeros"}, default="replicate"
        "replicate" repeats the last time step on the right; "zeros" pads both sides.
    n_pool : int, default=50
        Bins of the average pooling over time before the paper's head.
    head : {"ridge", "bins", "linear"}, default="ridge"
        From pooled features to logits. "bins" is the paper's 1x1 convolution of each bin,
        BatchNorm over the classes and average. "linear" is a linear layer on the average over
        time. Both are trained with the network. "ridge" trains with the paper's head, and
        averages its logits with those of two ridge classifiers that are fitted afterwards on
        mean, maximum and share of positive values of activations: of all layers of the network,
        and of an untrained layer of random kernels for each variate. Loss, accuracy and
        validation metrics in ``history_`` are always those of the head that is trained.
    standardize : bool, default=True
        Standardize each variate to mean 0 and standard deviation 1, both computed over all time
        steps of all training series. If False, series should be on a common scale of about 1.
    class_weight : None, "balanced" or dict of label to float, default=None
        Weight of each class in the loss, as in scikit-learn; that of a label left out of a dict
        is 1.
    n_estimators : int, default=1
        Networks whose probabilities are averaged. They have different seeds, and different
        settings unless ``diverse=False``.
    diverse : bool, default=True
        Let the networks of an ensemble also differ in settings. The first has those given here,
        the second the other ``padding``, the third and the fourth a ``kernel_size`` of about half
        and of one and a half times the one given, the fifth the other ``topology_init``. The
        sixth has the settings of the first again, and so on. A ``kernel_size`` below
        ``2 * n_kernel_groups`` is not varied.
    n_jobs : int or None, default=None
        Cores to use, -1 for all. The networks of an ensemble are trained in as many
        processes; remaining cores are used as threads, as are those of processes that find no
        network left to train. None is one process with torch's number of threads. Results do
        not depend on it, unless ``max_seconds`` is given.
    device : str, default="auto"
        Torch device; "auto" is CUDA where there is a GPU and the CPU elsewhere.
    backend : {"auto", "sparse", "dense"}, default="auto"
        Arithmetic of the networks: sparse kernels on the CPU where numba is installed and
        dense ones elsewhere; always sparse ones; always dense ones, which compile nothing
        at the first prediction and can be exported. It is an attribute of each network in
        ``networks_``, which may be changed after the fit.
    callbacks : list of Callback or None, default=None
        Early stopping, checkpoints or your own; see :mod:`dsn_sktime.training`.
    verbose : {0, 1, 2}, default=0
        1 shows a progress bar with loss, accuracy and time left, 2 prints a line per epoch.
    random_state : int, numpy RandomState or None, default=None
        Fixes initial weights, order of batches and growth. None draws fresh entropy.
        numpy's and torch's global generators are neither used nor changed.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network; only with ``n_estimators=1``.
    networks_ : list of torch.nn.Module
        The trained networks.
    heads_ : list of torch.nn.Module or None
        The ridge head of each network; None where the network's own head is used.
    history_ : list of dict
        One record per network and epoch: "network", "epoch" (both from 0), "loss",
        "accuracy", "lr", "drop_fraction", "n_dropped", "n_grown", "seconds"; with
        a validation set also "val_loss" and "val_accuracy", with ``max_seconds`` also
        "progress", the share of the training that is done.
    best_epoch_ : int, or list of int if ``n_estimators`` is above 1
        Epoch, from 0, whose weights are kept.
    n_activated_ : int
        Activated weights of the dynamic sparse layers of the first network.
    n_variates_ : int
        Variates of the training series.
    variate_names_ : tuple or None
        Their names, where the training series were in frames. Later frames must have
        the same, in any order.
    mean_, scale_ : float64 arrays of shape (m,)
        Mean subtracted from each variate, and scale that it is divided by.
    classes_ : array of shape (c,)
        Sorted class labels.
    n_classes_ : int

    See Also
    --------
    dsn_sktime.analysis : Parameters, multiply-adds and receptive fields.
    dsn_sktime.plotting : Plots of what a network learned.

    Notes
    -----
    Series may differ in length, within a panel and between ``fit`` and ``predict``:
    pooling is over each series' own length. Missing values are set to the mean of their
    variate, or to 0 with ``standardize=False``, as in the authors' code.

    If ``y`` has a single class nothing is trained and that class is predicted always,
    which is sktime's convention; the attributes of the network are then not set.

    References
    ----------
    .. [1] Q. Xiao, B. Wu, Y. Zhang, S. Liu, M. Pechenizkiy, E. Mocanu and D. C. Mocanu,
       "Dynamic Sparse Network for Time Series Classification: Learning What to 'See'",
       Advances in Neural Information Processing Systems 35, 2022.

    Examples
    --------
    >>> from dsn_sktime import DSNClassifier
    >>> from sktime.datasets import load_unit_test
    >>> X_train, y_train = load_unit_test("train", return_type="numpy3D")
    >>> X_test, y_test = load_unit_test("test", return_type="numpy3D")
    >>> classifier = DSNClassifier(n_epochs=2, n_layers=2, n_filters=4, random_state=0)
    >>> classifier.fit(X_train, y_train)
    DSNClassifier(...)
    >>> classifier.predict_proba(X_test).shape
    (22, 2)
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
        label_smoothing: float = 0.0,
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
        class_weight: dict | str | None = None,
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
        self.label_smoothing = label_smoothing
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
        self.class_weight = class_weight
        self.n_estimators = n_estimators
        self.diverse = diverse
        self.n_jobs = n_jobs
        self.device = device
        self.backend = backend
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state
        super().__init__()

    @classmethod
    def paper(cls, **overrides: Any) -> DSNClassifier:
        """Return a classifier with the recipe of the paper, independent of the defaults.

        Parameters
        ----------
        **overrides
            Constructor arguments; they replace those of the recipe.

        Returns
        -------
        DSNClassifier

        Examples
        --------
        >>> from dsn_sktime import DSNClassifier
        >>> DSNClassifier.paper(random_state=0).n_epochs
        1000
        """
        return cls(**{**_PAPER, **overrides})

    @default_switches()
    def transform(self, X: Any) -> np.ndarray | pd.DataFrame:
        """Compute the pooled features that the head reads.

        With the ridge head these are mean, maximum and share of positive values of each channel
        of all layers of the network and of the untrained layers, with "bins" the bins of the last
        layer, with "linear" its averages over time. An ensemble's networks follow one another.

        Parameters
        ----------
        X : array of shape (n, m, L) or any other sktime panel container
            Series with the variates of those in :meth:`fit`, of any length.

        Returns
        -------
        float64 array of shape (n, d)
            Its columns are named by :meth:`get_feature_names_out`. A data frame if
            scikit-learn's ``set_output`` asks for one.

        Raises
        ------
        ValueError, TypeError
            If ``X`` is invalid.
        NotFittedError
            If the estimator is not fitted, or has no network as ``y`` had a single class or
            several columns.

        Notes
        -----
        The networks were trained on the targets of their training series, so the features of
        those series separate the targets better than the features of new series do.
        """
        check_trained(self)
        raw = self._check_convert_X_for_predict(X)
        features = self.pooled_features(raw)
        if _get_output_config("transform", self)["dense"] != "pandas":
            return features
        # Else scikit-learn takes the index of X, where a long frame has a row per time step.
        return pd.DataFrame(features, index=raw.ids)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features that :meth:`transform` computes.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        array of str of shape (d,)
            Such as ``"member0_trained_layer2_channel17_max"``: number of the network in
            ``networks_``, layer (from 1), channel, and "mean", "max", "positive" or the number of
            the bin. Those of the untrained layers are called ``"member0_untrained_layer1_..."``,
            and of several variates ``"member0_untrained_variate0_layer1_..."``.

        Raises
        ------
        NotFittedError
            As :meth:`transform`.
        """
        return self.pooled_feature_names()

    def _ridge_targets(
        self, targets: Tensor, weight: Tensor, n_outputs: int, objective: Objective
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        class_weight = cast(CrossEntropy, objective).class_weight
        if class_weight is not None:
            weight = weight * class_weight.cpu()[targets]
        is_class = targets[:, None] == torch.arange(n_outputs)
        return np.where(is_class, 1.0, -1.0), weight.double().numpy(), True
