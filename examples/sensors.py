"""
Sensor readings from a table
============================

Sensor data usually come as a long table: one row per time step, with the id of the recording,
a time stamp and a column for each sensor. Setting the first two as the index makes a panel of it.
"""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from dsn_sktime import DSNClassifier
from dsn_sktime.plotting import plot_confusion_matrix

# %%
# Make such a table: 120 pumps, two readings per second for a minute. In a worn pump, the pressure
# drops for a moment and the temperature rises a little afterwards. When that happens differs.

rng = np.random.default_rng(0)
n_pumps, n_steps = 120, 120
state = rng.choice(["ok", "worn"], n_pumps)
steps = np.arange(n_steps)
drop = rng.integers(10, 90, n_pumps)[:, None]
worn = (state == "worn")[:, None]
temperature = rng.normal(60, 1, (n_pumps, n_steps)) + 0.8 * worn * (steps > drop + 10)
pressure = rng.normal(101_300, 150, (n_pumps, n_steps))
pressure -= 400 * worn * (abs(steps - drop - 4) < 4)
vibration = rng.normal(0, 0.02, (n_pumps, n_steps))

ids = [f"pump {i}" for i in range(n_pumps)]
table = pd.DataFrame(
    {
        "pump": np.repeat(ids, n_steps),
        "time": np.tile(pd.date_range("2026-01-01", periods=n_steps, freq="500ms"), n_pumps),
        "temperature": temperature.ravel(),
        "pressure": pressure.ravel(),
        "vibration": vibration.ravel(),
    }
)
labels = pd.Series(state, index=ids)
table.head(3)

# %%
# The rows may be in any order, and so may the labels: they are matched by id. Each sensor is
# standardized, so units and offsets do not matter.

X = table.set_index(["pump", "time"])
training, test = ids[:80], ids[80:]

classifier = DSNClassifier(n_epochs=30, n_filters=16, random_state=0)
classifier.fit(X.loc[training], labels[training])
predicted = classifier.predict(X.loc[test])
print(f"accuracy on {len(test)} other pumps: {(predicted == labels[test]).mean():.3f}")

# %%
# A worn pump, and how often each state was recognized:

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
pump = labels.index[labels == "worn"][0]
standardized = (X.loc[pump] - X.mean()) / X.std()
for row, sensor in enumerate(X.columns):
    axes[0].plot(steps / 2, standardized[sensor] - 8 * row)
axes[0].set_yticks([0, -8, -16], X.columns)
axes[0].set(title=f"{pump}, worn: standardized readings", xlabel="seconds")
plot_confusion_matrix(classifier, X.loc[test], labels[test], axes[1])
plt.show()
