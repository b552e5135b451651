"""Captured training steps, with stand-ins for the GPU that replay on the CPU.

``Remembered`` calls the step's Python again. ``Recorded`` does what a CUDA graph does: it
repeats the tensor operations of one step on the same memory, so that whatever Python computed
meanwhile stays as it was. Both must end at the very bits of a loop without replays.
"""

from __future__ import annotations

import copy

import pytest
import torch
from tiny import untraced
from torch.utils._python_dispatch import TorchDispatchMode
from training_runs import (
    Recorder,
    assert_equal_states,
    recipe,
    tiny_network,
    tiny_panel,
    without_seconds,
)

from dsn_sktime.kernels import dispatch
from dsn_sktime.network import DSNNetwork
from dsn_sktime.oscnn import OSCNNNetwork
from dsn_sktime.panel import Panel
from dsn_sktime.training import (
    KEEPS,
    SCHEDULES,
    Callback,
    CrossEntropy,
    Recipe,
    SparseTrainer,
    Trainer,
)
from dsn_sktime.training.batches import Batch
from dsn_sktime.training.cuda_graph import CapturedStep, CudaGraphs

GROWTHS = ["random", "gradient", None]
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch sees no CUDA device: CUDA graphs are not tested"
)


class Remembered:
    """Captures a step by remembering its function."""

    def __init__(self):
        self.n_warm = self.n_captured = self.n_replayed = 0

    def warm_up(self, function):
        self.n_warm += 1
        return function()

    def capture(self, function):
        self.n_captured += 1

        def replay():
            self.n_replayed += 1
            return function()

        return replay


class Operations(TorchDispatchMode):
    """Keeps each tensor operation with its arguments and results."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        # Reading a number back would wait for a GPU, and cannot be captured.
        assert function is not torch.ops.aten._local_scalar_dense.default, "a number is read back"
        results = function(*args, **(kwargs or {}))
        if function.namespace != "profiler":
            self.calls.append((function, args, kwargs or {}, results))
        return results


def tensors_of(results):
    if isinstance(results, torch.Tensor):
        return [results]
    return [x for x in results if isinstance(x, torch.Tensor)] if results is not None else []


class Recorded(Remembered):
    """Captures a step by its tensor operations; what it changes is put back afterwards."""

    def __init__(self, trainer):
        super().__init__()
        self.trainer = trainer

    def state(self):
        of_optimizer = [
            x for state in self.trainer.optimizer.state.values() for x in state.values()
        ]
        return [*self.trainer.network.state_dict().values(), *of_optimizer]

    def capture(self, function):
        self.n_captured += 1
        before = [(tensor, tensor.clone()) for tensor in self.state()]
        with Operations() as operations:
            result = function()
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)

        @torch.no_grad()
        def replay():
            self.n_replayed += 1
            for call, args, kwargs, results in operations.calls:
                again = call(*args, **kwargs)
                for old, new in zip(tensors_of(results), tensors_of(again), strict=True):
                    # Views and changes in place have the memory that they had.
                    if old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                        old.copy_(new)
            return result

        return replay


def addresses(trainer):
    of_optimizer = [x for state in trainer.optimizer.state.values() for x in state.values()]
    return [x.data_ptr() for x in [*trainer.network.state_dict().values(), *of_optimizer]]


def trained(graphs, growth, data, network=None, callbacks=(), n_epochs=9, **changes):
    """Train, and return the trainer and its recorder; ``graphs`` makes a stand-in of it."""
    recorder = Recorder()
    plan = recipe(growth=growth, n_epochs=n_epochs, **changes)
    network = tiny_network() if network is None else network
    trainer = SparseTrainer(network, plan, CrossEntropy(), 5, [recorder, *callbacks])
    trainer.graphs = graphs and graphs(trainer)
    before = addresses(trainer)
    trainer.fit(*data)
    # A graph goes on with the memory that it was captured with.
    assert addresses(trainer) == before
    return trainer, recorder


def assert_same_training(one, other):
    assert without_seconds(one[0].history) == without_seconds(other[0].history)
    for state, other_state in zip(one[1].states, other[1].states, strict=True):
        assert_equal_states(state, other_state)
    for moments, other_moments in zip(one[1].moments, other[1].moments, strict=True):
        for layer, other_layer in zip(moments, other_moments, strict=True):
            assert_equal_states(layer, other_layer)
    assert_equal_states(one[0].network.state_dict(), other[0].network.state_dict())


@pytest.fixture
def masked_dense(monkeypatch):
    """Compute as on a GPU: without the sparse kernels."""
    monkeypatch.setattr(dispatch, "sparse", None)


@pytest.mark.parametrize("growth", GROWTHS)
@pytest.mark.parametrize("n", [8, 9, 11])
def test_replayed_training_is_the_training(growth, n):
    # Of batches of 4: two, a last one of 5 since a batch of 1 is none, and a last one of 3.
    data = tiny_panel(n)
    replayed = trained(lambda _: Remembered(), growth, data)
    assert replayed[0].graphs.n_replayed > 0
    assert_same_training(replayed, trained(None, growth, data))


@pytest.mark.usefixtures("masked_dense")
@pytest.mark.parametrize("growth", GROWTHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_recorded_operations_are_the_training(growth, dtype):
    panel, class_indices = tiny_panel()
    data = Panel(panel.values.to(dtype)), class_indices
    replayed = trained(Recorded, growth, data, tiny_network().to(dtype))
    # 27 batches, the first three of each of both sizes to warm up. By gradient, the last
    # batch before each of the 4 updates keeps its dense gradient and is not replayed.
    n_eager = 4 if growth == "gradient" else 0
    assert replayed[0].graphs.n_warm == 6
    assert replayed[0].graphs.n_captured == 2
    assert replayed[0].graphs.n_replayed == 21 - n_eager
    assert_same_training(replayed, trained(None, growth, data, tiny_network().to(dtype)))


@untraced
@pytest.mark.usefixtures("masked_dense")
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("keep", KEEPS)
def test_recorded_operations_are_the_training_of_every_recipe(schedule, keep):
    changes = {"schedule": schedule, "keep": keep, "weight_decay": 0.3, "patience": 0}
    replayed, eager = (
        trained(graphs, "random", tiny_panel(), **changes) for graphs in (Recorded, None)
    )
    assert replayed[0].graphs.n_replayed == 21
    assert_same_training(replayed, eager)


@pytest.mark.usefixtures("masked_dense")
def test_recorded_operations_of_multivariate_series_and_class_weights():
    def fitted(graphs):
        generator = torch.Generator().manual_seed(1)
        network = DSNNetwork(2, 3, 2, 2, 6, 2, 0.5, "zeros", n_pool=3, generator=generator)
        weight = torch.tensor([1.0, 5.0, 0.25])
        trainer = SparseTrainer(network, recipe(), CrossEntropy(weight), 5)
        trainer.graphs = graphs and graphs(trainer)
        values = torch.randn(11, 2, 8, generator=generator)
        trainer.fit(Panel(values), torch.arange(11) % 3)
        return trainer

    replayed, eager = fitted(Recorded), fitted(None)
    assert replayed.graphs.n_replayed > 0
    assert without_seconds(replayed.history) == without_seconds(eager.history)
    assert_equal_states(replayed.network.state_dict(), eager.network.state_dict())


@pytest.mark.usefixtures("masked_dense")
def test_recorded_operations_are_the_training_of_another_network():
    def fitted(graphs):
        generator = torch.Generator().manual_seed(1)
        network = OSCNNNetwork(1, 3, 5, (22, 200), generator)
        plan = Recipe(
            n_epochs=8, batch_size=4, lr=0.02, lr_min=1e-3, schedule="plateau", patience=0
        )
        trainer = Trainer(network, plan, CrossEntropy(), 5)
        trainer.graphs = graphs and graphs(trainer)
        trainer.fit(*tiny_panel())
        return trainer

    replayed, eager = fitted(Recorded), fitted(None)
    assert replayed.graphs.n_replayed > 0
    assert len({record["lr"] for record in eager.history}) > 1
    assert without_seconds(replayed.history) == without_seconds(eager.history)
    assert_equal_states(replayed.network.state_dict(), eager.network.state_dict())


def test_series_of_unequal_length_are_not_captured():
    data = tiny_panel(unequal=True)
    replayed = trained(lambda _: Remembered(), "random", data)
    assert replayed[0].graphs.n_warm == 0
    assert_same_training(replayed, trained(None, "random", data))


class GoBack(Callback):
    """Loads, after an epoch, the state that an earlier one ended with."""

    def __init__(self):
        self.is_done = False

    def on_epoch_end(self, trainer, record):
        if record["epoch"] == 5:
            self.saved = copy.deepcopy(trainer.state_dict())
        if record["epoch"] == 7 and not self.is_done:
            self.is_done = True
            trainer.load_state_dict(self.saved)


@pytest.mark.usefixtures("masked_dense")
def test_state_loaded_into_a_captured_training_is_taken_up():
    data = tiny_panel()
    went_back = trained(Recorded, "random", data, callbacks=[GoBack()])
    straight = trained(None, "random", data)
    assert without_seconds(went_back[0].history) == without_seconds(straight[0].history)
    assert_equal_states(went_back[1].states[-1], straight[1].states[-1])


@pytest.mark.parametrize("sizes", [[2, 2, 2, 2, 3, 2, 3, 3, 3, 2, 3]])
def test_steps_are_captured_once_per_size_after_three_of_it(sizes):
    log, graphs = [], Remembered()

    def step(batch):
        log.append(batch)
        return batch.values.sum() + batch.target.sum()

    captured = CapturedStep(step, graphs)
    batches = [
        Batch(torch.rand(size, 1, 5), None, torch.arange(size) + 10 * number, None)
        for number, size in enumerate(sizes)
    ]
    assert [captured(b).item() for b in batches] == [
        (b.values.sum() + b.target.sum()).item() for b in batches
    ]
    assert (graphs.n_warm, graphs.n_captured, graphs.n_replayed) == (6, 2, 5)
    # Replays read the memory that was captured, one buffer for each size.
    replayed = [batch for batch in log if all(batch is not one for one in batches)]
    assert len(replayed) == 5
    assert len({batch.values.data_ptr() for batch in replayed}) == 2
    assert len({batch.target.data_ptr() for batch in replayed}) == 2


# On a GPU


@needs_gpu
@pytest.mark.parametrize("growth", GROWTHS)
def test_cuda_graph_trains_as_the_eager_loop(growth):
    panel, class_indices = tiny_panel()
    device = torch.device("cuda")
    data = Panel(panel.values.double()).to(device), class_indices.to(device)
    graph, eager = (
        trained(graphs, growth, data, tiny_network().double().to(device))
        for graphs in (lambda _: CudaGraphs(device), None)
    )
    # Double precision: sums in another order must not grow to another topology.
    for record, other in zip(graph[0].history, eager[0].history, strict=True):
        assert record["loss"] == pytest.approx(other["loss"], rel=1e-9)
    for name, tensor in graph[0].network.state_dict().items():
        assert torch.allclose(tensor, eager[0].network.state_dict()[name], rtol=1e-6), name


@needs_gpu
def test_gpu_scores_as_the_cpu_but_for_tensor_cores():
    generator = torch.Generator().manual_seed(0)
    network = DSNNetwork(1, 3, generator=generator).eval()
    x = torch.randn(16, 1, 300, generator=generator)
    with torch.no_grad():
        expected = network(x)
        found = copy.deepcopy(network).cuda()(x.cuda()).cpu()
    assert (found - expected).abs().max() < 1e-2 * expected.abs().max()


@needs_gpu
def test_topology_updates_on_a_gpu_are_those_on_the_cpu():
    states = []
    for device in ("cpu", "cuda"):
        network = tiny_network().double().to(device)
        trainer = SparseTrainer(network, recipe(), CrossEntropy(), 5)
        trainer._end_epoch(1, 0.5)
        states.append({name: x.cpu() for name, x in network.state_dict().items()})
    assert_equal_states(*states)
