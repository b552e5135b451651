"""
Tuning with a pipeline and a grid search
========================================

The classifier is a scikit-learn estimator, so searches, pipelines and cross-validation take it.
Receptive fields need no tuning; this example searches over the sparsity and over what is done to
the series beforehand.
"""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sktime.datasets import load_italy_power_demand

from dsn_sktime import DSNClassifier

X_train, y_train = load_italy_power_demand("train", return_type="numpy3D")
X_test, y_test = load_italy_power_demand("test", return_type="numpy3D")


def differences(X):
    """Return the changes from step to step."""
    return np.diff(X, axis=2)


# %%
# The first step of the pipeline is searched too: the series as they are, or their differences. Few
# epochs and filters keep the search short; train the winner longer afterwards.

pipeline = Pipeline(
    [
        ("prepare", FunctionTransformer()),
        ("classify", DSNClassifier(n_epochs=8, n_filters=8, random_state=0)),
    ]
)
grid = {"prepare__func": [None, differences], "classify__sparsity": [0.5, 0.8, 0.9]}
search = GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=3)
search.fit(X_train, y_train)
print("best:", search.best_params_)

# %%
# ``scoring="neg_log_loss"`` judges probabilities. Accuracy on a few series takes few values, and
# ties are frequent.

table = pd.DataFrame(search.cv_results_)
table["prepare"] = ["differences" if func else "as they are" for func in table.param_prepare__func]
losses = -table.pivot(index="prepare", columns="param_classify__sparsity", values="mean_test_score")

figure, ax = plt.subplots(figsize=(5.2, 2.8), layout="constrained")
ax.imshow(losses, cmap="Blues", aspect="auto", vmax=1.3 * losses.max().max())
for (row, column), loss in np.ndenumerate(losses):
    ax.text(column, row, f"{loss:.3f}", ha="center", va="center")
ax.set(xlabel="sparsity", xticks=range(3), xticklabels=losses.columns)
ax.set(yticks=range(2), yticklabels=losses.index, title="log loss, cross-validated")
plt.show()

# %%
# The test series are used once, for the pipeline that was chosen:

best = search.best_estimator_
best.set_params(classify__n_epochs=50).fit(X_train, y_train)
print(f"test accuracy: {best.score(X_test, y_test):.3f}")
