"""
Regression
==========

``DSNRegressor`` predicts a number for each series with the network of ``DSNClassifier``. Here it
is the frequency of a noisy oscillation with a random phase.
"""

import numpy as np
from matplotlib import pyplot as plt

from dsn_sktime import DSNRegressor

rng = np.random.default_rng(0)
n, n_steps = 200, 100
frequency = rng.uniform(2, 8, n)
phase = rng.uniform(0, 2 * np.pi, (n, 1))
X = np.sin(2 * np.pi * frequency[:, None] * np.linspace(0, 1, n_steps) + phase)
X += rng.normal(0, 0.5, X.shape)

# %%
# An ensemble also says how much its networks disagree.

regressor = DSNRegressor(n_epochs=20, n_filters=12, n_estimators=3, random_state=0)
regressor.fit(X[:120], frequency[:120])
print(f"R² on new series: {regressor.score(X[120:], frequency[120:]):.3f}")

predicted = regressor.predict(X[120:])
spread = regressor.predict_std(X[120:])
errors = abs(predicted - frequency[120:])
print(f"mean error {errors.mean():.2f}, mean spread of the networks {spread.mean():.2f}")

# %%
# The spread is not a prediction interval, as it does not include the noise of the target. Where
# networks disagree, errors may be larger.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
axes[0].errorbar(frequency[120:], predicted, yerr=spread, fmt="o", ms=3, lw=0.8)
axes[0].plot([2, 8], [2, 8], color="0.6", lw=1, zorder=0)
axes[0].set(xlabel="frequency", ylabel="prediction", title="new series")
for one in (frequency[120:].argmin(), frequency[120:].argmax()):
    axes[1].plot(X[120 + one], lw=0.8, label=f"{frequency[120 + one]:.1f}: {predicted[one]:.1f}")
axes[1].set(xlabel="time step", title="slowest and fastest", ylim=(-2.5, 4))
axes[1].legend(title="frequency: prediction", loc="upper right", ncols=2)
plt.show()
