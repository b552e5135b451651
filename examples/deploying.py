"""Compare the files of a fitted classifier: size, start of a process, time per series.

    python examples/deploying.py

Each row is the median over new processes with one thread. Times are processor times. The epochs
of the fit do not change them.
"""

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from sktime.datasets import load_arrow_head

from dsn_sktime import DSNClassifier

FROM_FILE = """
from dsn_sktime import DSNClassifier
model = DSNClassifier.from_file("model.npz")
predict = model.predict_proba
"""
DENSE = """
for network in model.networks_:
    network.backend = "dense"
"""
PICKLE = """
import pickle
with open("model.pickle", "rb") as file:
    predict = pickle.load(file).predict_proba
"""
ONNX = """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession("model.onnx", options)
predict = lambda X: session.run(None, {"series": X})[0]
"""
WAYS = {
    "to_file": ("model.npz", FROM_FILE),
    "to_file, dense backend": ("model.npz", FROM_FILE + DENSE),
    "pickle": ("model.pickle", PICKLE),
    "to_onnx": ("model.onnx", ONNX),
}
MEASURE = """
from statistics import median
from time import process_time
import numpy as np

X = np.load("series.npy")
predict(X[:1])
first = process_time()  # Since the process started.

def seconds(X):
    start = process_time()
    predict(X)
    return process_time() - start

predict(X)
print(first, *(1e3 * median(seconds(X[:n]) for _ in range(9)) / n for n in (1, len(X))))
"""


def measure(program: str, folder: str) -> list[float]:
    """Return seconds to the first prediction, and milliseconds per series alone and of many."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program + MEASURE]
    return [
        float(one) for one in subprocess.check_output(command, cwd=folder, env=environment).split()
    ]


def main() -> None:
    """Fit, write the files, measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--filters", type=int, default=47, help="size of the network")
    parser.add_argument("--repeats", type=int, default=5, help="processes of each kind")
    arguments = parser.parse_args()
    classifier = DSNClassifier(arguments.epochs, n_filters=arguments.filters, random_state=0)
    classifier.fit(*load_arrow_head("train", return_type="numpy3D"))
    X, _ = load_arrow_head("test", return_type="numpy3D")
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "series.npy"), X[:100])
        classifier.to_file(Path(folder, "model.npz"))
        classifier.to_onnx(Path(folder, "model.onnx"))
        Path(folder, "model.pickle").write_bytes(pickle.dumps(classifier))
        found = {name: [] for name in WAYS}
        for _ in range(arguments.repeats):
            for name, (_, program) in WAYS.items():
                found[name].append(measure(program, folder))
        print(f"{'':24}{'KB':>8}{'start, s':>12}{'alone, ms':>12}{'of 100, ms':>12}")
        for name, (file, _) in WAYS.items():
            kilobytes = Path(folder, file).stat().st_size / 1024
            start, alone, many = (median(values) for values in zip(*found[name], strict=True))
            print(f"{name:24}{kilobytes:8,.0f}{start:12.2f}{alone:12.2f}{many:12.2f}")


if __name__ == "__main__":
    main()
