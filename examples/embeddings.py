"""
Embeddings of a panel
=====================

A fitted network turns each series into a row of features: for pictures, clustering, search by
similarity or any other estimator.
"""

from matplotlib import pyplot as plt
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.datasets import load_arrow_head

from dsn_sktime import DSNClassifier

X_train, y_train = load_arrow_head("train", return_type="numpy3D")
X_test, y_test = load_arrow_head("test", return_type="numpy3D")

# %%
# ``transform`` returns what the head reads: statistics of the activations of the trained network
# and of an untrained layer. Names say where each feature comes from; here we use the trained ones.

classifier = DSNClassifier(n_epochs=30, n_filters=16, random_state=0).fit(X_train, y_train)
features = classifier.transform(X_test)
names = classifier.get_feature_names_out()
print(features.shape, names[0])
features = features[:, ["_trained_" in name for name in names]]

# %%
# Two principal components of the test series, which the network has not seen:

scaled = make_pipeline(StandardScaler(), PCA(10)).fit_transform(features)
figure, ax = plt.subplots(figsize=(5.5, 4), layout="constrained")
for label in classifier.classes_:
    ax.scatter(*scaled[y_test == label, :2].T, s=14, label=label)
ax.set(xlabel="component 1", ylabel="component 2")
ax.legend(title="class")
plt.show()

# %%
# Search by similarity: the three test series that are most like the first one.

distances = pairwise_distances(scaled[:1], scaled)[0]
nearest = distances.argsort()[1:4]
figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
ax.plot(X_test[0, 0], "k", label=f"query, class {y_test[0]}")
for one in nearest:
    ax.plot(X_test[one, 0], lw=0.8, label=f"class {y_test[one]}")
ax.set(xlabel="time step")
figure.legend(loc="outside right")
plt.show()
