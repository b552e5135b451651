"""How much of the contributions lies on a planted pattern: the table of the page "Explaining"."""

import numpy as np

from dsn_sktime import DSNClassifier
from dsn_sktime.explain import contributions


def planted(n, n_variates, scale, seed, n_steps=(150, 151), is_shared=False):
    """Return noise with one of three waves in the last variate, classes and the waves' starts."""
    rng, time = np.random.default_rng(seed), np.linspace(0, 1, 30)
    waves = [np.sin(2 * np.pi * time), 1 - 2 * np.abs(2 * time - 1), 2 * time - 1]
    y, X, starts = np.arange(n) % 3, [], []
    for label in y:
        x = rng.normal(size=(n_variates, rng.integers(*n_steps)))
        starts.append(rng.integers(0, x.shape[1] - 30))
        x[-1, starts[-1] : starts[-1] + 30] += scale * waves[label] / waves[label].std()
        if is_shared:
            start, wave = rng.integers(0, x.shape[1] - 30), np.cos(4 * np.pi * time)
            x[0, start : start + 30] += scale * wave / wave.std()
        X.append(x)
    return X, y, starts


cases = {
    "univariate": (1, 2.0),
    "univariate, 100 to 200 steps": (1, 2.0, (100, 201)),
    "3 variates": (3, 4.0),
    "3 variates, a wave that classes share": (3, 4.0, (150, 151), True),
}
for name, (n_variates, scale, *more) in cases.items():
    for seed in (0, 1):
        X, y, _ = planted(120, n_variates, scale, 2 * seed, *more)
        classifier = DSNClassifier(random_state=seed).fit(X, y)
        X, y, starts = planted(100, n_variates, scale, 2 * seed + 1, *more)
        predicted = classifier.predict(X)
        found = contributions(classifier, X)[np.arange(100), predicted].clip(min=0)
        on_wave = [one[-1, at : at + 30].sum() for one, at in zip(found, starts, strict=True)]
        share = np.array(on_wave) / found.sum((1, 2))
        print(name, (predicted == y).sum(), (share > 0.5).sum(), np.median(share).round(2))
