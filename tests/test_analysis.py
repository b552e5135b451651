"""Parameters, multiply-adds and receptive fields."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from tiny import one_epoch, panel

from dsn_sktime.analysis import count_flops, count_parameters, enrf, receptive_fields
from dsn_sktime.network import DSNNetwork
from dsn_sktime.topology.enrf import enrf_sizes


def small_network(**settings):
    generator = torch.Generator().manual_seed(0)
    chosen = {"n_layers": 3, "n_filters": 2, "kernel_size": 7, "sparsity": 0.7, **settings}
    return DSNNetwork(2, 3, topology_init="random", generator=generator, **chosen)


def test_univariate_counts_are_those_of_the_paper():
    network = DSNNetwork(n_variates=1, n_classes=2)
    # Layer 1: 47 * (13, 26, 39) * 0.2 = 122, 244, 366; layers 2 to 4: 47 * 47 * the same
    # = 5,743 + 11,486 + 17,230; three 1x1 convolutions of 141 * 47. Head: 141 * 2. BatchNorm:
    # 4 * 141 * 2 + 2 * 2.
    per_step = 732 + 3 * 34_459 + 3 * 141 * 47
    assert per_step == 123_990
    assert count_parameters(network) == (per_step + 282 + 1_132, 802_153)
    assert count_parameters(network).activated == 125_404
    assert count_flops(network, 1) == (per_step + 50 * 282, 800_739 + 50 * 282)


def test_har_counts_are_those_of_the_paper():
    network = DSNNetwork(n_variates=9, n_classes=6)
    assert count_parameters(network).activated == 160_126
    assert round(count_flops(network, 128).activated / 1e6, 1) == 20.3


def test_dense_counts_are_those_of_a_dense_network():
    network = small_network()
    dense = small_network(sparsity=0.0, n_kernel_groups=1, n_filters=6)
    bottlenecks = 2 * 6 * (6 - 2) + 2 * (6 - 2)  # wider in `dense`: 6 channels for 2
    kernels = 3 * 6 * (6 - 2) * 7
    assert count_parameters(dense).activated == (
        count_parameters(network).dense + bottlenecks + kernels
    )


def test_enrf_sizes_of_a_worked_example():
    mask = np.zeros((2, 2, 5), dtype=bool)
    mask[0, 0, [1, 3]] = True  # taps 1..3
    mask[0, 1, 4] = True  # a single tap
    mask[1, 1, [0, 4]] = True  # the whole kernel; kernel (1, 0) stays empty
    sizes = enrf_sizes(np.flatnonzero(mask), (2, 2, 5))
    assert sizes.tolist() == [[3, 1], [0, 5]]


def test_enrf_table_has_every_kernel_once():
    network = small_network()
    table = enrf(network)
    assert len(table) == 3 * 6 * 2
    assert not table.duplicated(["layer", "out_channel", "in_channel"]).any()
    for layer, conv in enumerate(network.sparse_convs(), start=1):
        mask = conv.dense_mask().numpy()
        for row in table[table["layer"] == layer].itertuples():
            taps = np.flatnonzero(mask[row.out_channel, row.in_channel])
            assert row.enrf == (taps[-1] - taps[0] + 1 if len(taps) else 0)
            assert row.kernel_group == row.out_channel // 2 + 1


def test_receptive_fields_are_those_of_all_paths():
    network = small_network()
    table, sizes = receptive_fields(network), enrf(network)
    for depth in (1, 2, 3):
        choices = [sizes.query("layer == @n and enrf > 0")["enrf"] for n in range(1, depth + 1)]
        paths = [sum(path) - (depth - 1) for path in itertools.product(*choices)]
        found, counts = np.unique(paths, return_counts=True)
        part = table[table["layer"] == depth]
        assert part["receptive_field"].tolist() == found.tolist()
        assert part["fraction"].to_numpy() == pytest.approx(counts / len(paths))


def test_three_full_layers_see_3k_minus_2_steps():
    network = small_network(sparsity=0.0, n_kernel_groups=1)
    assert receptive_fields(network).query("layer == 3")["receptive_field"].tolist() == [19]


def test_a_series_has_a_time_step():
    with pytest.raises(ValueError, match="series_length must be at least 1, found 0"):
        count_flops(small_network(), 0)


@pytest.mark.parametrize(
    "function", [count_parameters, partial(count_flops, series_length=9), enrf, receptive_fields]
)
def test_an_estimator_is_no_network(function):
    with pytest.raises(TypeError, match=r"DSNNetwork.*, found DSNClassifier\. Use its network_"):
        function(one_epoch().fit(*panel()))
