"""Export of fitted estimators to ONNX."""

from __future__ import annotations

import copy
import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dsn_sktime._version import __version__
from dsn_sktime.runtime import default_switches
from dsn_sktime.training.checkpoint import write_atomically

if TYPE_CHECKING:
    from dsn_sktime.estimators.network_estimator import NetworkEstimator

_PACKAGES = ("onnx", "onnxscript")
# They report what a user of to_onnx cannot change.
_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


class _Predictor(nn.Module):
    """Series (B, m, L) of float64 to predictions, with the dense backend.

    ``to_predictions`` maps the outputs of the networks (n_estimators, B, c) to them.
    """

    def __init__(
        self, estimator: NetworkEstimator, to_predictions: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.to_predictions = to_predictions
        self.register_buffer("mean", torch.from_numpy(estimator.mean_[:, None]))
        self.register_buffer("scale", torch.from_numpy(estimator.scale_[:, None]))
        self.mean: Tensor
        self.scale: Tensor
        self.networks = nn.ModuleList(copy.deepcopy(estimator.networks_))
        self.heads = nn.ModuleList(filter(None, copy.deepcopy(estimator.heads_)))
        modules: Iterator[Any] = self.cpu().modules()
        for module in modules:
            if hasattr(module, "backend"):
                module.backend = "dense"

    def forward(self, series: Tensor) -> Tensor:
        is_missing = series.isnan()
        # As the estimator reads arrays: what is missing at the end of all variates is padding.
        steps = torch.arange(1, series.shape[2] + 1, device="cpu")
        lengths = ((~is_missing).any(1) * steps).amax(1).clamp(min=1)
        x = ((series - self.mean) / self.scale).masked_fill(is_missing, 0).float()
        if self.heads:
            pairs = zip(self.networks, self.heads, strict=True)
            outputs = [head(network, x, lengths) for network, head in pairs]
        else:
            outputs = [network(x, lengths) for network in self.networks]
        return self.to_predictions(torch.stack(outputs).double())


@default_switches()
def export_onnx(
    estimator: NetworkEstimator,
    path: str | Path,
    output_name: str,
    to_predictions: Callable[[Tensor], Tensor],
    metadata: dict[str, Any],
) -> None:
    """Write a fitted estimator as ONNX; see :meth:`NetworkEstimator.to_onnx`.

    ``output_name`` is that of the predictions; entries of ``metadata`` are written as JSON.
    """
    _check_packages()
    _check_modules(estimator)
    import onnx

    # Of sizes other than 1, which torch would take for fixed.
    example = torch.zeros(2, len(estimator.mean_), 50, dtype=torch.float64)
    sizes = {0: torch.export.Dim("n", min=1), 2: torch.export.Dim("L", min=1)}
    with _quiet(), torch.no_grad():
        # By torch.export, as torch.onnx.export alone would fix sizes where it cannot vary them.
        predictor = _Predictor(estimator, to_predictions).eval()
        program = torch.export.export(predictor, (example,), dynamic_shapes=(sizes,), strict=False)
        exported: Any = torch.onnx.export(
            program, dynamo=True, input_names=["series"], output_names=[output_name], verbose=False
        )
    model = exported.model_proto
    _name_sizes(model.graph)
    if estimator.variate_names_ is not None:
        metadata = {**metadata, "variates": [str(name) for name in estimator.variate_names_]}
    properties = {name: json.dumps(entry) for name, entry in metadata.items()}
    onnx.helper.set_model_props(model, {**properties, "dsn_sktime": __version__})
    write_atomically(Path(path), model.SerializeToString())


def _name_sizes(graph: Any) -> None:
    """Name the sizes that may vary as in the documentation; torch numbers them."""
    n, _, n_steps = graph.input[0].type.tensor_type.shape.dim
    names = {n.dim_param: "n", n_steps.dim_param: "L"}
    del graph.value_info[:]  # Intermediate sizes, which a runtime infers.
    for value in (*graph.input, *graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in names:
                size.dim_param = names[size.dim_param]


def _check_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"to_onnx needs {' and '.join(_PACKAGES)}, found no {' and no '.join(missing)}. "
            "Install them with pip install dsn-sktime[onnx]."
        )


def _check_modules(estimator: NetworkEstimator) -> None:
    for attribute in ("networks_", "heads_"):
        for number, module in enumerate(getattr(estimator, attribute)):
            for name, part in module.named_modules() if module else ():
                if not type(part).__module__.startswith(("dsn_sktime.", "torch.nn.")):
                    where = ".".join(filter(None, (f"{attribute}[{number}]", name)))
                    raise ValueError(
                        f"this {type(estimator).__name__} cannot be exported: {where} is a "
                        f"{type(part).__name__}, which is a module neither of dsn_sktime nor of "
                        "torch. Export its networks with torch.onnx.export."
                    )


@contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
