"""Features of the trained networks: against plain numpy, by name, and in pipelines."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.datatypes import convert_to
from sktime.exceptions import NotFittedError
from sktime.utils.estimator_checks import check_estimator
from tiny import TINY, panel, tiny_classifier, untraced

from dsn_sktime import DSNClassifier, DSNRegressor, DSNTransformer
from dsn_sktime.estimators import OSCNNClassifier

X, Y = panel()
IDS = pd.Index([f"T{number}" for number in range(len(X))])
NAME = re.compile(r"member(\d)_(trained|untrained(?:_variate\d+)?)_layer(\d)_channel(\d+)_(\w+)")
RIDGE = {**TINY, "head": "ridge", "n_epochs": 2}


@untraced
def test_the_transformer_passes_every_check_of_sktime() -> None:
    results = check_estimator(DSNTransformer, verbose=False)
    assert len(results) > 100
    assert {name: r for name, r in results.items() if r != "PASSED"} == {}


def test_the_transformer_reads_targets_as_its_estimator_does() -> None:
    ids = [f"s{number}" for number in range(len(X))]
    index = pd.MultiIndex.from_product([ids, range(X.shape[2])], names=["series", "time"])
    frame = pd.DataFrame(np.concatenate([series.T for series in X]), index=index)
    frame.columns = frame.columns.astype(str)
    settings = {**RIDGE, "n_epochs": 1, "random_state": 0}
    expected = DSNClassifier(**settings).fit(X, Y).transform(X)
    shuffled = pd.Series(Y, index=ids).sample(frac=1, random_state=0)
    for series, y in ((frame, shuffled), (X, list(Y))):
        transformer = DSNTransformer(DSNClassifier(**settings)).fit(series, y)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert np.array_equal(transformer.transform(series), expected)
    with pytest.raises(ValueError, match=r"y must be 1-D, found shape \(\d+, 2\)"):
        transformer.fit(X, np.c_[Y, Y])
    assert np.array_equal(transformer.transform(X), expected)


def activations(classifier: Any, X: np.ndarray, member: int, kind: str) -> np.ndarray:
    """Return the activations of all layers, (n, layers, channels, time steps)."""
    network, variates, shape = classifier.networks_[member], slice(None), (2, 9)
    if kind != "trained":
        networks = classifier.heads_[member].networks
        number = int(kind.removeprefix("untrained").removeprefix("_variate") or 0)
        network, variates, shape = networks[number], slice(number, number + 1), (1, -1)
    scaled = (X - classifier.mean_[:, None]) / classifier.scale_[:, None]
    series = torch.from_numpy(scaled[:, variates].astype(np.float32))
    with torch.no_grad():
        found = network.features(series, None, "all", None)
    return found.numpy().reshape(len(X), *shape, X.shape[2])


def statistic(steps: np.ndarray, name: str, n_bins: int) -> np.ndarray:
    """Pool (n, time steps) as the name of a feature says."""
    if name.startswith("bin"):
        number, length = int(name[3:]), steps.shape[1]
        start, stop = number * length // n_bins, -(-(number + 1) * length // n_bins)
        return steps[:, start:stop].mean(1)
    return {"mean": steps.mean(1), "max": steps.max(1), "positive": (steps > 0).mean(1)}[name]


@pytest.mark.parametrize(
    ("parameters", "n_features"),
    [
        ({"head": "ridge"}, (2 * 9 + 6 * 9) * 3),
        ({"head": "ridge", "n_estimators": 2}, 2 * (2 * 9 + 18) * 3),
        ({"head": "bins", "n_pool": 5}, 9 * 5),
        ({"head": "linear"}, 9),
    ],
    ids=["variates", "ridge", "bins", "linear"],
)
def test_features_are_what_their_names_say(
    parameters: dict, n_features: int, request: pytest.FixtureRequest
) -> None:
    X, y = panel("multivariate" if "variates" in request.node.name else "univariate")
    classifier = tiny_classifier(n_epochs=2, **parameters).fit(X, y)
    found, names = classifier.transform(X), classifier.get_feature_names_out()
    assert found.shape == (len(X), n_features)
    assert len(set(names)) == n_features
    cached = {}
    for column, name in zip(found.T, names, strict=True):
        member, kind, layer, channel, pooling = NAME.fullmatch(name).groups()
        key = int(member), kind
        if key not in cached:
            cached[key] = activations(classifier, X, *key)
        steps = cached[key][:, int(layer) - 1, int(channel)]
        expected = statistic(steps, pooling, 1 if parameters["head"] == "linear" else 5)
        assert column == pytest.approx(expected, abs=1e-5), name


def test_features_carry_what_the_head_predicts() -> None:
    classifier = DSNClassifier(**RIDGE).fit(X, Y)
    features = classifier.transform(X)
    (head,), (network,) = classifier.heads_, classifier.networks_
    ridges = features @ head.coef.numpy() + head.intercept.numpy()
    # The network's own logits from the means of the last layer of the trained network.
    names = classifier.get_feature_names_out()
    is_mean = [name.startswith("member0_trained_layer2") and "mean" in name for name in names]
    means = torch.from_numpy(features[:, is_mean].astype(np.float32))
    with torch.no_grad():
        own = network.head(means[:, :, None]).numpy()
    logits = (ridges + own) / 3
    odds = np.exp(logits[:, 1] - logits[:, 0])
    assert classifier.predict_proba(X)[:, 1] == pytest.approx(odds / (1 + odds), abs=1e-5)


def test_series_of_unequal_length_one_by_one() -> None:
    unequal = [series[:, : 15 + number % 9].copy() for number, series in enumerate(X)]
    unequal[3][0, 4] = np.nan
    classifier = DSNClassifier(**RIDGE).fit(unequal, Y)
    together = classifier.transform(unequal)
    alone = np.concatenate([classifier.transform([series]) for series in unequal])
    assert np.isfinite(together).all()
    assert alone == pytest.approx(together, abs=1e-5)


def test_nothing_trained_means_no_features() -> None:
    with pytest.raises(ValueError, match="not been fitted"):
        DSNClassifier(**RIDGE).transform(X)
    with pytest.warns(UserWarning, match="single label"):
        classifier = DSNClassifier(**RIDGE).fit(X, np.ones(len(X)))
    for method in (lambda: classifier.transform(X), classifier.get_feature_names_out):
        with pytest.raises(NotFittedError, match="no trained network, as y had a single class"):
            method()


def test_a_classifier_is_a_step_of_a_pipeline() -> None:
    classifier = tiny_classifier()
    pipeline = make_pipeline(classifier, RandomForestClassifier(10, random_state=0)).fit(X, Y)
    features = tiny_classifier().fit_transform(X, Y)
    expected = RandomForestClassifier(10, random_state=0).fit(features, Y).predict(features)
    assert pipeline.predict(X).tolist() == expected.tolist()


def test_the_transformer_returns_the_features_of_its_estimator() -> None:
    classifier = DSNClassifier(**RIDGE)
    table = DSNTransformer(classifier).fit_transform(X, Y)
    assert not classifier.is_fitted
    np.testing.assert_array_equal(table.to_numpy(), classifier.fit_transform(X, Y))
    assert table.columns.tolist() == classifier.get_feature_names_out().tolist()


def test_the_transformer_trains_a_regressor_too() -> None:
    target = X.max(axis=(1, 2))
    regressor = DSNRegressor(**RIDGE)
    transformer = DSNTransformer(regressor)
    table = transformer.fit_transform(X, target)
    coef, intercept = (
        getattr(transformer.estimator_.heads_[0], name).numpy() for name in ("coef", "intercept")
    )
    ridges = table.to_numpy() @ coef + intercept
    assert np.corrcoef(ridges[:, 0], target)[0, 1] > 0.9


def test_the_transformer_in_pipelines_of_scikit_learn_and_sktime() -> None:
    transformer = DSNTransformer(tiny_classifier())
    forest = RandomForestClassifier(10, random_state=0)
    expected = make_pipeline(tiny_classifier(), StandardScaler(), forest).fit(X, Y).predict(X)
    ours = make_pipeline(transformer, StandardScaler(), forest).fit(X, Y)
    assert ours.predict(X).tolist() == expected.tolist()
    theirs = (transformer * forest).fit(X, Y)
    assert (
        theirs.predict(X).tolist()
        == make_pipeline(transformer, forest).fit(X, Y).predict(X).tolist()
    )


def long_table() -> pd.DataFrame:
    return pd.concat([pd.DataFrame(one.T, columns=["a"]) for one in X], keys=IDS)


@pytest.mark.parametrize(
    "container",
    [
        lambda: X[:, 0],
        lambda: pd.DataFrame(X[:, 0]),
        lambda: torch.tensor(X),
        lambda: [one[:, : 20 + number % 3] for number, one in enumerate(X)],
        long_table,
        lambda: long_table().assign(b=lambda table: table["a"] > 0),
        lambda: convert_to(X, "nested_univ", "Panel"),
    ],
    ids=["2-D", "wide frame", "tensor", "list of arrays", "long frame", "flags", "nested frame"],
)
def test_the_transformer_reads_what_its_estimator_does(container: Callable) -> None:
    table = DSNTransformer(tiny_classifier()).fit_transform(container(), Y)
    expected = tiny_classifier().fit(container(), Y).transform(container())
    np.testing.assert_array_equal(table, expected)


def test_tables_of_features_have_the_ids_of_the_series() -> None:
    shuffled = long_table().sample(frac=1, random_state=0)
    ids = shuffled.index.get_level_values(0).unique().tolist()
    transformer = DSNTransformer(tiny_classifier()).fit(long_table(), Y)
    table = transformer.transform(shuffled)
    assert table.index.tolist() == ids
    np.testing.assert_allclose(table.loc["T3"], transformer.transform(long_table()).loc["T3"])
    classifier = tiny_classifier().set_output(transform="pandas").fit(long_table(), Y)
    pd.testing.assert_frame_equal(classifier.transform(shuffled), table)


@pytest.mark.parametrize(
    "container", [long_table, lambda: convert_to(X, "nested_univ", "Panel").set_index(IDS)]
)
def test_the_transformer_matches_targets_by_id(container: Callable) -> None:
    shuffled = pd.Series(Y, index=IDS).sample(frac=1, random_state=0)
    table = DSNTransformer(tiny_classifier()).fit_transform(container(), shuffled)
    expected = DSNTransformer(tiny_classifier()).fit_transform(container(), Y)
    pd.testing.assert_frame_equal(table, expected)
    assert table.index.equals(IDS)


def test_the_transformer_tells_of_padding() -> None:
    padded = X.copy()
    padded[:3, :, 20:] = np.nan
    with pytest.warns(UserWarning, match="3 of 20 series end in steps that are missing"):
        DSNTransformer(tiny_classifier(n_epochs=1)).fit(padded, Y)


def test_pipelines_may_ask_for_frames() -> None:
    steps = StandardScaler(), LogisticRegression()
    pipeline = make_pipeline(DSNTransformer(tiny_classifier()), *steps)
    table = pipeline.set_output(transform="pandas").fit(X, Y)[:-1].transform(X)
    assert table.columns.tolist() == pipeline[0].get_feature_names_out().tolist()
    wide = X[:, 0]
    pipeline = make_pipeline(StandardScaler(), tiny_classifier()).set_output(transform="pandas")
    expected = make_pipeline(StandardScaler(), tiny_classifier()).fit(wide, Y).predict(wide)
    assert pipeline.fit(wide, Y).predict(wide).tolist() == expected.tolist()
    assert isinstance(tiny_classifier().fit(X, Y).transform(X), np.ndarray)


def test_parameters_of_the_transformer_are_nested() -> None:
    transformer = DSNTransformer(tiny_classifier()).set_params(estimator__n_epochs=1)
    assert len(transformer.fit(X, Y).estimator_.history_) == 1


@pytest.mark.parametrize("estimator", [OSCNNClassifier(), RandomForestClassifier(), "dsn"])
def test_other_estimators_are_refused_by_name(estimator: Any) -> None:
    kind = type(estimator).__name__
    with pytest.raises(TypeError, match=rf"estimator must be a DSNClassifier.* found {kind}\."):
        DSNTransformer(estimator).fit(X, Y)


def test_the_transformer_needs_targets() -> None:
    with pytest.raises(ValueError, match="requires `y`"):
        DSNTransformer(tiny_classifier()).fit(X)
