"""Training of the topology: single updates, and updates in a training run."""

from __future__ import annotations

import math

import pytest
import torch
from test_adam import take_steps
from training_runs import LowLossIn, Recorder, clone_state, tiny_panel, trainer_of

from dsn_sktime.layers import SparseConv1d
from dsn_sktime.training.adam import Adam
from dsn_sktime.training.sparse_trainer import update_layer


def trained_layer(rng):
    layer = SparseConv1d(2, 4, 6, 2, sparsity=0.5)
    optimizer = Adam(layer.parameters(), lr=0.1)
    take_steps(optimizer, layer.values, rng.normal(size=(3, layer.groups.n_activated)), [0.1] * 3)
    return layer, optimizer


@pytest.mark.parametrize("by_gradient", [False, True])
def test_update_keeps_survivors_and_starts_grown_weights_at_zero(rng, by_gradient):
    layer, optimizer = trained_layer(rng)
    before = dict(zip(layer.index.tolist(), layer.values.tolist(), strict=True))
    state = optimizer.state[layer.values]
    moments_before = dict(zip(layer.index.tolist(), state["exp_avg"].tolist(), strict=True))
    if by_gradient:
        layer.dense_gradient = torch.from_numpy(rng.normal(size=layer.groups.shape))
    n_changed = update_layer(layer, [optimizer], 0.4, rng)

    # 2 * 2 * (3, 6) weights in the regions, half of them activated: budgets 6 and 12.
    assert n_changed == math.ceil(0.4 * 6) + math.ceil(0.4 * 12)
    layer.groups.check_topology(layer.index.numpy())
    is_grown = state["step"] == 0
    assert is_grown.sum() == n_changed
    assert (layer.values[is_grown] == 0).all()
    assert (state["exp_avg"][is_grown] == 0).all()
    assert (state["exp_avg_sq"][is_grown] == 0).all()
    assert (state["step"][~is_grown] == 3).all()
    for place in (~is_grown).nonzero().flatten().tolist():
        position = int(layer.index[place])
        assert layer.values[place].item() == before[position]
        assert state["exp_avg"][place].item() == moments_before[position]
    assert layer.dense_gradient is None


def test_update_grows_where_the_dense_gradient_is_largest(rng):
    layer, optimizer = trained_layer(rng)
    free = sorted(set(layer.groups.region(1).tolist()) - set(layer.index.tolist()))
    largest = rng.choice(free, 5, replace=False)  # ceil(0.4 * 12) grow in group 1
    gradient = torch.zeros(layer.groups.n_dense)
    gradient[largest] = -1.0
    layer.dense_gradient = gradient.view(layer.groups.shape)
    update_layer(layer, [optimizer], 0.4, rng)
    assert set(largest.tolist()) <= set(layer.index.tolist())


@pytest.mark.parametrize("growth", ["random", "gradient"])
@pytest.mark.parametrize("unequal", [False, True])
def test_topology_is_updated_at_the_due_epochs_only(growth, unequal):
    recorder = Recorder()
    trainer = trainer_of([recorder], growth=growth, n_epochs=7, alpha=0.9)
    states = [clone_state(trainer.network)]
    trainer.fit(*tiny_panel(unequal=unequal))
    states += recorder.states
    convs = trainer.network.sparse_convs()
    for epoch, record in enumerate(trainer.history):
        changed = any(
            not torch.equal(states[epoch][name], states[epoch + 1][name])
            for name in states[epoch]
            if name.endswith("conv.index")
        )
        is_due = epoch in (1, 3, 5)
        assert changed == is_due
        fraction = record["drop_fraction"]
        n_drop = sum(math.ceil(fraction * b) for conv in convs for b in conv.groups.budgets)
        assert record["n_grown"] == record["n_dropped"] == (n_drop if is_due else 0)


def test_fixed_topology_stays_that_of_the_start():
    trainer = trainer_of(growth=None, delta_t=1)
    before = [conv.index.clone() for conv in trainer.network.sparse_convs()]
    trainer.fit(*tiny_panel())
    for conv, index in zip(trainer.network.sparse_convs(), before, strict=True):
        assert torch.equal(conv.index, index)
    assert all(record["n_grown"] == record["n_dropped"] == 0 for record in trainer.history)


@pytest.mark.parametrize("growth", ["random", "gradient"])
def test_number_of_activated_weights_is_constant_and_grown_ones_are_fresh(growth):
    recorder = Recorder()
    trainer = trainer_of([recorder], growth=growth, delta_t=1)
    trainer.fit(*tiny_panel())
    for record, state, moments in zip(
        trainer.history, recorder.states, recorder.moments, strict=True
    ):
        n_fresh = 0
        for number, conv in enumerate(trainer.network.sparse_convs()):
            conv.groups.check_topology(state[f"layers.{number}.conv.index"].numpy())
            values = state[f"layers.{number}.conv.values"]
            is_fresh = moments[number]["step"] == 0
            assert (values[is_fresh] == 0).all()
            assert (moments[number]["exp_avg"][is_fresh] == 0).all()
            assert (moments[number]["exp_avg_sq"][is_fresh] == 0).all()
            n_fresh += int(is_fresh.sum())
        assert n_fresh == record["n_grown"]


def test_gradient_growth_uses_the_dense_gradient_of_the_last_batch():
    seen = []
    trainer = trainer_of(growth="gradient", n_epochs=3, delta_t=2)
    conv = trainer.network.sparse_convs()[1]
    trainer.network.register_forward_hook(lambda *_: seen.append(conv.keep_dense_gradient))
    trainer.fit(*tiny_panel())
    # 11 rows are 3 batches an epoch; only epoch 1 ends with an update.
    assert seen == [False] * 5 + [True] + [False] * 3
    assert conv.dense_gradient is None
    assert not conv.keep_dense_gradient


def test_model_has_the_topology_from_before_the_update_of_its_epoch():
    recorder = Recorder()
    # Without steps weights change by updates alone: during epoch 3 they are those at the
    # end of epoch 2, after its update.
    trainer = trainer_of([recorder, LowLossIn(3)], delta_t=1, lr=0.0, lr_min=0.0)
    trainer.fit(*tiny_panel())
    assert trainer.best_epoch == 3
    for name, tensor in trainer.network.state_dict().items():
        if name.endswith(("conv.index", "conv.values")):
            assert torch.equal(tensor, recorder.states[2][name])
    name = "layers.1.conv.index"
    assert not torch.equal(recorder.states[3][name], recorder.states[2][name])


def test_seed_decides_the_growth():
    states = []
    for seed in (5, 5, 6):
        recorder = Recorder()
        # Without steps and with a single batch only the growth is random.
        trainer_of([recorder], seed=seed, lr=0.0, lr_min=0.0, batch_size=50).fit(*tiny_panel())
        states.append(recorder.states[-1]["layers.1.conv.index"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
