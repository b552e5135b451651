"""Training runs on tiny networks and series, and what watches them."""

from __future__ import annotations

import copy
import io

import numpy as np
import torch

from dsn_sktime.network import DSNNetwork
from dsn_sktime.panel import Panel
from dsn_sktime.training import Callback, CrossEntropy, SparseRecipe, SparseTrainer

N_CLASSES = 3


def recipe(**changes):
    settings = {
        "n_epochs": 6,
        "batch_size": 4,
        "lr": 0.02,
        "lr_min": 0.005,
        "growth": "random",
        "alpha": 0.5,
        "delta_t": 2,
    }
    return SparseRecipe(**(settings | changes))


def tiny_network(seed=0):
    return DSNNetwork(
        1,
        N_CLASSES,
        n_layers=2,
        n_filters=2,
        kernel_size=6,
        n_kernel_groups=2,
        sparsity=0.5,
        n_pool=3,
        generator=torch.Generator().manual_seed(seed),
    )


def tiny_panel(n=11, unequal=False):
    """Series of 8 steps whose first step is their row number over n, and their classes."""
    rng = np.random.default_rng(7)
    values = torch.from_numpy(rng.normal(size=(n, 1, 8))).float()
    values[:, 0, 0] = torch.arange(n) / n
    class_indices = torch.arange(n) % N_CLASSES
    if not unequal:
        return Panel(values), class_indices
    lengths = torch.from_numpy(rng.integers(1, 9, n))
    lengths[0] = 8
    return Panel(values, lengths), class_indices


def trainer_of(callbacks=(), seed=5, objective=None, network_seed=0, **changes):
    network, objective = tiny_network(network_seed), objective or CrossEntropy()
    return SparseTrainer(network, recipe(**changes), objective, seed, callbacks)


def clone_state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_equal_states(one, other):
    assert list(one) == list(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name


class Recorder(Callback):
    """Keeps what the network and the optimizer were after each epoch."""

    def __init__(self):
        self.states = []
        self.moments = []

    def on_epoch_end(self, trainer, record):
        self.states.append(clone_state(trainer.network))
        state = trainer.optimizer.state
        self.moments.append(
            [copy.deepcopy(state[conv.values]) for conv in trainer.network.sparse_convs()]
        )


def watch_batches(network):
    """List that collects the inputs and logits of each training batch of the network."""
    batches = []
    network.register_forward_hook(
        lambda module, arguments, logits: batches.append((arguments[0].clone(), logits.detach()))
    )
    return batches


def rows_of(batch, n):
    return (batch[:, 0, 0] * n).round().long().tolist()


class Logger(Callback):
    def __init__(self, name, log, stop_after=None):
        self.name = name
        self.log = log
        self.stop_after = stop_after

    def on_train_begin(self, trainer):
        self.log.append(f"{self.name} begin")

    def on_epoch_end(self, trainer, record):
        assert trainer.history[-1] is record
        self.log.append(f"{self.name} {record['epoch']}")
        trainer.should_stop = record["epoch"] == self.stop_after

    def on_train_end(self, trainer):
        self.log.append(f"{self.name} end")


class LowLossIn(Callback):
    """Biases the logits of class 0 by 50 in all epochs but those given."""

    def __init__(self, *epochs):
        self.epochs = epochs

    def on_train_begin(self, trainer):
        self.prepare(trainer, 0)

    def on_epoch_end(self, trainer, record):
        self.prepare(trainer, record["epoch"] + 1)

    def prepare(self, trainer, epoch):
        with torch.no_grad():
            trainer.network.head.norm.bias[0] = 0 if epoch in self.epochs else 50


class SaveAt(Callback):
    def __init__(self, epoch):
        self.epoch = epoch
        self.file = io.BytesIO()

    def on_epoch_end(self, trainer, record):
        if record["epoch"] == self.epoch:
            torch.save(trainer.state_dict(), self.file)

    def load(self):
        self.file.seek(0)
        return torch.load(self.file, weights_only=True)


def without_seconds(history):
    return [{name: record[name] for name in record if name != "seconds"} for record in history]
