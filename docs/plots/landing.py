"""What a small network learns on ArrowHead, for the first page."""

from matplotlib import pyplot as plt
from sktime.datasets import load_arrow_head

from dsn_sktime import DSNClassifier
from dsn_sktime.plotting import plot_activated_weights, plot_receptive_fields

X, y = load_arrow_head("train", return_type="numpy3D")
learned = DSNClassifier(n_epochs=40, n_filters=16, delta_t=2, random_state=0).fit(X, y)

figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
plot_activated_weights(learned, axes[0], initial=True)
plot_activated_weights(learned, axes[1])
plot_receptive_fields(learned, axes[2])
axes[0].set_title("Activated taps: before training")
axes[1].set_title("Activated taps: after training")
axes[2].set_title("Receptive fields: after training")
