"""Files of fitted estimators: arrays and JSON, from which no code is executed.

A file is a ``.npz`` of numpy with an entry ``json``: parameters, fitted attributes and what is
needed to build the networks. Arrays in these, and the networks' tensors, are entries of their own.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from dsn_sktime._version import __version__
from dsn_sktime.training.checkpoint import write_atomically

if TYPE_CHECKING:
    from dsn_sktime.estimators.network_estimator import NetworkEstimator

# Increased when files change so that an earlier version of the package misreads them.
_FORMAT = 2
_MODULES = ("network_", "networks_", "heads_")


def save_estimator(estimator: NetworkEstimator, path: str | Path) -> None:
    """Write a fitted estimator to a file; see :meth:`NetworkEstimator.to_file`."""
    estimator.check_is_fitted()
    arrays: dict[str, np.ndarray] = {}
    try:
        content = {
            "format": _format_of(estimator),
            "class": type(estimator).__name__,
            "version": __version__,
            "parameters": _encode_all(_parameters(estimator), arrays),
            "fitted": _encode_all(_fitted(estimator), arrays),
            **_modules_of(estimator, arrays),
        }
    except _NotStorableError as error:
        raise TypeError(
            f"this {type(estimator).__name__} cannot be written to a file: {error}. Pickle it "
            "instead."
        ) from None
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(content).encode(), dtype=np.uint8)
    np.savez_compressed(buffer, json=text, **arrays)  # type: ignore[arg-type]
    write_atomically(Path(path), buffer.getbuffer())


def load_estimator(cls: type[NetworkEstimator], path: str | Path) -> Any:
    """Read what :func:`save_estimator` wrote; see :meth:`NetworkEstimator.from_file`."""
    content, arrays = _read(path)
    found, version = content["class"], content["version"]
    if content["format"] > _FORMAT:
        raise _refusal(
            path, f"dsn_sktime {version} wrote it, this is {__version__}. Update dsn_sktime"
        )
    if found != cls.__name__:
        raise _refusal(path, f"it holds a {found}, not a {cls.__name__}. Use {found}.from_file")
    unknown = sorted(set(content.get("parameters", ())) - set(cls.get_param_names()))
    if unknown:
        what = (
            f"dsn_sktime {version} wrote it, with {', '.join(unknown)}, which {__version__} lacks"
        )
        raise _refusal(path, f"{what}. Update dsn_sktime")
    try:
        estimator = cls(**_decode_all(content["parameters"], arrays))
        fitted = _decode_all(content["fitted"], arrays)
        if content["shape"] is not None:
            fitted |= _build_modules(estimator, content, arrays)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = f"its entries do not fit together ({error!r})"
        raise _refusal(path, f"{reason}. Write it again") from None
    estimator._restore(fitted)
    return estimator


class _NotStorableError(Exception):
    """Raised with what cannot be stored, and why."""


def _refusal(path: str | Path, reason: str) -> ValueError:
    return ValueError(f"{str(path)!r} cannot be loaded: {reason}.")


def _format_of(estimator: NetworkEstimator) -> int:
    # Networks that were loaded from an earlier format are saved in that format.
    return getattr(estimator, "_file_format", _FORMAT)


def _parameters(estimator: NetworkEstimator) -> dict[str, Any]:
    device = str(estimator.device)  # It may be a torch.device.
    settings = {**estimator._settings(), "callbacks": None, "device": device}
    if isinstance(settings["random_state"], np.random.RandomState):
        settings["random_state"] = None
    return settings


def _fitted(estimator: NetworkEstimator) -> dict[str, Any]:
    """Return the fitted attributes, which end in an underscore, without the networks."""
    names = [name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")]
    return {name: getattr(estimator, name) for name in names if name not in _MODULES}


def _modules_of(estimator: NetworkEstimator, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what the networks are built from, and add their tensors to the arrays."""
    if not hasattr(estimator, "networks_"):
        return {"shape": None}
    shape = estimator._network_shape
    numbers = estimator._network_numbers
    for place, modules in enumerate(zip(estimator.networks_, estimator.heads_, strict=True)):
        built = _new_modules(estimator, shape, numbers[place], _format_of(estimator))
        for name, module, new in zip(("networks_", "heads_"), modules, built, strict=True):
            _check_rebuilt(f"{name}[{place}]", module, new)
            if module is not None:
                for key, tensor in module.state_dict().items():
                    arrays[f"{name}[{place}].{key}"] = tensor.cpu().numpy()
    backends = [network.backend for network in estimator.networks_]
    return {"shape": shape, "backends": backends, "numbers": numbers}


def _new_modules(
    estimator: NetworkEstimator, shape: tuple[int, int, int], number: int, file_format: int
) -> tuple[nn.Module, nn.Module | None]:
    """Build the network and the head that a file's tensors are loaded into."""
    network = estimator._build_network(*shape, number, torch.Generator())
    return network, estimator._build_head(*shape, number, file_format)


def _check_rebuilt(name: str, module: nn.Module | None, built: nn.Module | None) -> None:
    """Raise unless a module differs from one that can be built in the values of tensors only."""
    mine, theirs = (dict(one.named_modules()) if one else {} for one in (module, built))
    for key, part in mine.items():
        described = type(theirs.get(key))
        if type(part) is not described:
            where, found = ".".join(filter(None, (name, key))), type(part).__name__
            raise _NotStorableError(
                f"{where} is a {found}, its parameters give {described.__name__}"
            )
    layouts = [
        {key: (one.shape, one.dtype) for key, one in module.state_dict().items()} if module else {}
        for module in (module, built)
    ]
    if mine.keys() != theirs.keys() or layouts[0] != layouts[1]:
        raise _NotStorableError(f"{name} has other tensors than its parameters give")


def _build_modules(
    estimator: NetworkEstimator, content: dict[str, Any], arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    shape = tuple(content["shape"])
    found: dict[str, Any] = {"networks_": [], "heads_": []}
    backends = content["backends"]
    # Networks of an ensemble were alike before files had their numbers.
    numbers = content.get("numbers", [0] * len(backends))
    for place, (backend, number) in enumerate(zip(backends, numbers, strict=True)):
        modules = _new_modules(estimator, shape, number, content["format"])
        for name, module in zip(found, modules, strict=True):
            if module is not None:
                prefix = f"{name}[{place}]."
                state = {key: torch.from_numpy(arrays[prefix + key]) for key in module.state_dict()}
                module.load_state_dict(state)
                module.eval()
            found[name].append(module)
        modules[0].backend = backend
    if estimator.n_estimators == 1:
        found["network_"] = found["networks_"][0]
    kept = {"_network_shape": shape, "_network_numbers": numbers, "_file_format": content["format"]}
    return {**found, **kept}


def _encode_all(values: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: _encode(name, value, arrays) for name, value in values.items()}


def _decode_all(values: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: _decode(value, arrays) for name, value in values.items()}


def _encode(name: str, value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return a value as JSON, in which an object of one key stands for what JSON lacks."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufcSUmM":
        arrays[name] = value
        return {"array": name}
    if isinstance(value, dict):
        return {"dict": _encode(name, list(value.items()), arrays)}
    is_array = isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1
    if is_array or isinstance(value, list | tuple):
        items = [_encode(f"{name}[{place}]", one, arrays) for place, one in enumerate(value)]
        return items if type(value) is list else {"objects" if is_array else "tuple": items}
    raise _NotStorableError(f"{name} is a {type(value).__name__}")


def _decode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decode(one, arrays) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "array":
        return arrays[inner]
    items = _decode(inner, arrays)
    if kind == "objects":
        array = np.empty(len(items), dtype=object)
        for place, one in enumerate(items):  # Not at once: numpy takes tuples for rows.
            array[place] = one
        return array
    return dict(items) if kind == "dict" else tuple(items)


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with open(path, "rb") as file:
        content = file.read()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as entries:
            arrays = dict(entries)
        found = json.loads(arrays["json"].tobytes())
        head = {"class": str(found["class"]), "version": str(found["version"])}
        return {**found, **head, "format": int(found["format"])}, arrays
    except MemoryError:
        raise
    except Exception:  # numpy, zipfile, zlib and json each raise their own.
        raise _refusal(path, "it is truncated, or no file of to_file") from None
