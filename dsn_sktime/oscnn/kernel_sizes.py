"""Which kernels an OS-CNN has: prime sizes, and as many as its layers' budgets allow."""

from __future__ import annotations

from dataclasses import dataclass

# With both, the sums of sizes that the first two layers make become all integers.
_LAST_LAYER_SIZES = (1, 2)


@dataclass(frozen=True)
class OSLayerShape:
    """Kernels of one OS layer.

    Attributes
    ----------
    in_channels : int
    n_filters : int
        Output channels of each kernel size.
    kernel_sizes : tuple of int
        Ascending, in time steps.
    """

    in_channels: int
    n_filters: int
    kernel_sizes: tuple[int, ...]

    @property
    def out_channels(self) -> int:
        """Output channels of all sizes."""
        return self.n_filters * len(self.kernel_sizes)

    @property
    def n_weights(self) -> int:
        """Weights of all kernels."""
        return self.in_channels * self.n_filters * sum(self.kernel_sizes)

    @property
    def dense_shape(self) -> tuple[int, int, int]:
        """Shape (C_out, C_in, k) of kernels that all have the largest size."""
        return self.out_channels, self.in_channels, self.kernel_sizes[-1]


def prime_sizes(largest: int) -> tuple[int, ...]:
    """Return 1 and the primes up to ``largest``, ascending.

    Examples
    --------
    >>> from dsn_sktime.oscnn import prime_sizes
    >>> prime_sizes(12)
    (1, 2, 3, 5, 7, 11)
    """
    primes: list[int] = []
    for size in range(2, largest + 1):
        if all(size % prime for prime in primes):
            primes.append(size)
    return (1, *primes)


def os_layer_shapes(
    n_variates: int, largest_kernel_size: int, layer_budgets: tuple[int, int]
) -> list[OSLayerShape]:
    """Return the kernels of the three OS layers.

    The first two have all prime sizes, each with as many filters as the layer's budget of
    weights allows; the last has sizes 1 and 2, each with as many filters as the first layer
    has channels.

    Parameters
    ----------
    n_variates : int
    largest_kernel_size : int
        Upper bound of the sizes.
    layer_budgets : (int, int)
        Weights of the first layer per variate, and of the second layer.

    Returns
    -------
    list of OSLayerShape

    Raises
    ------
    ValueError
        If a budget leaves no filter.
    """
    sizes = prime_sizes(largest_kernel_size)
    shapes: list[OSLayerShape] = []
    in_channels, n_read = n_variates, 1
    for layer, budget in enumerate(layer_budgets, start=1):
        # The first budget is per variate, so the number of channels does not depend on m.
        n_filters = budget // (n_read * sum(sizes))
        if n_filters == 0:
            raise ValueError(
                f"layer_budgets={layer_budgets!r} leave no filter in layer {layer}: one of each "
                f"kernel size up to {sizes[-1]} takes {n_read * sum(sizes)} weights. Raise "
                "layer_budgets or lower max_kernel_size."
            )
        shapes.append(OSLayerShape(in_channels, n_filters, sizes))
        in_channels = n_read = shapes[-1].out_channels
    return [*shapes, OSLayerShape(in_channels, shapes[0].out_channels, _LAST_LAYER_SIZES)]
