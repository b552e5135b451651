"""Cross-entropy with weights of classes and of series, and squared errors."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from dsn_sktime.training import CrossEntropy, SquaredError


def naive_loss(logits, target, class_weight, sample_weight, smoothing):
    """Weighted mean over the series of the cross-entropy with smoothed targets."""
    total = weights = 0.0
    n_classes = len(logits[0])
    for series, own in enumerate(target):
        log_sum = math.log(sum(math.exp(logit) for logit in logits[series]))
        for label in range(n_classes):
            share = smoothing / n_classes + (1 - smoothing) * (label == own)
            # As in torch, a smoothed share has the weight of the class that it falls on.
            weight = class_weight[label] * sample_weight[series]
            total += weight * share * (log_sum - logits[series][label])
        weights += class_weight[own] * sample_weight[series]
    return total / weights


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("class_weight", [None, [1.0, 5.0, 0.25]])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 9))
def test_loss_is_the_weighted_mean(seed, n, class_weight, smoothing):
    rng = np.random.default_rng(seed)
    logits, target = rng.normal(size=(n, 3)), rng.integers(0, 3, n)
    weight = rng.uniform(0, 3, n)
    tensors = [torch.from_numpy(array) for array in (logits, target, weight)]
    of_class = None if class_weight is None else torch.tensor(class_weight).double()
    objective = CrossEntropy(of_class, smoothing)
    found = objective.loss(*tensors).item()
    of_class = class_weight or [1.0] * 3
    assert found == pytest.approx(naive_loss(logits, target, of_class, weight, smoothing))
    unweighted = objective.loss(*tensors[:2], None).item()
    assert unweighted == pytest.approx(naive_loss(logits, target, of_class, [1] * n, smoothing))
    # Only the ratios of the weights count.
    assert objective.loss(*tensors[:2], tensors[2] * 7).item() == pytest.approx(found)


def test_an_integer_weight_is_as_good_as_so_many_copies(rng):
    logits, target = torch.from_numpy(rng.normal(size=(4, 3))), torch.tensor([0, 2, 1, 1])
    copies = torch.tensor([1, 3, 0, 2])
    repeated = logits.repeat_interleave(copies, 0), target.repeat_interleave(copies)
    objective = CrossEntropy(torch.tensor([1.0, 2.0, 0.5]).double(), 0.1)
    weighted = objective.loss(logits, target, copies.double())
    assert weighted.item() == pytest.approx(objective.loss(*repeated, None).item())


def test_without_weights_it_is_torchs(rng):
    logits, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(CrossEntropy().loss(logits, target, None), F.cross_entropy(logits, target))


def test_a_batch_without_weight_has_no_loss_and_no_gradient():
    logits = torch.randn(3, 2, requires_grad=True)
    loss = CrossEntropy().loss(logits, torch.tensor([0, 1, 1]), torch.zeros(3))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("value", [-0.1, 1, math.nan, "0.1", None, pd.NA, np.zeros(2)], ids=repr)
def test_label_smoothing_is_a_share(value):
    words = r"^label_smoothing must be a number in \[0, 1\), found .*\.$"
    with pytest.raises((TypeError, ValueError), match=words):
        CrossEntropy(label_smoothing=value)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 9))
def test_squared_error_is_the_weighted_mean(seed, n):
    rng = np.random.default_rng(seed)
    outputs, target, weight = rng.normal(size=n), rng.normal(size=n), rng.uniform(0.1, 3, n)
    tensors = [torch.from_numpy(array) for array in (outputs[:, None], target, weight)]
    errors = [(one - other) ** 2 for one, other in zip(outputs, target, strict=True)]
    expected = sum(w * error for w, error in zip(weight, errors, strict=True)) / sum(weight)
    assert SquaredError().loss(*tensors).item() == pytest.approx(expected)
    assert SquaredError().loss(*tensors[:2], None).item() == pytest.approx(sum(errors) / n)


def test_squared_errors_without_weight_are_no_loss():
    outputs = torch.randn(3, 1, requires_grad=True)
    loss = SquaredError().loss(outputs, torch.zeros(3), torch.zeros(3))
    loss.backward()
    assert loss.item() == 0
    assert not outputs.grad.any()
