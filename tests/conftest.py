from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from tiny import tiny_classifier, tiny_oscnn

from dsn_sktime.kernels import threads


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start each test from the same global seeds, whatever ran before."""
    np.random.seed(0)  # noqa: NPY002 (code under test might draw from it)
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors here are tiny: more threads only get in each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def shared_rows() -> Iterator[None]:
    """Where a test asks for several kernel threads, share even the least work among them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "_WORTH_A_THREAD", 1)
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(params=[tiny_classifier, tiny_oscnn], ids=["DSN", "OS-CNN"])
def tiny(request: pytest.FixtureRequest) -> Callable:
    """Make a tiny classifier of each kind."""
    return request.param
