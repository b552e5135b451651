"""
A first network
===============

Train a Dynamic Sparse Network on ArrowHead and see what it learned. The data set, outlines of
arrowheads, ships with sktime: 36 training and 175 test series of 251 time steps in 3 classes.
"""

import pickle

from matplotlib import pyplot as plt
from sktime.datasets import load_arrow_head

from dsn_sktime import DSNClassifier
from dsn_sktime.analysis import count_flops, count_parameters
from dsn_sktime.plotting import plot_activated_weights, plot_history, plot_receptive_fields

X_train, y_train = load_arrow_head("train", return_type="numpy3D")
X_test, y_test = load_arrow_head("test", return_type="numpy3D")

# %%
# 50 epochs are the default, about five seconds on one core. The first fit in a new environment also
# compiles the kernels, which takes about 15 seconds. ``verbose=1`` shows a progress bar.

classifier = DSNClassifier(n_epochs=50, verbose=1, random_state=0)
classifier.fit(X_train, y_train)

print(f"test accuracy  {classifier.score(X_test, y_test):.3f}")

# %%
# Each prediction comes with a probability for each class. Every thirtieth test series:

some, labels = X_test[::30], y_test[::30]
for probabilities, label in zip(classifier.predict_proba(some), labels, strict=True):
    print(probabilities.round(2), "true label:", label)

# %%
# Only activated weights are stored, multiplied and trained. Compare them with a dense network of
# the same size. By default, predictions also use features of an untrained layer, which is saved
# along; with ``head="bins"`` there is none.

parameters = count_parameters(classifier.network_)
flops = count_flops(classifier.network_, series_length=X_train.shape[2])
print(f"parameters     {parameters.activated:,} activated, {parameters.dense:,} dense")
print(f"multiply-adds  {flops.activated:,} activated, {flops.dense:,} dense, per series")
print(f"saved          {len(pickle.dumps(classifier)) / 1e6:.1f} MB, with the untrained layer")

# %%
# Training decides which taps of the kernels are activated, and so how far each kernel reaches.

figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
figure.get_layout_engine().set(wspace=0.06)
plot_history(classifier, axes[0])
plot_activated_weights(classifier, axes[1])
plot_receptive_fields(classifier, axes[2])
figure.savefig("quickstart.png", dpi=120)
