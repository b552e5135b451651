"""Write a tiny classifier and its probabilities with the current version of the package."""

import json
from pathlib import Path

import numpy as np

from dsn_sktime import DSNClassifier

STEM = Path(__file__).with_name("dsn_format_2")

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    y = np.array(["falls", "rises"])[np.arange(20) % 2]
    X = rng.normal(size=(20, 20)) + np.linspace(-1, 1, 20) * np.where(y == "rises", 2, -2)[:, None]
    classifier = DSNClassifier(n_epochs=5, n_layers=2, n_filters=2, kernel_size=9, random_state=0)
    classifier.fit(X, y).to_file(STEM.with_suffix(".npz"))
    series = np.sin(np.arange(3)[:, None] + np.arange(20) / 3)
    probabilities = classifier.predict_proba(series)
    STEM.with_suffix(".json").write_text(json.dumps(probabilities.tolist()) + "\n")
