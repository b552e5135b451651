"""Cache of a layer's decoded topology."""

from __future__ import annotations

from torch import Tensor

from dsn_sktime.kernels import KernelIndex


class KernelIndexCache:
    """Decode an index tensor when it was replaced or changed in place, and only then."""

    def __init__(self) -> None:
        self._decoded: tuple[Tensor, int, KernelIndex] | None = None

    def __call__(self, index: Tensor | None, shape: tuple[int, int, int]) -> KernelIndex:
        """Return the topology as the sparse kernels read it."""
        assert index is not None, "a buffer of the layer"
        # _version counts the changes in place of a tensor; inference tensors have none.
        version = 0 if index.is_inference() else index._version
        decoded = self._decoded
        if decoded is None or decoded[0] is not index or decoded[1] != version:
            decoded = index, version, KernelIndex(index.cpu().numpy(), shape)
            self._decoded = decoded
        return decoded[2]

    def __reduce__(self) -> tuple:
        """Leave what is decoded out of copies and pickles."""
        return KernelIndexCache, ()
