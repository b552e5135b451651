"""Checks of a saved training run, made before any of it is used."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from dsn_sktime.training.checks import brief_repr

# Compiled code looks up tables by the steps, and counts on from here in int32.
_MOST_STEPS = 2**30


def check_run_state(
    found: Any, expected: dict[str, Any], network: nn.Module, n_epochs: int, figures: Sequence[str]
) -> None:
    """Raise ValueError unless a state is one that a run of this kind can have.

    ``expected`` is the state of a run with the same network, which is left as it is, and the
    same recipe; ``figures`` are the names of what the history records of each epoch.
    """
    _require(isinstance(found, dict) and found.keys() == expected.keys(), "entries", "others")
    seed, finished = found["seed"], found["finished"]
    _require(_is_integer(seed) and seed >= 0, "seed", brief_repr(seed))
    _require(isinstance(finished, bool), "finished", brief_repr(finished))
    _check_history(found["history"], figures, n_epochs)
    n_done, best_epoch = len(found["history"]), found["best_epoch"]
    is_known = _is_integer(best_epoch) and min(n_done, 1) <= best_epoch + 1 <= n_done
    _require(is_known, "best_epoch", brief_repr(best_epoch))
    of_network: dict[str, Tensor] = expected["network"]
    _check_tensors("network", found["network"], of_network)
    _check_tensors("best_state", found["best_state"], of_network if n_done else {})
    _check_nested("followers", found["followers"], expected["followers"])
    _check_topology(network, found["network"], found["best_state"])


def _require(holds: bool, entry: str, found: str) -> None:
    if not holds:
        raise ValueError(f"its {entry} does not match this training run, found {found}")


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check_history(history: Any, figures: Sequence[str], n_epochs: int) -> None:
    is_list = isinstance(history, list) and len(history) <= n_epochs
    _require(is_list, "history", f"no list of at most {n_epochs} records")
    for epoch, record in enumerate(history):
        needed = {"epoch", *figures, "lr", "seconds"}
        is_full = isinstance(record, dict) and needed <= record.keys()
        is_full = is_full and all(isinstance(number, Real) for number in record.values())
        _require(is_full and record["epoch"] == epoch, "history", brief_repr(record))


def _check_nested(name: str, found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        _check_tensors(name, found, expected)
        return
    is_alike = isinstance(found, list) and len(found) == len(expected)
    _require(is_alike, name, "another number of parameters")
    for inner, other in zip(found, expected, strict=True):
        _check_nested(name, inner, other)


def _check_tensors(name: str, found: Any, expected: dict[str, Tensor]) -> None:
    is_alike = isinstance(found, dict) and found.keys() == expected.keys()
    _require(is_alike, name, "tensors of other names")
    for key, tensor in expected.items():
        other, entry = found[key], f"{name}[{key!r}]"
        _require(isinstance(other, Tensor), entry, f"{type(other).__name__}")
        is_alike = other.shape == tensor.shape and other.dtype == tensor.dtype
        is_alike = is_alike and other.layout == tensor.layout
        _require(is_alike, entry, f"{other.dtype} of shape {tuple(other.shape)}")
        _require(bool(torch.isfinite(other).all()), entry, "values that are not finite")
        if key == "step":
            wrong = (other < 0) | (other > _MOST_STEPS)
            _require(not bool(wrong.any()), entry, "values out of range")


def _check_topology(network: nn.Module, *states: dict[str, Tensor]) -> None:
    """Load into a copy: a layer refuses an index that is not a topology of its kernel groups."""
    trial = copy.deepcopy(network)
    for state in filter(None, states):
        try:
            trial.load_state_dict(state)
        except RuntimeError:
            _require(False, "network", "weights at other positions than its layers allow")
