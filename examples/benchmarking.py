"""
Benchmarking on your own data
=============================

The command ``python -m dsn_sktime.benchmarking`` compares classifiers on data sets of the archives
or on your own. It needs the extra ``benchmarks``.
"""

import tempfile
from pathlib import Path

from matplotlib import pyplot as plt
from sktime.datasets import load_italy_power_demand, write_ndarray_to_tsfile

from dsn_sktime.benchmarking.__main__ import main
from dsn_sktime.benchmarking.run import results
from dsn_sktime.plotting import plot_accuracy_cost

# %%
# Each data set is two files, ``NAME/NAME_TRAIN.ts`` and ``NAME/NAME_TEST.ts``, in the text format
# of the archives. sktime writes them. Here, ItalyPowerDemand stands in for your own series.

folder = Path(tempfile.mkdtemp())
for split in ("train", "test"):
    X, y = load_italy_power_demand(split, return_type="numpy3D")
    write_ndarray_to_tsfile(
        X,
        folder,
        "MyData",
        class_value_list=y,
        equal_length=True,
        series_length=X.shape[2],
        fold=f"_{split.upper()}",
    )

# %%
# In a shell, the next line is ``python -m dsn_sktime.benchmarking run --data-path FOLDER ...``.
# Each result is kept, so the same command continues after an interruption. Your own classifiers
# take part as ``module:factory``.

file = folder / "results.csv"
options = ["--data-path", str(folder), "--datasets", "MyData", "--results", str(file)]
names = ["dsn", "dsn-bins", "minirocket", "1nn-dtw"]
main(["run", *options, "--estimators", *names, "--epochs", "10"])

# %%
# The results file has one row per fit. Accuracy is not all that differs: MiniROCKET's ridge
# classifier and nearest neighbors give no probabilities, so each of their predictions counts as
# certain, and their errors make the log loss large.

table = results.read(file)
columns = ["estimator", "accuracy", "log_loss", "calibration_error", "fit_seconds"]
print(table[columns].round(3).to_string(index=False))

# %%
# One data set is too few to compare classifiers. With several, this command writes a page with
# ranks, tests and figures:
# ``python -m dsn_sktime.benchmarking report results.csv --output report``.

ax = plot_accuracy_cost(table.set_index("estimator"), "fit_seconds")
ax.set_xlabel("seconds to fit")
plt.show()
