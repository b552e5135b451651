"""What a small network learns on ArrowHead, for the first page."""

from matplotlib import pyplot as plt
from sktime.datasets import load_arrow_head

from dsn_sktime import DSNClassifier
from dsn_sktime.plotting import plot_activated_weights, plot_receptive_fields

X, y = load_arrow_head("train", return_type="numpy3D")
start = DSNClassifier(n_epochs=1, n_filters=16, growth=None, random_state=0).fit(X, y)
learned = DSNClassifier(n_epochs=40, n_filters=16, delta_t=2, random_state=0).fit(X, y)

figure, axes = plt.subplots(1, 4, figsize=(13, 3), layout="constrained")
for label in learned.classes_:
    axes[0].plot(X[y == label][:4, 0].T, color=f"C{label}", lw=0.8, alpha=0.8)
axes[0].set(title="Series of three classes", xlabel="time step", yticks=[])
plot_activated_weights(start, axes[1])
plot_activated_weights(learned, axes[2])
plot_receptive_fields(learned, axes[3])
axes[1].set_title("Activated taps, at the start")
axes[2].set_title("Activated taps, learned")
axes[3].set_title("Receptive fields, learned")
