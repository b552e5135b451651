"""Random convolutional kernels: ROCKET and its successors of sktime, Hydra of aeon.

sktime 1.2's ``RocketClassifier`` spends most of a fit on checks of single features. Here they go to
scikit-learn as one array; transforms, ridge classifier and predictions are the same.
"""

from importlib.util import find_spec

import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.classification.base import BaseClassifier
from sktime.transformations import rocket

# The transforms of univariate and of multivariate series.
_TRANSFORMS = {
    "rocket": (rocket.Rocket, rocket.Rocket),
    "minirocket": (rocket.MiniRocket, rocket.MiniRocketMultivariate),
    "multirocket": (rocket.MultiRocket, rocket.MultiRocketMultivariate),
}

_TAGS = {"X_inner_mtype": "numpy3D", "capability:multivariate": True}


class RocketRidge(BaseClassifier):
    """Random convolutional kernels and a ridge classifier.

    ``transform`` is "rocket", "minirocket" or "multirocket". A ridge classifier has no
    probabilities: ``predict_proba`` is 1 for the predicted class.
    """

    _tags = _TAGS

    def __init__(
        self,
        transform: str = "rocket",
        num_kernels: int = 10000,
        n_jobs: int = 1,
        random_state: int | None = None,
    ) -> None:
        self.transform = transform
        self.num_kernels = num_kernels
        self.n_jobs = n_jobs
        self.random_state = random_state
        super().__init__()

    def _fit(self, X: np.ndarray, y: np.ndarray) -> "RocketRidge":
        make = _TRANSFORMS[self.transform][X.shape[1] > 1]
        self.transform_ = make(
            num_kernels=self.num_kernels, n_jobs=self.n_jobs, random_state=self.random_state
        )
        # As in sktime; features are sparse in places, so they are not centered.
        ridge = RidgeClassifierCV(alphas=np.logspace(-3, 3, 10))
        self.ridge_ = make_pipeline(StandardScaler(with_mean=False), ridge)
        # Its compiled functions take no array that is read-only.
        self.ridge_.fit(np.asarray(self.transform_.fit_transform(X.copy())), y)
        return self

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return self.ridge_.predict(np.asarray(self.transform_.transform(X.copy())))


class AeonClassifier(BaseClassifier):
    """A convolution-based classifier of aeon, by its class name, with its defaults."""

    _tags = _TAGS

    def __init__(self, name: str, n_jobs: int = 1, random_state: int | None = None) -> None:
        if find_spec("aeon") is None:
            raise ModuleNotFoundError("aeon is missing: pip install 'dsn-sktime[aeon]'")
        self.name = name
        self.n_jobs = n_jobs
        self.random_state = random_state
        super().__init__()

    def _fit(self, X: np.ndarray, y: np.ndarray) -> "AeonClassifier":
        from aeon.classification import convolution_based

        make = getattr(convolution_based, self.name)
        self.classifier_ = make(n_jobs=self.n_jobs, random_state=self.random_state).fit(X, y)
        return self

    def _predict(self, X: np.ndarray) -> np.ndarray:
        return self.classifier_.predict(X)
