"""The plots hold the numbers they say they hold. Their looks were seen to by eye."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from sktime.datasets import load_basic_motions, load_unit_test
from sktime.exceptions import NotFittedError
from tiny import panel, tiny_oscnn

from dsn_sktime import DSNClassifier
from dsn_sktime.analysis import receptive_fields
from dsn_sktime.explain import contributions
from dsn_sktime.plotting import (
    plot_accuracy_cost,
    plot_activated_weights,
    plot_class_means,
    plot_confusion_matrix,
    plot_contributions,
    plot_critical_difference,
    plot_growth,
    plot_history,
    plot_pairwise,
    plot_receptive_fields,
    plot_settings,
)

matplotlib.use("Agg")
OF_AN_ESTIMATOR = [plot_activated_weights, plot_growth, plot_history, plot_receptive_fields]


def tiny(**settings):
    return DSNClassifier(
        **{"n_epochs": 4, "n_layers": 2, "n_filters": 3, "kernel_size": 6, "delta_t": 1} | settings
    )


@pytest.fixture(scope="module")
def fitted():
    return tiny(random_state=0).fit(*load_unit_test("train", return_type="numpy3D"))


@pytest.fixture(scope="module")
def ensemble():
    # Kernels of 6, 6, 3 and 9 taps.
    classifier = tiny(random_state=0, n_estimators=4)
    return classifier.fit(*load_basic_motions("train", return_type="numpy3D"))


@pytest.fixture(scope="module")
def oscnn():
    return tiny_oscnn().fit(*panel())


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("plot", OF_AN_ESTIMATOR)
@pytest.mark.parametrize("model", ["fitted", "ensemble"])
def test_draws_on_the_axes_given_and_else_on_new_ones(plot, model, request):
    estimator = request.getfixturevalue(model)
    _, ax = plt.subplots()
    assert plot(estimator, ax) is ax
    assert plot(estimator) is not ax
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    ax.figure.canvas.draw()


@pytest.mark.parametrize("plot", OF_AN_ESTIMATOR)
def test_unfitted_and_single_class_estimators_are_refused(plot):
    with pytest.raises(NotFittedError):
        plot(tiny())
    X, _ = load_unit_test("train", return_type="numpy3D")
    one_class = tiny().fit(X, np.ones(len(X)))
    with pytest.raises(NotFittedError, match="no trained network, as y had a single class"):
        plot(one_class)


def test_activated_weights_are_the_share_of_input_channels(ensemble):
    ax = plot_activated_weights(ensemble, layer=2)
    mask = ensemble.networks_[0].sparse_convs()[1].dense_mask().double()
    assert np.allclose(ax.images[0].get_array(), mask.mean(1))
    with pytest.raises(ValueError, match=r"layer must lie in 1\.\.2, found 3"):
        plot_activated_weights(ensemble, layer=3)


def test_receptive_fields_of_an_ensemble_are_the_mean(ensemble):
    ax = plot_receptive_fields(ensemble)
    expected = np.zeros(18)
    for network in ensemble.networks_:
        last = receptive_fields(network).query("layer == 2")
        expected[last["receptive_field"]] += last["fraction"] / 4
    assert ax.lines[-1].get_xdata().tolist() == list(range(1, 18))
    assert ax.lines[-1].get_ydata() == pytest.approx(expected[1:])


def test_initial_receptive_fields_are_those_of_the_network_before_training(fitted):
    start = receptive_fields(fitted.make_network(1, 24, 2)).query("layer == 2")
    shares = plot_receptive_fields(fitted, initial=True).lines[-1].get_ydata()
    assert shares[start["receptive_field"] - 1] == pytest.approx(start["fraction"])
    # The first taps of each region.
    drawn = plot_activated_weights(fitted, initial=True).images[0].get_array()
    assert not np.diff(drawn, axis=1).clip(min=0).any()


def test_initial_receptive_fields_of_an_ensemble_are_the_mean_of_its_networks():
    diverse = tiny(n_estimators=3, n_epochs=1, kernel_size=12, diverse=True).fit(*panel())
    expected = np.zeros(60)
    for number in range(3):
        start = receptive_fields(diverse.make_network(1, 24, 2, number)).query("layer == 2")
        expected[start["receptive_field"]] += start["fraction"] / 3
    line = plot_receptive_fields(diverse, initial=True).lines[-1]
    assert line.get_ydata() == pytest.approx(expected[line.get_xdata()])


def test_growth_is_the_share_of_activated_weights(fitted):
    heights = [bar.get_height() for bar in plot_growth(fitted).patches]
    grown = [record["n_grown"] for record in fitted.history_]
    assert sum(grown) > 0
    assert heights == pytest.approx(np.array(grown) / fitted.n_activated_)


def test_growth_of_an_ensemble_is_the_mean_over_its_networks(ensemble):
    expected = np.zeros(4)
    for number, network in enumerate(ensemble.networks_):
        n_activated = sum(len(conv.values) for conv in network.sparse_convs())
        for record in ensemble.history_:
            if record["network"] == number:
                expected[record["epoch"]] += record["n_grown"] / n_activated / 4
    heights = [bar.get_height() for bar in plot_growth(ensemble).patches]
    assert heights == pytest.approx(expected)


@pytest.mark.parametrize("n_epochs", [4, 8])
def test_history_marks_the_epochs_that_are_averaged(n_epochs):
    ax = plot_history(tiny(n_epochs=n_epochs).fit(*panel()))
    (band,) = ax.patches
    assert (band.get_x(), band.get_width()) == (n_epochs * 3 / 4 - 0.5, n_epochs / 4)
    assert len(ax.lines) == 1


def test_history_marks_the_epoch_of_the_model():
    fitted = tiny(keep="best").fit(*panel())
    ax = plot_history(fitted)
    loss, model = ax.lines
    assert loss.get_ydata().tolist() == [record["loss"] for record in fitted.history_]
    assert model.get_xdata().tolist() == [fitted.best_epoch_]


@pytest.mark.parametrize(
    "plot",
    [
        plot_activated_weights,
        plot_growth,
        plot_receptive_fields,
        lambda estimator: plot_contributions(estimator, panel()[0][0]),
        lambda estimator: plot_class_means(estimator, *panel()),
    ],
)
def test_plots_of_a_dsn_refuse_an_oscnn_by_name(plot, oscnn):
    with pytest.raises(TypeError, match="found OSCNNClassifier"):
        plot(oscnn)


def test_contributions_of_one_variate_color_the_series(fitted):
    x = panel()[0][3]
    ax = plot_contributions(fitted, x)
    (line,) = ax.collections
    predicted = fitted.predict(x[None])[0]
    place = list(fitted.classes_).index(predicted)
    expected = contributions(fitted, x[None])[0, place, 0]
    assert np.asarray(line.get_array()) == pytest.approx(expected)
    # Each time step's segment passes through its point.
    assert [segment[1].tolist() for segment in line.get_segments()] == [
        [step, value] for step, value in enumerate(x[0])
    ]
    assert f"class {predicted}" in ax.get_title()
    assert f"{fitted.predict_proba(x[None]).max():.2f}" in ax.get_title()
    other = next(label for label in fitted.classes_ if label != predicted)
    (line,) = plot_contributions(fitted, x[0], label=other).collections
    assert np.asarray(line.get_array()) == pytest.approx(
        contributions(fitted, x[None])[0, 1 - place, 0]
    )


def test_contributions_of_variates_have_a_row_each(ensemble):
    X, _ = panel("multivariate")
    ax = plot_contributions(ensemble, X[0])
    assert len(ax.collections) == X.shape[1]
    assert [label.get_text() for label in ax.get_yticklabels()] == list("012345")
    for row, line in enumerate(ax.collections):
        heights = np.concatenate(line.get_segments())[:, 1]
        assert -row <= heights.min() < heights.max() <= 1 - row


def test_class_means_leave_out_missing_steps(fitted):
    X, y = panel()
    longer = [one if place % 2 else one[:, :20] for place, one in enumerate(X)]
    ax = plot_class_means(fitted, longer, y)
    found = contributions(fitted, longer)
    rows = np.flatnonzero(y == fitted.classes_[1])
    expected = [
        np.mean([found[row, 1, 0, step] for row in rows if step < longer[row].shape[1]])
        for step in range(24)
    ]
    assert np.asarray(ax.collections[1].get_array()) == pytest.approx(np.array(expected))
    assert [label.get_text() for label in ax.get_yticklabels()] == list(fitted.classes_)


def test_class_means_of_a_variate_by_name():
    X, y = panel()
    named = [pd.DataFrame({"noise": one[0] % 1, "load": one[0]}) for one in X]
    classifier = tiny(n_epochs=1).fit(named, y)
    by_name, by_place = (plot_class_means(classifier, named, y, variate=one) for one in ("load", 1))
    for one, other in zip(by_name.collections, by_place.collections, strict=True):
        assert np.array_equal(one.get_segments(), other.get_segments())
    with pytest.raises(ValueError, match=r"one of \['noise', 'load'\] or lie in 0..1, found 'x'"):
        plot_class_means(classifier, named, y, variate="x")


def test_class_means_have_one_scale(fitted):
    X, y = load_unit_test("train", return_type="numpy3D")
    factors = np.where(y == fitted.classes_[0], 1, 3)[:, None, None]
    ax = plot_class_means(fitted, factors * X, y)
    rows = [np.concatenate(one.get_segments())[:, 1] for one in ax.collections]
    means = [(factors * X)[y == label, 0].mean(0) for label in fitted.classes_]
    assert np.ptp(rows[1]) / np.ptp(rows[0]) == pytest.approx(np.ptp(means[1]) / np.ptp(means[0]))


def test_values_beside_missing_ones_are_drawn(fitted):
    x = load_unit_test("train", return_type="numpy3D")[0][0].copy()
    x[0, 1::2] = np.nan
    segments = plot_contributions(fitted, x).collections[0].get_segments()
    drawn = [one for one in segments if len(one) and np.isfinite(one).all()]
    assert len(drawn) == np.isfinite(x).sum()


def test_a_history_of_one_epoch_is_seen():
    ax = plot_history(tiny(n_epochs=1).fit(*panel()))
    assert ax.lines[0].get_marker() == "s"
    assert ax.get_xlim() == (-0.5, 0.5)


@pytest.mark.filterwarnings("error")
def test_rows_of_variates_that_do_not_change_or_are_missing(ensemble):
    x = panel("multivariate")[0][0].copy()
    x[1], x[2] = 7, np.nan
    ax = plot_contributions(ensemble, x)
    assert len(ax.get_yticklabels()) == 6
    # In the middle of its row, where its name is.
    heights = np.concatenate(ax.collections[1].get_segments())[:, 1]
    assert heights == pytest.approx(ax.get_yticks()[1])
    assert ax.get_ylim() == pytest.approx((-5.1, 0.9))


def test_growth_is_empty_where_the_topology_is_fixed():
    ax = plot_growth(tiny(growth=None, n_epochs=1).fit(*panel()))
    assert ax.get_ylim() == (0, 1)


def test_what_cannot_be_drawn_of_predictions_is_refused(fitted):
    X, y = panel()
    with pytest.raises(ValueError, match="one series, found 20"):
        plot_contributions(fitted, X)
    with pytest.raises(ValueError, match=r"label must be one of .*, found 'no'"):
        plot_contributions(fitted, X[0], label="no")
    with pytest.raises(ValueError, match=r"labels in y must be one of .*, found 'no'"):
        plot_class_means(fitted, X, ["no"] * len(y))
    with pytest.raises(ValueError, match=r"variate must be one of \[0\] or lie in 0\.\.0, found 1"):
        plot_class_means(fitted, X, y, variate=1)
    with pytest.raises(ValueError, match="same length, found 20 series"):
        plot_confusion_matrix(fitted, X, y[:3])


def test_confusion_matrix_counts_series(oscnn):
    X, y = panel()
    ax = plot_confusion_matrix(oscnn, X, y)
    predicted = oscnn.predict(X)
    counts = [
        np.count_nonzero((y == true) & (predicted == found))
        for true in oscnn.classes_
        for found in oscnn.classes_
    ]
    assert [int(text.get_text()) for text in ax.texts] == counts


def test_critical_difference_tells_a_better_classifier_from_equal_ones():
    rng = np.random.default_rng(0)
    good = rng.uniform(0.8, 0.9, 30)
    table = pd.DataFrame({"good": good, "bad": good - 0.1, "same as bad": good - 0.1})
    ax = plot_critical_difference(table)
    texts = {text.get_text() for text in ax.texts}
    assert any("good (1" in text for text in texts)
    assert sum("2.5" in text for text in texts) == 2


def test_published_classifiers_look_different():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(0, 1, (9, 5)), columns=list("abcde"))
    ax = plot_critical_difference(table, published={"b", "e"})
    styles = {text.get_text().strip("(.)0123456789 "): text.get_fontstyle() for text in ax.texts}
    assert styles == {"a": "normal", "b": "italic", "c": "normal", "d": "normal", "e": "italic"}
    hollow = [
        plot_pairwise(table, "a", name, published={"b"}).lines[1].get_markerfacecolor()
        for name in "bc"
    ]
    assert hollow[0] == "none"
    assert hollow[1] != "none"


def test_pairwise_counts_wins_and_names_the_extremes():
    table = pd.DataFrame(
        {"x": [0.5, 0.6, 0.7, 0.8], "y": [0.6, 0.9, 0.7, 0.5]}, index=["A", "B", "C", "D"]
    )
    ax = plot_pairwise(table, "x", "y")
    assert ax.get_title() == "2 wins, 1 ties, 1 losses"
    assert ax.lines[1].get_xdata().tolist() == table["x"].tolist()
    assert ax.lines[1].get_ydata().tolist() == table["y"].tolist()
    assert {text.get_text() for text in ax.texts if text.get_text()} == {"B", "D"}
    # None is named where the other is better throughout, nor of equal ones.
    one_sided = plot_pairwise(table.assign(y=table["x"] - [0.1, 0.2, 0.1, 0.1]), "x", "y")
    assert {text.get_text() for text in one_sided.texts if text.get_text()} == {"B"}
    assert not plot_pairwise(table.assign(y=table["x"]), "x", "y").texts


def test_accuracy_cost_draws_whom_it_knows():
    table = pd.DataFrame({"accuracy": [0.8, 0.9, 0.7], "macs": [1e6, 1e8, np.nan]}, list("abc"))
    ax = plot_accuracy_cost(table, "macs")
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines]
    assert points == [(1e6, 0.8), (1e8, 0.9)]
    assert ax.get_xscale() == "log"
    assert {text.get_text() for text in ax.texts if text.get_text()} == {"a", "b"}


def test_names_cover_neither_each_other_nor_points():
    rng = np.random.default_rng(0)
    accuracy = 0.8 + rng.uniform(0, 0.02, 9)
    names = [f"classifier {number}" for number in range(9)]
    table = pd.DataFrame({"accuracy": accuracy, "s": 10 ** rng.uniform(1, 2, 9)}, names)
    ax = plot_accuracy_cost(table, "s")
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert len(boxes) == 9
    assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place])
    points = ax.transData.transform(table[["s", "accuracy"]].to_numpy())
    assert not any(box.contains(*point) for box in boxes for point in points)


@pytest.mark.parametrize("n_datasets", [3, 10])
def test_settings_are_drawn_by_data_set_with_their_mean(n_datasets):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(0, 1, (n_datasets, 3)), columns=["50 %", "80 %", "90 %"])
    ax = plot_settings(table)
    drawn = [line.get_ydata() for line in ax.lines]
    assert np.array(drawn[:-1]) == pytest.approx(table.to_numpy())
    assert drawn[-1] == pytest.approx(table.mean().to_numpy())
    assert [label.get_text() for label in ax.get_xticklabels()] == list(table.columns)
    # Few lines have a name each, many only their mean.
    assert len(ax.get_legend().get_texts()) == (n_datasets + 1 if n_datasets < 7 else 1)


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        (lambda table: plot_pairwise(table, "a", "b"), "found 2 data sets and 1 missing"),
        (lambda table: plot_pairwise(table.head(0), "a", "b"), "found 0 data sets"),
        (plot_settings, r"found shape \(2, 2\) and 1 missing"),
        (
            lambda table: plot_accuracy_cost(table.rename(columns={"a": "accuracy"}) - 1, "b"),
            "b above 0",
        ),
    ],
)
def test_tables_that_cannot_be_drawn_are_refused(plot, message):
    with pytest.raises(ValueError, match=message):
        plot(pd.DataFrame({"a": [0.1, np.nan], "b": [0.1, 0.2]}))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"a": [0.1, 0.2]}), "at least 2 data sets"),
        (pd.DataFrame({"a": [0.1, np.nan], "b": [0.1, 0.2]}), "no missing scores, found 1"),
    ],
)
def test_incomplete_tables_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        plot_critical_difference(table)
