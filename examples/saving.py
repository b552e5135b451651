"""
Saving and exporting a classifier
=================================

Three ways to take a fitted classifier elsewhere: a pickle, a file that is loaded without executing
code, and an ONNX file, which needs neither torch nor this package.
"""

import json
import pickle
import tempfile
from pathlib import Path

import onnxruntime
from matplotlib import pyplot as plt
from sktime.datasets import load_arrow_head

from dsn_sktime import DSNClassifier

X_train, y_train = load_arrow_head("train", return_type="numpy3D")
X_test, y_test = load_arrow_head("test", return_type="numpy3D")

# A small network, because the export to ONNX takes seconds for each layer.
classifier = DSNClassifier(n_epochs=20, n_layers=2, n_filters=16, head="bins", random_state=0)
classifier.fit(X_train, y_train)

folder = Path(tempfile.mkdtemp())
(folder / "classifier.pkl").write_bytes(pickle.dumps(classifier))
classifier.to_file(folder / "classifier.npz")
classifier.to_onnx(folder / "classifier.onnx")

# %%
# A pickle executes code when it is loaded, so load only what you trust. ``from_file`` does not,
# and predicts bit for bit as before.

loaded = DSNClassifier.from_file(folder / "classifier.npz")
print("equal:", (loaded.predict_proba(X_test) == classifier.predict_proba(X_test)).all())

# %%
# The ONNX file holds standardization, network and head. Batches and series of any length can be
# passed; the labels are in its metadata.

session = onnxruntime.InferenceSession(folder / "classifier.onnx")
(probabilities,) = session.run(None, {"series": X_test})
labels = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
difference = abs(probabilities - classifier.predict_proba(X_test)).max()
print(f"labels {labels}, largest difference {difference:.1e}")

# %%
# The pickle and the other file hold activated weights only; the network in the ONNX file is dense.

sizes = {path.suffix: path.stat().st_size / 1e3 for path in sorted(folder.iterdir())}
figure, ax = plt.subplots(figsize=(5, 2), layout="constrained")
ax.barh(list(sizes), list(sizes.values()))
ax.set(xlabel="kB", title="size of the file")
plt.show()
