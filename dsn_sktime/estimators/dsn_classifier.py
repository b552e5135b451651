"""DSNClassifier: the Dynamic Sparse Network as an estimator."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch

from dsn_sktime.estimators.network_classifier import NetworkClassifier
from dsn_sktime.estimators.network_estimator import Sizes, Trained, TrainingData, generator
from dsn_sktime.estimators.parameters import check_choice, check_integer, check_number
from dsn_sktime.estimators.ridge_head import RidgeHead, fit_ridge_head
from dsn_sktime.layers import HEADS, PADDINGS
from dsn_sktime.network import DSNNetwork
from dsn_sktime.topology import TOPOLOGY_INITS, KernelGroups
from dsn_sktime.training import (
    Callback,
    CrossEntropy,
    SparseRecipe,
    SparseTrainer,
    Trainer,
    Use,
    random_stream,
)

__all__ = ["DSNClassifier"]

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
    "callbacks": None,
}


class DSNClassifier(NetworkClassifier):
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
        Seconds that the training of all networks may take. The schedules know it: "cosine"
        and "one_cycle" anneal the rate to its end in this time; with "plateau" training
        just ends. Networks that are trained one after another share the time equally, those
        in processes run side by side. The first optimizer step of each is not counted if it
        takes more than half of its time, as where kernels are compiled. Results then depend
        on the speed of the machine.
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
        its exploration region. The paper's "without groups" has one of as many channels:
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
        mean, maximum and share of positive values of all layers' activations: of the trained
        network and of an untrained one, which reads every series too. Loss, accuracy and
        validation metrics in ``history_`` are always those of the head that is trained.
    standardize : bool, default=True
        Standardize each variate to mean 0 and standard deviation 1, both computed over all time
        steps of all training series. If False, series should be on a common scale of about 1.
    class_weight : None, "balanced" or dict of label to float, default=None
        Weight of each class in the loss, as in scikit-learn.
    n_estimators : int, default=1
        Networks, trained with different seeds, whose probabilities are averaged.
    n_jobs : int or None, default=None
        Cores to use, -1 for all. The networks of an ensemble are trained in as many
        processes; remaining cores are used as threads. None is one process with torch's
        number of threads. Results do not depend on it, unless ``max_seconds`` is given.
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
        Activated weights of the dynamic sparse layers of one network.
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

    _tags = {
        "authors": ["QiaoXiao7282", "dsn_sktime"],
        "maintainers": ["dsn_sktime"],
    }

    _network_name = "DSN"
    _trainer = SparseTrainer

    networks_: list[DSNNetwork]  # type: ignore[assignment]

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

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return small settings for sktime's contract tests."""
        tiny = {"n_epochs": 3, "n_layers": 2, "n_filters": 3, "kernel_size": 9, "delta_t": 1}
        gradient = {"growth": "gradient", "topology_init": "random", "padding": "zeros"}
        average = {"schedule": "one_cycle", "keep": "average", "weight_decay": 0.1}
        return [tiny, {**tiny, **gradient, **average, "n_estimators": 2, "n_pool": 5}]

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("n_layers", "n_filters", "kernel_size", "n_kernel_groups", "n_pool"):
            check_integer(name, getattr(self, name), 1)
        if self.n_bottleneck is not None:
            check_integer("n_bottleneck", self.n_bottleneck, 1)
        check_number("sparsity", self.sparsity, "[0, 1)", lambda share: 0 <= share < 1)
        check_choice("topology_init", self.topology_init, TOPOLOGY_INITS)
        check_choice("padding", self.padding, PADDINGS)
        check_choice("head", self.head, ("ridge", *HEADS))

    def _check_shape(self, n_variates: int, n_steps: int, n_outputs: int) -> None:
        # Kernel groups check their own limits. The first layer reads univariate series
        # directly, every other layer the output of a 1x1 convolution.
        for in_channels in (self._width, 1 if n_variates == 1 else self._width):
            KernelGroups(
                in_channels,
                self.n_filters * self.n_kernel_groups,
                self.kernel_size,
                self.n_kernel_groups,
                self.sparsity,
            )

    @property
    def _width(self) -> int:
        return self.n_bottleneck or self.n_filters

    def _sizes(self, n_variates: int, n_steps: int, n_outputs: int) -> Sizes:
        channels, width = self.n_filters * self.n_kernel_groups, self._width
        first = width if n_variates > 1 else 1
        n_more = self.n_layers - 1
        # At least half of the kernels' positions lie in an exploration region.
        positions = channels * self.kernel_size * (first + n_more * width) / 2
        from_series = n_variates * width if n_variates > 1 else 0
        return Sizes(
            layers=self.n_layers,
            sparse_weights=(1 - self.sparsity) * positions,
            dense_weights=from_series + channels * (n_more * width + n_outputs),
            activations=n_steps * channels + self.n_pool * (channels + n_outputs),
        )

    def _build_network(
        self, n_variates: int, n_steps: int, n_outputs: int, generator: torch.Generator
    ) -> DSNNetwork:
        sizes = self._arguments_for(DSNNetwork)
        if self.head == "ridge":
            sizes["head"] = "bins"
        return DSNNetwork(n_variates, n_outputs, **sizes, generator=generator)

    def _fit_head(
        self, trainer: Trainer, data: TrainingData, shape: tuple[int, int, int]
    ) -> RidgeHead | None:
        if self.head != "ridge":
            return None
        rng = random_stream(trainer.seed, Use.RIDGE_HEAD, 0)
        sizes = {**self._arguments_for(DSNNetwork), "head": "bins", "topology_init": "random"}
        n_variates, _, n_classes = shape
        untrained = DSNNetwork(
            n_variates, n_classes, **sizes, generator=generator(int(rng.integers(2**31)))
        )
        objective = cast(CrossEntropy, trainer.objective)
        targets = data.targets.cpu()
        weight = torch.ones(len(targets))
        if data.sample_weight is not None:
            weight = data.sample_weight.cpu()
        if objective.class_weight is not None:
            weight = weight * objective.class_weight.cpu()[targets]
        return fit_ridge_head(
            cast(DSNNetwork, trainer.network),
            untrained.to(data.panel.values.device),
            data.panel,
            targets,
            n_classes,
            weight.double().numpy(),
            rng,
        )

    def _build_head(self, n_variates: int, n_steps: int, n_outputs: int) -> RidgeHead | None:
        if self.head != "ridge":
            return None
        shape = n_variates, n_steps, n_outputs
        untrained = self._build_network(*shape, generator=torch.Generator())
        n_features = 2 * 3 * self.n_layers * self.n_filters * self.n_kernel_groups
        return RidgeHead(untrained, np.zeros((n_features, n_outputs)), np.zeros(n_outputs))

    def _recipe(self, n_series: int) -> SparseRecipe:
        numbers = {**self._arguments_for(SparseRecipe), "batch_size": self._batch_size(n_series)}
        return SparseRecipe(**numbers)

    def _remember(self, trained: list[Trained]) -> None:
        super()._remember(trained)
        self.n_activated_ = sum(
            conv.groups.n_activated for conv in self.networks_[0].sparse_convs()
        )
