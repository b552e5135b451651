"""
What a network learned
======================

When activated weights moved during training, how far the kernels reach as a result, and which parts
of a series support a class.
"""

from matplotlib import pyplot as plt
from sktime.datasets import load_arrow_head

from dsn_sktime import DSNClassifier
from dsn_sktime.plotting import plot_class_means, plot_growth, plot_receptive_fields

X, y = load_arrow_head("train", return_type="numpy3D")
classifier = DSNClassifier(n_epochs=40, n_filters=16, delta_t=2, random_state=0).fit(X, y)

# %%
# After every second epoch, as ``delta_t=2`` says, the smallest weights are dropped and as many are
# grown at other taps. The bars show their share.

figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
plot_growth(classifier, ax)
plt.show()

# %%
# Before training, the activated taps are the first ones of each kernel. Afterwards, the kernels
# reach further: receptive fields of paths through the layers.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
plot_receptive_fields(classifier, axes[0], initial=True)
plot_receptive_fields(classifier, axes[1])
axes[0].set_title("before training")
axes[1].set_title("after training")
plt.show()

# %%
# The mean series of each class, colored by what supports and what contradicts the class:

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
plot_class_means(classifier, X, y, ax)
plt.show()
