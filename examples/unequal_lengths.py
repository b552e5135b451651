"""
Unequal lengths and missing values
==================================

Series may differ in length and have gaps. No padding, cutting or imputation is needed.
"""

import numpy as np
from matplotlib import pyplot as plt
from sktime.datasets import load_japanese_vowels

from dsn_sktime import DSNClassifier

# %%
# JapaneseVowels has 12 variates, taken from recordings of nine speakers. Its series have 7 to 29
# time steps. Pass them as a list: of frames with one row per time step, or of arrays (variates,
# time steps).

X_train, y_train = load_japanese_vowels("train", return_type="df-list")
X_test, y_test = load_japanese_vowels("test", return_type="df-list")
X_train = [frame.to_numpy().T for frame in X_train]
X_test = [frame.to_numpy().T for frame in X_test]

classifier = DSNClassifier(n_epochs=10, n_filters=16, random_state=0)
classifier.fit(X_train, y_train)
print(f"test accuracy: {classifier.score(X_test, y_test):.3f}")

# %%
# A prediction does not depend on the other series of a batch, whatever their lengths:

together = classifier.predict_proba(X_test[:10])
alone = np.vstack([classifier.predict_proba([series]) for series in X_test[:10]])
print(f"largest difference: {abs(together - alone).max():.1e}")

# %%
# Missing values are NaN. The network reads them as the mean of their variate. How much do gaps
# cost if the training series have none, and if they have as many as the test series?


def with_gaps(panel, share, seed):
    """Return copies of the series in which a share of the values is missing."""
    rng = np.random.default_rng(seed)
    return [np.where(rng.random(series.shape) < share, np.nan, series) for series in panel]


shares = [0, 0.2, 0.4]
from_complete = [classifier.score(with_gaps(X_test, share, 1), y_test) for share in shares]
from_gaps = from_complete[:1]
for share in shares[1:]:
    again = DSNClassifier(n_epochs=10, n_filters=16, random_state=0)
    again.fit(with_gaps(X_train, share, 0), y_train)
    from_gaps.append(again.score(with_gaps(X_test, share, 1), y_test))

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
lengths = [series.shape[1] for series in X_train]
axes[0].hist(lengths, bins=range(min(lengths), max(lengths) + 2), align="left")
axes[0].set(xlabel="time steps", ylabel="training series", xticks=range(10, 30, 5))
axes[1].plot(shares, from_complete, "o-", label="trained on complete series")
axes[1].plot(shares, from_gaps, "s--", label="trained on series with as many gaps")
axes[1].set(xlabel="share of missing values", ylabel="test accuracy", xticks=shares)
axes[1].legend()
plt.show()
