"""
Explaining a prediction
=======================

Which time steps support a class? Contributions split the logits of a prediction, less a baseline,
over the time steps of the series without a remainder. This example plants a pattern in noise and
checks whether the contributions find it.
"""

import numpy as np
from matplotlib import pyplot as plt

from dsn_sktime import DSNClassifier
from dsn_sktime.explain import baseline, contributions
from dsn_sktime.plotting import plot_contributions

# %%
# Each series is noise with one pattern at a random place: a bump or a zigzag.

rng = np.random.default_rng(0)
n, n_steps, width = 160, 120, 16
patterns = {"bump": 2.5 * np.hanning(width), "zigzag": 1.5 * np.resize([1, -1], width)}
y = np.resize(list(patterns), n)
X = rng.normal(0, 0.5, (n, 1, n_steps))
starts = rng.integers(0, n_steps - width, n)
for series, label, start in zip(X, y, starts, strict=True):
    series[0, start : start + width] += patterns[label]

classifier = DSNClassifier(n_epochs=20, n_filters=16, random_state=0).fit(X[:100], y[:100])
print(f"test accuracy: {classifier.score(X[100:], y[100:]):.3f}")

# %%
# ``contributions`` has the shape (series, classes, variates, time steps), in units of the logits.
# Together with the baseline, they sum to the logits, whose softmax are the probabilities.

found = contributions(classifier, X[100:])
logits = found.sum(axis=(2, 3)) + baseline(classifier)
softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
difference = abs(softmax - classifier.predict_proba(X[100:])).max()
print(f"shape {found.shape}, largest difference of probabilities {difference:.1e}")

# %%
# How much of what supports the true class lies on the pattern, which covers 16 of 120 steps?

shares = []
for one, label, start in zip(found, y[100:], starts[100:], strict=True):
    positive = one[classifier.classes_ == label][0, 0].clip(min=0)
    shares.append(positive[start : start + width].sum() / positive.sum())
print(f"median share on the pattern: {np.median(shares):.2f}, by chance {width / n_steps:.2f}")

# %%
# A test series of each class, colored by what supports and contradicts the predicted class. Where
# patterns are at the same place in all series, ``plot_class_means`` shows this for whole classes.

figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
for ax, label in zip(axes, patterns, strict=True):
    plot_contributions(classifier, X[100:][y[100:] == label][0], ax)
plt.show()
