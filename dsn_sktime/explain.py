"""Explanations: how much each time step of a series supports each class."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsn_sktime.estimators import DSNClassifier
from dsn_sktime.estimators.fitted import check_trained
from dsn_sktime.estimators.ridge_head import RidgeHead
from dsn_sktime.layers import ClassHead, LinearHead, PointwiseConv1d, SparseModule
from dsn_sktime.layers.pooling import pool_features
from dsn_sktime.network import DSNNetwork
from dsn_sktime.panel import Panel, Standardization
from dsn_sktime.runtime import compute_threads, default_switches, n_threads

__all__ = ["baseline", "check_explainable", "contributions"]

# Values of a layer's activations, times classes or variates, in a batch: 64 MiB in float64.
_VALUES_PER_BATCH = 2**23
# What a kernel reads shares its relevance in proportion to this power of weight times value. With
# the square, the many small values of noise get more of it; above 4, little changes.
_POWER = 4
# Standard deviations from a reference channel's mean to its maximum, before the ReLU: less than the
# maximum of any longer series, so that the maximum of a pattern counts as such.
_REFERENCE_MAX = 1.5


class LinearForm(NamedTuple):
    """Logits as a linear form of the statistics of a network's activations."""

    network: DSNNetwork
    # Of mean, maximum and share of positive values of the channels of all layers, (C, 3, c).
    coef: Tensor
    # Bins that the mean is an average of; 1 is the plain mean.
    n_pool: int = 1
    # Variates that the network reads.
    variates: slice = slice(None)


@default_switches()
def contributions(classifier: DSNClassifier, X: Any) -> np.ndarray:
    """Compute how much each time step of each variate supports each class.

    The logits are linear in pooled activations. The difference of each pooled value from a
    reference is split exactly over the time steps that it comes from. Each step's part is
    propagated back, layer by layer, to the steps that the activated taps read, in proportion to
    the fourth powers of weight times value (layer-wise relevance propagation [1]_); at the first
    layer to the variates before their steps.

    Nothing is lost on the way: ``contributions(classifier, X).sum((2, 3)) +
    baseline(classifier)`` are the logits, and their softmax is ``classifier.predict_proba(X)``.
    For an ensemble they are the means of the networks' logits, while ``predict_proba`` averages
    probabilities.

    The reference is an average series of the training, but with lower maxima. Its activations are
    normally distributed before the ReLU: the mean is BatchNorm's bias, the standard deviation its
    weight, and the maximum lies 1.5 standard deviations above the mean. DeepLIFT [2]_ explains
    differences from a reference in every layer; here only the pooled values have one.

    Parameters
    ----------
    classifier : DSNClassifier
        Fitted.
    X : array of shape (n, m, L) or any other container of series
        As in ``classifier.predict``.

    Returns
    -------
    float64 array of shape (n, c, m, L)
        In units of the logits; positive values support a class, negative ones contradict it.
        Classes in the order of ``classifier.classes_``, variates in that of the training series.
        0 after the end of a series that is shorter than the longest, L. A missing value is read
        as the mean of its variate and gets no contribution, unless all that a kernel reads is 0,
        as in a long gap. The last step stands for the padding by its value.

    Raises
    ------
    TypeError
        If the classifier is not a DSN, or has layers or a head of an unknown kind.
    NotFittedError
        If the classifier has no trained network.
    ValueError
        If ``X`` is invalid.

    References
    ----------
    .. [1] S. Bach, A. Binder, G. Montavon, F. Klauschen, K.-R. Müller and W. Samek, "On
       Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance
       Propagation", PLoS ONE 10(7), 2015.
    .. [2] A. Shrikumar, P. Greenside and A. Kundaje, "Learning Important Features Through
       Propagating Activation Differences", ICML 2017.

    Examples
    --------
    >>> from dsn_sktime import DSNClassifier
    >>> from dsn_sktime.explain import contributions
    >>> from sktime.datasets import load_unit_test
    >>> X, y = load_unit_test("train", return_type="numpy3D")
    >>> classifier = DSNClassifier(n_epochs=2, n_layers=2, n_filters=4, random_state=0).fit(X, y)
    >>> contributions(classifier, X).shape
    (20, 2, 1, 24)
    """
    forms, _ = _linear_forms(classifier)
    raw = classifier._check_convert_X_for_predict(X)
    panel = Panel.from_raw(raw, Standardization(classifier.mean_, classifier.scale_))
    n, n_variates, n_steps = panel.values.shape
    found = np.zeros((n, classifier.n_classes_, n_variates, n_steps))
    with compute_threads(n_threads(classifier.n_jobs)), torch.no_grad():
        for form in forms:
            # Relevance has an axis of classes; the first layer's terms have one of variates.
            n_each = max(classifier.n_classes_, form.network.n_variates)
            n_values = n_steps * n_each * max(_widths(form.network))
            size = max(1, _VALUES_PER_BATCH // n_values)
            for start, chunk in zip(range(0, n, size), panel.chunks(size), strict=True):
                part = _form_contributions(form, chunk).cpu().numpy()
                rows = slice(start, start + len(chunk))
                found[rows, :, form.variates, : part.shape[3]] += part
    return found


@default_switches()
def baseline(classifier: DSNClassifier) -> np.ndarray:
    """Return the logits of the reference, to which the contributions of a series are added.

    Parameters
    ----------
    classifier : DSNClassifier
        Fitted.

    Returns
    -------
    float64 array of shape (c,)

    Raises
    ------
    TypeError, NotFittedError
        As :func:`contributions`.
    """
    forms, found = _linear_forms(classifier)
    with compute_threads(n_threads(classifier.n_jobs)):
        for form in forms:
            found += torch.einsum("ks,ksc->c", _reference(form.network).cpu(), form.coef)
    return found.numpy()


def check_explainable(classifier: Any) -> None:
    """Raise TypeError unless it is a DSNClassifier, NotFittedError unless it is trained."""
    if not isinstance(classifier, DSNClassifier):
        raise TypeError(
            "only the logits of a DSNClassifier can be explained, found "
            f"{type(classifier).__name__}."
        )
    check_trained(classifier)


def _linear_forms(classifier: DSNClassifier) -> tuple[list[LinearForm], Tensor]:
    """Return forms whose sum and biases, of shape (c,), are the mean of the networks' logits."""
    check_explainable(classifier)
    forms, biases = [], torch.zeros(classifier.n_classes_, dtype=torch.float64)
    for network, head in zip(classifier.networks_, classifier.heads_, strict=True):
        own_forms, bias = _network_forms(network, head)
        n = len(classifier.networks_)
        forms += [form._replace(coef=form.coef / n) for form in own_forms]
        biases += bias / n
    return forms, biases


def _network_forms(network: DSNNetwork, head: nn.Module | None) -> tuple[list[LinearForm], Tensor]:
    for layer in network.layers:
        norm = getattr(layer, "norm", None)
        if not (isinstance(layer, SparseModule) and isinstance(norm, nn.BatchNorm1d)):
            raise TypeError(
                "only networks of SparseModule layers with BatchNorm can be explained, found "
                f"{layer!r}."
            )
    n_channels = sum(_widths(network))
    weight, bias = _own_head_weights(network.head)
    coef = torch.zeros(n_channels, 3, len(bias), dtype=torch.float64)
    coef[-len(weight) :, 0] = weight
    if head is None:
        return [LinearForm(network, coef, network.n_pool)], bias
    if not isinstance(head, RidgeHead):
        raise TypeError(
            f"only heads that are linear in pooled features can be explained, found {head!r}."
        )
    head.match_backend(network)
    coefs = head.coef.detach().cpu().unflatten(0, (-1, 3)) / 3
    forms = [LinearForm(network, coef / 3 + coefs[:n_channels])]
    untrained = cast("list[DSNNetwork]", head.networks)
    parts = coefs[n_channels:].split([sum(_widths(one)) for one in untrained])
    first = 0
    for one, part in zip(untrained, parts, strict=True):
        forms.append(LinearForm(one, part, variates=slice(first, first + one.n_variates)))
        first += one.n_variates
    return forms, (bias + head.intercept.detach().cpu()) / 3


def _widths(network: DSNNetwork) -> list[int]:
    """Return the output channels of each layer."""
    return [conv.groups.out_channels for conv in network.sparse_convs()]


def _own_head_weights(head: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight (C, c) and bias (c,) of a head on the average of its bins."""
    head = copy.deepcopy(head).double().cpu()
    if isinstance(head, LinearHead):
        return head.linear.weight.detach().T, head.linear.bias.detach()
    if isinstance(head, ClassHead):
        norm = head.norm
        scale = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
        weight = head.classes.weight.detach() * scale[:, None]
        return weight.T, norm.bias.detach() - scale * norm.running_mean
    raise TypeError(
        "only heads that are linear in pooled features can be explained, found "
        f"{type(head).__name__}. Fit with head='ridge', 'bins' or 'linear'."
    )


def _form_contributions(form: LinearForm, panel: Panel) -> Tensor:
    """Return the contributions of a linear form's parts: (B, c, m, L)."""
    network = form.network
    panel = panel.to(next(network.parameters()).device)
    x, lengths = panel.values[:, form.variates], panel.lengths
    widths = _widths(network)
    activations = network.features(x, lengths, layers="all", pool=None).split(widths, 1)
    coefs = form.coef.to(x.device).split(widths)
    references = _reference(network).split(widths)
    weights = _step_weights(panel, form.n_pool)
    relevance = torch.zeros((), device=x.device)
    for place, layer in reversed(list(enumerate(network.sparse_modules()))):
        statistics = activations[place].double(), references[place], weights, coefs[place]
        relevance = relevance + _split_statistics(*statistics)
        if place > 0:
            relevance = _to_inputs(layer, activations[place - 1], relevance, lengths)
    return _to_variates(network.sparse_modules()[0], x, relevance, lengths).transpose(0, 1)


def _step_weights(panel: Panel, n_pool: int) -> Tensor:
    """Return the weight of each time step in the average of the bins: (B, 1, L)."""
    with torch.enable_grad():
        steps = torch.zeros_like(panel.values[:, :1], dtype=torch.float64, requires_grad=True)
        average = pool_features(steps, n_pool, panel.lengths).mean(2).sum()
    return torch.autograd.grad(average, steps)[0]


def _reference(network: DSNNetwork) -> Tensor:
    """Return mean, maximum and share of positive values of reference activations: (C, 3)."""
    norms = [cast(nn.BatchNorm1d, layer.norm) for layer in network.layers]
    mean = torch.cat([norm.bias.detach() for norm in norms]).double()
    deviation = torch.cat([norm.weight.detach() for norm in norms]).double().abs()
    deviation = deviation.clamp(min=1e-12)  # A channel of weight 0 is constant.
    positive = torch.special.ndtr(mean / deviation)
    density = torch.exp(-0.5 * (mean / deviation) ** 2) / math.sqrt(2 * math.pi)
    rectified = mean * positive + deviation * density
    return torch.stack([rectified, (mean + _REFERENCE_MAX * deviation).relu(), positive], 1)


def _split_statistics(
    activations: Tensor, reference: Tensor, weights: Tensor, coef: Tensor
) -> Tensor:
    """Split a linear form of one layer's statistics over channels and steps: (c, B, C, L).

    Channels that support and contradict a class at the same step cancel: their sum is
    divided among them in proportion to the squares.
    """
    mean, maximum, share = reference.T[:, None, :, None]
    largest = activations.amax(2, keepdim=True)
    # Several where a channel is nowhere positive; the first alone would stand out.
    steps_of_largest = ((activations == largest) & (weights > 0)).double()
    parts = (
        (activations - mean) * weights,
        (largest - maximum) * steps_of_largest / steps_of_largest.sum(2, keepdim=True),
        ((activations > 0).double() - share) * weights,
    )
    pairs = zip(parts, coef.permute(1, 2, 0), strict=True)
    found = cast(Tensor, sum(part * one[:, None, :, None] for part, one in pairs))
    squares = found.square()
    total = squares.sum(2, keepdim=True)
    return found.sum(2, keepdim=True) * (squares / total).masked_fill(total == 0, 0)


def _to_inputs(
    layer: SparseModule, inputs: Tensor, relevance: Tensor, lengths: Tensor | None
) -> Tensor:
    """Propagate relevance of a layer's outputs (c, B, C, L) back to its inputs (c, B, C_in, L)."""
    conv = copy.deepcopy(layer.conv).double()
    bottleneck = cast(PointwiseConv1d, copy.deepcopy(layer.bottleneck)).double()
    conv.backend = "dense"
    conv.values.pow_(_POWER)
    raised = partial(conv, lengths=lengths)
    relevance = _propagate(relevance, raised, bottleneck(inputs.double()))
    bottleneck.weight.pow_(_POWER)
    return _propagate(relevance, bottleneck, inputs)


def _to_variates(
    layer: SparseModule, x: Tensor, relevance: Tensor, lengths: Tensor | None
) -> Tensor:
    """Propagate relevance of the first layer's outputs (c, B, C, L) to the series (c, B, m, L).

    First to the variates, in proportion to a power of what each adds to the convolution: a
    pattern that a kernel matches adds more than noise of the same power.
    """
    conv, kernels = layer.conv, _kernels_of_variates(layer)

    def convolve(kernel: Tensor, one: Tensor) -> Tensor:
        return F.conv1d(conv.pad(one, lengths), kernel)

    pairs = [*zip(kernels.split(1, 1), x.double().split(1, 1), strict=True)]
    added = [convolve(*pair).pow(_POWER) for pair in pairs]
    total = cast(Tensor, sum(added))
    found = []
    for (kernel, one), part in zip(pairs, added, strict=True):
        fraction = torch.where(total == 0, 1 / len(pairs), part / total)
        raised = partial(convolve, kernel.pow(_POWER))
        found.append(_propagate(relevance * fraction, raised, one))
    return torch.cat(found, 2)


def _kernels_of_variates(layer: SparseModule) -> Tensor:
    """Return a layer without BatchNorm and ReLU as dense kernels, (C_out, m, k)."""
    conv = layer.conv
    kernels = torch.zeros(conv.groups.shape, dtype=torch.float64, device=conv.values.device)
    kernels.view(-1)[conv.index.long()] = conv.values.double()
    if layer.bottleneck is None:
        return kernels
    return torch.einsum("kjt,jv->kvt", kernels, layer.bottleneck.weight.double())


def _propagate(relevance: Tensor, raised: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Divide relevance among the inputs in proportion to a power of weight times value.

    ``raised`` is the linear function with weights of that power. What reads zeros only leaves its
    relevance at its time step.
    """
    with torch.enable_grad():
        powers = inputs.double().pow(_POWER).requires_grad_()
        total = raised(powers)
    is_zero = total == 0
    ratio = (relevance / total).masked_fill(is_zero, 0)
    gradients = [torch.autograd.grad(total, powers, one, retain_graph=True)[0] for one in ratio]
    left = relevance.where(is_zero, 0).sum(2, keepdim=True) / inputs.shape[1]
    return torch.stack(gradients) * powers.detach() + left
