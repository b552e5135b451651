from __future__ import annotations

import math
from types import SimpleNamespace

import naive
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dsn_sktime import topology
from dsn_sktime.topology import KernelGroups, TopologyUpdate, initial_topology
from dsn_sktime.topology.enrf import enrf_sizes

examples = settings(deadline=None, max_examples=50)


def update_topology(groups, index, values, drop_fraction, rng, gradient=None):
    """Update on tensors, arrays in and out."""
    index, values = (torch.tensor(array) for array in (index, values))
    gradient = None if gradient is None else torch.tensor(gradient)
    update = topology.update_topology(groups, index, values, drop_fraction, rng, gradient)
    assert update.index.dtype == update.source.dtype == torch.int64
    return SimpleNamespace(
        index=update.index.numpy(), source=update.source.numpy(), n_grown=update.n_grown
    )


@st.composite
def shapes(draw, least_percent=0):
    """Kernel groups, and their sparsity in whole percent."""
    n_groups = draw(st.integers(1, 4))
    c_in, c_out = draw(st.integers(1, 4)), draw(st.integers(1, 3)) * n_groups
    kernel_size = draw(st.integers(n_groups, 13))
    percent = draw(st.integers(least_percent, 95))
    smallest_region = c_out // n_groups * c_in * (kernel_size // n_groups)
    assume((100 - percent) * smallest_region >= 100)
    return KernelGroups(c_in, c_out, kernel_size, n_groups, percent / 100), percent


@st.composite
def updates(draw, by_gradient):
    """An update of random weights, and what went into it."""
    groups, _ = draw(shapes())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    index = initial_topology(groups, draw(st.sampled_from(["first", "random"])), rng)
    # Few distinct values, so that ties are common.
    values = rng.integers(-4, 5, groups.n_activated) / 2
    gradient = rng.integers(-9, 10, groups.shape) / 2 if by_gradient else None
    fraction = draw(st.floats(0, 1))
    for array in (index, values):
        array.setflags(write=False)
    update = update_topology(groups, index, values, fraction, rng, gradient)
    return groups, index, values, gradient, fraction, update


def channels(groups, group):
    return range(group * groups.channels_per_group, (group + 1) * groups.channels_per_group)


def region_by_loops(groups, group):
    _, c_in, k = groups.shape
    n_taps = (group + 1) * (k // groups.n_kernel_groups)
    return [
        (o * c_in + i) * k + tap
        for o in channels(groups, group)
        for i in range(c_in)
        for tap in range(n_taps)
    ]


# Kernel groups


def test_regions_and_budgets_of_an_example_by_hand():
    groups = KernelGroups(1, 6, 9, n_kernel_groups=3, sparsity=0.5)
    # Two kernels per group, of which the first 3, 6 and 9 taps are in the region.
    assert [groups.region_taps(i) for i in range(3)] == [3, 6, 9]
    assert [groups.region_size(i) for i in range(3)] == [6, 12, 18]
    assert groups.budgets == (3, 6, 9)
    assert groups.n_activated == 18
    assert groups.n_dense == 54
    assert groups.shape == (6, 1, 9)
    assert groups.region(1).tolist() == [18, 19, 20, 21, 22, 23, 27, 28, 29, 30, 31, 32]
    assert groups.value_slice(1) == slice(3, 9)
    assert groups.group_of_channel().tolist() == [0, 0, 1, 1, 2, 2]


def test_paper_groups_may_activate_13_26_and_39_taps():
    groups = KernelGroups(47, 141, 39, n_kernel_groups=3, sparsity=0.8)
    assert [groups.region_taps(i) for i in range(3)] == [13, 26, 39]
    # floor(0.2 * 47 * 47 * 13 i) for i = 1, 2, 3
    assert groups.budgets == (5743, 11486, 17230)


def test_taps_that_do_not_divide_among_the_groups_stay_inactive():
    groups = KernelGroups(1, 3, 11, n_kernel_groups=3)
    assert [groups.region_taps(i) for i in range(3)] == [3, 6, 9]


@pytest.mark.parametrize(
    ("sparsity", "budget"),
    # 1 - 0.9 and 1 - 0.7 lie a little beside 0.1 and 0.3 in binary.
    [(0.9, 1), (0.8, 2), (0.7, 3), (0.4, 6), (0.1, 9), (0.0, 10), (0, 10), (np.float32(0.9), 1)],
)
def test_budget_follows_the_decimal_that_the_user_wrote(sparsity, budget):
    assert KernelGroups(1, 1, 10, sparsity=sparsity).budgets == (budget,)


@examples
@given(shapes())
def test_budget_is_floor_of_density_times_region_size(case):
    groups, percent = case
    for group, budget in enumerate(groups.budgets):
        assert budget == (100 - percent) * len(region_by_loops(groups, group)) // 100


@examples
@given(shapes())
def test_region_is_the_leading_taps_of_the_groups_own_channels(case):
    groups, _ = case
    for group in range(groups.n_kernel_groups):
        assert groups.region(group).tolist() == region_by_loops(groups, group)
        assert groups.region_size(group) == len(region_by_loops(groups, group))


@examples
@given(shapes())
def test_value_slices_partition_the_topology(case):
    groups, _ = case
    slices = [groups.value_slice(i) for i in range(groups.n_kernel_groups)]
    places = np.concatenate([np.arange(groups.n_activated)[part] for part in slices])
    assert places.tolist() == list(range(groups.n_activated))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3, 9, 3, 0.5), r"in_channels must be at least 1, found 0"),
        ((1, 0, 9, 3, 0.5), r"out_channels must be at least 1, found 0"),
        ((1, 3, 9, 0, 0.5), r"n_kernel_groups must be at least 1, found 0"),
        ((1, 3, 2, 3, 0.5), r"kernel_size must be at least .* kernel_size=2 .* Enlarge"),
        ((1, 3, 0, 1, 0.5), r"kernel_size must be at least 1, found 0"),
        ((1, 4, 9, 3, 0.5), r"multiple of n_kernel_groups, found out_channels=4"),
        ((1, 3, 9, 3, 1.0), r"sparsity must lie in \[0, 1\), found 1\.0"),
        ((1, 3, 9, 3, -0.1), r"sparsity must lie in \[0, 1\), found -0\.1"),
        ((1, 3, 9, 3, math.nan), r"sparsity must lie in \[0, 1\), found nan"),
        ((2**15, 2**15, 2, 1, 0.5), r"stay below 2\*\*31, found 2147483648"),
        ((1, 3, 9, 3, 0.8), r"no weight to activate: its region of 3 weights .* Lower sparsity"),
    ],
)
def test_impossible_kernel_groups_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        KernelGroups(*arguments)


# Checking a topology: of KernelGroups(1, 2, 4, 2, 0.5) group 0 activates 1 of positions
# 0..1, group 1 two of 4..7.


@pytest.mark.parametrize("index", [[0, 4, 5], [1, 6, 7], [0, 5, 7]])
def test_topology_inside_the_regions_passes(index):
    KernelGroups(1, 2, 4, 2, 0.5).check_topology(np.array(index))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 4], r"3 activated weights, found an index of shape \(2,\)"),
        ([[0, 4, 5]], r"found an index of shape \(1, 3\)"),
        ([0, 5, 4], "strictly increasing"),
        ([0, 4, 4], "strictly increasing"),
        ([2, 4, 5], "outside the exploration region of kernel group 0"),
        ([0, 1, 4], "kernel group 1, or not 2 of them inside"),
        ([-1, 4, 5], "kernel group 0"),
        ([0, 4, 8], "kernel group 1"),
    ],
)
def test_anything_else_is_no_topology(index, message):
    with pytest.raises(ValueError, match=message):
        KernelGroups(1, 2, 4, 2, 0.5).check_topology(np.array(index))


# The first topology


def test_first_topology_of_an_example_by_hand(rng):
    groups = KernelGroups(2, 4, 4, n_kernel_groups=2, sparsity=0.25)
    # Channel pair p = 2 o + i owns positions 4 p ... 4 p + 3. Group 0, pairs 0..3, spends 6
    # of 8: tap 0 of all, tap 1 of pairs 0 and 1. Group 1, pairs 4..7, spends 12 of 16:
    # taps 0, 1, 2 of all.
    expected = [0, 1, 4, 5, 8, 12, 16, 17, 18, 20, 21, 22, 24, 25, 26, 28, 29, 30]
    assert initial_topology(groups, "first", rng).tolist() == expected


@examples
@given(shapes())
def test_first_topology_fills_tap_by_tap(case):
    groups, _ = case
    _, c_in, k = groups.shape
    expected = []
    for group, budget in enumerate(groups.budgets):
        n_taps = groups.region_taps(group)
        expected += naive.first_positions(channels(groups, group), c_in, k, n_taps, budget)
    index = initial_topology(groups, "first", np.random.default_rng(0))
    assert index.tolist() == expected
    assert index.dtype == np.int64


@examples
@given(shapes(), st.integers(0, 2**32 - 1))
def test_random_topology_is_a_topology(case, seed):
    groups, _ = case
    index = initial_topology(groups, "random", np.random.default_rng(seed))
    groups.check_topology(index)
    assert index.dtype == np.int64
    for group, budget in enumerate(groups.budgets):
        assert len(set(index) & set(region_by_loops(groups, group))) == budget


def test_random_topology_is_uniform_over_the_region():
    groups = KernelGroups(1, 1, 6, sparsity=0.5)
    n_draws = 2000
    counts = np.zeros(6)
    for seed in range(n_draws):
        counts[initial_topology(groups, "random", np.random.default_rng(seed))] += 1
    # Each count is binomial(2000, 1/2): 5 standard deviations are 112.
    assert np.abs(counts - n_draws / 2).max() < 5 * math.sqrt(n_draws / 4)


def test_random_topology_follows_its_generator():
    groups = KernelGroups(3, 6, 9, n_kernel_groups=3, sparsity=0.5)
    one, same, other = (
        initial_topology(groups, "random", np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()


def test_unknown_start_is_refused(rng):
    with pytest.raises(ValueError, match=r"topology_init must be one of .* found 'last'"):
        initial_topology(KernelGroups(1, 1, 4), "last", rng)


# Updates


def test_update_of_an_example_by_hand(rng):
    groups = KernelGroups(1, 1, 8, sparsity=0.5)
    index = np.array([0, 2, 3, 6])
    values = np.array([0.1, -0.5, 0.2, -0.1])
    gradient = np.array([9.0, -1, 99, 99, 0, -5, 2, 1])
    update = update_topology(groups, index, values, 0.5, rng, gradient)
    # 0.1 and -0.1 go. Of the inactive 0, 1, 4, 5, 6, 7 positions 0 and 5 have the largest
    # gradients; 0 comes back as a grown weight.
    assert update.index.tolist() == [0, 2, 3, 5]
    assert update.source.tolist() == [-1, 1, 2, -1]
    assert update.n_grown == 2


def test_ties_are_broken_by_position(rng):
    groups = KernelGroups(1, 1, 8, sparsity=0.5)
    index = np.array([1, 3, 5, 7])
    values = np.array([1.0, -1.0, 1.0, -1.0])
    update = update_topology(groups, index, values, 0.5, rng, np.full(8, -2.0))
    # Of equal magnitudes 1 and 3 go; of equal gradients the first inactive, 0 and 1, grow.
    assert update.index.tolist() == [0, 1, 5, 7]
    assert update.source.tolist() == [-1, -1, 2, 3]


def test_each_group_counts_its_own_drop(rng):
    groups = KernelGroups(1, 2, 4, n_kernel_groups=2, sparsity=0.5)
    # Budgets 1 and 2 drop ceil(0.4) = 1 and ceil(0.8) = 1, the smallest of each group.
    update = update_topology(groups, np.array([0, 4, 5]), np.array([9.0, 5, 6]), 0.4, rng)
    assert np.count_nonzero(update.source[:1] < 0) == 1
    assert np.count_nonzero(update.source[1:] < 0) == 1


@examples
@given(st.booleans().flatmap(lambda by_gradient: updates(by_gradient)))
def test_update_drops_ceil_of_the_fraction_per_group_and_grows_as_many(case):
    groups, _, values, _, fraction, update = case
    groups.check_topology(update.index)
    for group, budget in enumerate(groups.budgets):
        part = groups.value_slice(group)
        is_full = budget == groups.region_size(group)
        source = update.source[part]
        n_drop = 0 if is_full else math.ceil(fraction * budget)
        assert np.count_nonzero(source < 0) == n_drop
        dropped = np.setdiff1d(np.arange(groups.n_activated)[part], source)
        kept = source[source >= 0]
        if len(dropped) and len(kept):
            assert np.abs(values[dropped]).max() <= np.abs(values[kept]).min()


@examples
@given(st.booleans().flatmap(lambda by_gradient: updates(by_gradient)))
def test_survivors_are_mapped_to_their_old_places(case):
    groups, index, _, _, _, update = case
    assert update.source.shape == update.index.shape == (groups.n_activated,)
    survived = update.source >= 0
    assert update.index[survived].tolist() == index[update.source[survived]].tolist()
    assert (update.source[~survived] == -1).all()
    assert update.n_grown == np.count_nonzero(~survived)


@examples
@given(updates(by_gradient=False))
def test_random_growth_is_inside_the_region_where_nothing_survived(case):
    groups, _, _, _, _, update = case
    for group in range(groups.n_kernel_groups):
        part = groups.value_slice(group)
        grown = update.index[part][update.source[part] < 0]
        survivors = update.index[part][update.source[part] >= 0]
        assert set(grown) <= set(region_by_loops(groups, group)) - set(survivors)
        assert len(set(grown)) == len(grown)


@examples
@given(updates(by_gradient=True))
def test_growth_by_gradient_takes_the_largest_of_the_inactive(case):
    groups, index, values, gradient, fraction, update = case
    expected_index, expected_grown = [], []
    for group in range(groups.n_kernel_groups):
        part = groups.value_slice(group)
        weights = dict(zip(index[part].tolist(), values[part], strict=True))
        survivors, grown = naive.updated_positions(
            weights, region_by_loops(groups, group), fraction, gradient.ravel()
        )
        expected_index += sorted(survivors + grown)
        expected_grown += grown
    assert update.index.tolist() == expected_index
    assert update.index[update.source < 0].tolist() == expected_grown


@pytest.mark.parametrize("gradient", [None, np.ones((2, 2, 4))])
def test_full_region_stays_as_it_is(rng, gradient):
    groups = KernelGroups(2, 2, 4, n_kernel_groups=2, sparsity=0)
    index = initial_topology(groups, "first", rng)
    values = rng.normal(size=groups.n_activated)
    update = update_topology(groups, index, values, 0.5, rng, gradient)
    assert update.index.tolist() == index.tolist()
    assert update.source.tolist() == list(range(groups.n_activated))
    assert update.n_grown == 0


def test_random_growth_is_uniform_over_the_inactive():
    groups = KernelGroups(1, 1, 8, sparsity=0.5)
    n_draws = 2000
    counts = np.zeros(8)
    for seed in range(n_draws):
        update = update_topology(
            groups, np.arange(4), np.arange(1.0, 5), 0.5, np.random.default_rng(seed)
        )
        counts[update.index[update.source < 0]] += 1
    # 0 and 1 are dropped; 2 of the 6 inactive 0, 1, 4, 5, 6, 7 grow.
    assert counts[[2, 3]].tolist() == [0, 0]
    inactive = counts[[0, 1, 4, 5, 6, 7]]
    assert np.abs(inactive - n_draws / 3).max() < 5 * math.sqrt(n_draws * 2 / 9)


def test_number_of_grown_weights_counts_the_missing_sources():
    update = TopologyUpdate(torch.arange(4), torch.tensor([-1, 0, -1, 3]))
    assert update.n_grown == 2


# Effective neighbour receptive fields


@examples
@given(shapes(), st.integers(0, 2**32 - 1))
def test_enrf_of_each_kernel_matches_plain_loops(case, seed):
    groups, _ = case
    index = initial_topology(groups, "random", np.random.default_rng(seed))
    mask = np.zeros(groups.n_dense, dtype=bool)
    mask[index] = True
    kernels = mask.reshape(groups.shape)
    expected = [[naive.enrf(kernel) for kernel in channel] for channel in kernels]
    assert enrf_sizes(index, groups.shape).tolist() == expected


@pytest.mark.parametrize("drop_fraction", [-0.1, 1.5])
def test_only_a_share_can_be_dropped(drop_fraction, rng):
    groups = KernelGroups(1, 2, 4, 1, 0.5)
    index = initial_topology(groups, "first", rng)
    with pytest.raises(ValueError, match=r"drop_fraction must lie in \[0, 1\], found"):
        update_topology(groups, index, np.ones(len(index)), drop_fraction, rng)


def test_taps_are_counted_in_whole_numbers():
    with pytest.raises(TypeError, match=r"kernel_size must be an integer, found 9\.5"):
        KernelGroups(1, 3, 9.5, 3, 0.5)
