"""Train a Dynamic Sparse Network on ArrowHead and draw what it learned.

ArrowHead (36 training and 175 test series of 251 time steps, 3 classes) ships with
sktime. The default 50 epochs take about ten seconds on one core after the kernels are compiled.
"""

from __future__ import annotations

import argparse

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from sktime.datasets import load_arrow_head

from dsn_sktime import DSNClassifier
from dsn_sktime.analysis import count_flops, count_parameters
from dsn_sktime.plotting import plot_activated_weights, plot_history, plot_receptive_fields


def main() -> None:
    """Train, report, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=50, help="training epochs (50)")
    parser.add_argument("--output", default="quickstart.png", help="the picture's file")
    arguments = parser.parse_args()

    X_train, y_train = load_arrow_head("train", return_type="numpy3D")
    X_test, y_test = load_arrow_head("test", return_type="numpy3D")

    classifier = DSNClassifier(n_epochs=arguments.epochs, verbose=1, random_state=0)
    classifier.fit(X_train, y_train)

    parameters = count_parameters(classifier.network_)
    flops = count_flops(classifier.network_, series_length=X_train.shape[2])
    print(f"test accuracy  {classifier.score(X_test, y_test):.3f} after {arguments.epochs} epochs")
    print(f"parameters     {parameters.activated:,} activated, {parameters.dense:,} dense")
    print(f"multiply-adds  {flops.activated:,} activated, {flops.dense:,} dense, per series")

    figure, axes = plt.subplots(1, 3, figsize=(15.5, 4.6), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)
    plot_history(classifier, axes[0])
    plot_activated_weights(classifier, axes[1])
    plot_receptive_fields(classifier, axes[2])
    figure.savefig(arguments.output, dpi=120)
    print(f"picture        {arguments.output}")


if __name__ == "__main__":
    main()
