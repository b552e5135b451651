"""The classifiers of the benchmark by short name or ``module:factory``, and what they cost."""

import json
import re
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import Any, NamedTuple

import numpy as np
from sktime.classification.base import BaseClassifier

from dsn_sktime.analysis import count_flops, count_parameters

_ROCKET = "dsn_sktime.benchmarking.estimators.rocket:RocketRidge"
_AEON = "dsn_sktime.benchmarking.estimators.rocket:AeonClassifier"
_DSN = "dsn_sktime:DSNClassifier"
_PAPER = f"{_DSN}.paper"
_OSCNN = "dsn_sktime:OSCNNClassifier"
_OTHER = "dsn_sktime.benchmarking.estimators.variants:OtherHead"
_DEEP = "sktime.classification.deep_learning"
_NEIGHBORS = "sktime.classification.distance_based:KNeighborsTimeSeriesClassifier"

# The paper's "without groups": one group as wide as the three.
_NO_GROUPS = {"n_kernel_groups": 1, "n_filters": 141, "n_bottleneck": 47}

# As published: 8 features of each kernel, 50,000 in all.
_MULTIHYDRA = {"name": "MultiRocketHydraClassifier"}
_MULTIROCKET = {"transform": "multirocket", "num_kernels": 6250}
_ALIKE = {"n_estimators": 5, "diverse": False}
_DTW = {"n_neighbors": 1, "distance": "dtw"}


class Entry(NamedTuple):
    """A classifier that the benchmark knows.

    ``path`` is the ``module:factory`` that makes it, ``settings`` its arguments, ``about`` a line
    for the list. Where ``argmax``, ``predict`` is the most probable class: one call gives both.
    """

    path: str
    settings: dict[str, Any] = {}
    about: str = ""
    argmax: bool = True


ESTIMATORS = {
    "dsn": Entry(_DSN, {}, "DSNClassifier with its defaults"),
    "dsn-bins": Entry(_DSN, {"head": "bins"}, "the default recipe with the paper's head"),
    "dsn-paper": Entry(_PAPER, {}, "DSN with the paper's recipe"),
    "dsn-fix": Entry(_PAPER, {"growth": None}, "DSN whose topology is fixed at its start"),
    "dsn-grad": Entry(_PAPER, {"growth": "gradient"}, "DSN that grows by gradient"),
    "dsn-nogroups": Entry(_PAPER, _NO_GROUPS, "DSN with one kernel group as wide as three"),
    "dsn-dense": Entry(_PAPER, {**_NO_GROUPS, "sparsity": 0}, "the dense network of DSN"),
    "dsn-sparsity50": Entry(_PAPER, {"sparsity": 0.5}, "DSN with 50 % sparsity"),
    "dsn-sparsity90": Entry(_PAPER, {"sparsity": 0.9}, "DSN with 90 % sparsity"),
    "dsn-3layers": Entry(_PAPER, {"n_layers": 3}, "DSN with 3 layers"),
    "dsn-5layers": Entry(_PAPER, {"n_layers": 5}, "DSN with 5 layers"),
    "dsn-59filters": Entry(_PAPER, {"n_filters": 59}, "DSN with 177 channels a layer"),
    "dsn-25epochs": Entry(_DSN, {"n_epochs": 25}, "the default recipe with 25 epochs"),
    "dsn-100epochs": Entry(_DSN, {"n_epochs": 100}, "the default recipe with 100 epochs"),
    "dsn-last": Entry(_DSN, {"keep": "last"}, "the default recipe with the last weights"),
    "dsn-smoothing": Entry(_DSN, {"label_smoothing": 0.1}, "the default, labels smoothed by 0.1"),
    "dsn-decay": Entry(_DSN, {"weight_decay": 0.1}, "the default with weight decay 0.1"),
    "dsn-zeros": Entry(_DSN, {"padding": "zeros"}, "the default with zeros padding"),
    "dsn-random": Entry(_DSN, {"topology_init": "random"}, "the default from a random topology"),
    "dsn-lr1e-3": Entry(_DSN, {"lr": 1e-3}, "the default with a lower learning rate"),
    "dsn-lr1e-2": Entry(_DSN, {"lr": 1e-2}, "the default with a higher learning rate"),
    "dsn-batch": Entry(_DSN, {"batch_size": "paper"}, "the default with the paper's batch size"),
    "dsn-linear": Entry(_DSN, {"head": "linear"}, "the default with a linear head"),
    "dsn-own": Entry(_OTHER, {"reading": "own"}, "the default, by its own head"),
    "dsn-ridge": Entry(_OTHER, {"reading": "ridge"}, "the default, by trained features"),
    "dsn-untrained": Entry(_OTHER, {"reading": "untrained"}, "the default, by untrained features"),
    "dsn-one-ridge": Entry(_OTHER, {"reading": "one_ridge"}, "the default, by one ridge of both"),
    "dsn-probabilities": Entry(_OTHER, {"reading": "probabilities"}, "by mean probabilities"),
    "dsn-logistic": Entry(_OTHER, {"reading": "logistic"}, "the default, by logistic regression"),
    "dsn-ens5": Entry(_DSN, {"n_estimators": 5}, "five DSNs that differ in settings, averaged"),
    "dsn-ens5-alike": Entry(_DSN, _ALIKE, "five DSNs that differ in seeds only, averaged"),
    "oscnn": Entry(_OSCNN, {}, "Omni-Scale CNN"),
    "oscnn-ens5": Entry(_OSCNN, {"n_estimators": 5}, "five OS-CNNs, averaged"),
    "rocket": Entry(_ROCKET, {"transform": "rocket"}, "ROCKET, 10,000 kernels"),
    "minirocket": Entry(_ROCKET, {"transform": "minirocket"}, "MiniROCKET"),
    "multirocket": Entry(_ROCKET, _MULTIROCKET, "MultiROCKET, 6,250 kernels"),
    "hydra": Entry(_AEON, {"name": "HydraClassifier"}, "Hydra, of aeon"),
    "multirocket-hydra": Entry(_AEON, _MULTIHYDRA, "MultiROCKET-Hydra, of aeon"),
    "inceptiontime": Entry(f"{_DEEP}:InceptionTimeClassifierTorch", {}, "one InceptionTime"),
    "resnet": Entry(f"{_DEEP}:ResNetClassifierTorch", {}, "ResNet"),
    "fcn": Entry(f"{_DEEP}:FCNClassifierTorch", {}, "fully convolutional network"),
    "1nn-dtw": Entry(_NEIGHBORS, _DTW, "one nearest neighbor by dynamic time warping, full window"),
}


def entry(name: str) -> Entry:
    """Return the entry of a short name, or one made for ``module:factory``; ValueError if none."""
    if name in ESTIMATORS:
        return ESTIMATORS[name]
    if ":" in name:
        return Entry(name, argmax=False)
    meant = "".join(f" Did you mean {one!r}?" for one in get_close_matches(name, ESTIMATORS, n=1))
    known = f"Known are {', '.join(ESTIMATORS)}, and any classifier as module:factory."
    raise ValueError(f"unknown estimator {name!r}.{meant} {known}")


def make(name: str, seed: int, n_jobs: int = 1, n_epochs: int | None = None) -> BaseClassifier:
    """Make a classifier of a short name or ``module:factory``, which takes no arguments.

    The seed is the ``random_state`` of the classifier and of its parts; ``n_jobs`` and, unless
    None, ``n_epochs`` are set where it has them. Raise ValueError if the name is unknown or does
    not make a classifier of sktime.
    """
    known = entry(name)
    try:
        classifier = resolve_name(known.path)(**known.settings)
    except Exception as error:  # whatever a module of someone else raises
        reason = f"estimator {name!r} cannot be made ({type(error).__name__}: {error})"
        hint = "A module:factory must be importable and take no arguments."
        raise ValueError(f"{reason}. {hint}") from error
    if not isinstance(classifier, BaseClassifier):
        found = f"found {type(classifier).__name__}. Wrap a scikit-learn one in an sktime pipeline"
        raise ValueError(f"estimator {name!r} must make an sktime classifier, {found}.")
    own = classifier.get_params(deep=False)
    wanted = {"n_jobs": n_jobs, "n_epochs": n_epochs, "num_epochs": n_epochs}
    wanted = {name: value for name, value in wanted.items() if name in own and value is not None}
    # Not sktime's set_random_state, which draws the same for the parts whatever the seed.
    seeded = [name for name in classifier.get_params() if name.split("__")[-1] == "random_state"]
    return classifier.set_params(**wanted, **dict.fromkeys(seeded, seed))


def n_epochs_of(parameters: dict[str, Any]) -> int | None:
    """Return the training epochs that a network is set to, None for other classifiers."""
    n_epochs = parameters.get("n_epochs", parameters.get("num_epochs"))
    return int(n_epochs) if isinstance(n_epochs, int | np.integer) else None


def parameters_json(classifier: BaseClassifier) -> str:
    """Return all parameters as JSON with sorted keys, the same in each process.

    What JSON has no form for is named by class and parameters, or its ``repr`` without addresses.
    """
    return json.dumps(_keyed(classifier.get_params(deep=False)), sort_keys=True, default=_plain)


def _keyed(value: Any) -> Any:
    """Return nested dicts with keys of text, which JSON sorts."""
    if isinstance(value, dict):
        return {str(key): _keyed(one) for key, one in value.items()}
    return [_keyed(one) for one in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if hasattr(value, "get_params") and not isinstance(value, type):
        return _keyed({"class": type(value), **value.get_params(deep=False)})
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}:{value.__qualname__}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def costs(
    classifier: BaseClassifier, n_variates: int, series_length: int, n_classes: int
) -> dict[str, int]:
    """Count "n_parameters" and "multiply_adds" per series of all networks, without training.

    Of sparse layers the activated weights count, of an OS-CNN those that its kernel sizes
    leave. The dict is empty if the classifier has no torch network.
    """
    shape = (n_variates, series_length, n_classes)
    if hasattr(classifier, "make_network"):
        numbers = range(classifier.n_estimators)
        networks = [classifier.make_network(*shape, number=number) for number in numbers]
        n_parameters = sum(count_parameters(one).activated for one in networks)
        multiply_adds = sum(count_flops(one, series_length).activated for one in networks)
        return {"n_parameters": n_parameters, "multiply_adds": multiply_adds}
    return _costs_of_sktimes(classifier, *shape) if hasattr(classifier, "num_epochs") else {}


def _costs_of_sktimes(classifier: BaseClassifier, m: int, length: int, c: int) -> dict[str, int]:
    """Count by torch's own counter what an sktime network does in one prediction."""
    from torch.utils.flop_counter import FlopCounterMode

    # 0 epochs: fit builds the network and leaves it at that.
    fitted = classifier.clone().set_params(num_epochs=0)
    fitted.fit(np.zeros((c, m, length)), np.arange(c))
    with FlopCounterMode(display=False) as counter:
        fitted.predict_proba(np.zeros((1, m, length)))
    n_parameters = sum(parameter.numel() for parameter in fitted.network.parameters())
    return {"n_parameters": n_parameters, "multiply_adds": counter.get_total_flops() // 2}
