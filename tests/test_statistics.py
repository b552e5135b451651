"""Ranks, wins and signed-rank tests against plain loops and worked examples."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from dsn_sktime.statistics import average_ranks, wilcoxon_holm, wins_ties_losses

# Few values, so that ties are common.
tables = arrays.arrays(
    float, st.tuples(st.integers(2, 12), st.integers(2, 5)), elements=st.sampled_from([0, 0.5, 1])
).map(lambda values: pd.DataFrame(values, columns=list("abcde")[: values.shape[1]]))


def naive_ranks(row):
    """Rank of each score: one more than are higher, and half a place for each equal one."""
    return [
        1 + sum(other > score for other in row) + (sum(other == score for other in row) - 1) / 2
        for score in row
    ]


def naive_holm(p_values):
    """Step down: the i-th smallest of m is multiplied by m - i, and none falls below the last."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for place, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[number]))
        adjusted[number] = running
    return adjusted


@given(tables)
@settings(max_examples=50, deadline=None)
def test_average_ranks_share_ties(table):
    expected = np.mean([naive_ranks(row) for row in table.to_numpy()], axis=0)
    assert average_ranks(table).to_numpy() == pytest.approx(expected)
    assert list(average_ranks(table).index) == list(table.columns)


def test_worked_example_of_ranks_and_wins():
    table = pd.DataFrame({"a": [0.9, 0.8, 0.7], "b": [0.9, 0.6, 0.8], "c": [0.5, 0.8, 0.8]})
    # Ranks by data set: 1.5 1.5 3; 1.5 3 1.5; 3 1.5 1.5.
    assert average_ranks(table).tolist() == [2, 2, 2]
    counts = wins_ties_losses(table, "a")
    assert counts.loc["b"].tolist() == [1, 1, 1]
    assert counts.loc["c"].tolist() == [1, 1, 1]


@given(tables)
@settings(max_examples=50, deadline=None)
def test_wins_ties_losses_against_a_loop(table):
    counts = wins_ties_losses(table, "a")
    assert list(counts.index) == [name for name in table if name != "a"]
    for name, row in counts.iterrows():
        pairs = list(zip(table[name], table["a"], strict=True))
        assert row["wins"] == sum(x > y for x, y in pairs)
        assert row["ties"] == sum(x == y for x, y in pairs)
        assert row["losses"] == sum(x < y for x, y in pairs)


def test_wilcoxon_is_adjusted_step_down():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal([0, 0.1, 0.3, 0.9], 0.5, (20, 4)), columns=list("abcd"))
    pairs = list(combinations("abcd", 2))
    expected = naive_holm([stats.wilcoxon(table[x], table[y]).pvalue for x, y in pairs])
    found = wilcoxon_holm(table)
    assert [found.loc[pair] for pair in pairs] == pytest.approx(expected)
    assert (found == found.T).to_numpy().all()
    assert (np.diag(found) == 1).all()


def test_exact_p_value_by_counting_signs():
    # All of six differences have one sign: 2 of 2**6 sign patterns are as extreme.
    a = np.arange(6.0)
    table = pd.DataFrame({"a": a, "b": a + 1 + a / 10})
    assert wilcoxon_holm(table).loc["a", "b"] == pytest.approx(2 / 64)
    # Of five, 2 of 2**5: no difference reaches 5 %, however large.
    assert wilcoxon_holm(table.head(5)).loc["a", "b"] == pytest.approx(2 / 32)


def test_equal_columns_are_not_told_apart():
    table = pd.DataFrame({"a": [0.1, 0.5, 0.9], "b": [0.1, 0.5, 0.9]})
    assert wilcoxon_holm(table).loc["a", "b"] == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"a": [0.1, 0.2]}), "at least 2 data sets"),
        (pd.DataFrame({"a": [0.1, np.nan], "b": [0.1, 0.2]}), "no missing scores, found 1"),
    ],
)
def test_incomplete_tables_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        wilcoxon_holm(table)
