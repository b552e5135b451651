"""
Calibrated probabilities
========================

Are the predictions that are made with 80 % confidence right in 80 % of the cases? This example
compares the default head with the paper's on series that were not trained on.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import log_loss
from sktime.datasets import load_arrow_head

from dsn_sktime import DSNClassifier

X_train, y_train = load_arrow_head("train", return_type="numpy3D")
X_test, y_test = load_arrow_head("test", return_type="numpy3D")

# %%
# ``head="bins"`` is the paper's. The default, ``head="ridge"``, averages its logits with those of
# two ridge classifiers, whose scale is set by leave-one-out predictions: no series are held back
# for it.

probabilities = {}
for head in ("bins", "ridge"):
    classifier = DSNClassifier(n_epochs=30, n_filters=16, head=head, random_state=0)
    probabilities[head] = classifier.fit(X_train, y_train).predict_proba(X_test)

# %%
# The log loss judges accuracy and calibration together. To judge calibration alone, compare the
# mean confidence with the accuracy.

for head, p in probabilities.items():
    accuracy = np.mean(classifier.classes_[p.argmax(axis=1)] == y_test)
    summary = f"accuracy {accuracy:.3f}, mean confidence {p.max(axis=1).mean():.3f}"
    print(f"{head:6} {summary}, log loss {log_loss(y_test, p):.3f}")

# %%
# The reliability diagram shows both for five bins of 35 test series each. The share of right
# predictions in a bin is uncertain by about 8 points, so do not read too much into one point.

figure, ax = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
for head, p in probabilities.items():
    is_right = classifier.classes_[p.argmax(axis=1)] == y_test
    CalibrationDisplay.from_predictions(
        is_right, p.max(axis=1), n_bins=5, strategy="quantile", ax=ax, name=head
    )
ax.set(xlabel="confidence", ylabel="share of right predictions")
plt.show()
