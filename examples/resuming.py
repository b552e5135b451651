"""
Resuming a long fit
===================

A fit that takes hours should survive Ctrl-C and a power failure. With a checkpoint, running the
same lines again continues it, and ends with the same network as a fit without interruption.
"""

import tempfile
import warnings

import numpy as np
from matplotlib import pyplot as plt
from sktime.datasets import load_italy_power_demand

from dsn_sktime import DSNClassifier
from dsn_sktime.training import Callback, Checkpoint

X, y = load_italy_power_demand("train", return_type="numpy3D")


# %%
# This callback stands in for Ctrl-C: it interrupts the first fit halfway.


class Interruption(Callback):
    """Interrupt the first fit, once."""

    happened = False

    def __repr__(self):
        return "Interruption()"

    def on_epoch_end(self, trainer, record):
        """Raise the exception that Ctrl-C raises."""
        if not self.happened and 2 * len(trainer.history) >= trainer.recipe.n_epochs:
            Interruption.happened = True
            raise KeyboardInterrupt


# %%
# The checkpoint's file is replaced every second epoch. Its name is a digest of series, labels and
# parameters: other fits never find it, so one folder can be shared by all.

folder = tempfile.mkdtemp()


def fit():
    callbacks = [Checkpoint(folder, every=2), Interruption()]
    classifier = DSNClassifier(n_epochs=30, n_filters=16, callbacks=callbacks, random_state=0)
    return classifier.fit(X, y)


with warnings.catch_warnings():
    # It says that the classifier is fitted nevertheless, with what was trained so far.
    warnings.filterwarnings("ignore", "training was interrupted")
    try:
        fit()
    except KeyboardInterrupt:
        print("interrupted")

# %%
# Fit again, and compare with a fit that was never interrupted:

resumed = fit()
uninterrupted = DSNClassifier(n_epochs=30, n_filters=16, random_state=0).fit(X, y)
print("equal probabilities:", (resumed.predict_proba(X) == uninterrupted.predict_proba(X)).all())

figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for classifier, style, label in [(uninterrupted, "-", "uninterrupted"), (resumed, "o", "resumed")]:
    losses = [record["loss"] for record in classifier.history_]
    ax.plot(np.arange(1, len(losses) + 1), losses, style, markersize=3, label=label)
ax.set(xlabel="epoch", ylabel="training loss")
ax.legend()
plt.show()
