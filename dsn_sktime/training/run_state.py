"""Checks of a saved training run, made before any of it is used."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from dsn_sktime.training.checks import brief_repr
from dsn_sktime.training.recipe import Recipe

_NOT_NEGATIVE = ("step", "exp_avg_sq", "running_var", "num_batches_tracked")
# Of a history; compared, not converted: an integer may be beyond all floats.
_MAX_VALUE = 1e300
# Compiled code counts on from here in int32.
_MAX_STEPS = 2**30


def check_run_state(
    found: Any, expected: dict[str, Any], network: nn.Module, recipe: Recipe, figures: Sequence[str]
) -> None:
    """Raise ValueError unless a state is one that a run of this kind can have.

    ``expected`` is the state of a run with the same network, which is left as it is, and the
    same recipe; ``figures`` are the names of what the history records of each epoch: loss and
    metric, those of the validation set with the prefix "val_", and "progress".
    """
    _require(isinstance(found, dict) and found.keys() == expected.keys(), "entries", "others")
    seed, finished = found["seed"], found["finished"]
    _require(_is_integer(seed) and seed >= 0, "seed", brief_repr(seed))
    _check_history(found["history"], figures, recipe.n_epochs)
    kept_by = "val_loss" if "val_loss" in figures else "loss"
    losses = [record[kept_by] for record in found["history"]]
    is_time_up = bool(losses) and found["history"][-1].get("progress", 0) == 1
    is_complete = len(losses) == recipe.n_epochs or is_time_up
    is_known = finished is True or (finished is False and not is_complete)
    _require(is_known, "finished", brief_repr(finished))
    kept = _kept_epoch(losses, recipe.keep)
    best_epoch = found["best_epoch"]
    _require(_is_integer(best_epoch) and best_epoch == kept, "best_epoch", brief_repr(best_epoch))
    tensors: dict[str, Tensor] = expected["network"]
    _check_tensors("network", found["network"], tensors)
    _check_tensors("best_state", found["best_state"], tensors if losses else {})
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
        _require(isinstance(record, dict), "history", brief_repr(record))
        is_full = {"epoch", *figures, "lr", "seconds"} <= record.keys()
        _require(is_full, "history", brief_repr(record))
        for name, number in record.items():
            is_number = isinstance(number, Real) and not isinstance(number, bool)
            is_metric = name in figures and not name.endswith(("loss", "progress"))
            holds = is_number and abs(number) < _MAX_VALUE and (number >= 0 or is_metric)
            holds = holds and (number <= 1 or name != "progress")
            _require(isinstance(name, str) and holds, "history", f"{name}={brief_repr(number)}")
        is_next = _is_integer(record["epoch"]) and record["epoch"] == epoch
        _require(is_next, "history", f"epoch={brief_repr(record['epoch'])}")


def _kept_epoch(losses: list[float], keep: str) -> int:
    last = len(losses) - 1
    return last - losses[::-1].index(min(losses)) if losses and keep == "best" else last


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
        if key.endswith(_NOT_NEGATIVE):
            _require(not bool((other < 0).any()), entry, "negative values")
        if key == "step":
            _require(not bool((other > _MAX_STEPS).any()), entry, "values that are too large")


def _check_topology(network: nn.Module, *states: dict[str, Tensor]) -> None:
    """Load into a copy: a layer refuses an index that is not a topology of its kernel groups."""
    trial = copy.deepcopy(network)
    for state in filter(None, states):
        try:
            trial.load_state_dict(state)
        except RuntimeError:
            _require(False, "network", "weights at other positions than its layers allow")
