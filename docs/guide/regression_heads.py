"""Errors of the parts of a regressor's default head: the table of the page "Regression"."""

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.datasets import load_covid_3month, load_gunpoint, load_tecator
from sktime.datatypes import convert_to
from sktime.regression.kernel_based import RocketRegressor

from dsn_sktime import DSNRegressor, DSNTransformer


def of_sktime(load):
    """Return training and test series and their targets."""
    return [(convert_to(X, "numpy3D"), y) for X, y in (load("train"), load("test"))]


def sines(n, rng):
    """Return noisy sines of 100 steps, and how many periods they have."""
    y = rng.uniform(1, 12, n)
    phase, time = rng.uniform(0, 2 * np.pi, n), np.arange(100) / 100
    return np.sin(2 * np.pi * y[:, None] * time + phase[:, None]) + rng.normal(0, 0.5, (n, 100)), y


def bumps(n, rng):
    """Return noisy bumps at random times of 100, and their widths."""
    y, at = rng.uniform(2, 15, n), rng.uniform(20, 80, n)
    steps = (np.arange(100) - at[:, None]) / y[:, None]
    return np.exp(-(steps**2) / 2) + rng.normal(0, 0.2, (n, 100)), y


def levels(rng):
    """Return the series of GunPoint with noise, and the share of steps above 0 without it."""
    parts = [load_gunpoint(split, return_type="numpy3D")[0][:, 0] for split in ("train", "test")]
    return [(X + rng.normal(0, 0.2, X.shape), (X > 0).mean(1)) for X in parts]


def predictions(X, y, X_new, seed):
    """Return predictions for new series by each part of the head."""
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 10)))
    transformer = DSNTransformer(DSNRegressor(random_state=seed)).fit(X, y)
    known, new = transformer.transform(X), transformer.transform(X_new)
    own = DSNRegressor(head="bins", random_state=seed).fit(X, y)
    found = {"mean": np.full(len(X_new), y.mean()), "own head": own.predict(X_new)}
    for kind in ("_trained", "_untrained"):
        columns = [name for name in known if kind in name]
        found[f"ridge, {kind[1:]}"] = ridge.fit(known[columns], y).predict(new[columns])
    return found | {"default": transformer.estimator_.predict(X_new)}


rng = np.random.default_rng(0)
problems = {
    "Covid3Month": of_sktime(load_covid_3month),
    "Tecator": of_sktime(load_tecator),
    "periods of a sine": [sines(80, rng), sines(200, rng)],
    "width of a bump": [bumps(80, rng), bumps(200, rng)],
    "time above a level": levels(rng),
}
for name, ((X, y), (X_new, y_new)) in problems.items():
    found = [predictions(X, y, X_new, seed) for seed in range(3)]
    X, X_new = (one.reshape(len(one), 1, -1) for one in (X, X_new))
    rocket = {"ROCKET": RocketRegressor(random_state=0).fit(X, y).predict(X_new)}
    for kind in (*found[0], "ROCKET"):
        errors = [np.sqrt(np.mean(({**one, **rocket}[kind] - y_new) ** 2)) for one in found]
        print(f"{name:20} {kind:18} {np.mean(errors):.3g}", flush=True)
