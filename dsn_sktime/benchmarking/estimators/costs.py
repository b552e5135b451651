"""Parameters and multiply-adds of a classifier's networks, from the shape of the data alone."""

from typing import NamedTuple

import numpy as np
from sktime.classification.base import BaseClassifier

from dsn_sktime.analysis import count_flops, count_parameters


class Costs(NamedTuple):
    """Parameters, and multiply-adds of the logits of one series."""

    n_parameters: int
    multiply_adds: int


def costs(
    classifier: BaseClassifier, n_variates: int, series_length: int, n_classes: int
) -> Costs | None:
    """Count parameters and multiply-adds of all networks of a classifier, without training.

    Of sparse layers the activated weights count, of an OS-CNN those that its kernel sizes
    leave. Return None if the classifier has no torch network.
    """
    shape = (n_variates, series_length, n_classes)
    if hasattr(classifier, "make_network"):
        numbers = range(classifier.n_estimators)
        networks = [classifier.make_network(*shape, number=number) for number in numbers]
        multiply_adds = sum(count_flops(one, series_length).activated for one in networks)
        return Costs(sum(count_parameters(one).activated for one in networks), multiply_adds)
    return _of_sktimes(classifier, *shape) if hasattr(classifier, "num_epochs") else None


def _of_sktimes(classifier: BaseClassifier, m: int, length: int, c: int) -> Costs:
    """Count by torch's own counter what an sktime network does in one prediction."""
    from torch.utils.flop_counter import FlopCounterMode

    # 0 epochs: fit builds the network and leaves it at that.
    fitted = classifier.clone().set_params(num_epochs=0)
    fitted.fit(np.zeros((c, m, length)), np.arange(c))
    with FlopCounterMode(display=False) as counter:
        fitted.predict_proba(np.zeros((1, m, length)))
    n_parameters = sum(parameter.numel() for parameter in fitted.network.parameters())
    return Costs(n_parameters, counter.get_total_flops() // 2)
