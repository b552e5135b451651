"""The engine's threads, the memory that they share, and how its functions are compiled."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
import torch
from cases import drawn
from hypothesis import given
from hypothesis import strategies as st
from processes import run_python
from torch import Tensor

from dsn_sktime.kernels import buffers, jit, kernel_threads, threads, work_sharing
from dsn_sktime.kernels.threads import run_on_threads, threads_worth
from dsn_sktime.kernels.work_sharing import claim_chunks, new_counters

# Sharing the parts of phases


@numba.njit(nogil=True)
def do_parts(n_parts, times, by_thread, counts, thread):
    """Count how often each part is done; tell whether each began after the phase before."""
    is_in_order = True
    for phase in range(len(n_parts)):
        for part in claim_chunks(counts, phase, n_parts[phase]):
            if phase > 0:
                for earlier in range(n_parts[phase - 1]):
                    is_in_order &= times[phase - 1, earlier] == 1
            # Only who has claimed a part writes here, so nothing is lost if it is done once.
            times[phase, part] += 1
            by_thread[thread] += 1
    return is_in_order


class Phases:
    """Phases of so many parts each, done by a team."""

    def __init__(self, n_parts: list[int], n_threads: int) -> None:
        self.n_parts = np.array(n_parts)
        self.times = np.zeros((len(n_parts), max(n_parts)), dtype=np.int64)
        self.by_thread = np.zeros(n_threads, dtype=np.int64)
        self.counters = new_counters(len(n_parts))
        self.in_order: list[bool] = []

    def __call__(self, thread: int) -> None:
        found = do_parts(
            self.n_parts, self.times, self.by_thread, self.counters.ctypes.data, thread
        )
        self.in_order.append(found)

    def check(self) -> None:
        expected = np.arange(self.times.shape[1]) < self.n_parts[:, None]
        assert np.array_equal(self.times, expected)
        assert self.by_thread.sum() == self.n_parts.sum()
        assert all(self.in_order)


@drawn
@given(
    n_parts=st.lists(st.one_of(st.just(0), st.integers(1, 60)), min_size=1, max_size=8),
    n_threads=st.integers(1, 9),
)
def test_every_part_of_a_phase_is_done_once(n_parts, n_threads):
    phases = Phases(n_parts, n_threads)
    run_on_threads(phases, n_threads)
    phases.check()


def test_every_part_is_done_once_by_threads_that_all_take_part():
    """Under way together for many phases: none of the parts is lost or done twice."""
    n_threads = 3
    phases, everyone = Phases([50] * 400, n_threads), threading.Barrier(n_threads)

    def work(thread: int) -> None:
        everyone.wait(60)
        phases(thread)

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, range(n_threads)))
    phases.check()


def test_a_thread_that_comes_late_finds_nothing_to_do():
    phases = Phases([5, 3], 2)
    phases(0)
    phases(1)
    phases.check()
    assert phases.by_thread.tolist() == [8, 0]


def test_no_phase_begins_before_the_last_part_of_the_one_before_is_done():
    """Another thread has claimed the only part of the first phase, and takes its time."""
    phases = Phases([1, 3], 1)
    claimed, done = (
        phases.counters[:1],
        phases.counters[work_sharing._DONE : work_sharing._DONE + 1],
    )
    claimed[0] = 1
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(phases, 0)
        time.sleep(0.05)
        has_waited = not waiting.done() and not phases.times.any()
        phases.times[0, 0] = 1
        done[0] = 1
        waiting.result(60)
    assert has_waited
    assert phases.times.tolist() == [[1, 0, 0], [1, 1, 1]]
    assert phases.in_order == [True]


@pytest.fixture
def busy_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the kernels a pool whose only thread does something else."""
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(over.wait, 60)
        monkeypatch.setattr(threads, "_pools", {os.getpid(): pool})
        yield
        over.set()


@pytest.mark.usefixtures("busy_pool")
def test_threads_that_never_come_are_not_missed():
    phases = Phases([5, 3, 7], 4)
    run_on_threads(phases, 4)
    phases.check()
    assert phases.by_thread.tolist() == [15, 0, 0, 0]


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the kernels a pool of four threads, however many cores there are."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(threads, "_pools", {})


@pytest.mark.usefixtures("four_threads")
def test_the_caller_waits_for_a_thread_that_is_still_at_work():
    started, ended = threading.Event(), []

    def work(thread: int) -> None:
        if thread == 0:
            assert started.wait(60)
        else:
            started.set()
            time.sleep(0.05)
            ended.append(thread)

    run_on_threads(work, 2)
    assert ended == [1]


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("failing", range(4))
def test_an_error_in_any_thread_reaches_the_caller(failing):
    everyone, ended = threading.Barrier(4), []

    def fail(thread: int) -> None:
        # All have begun: one that has not is called off.
        everyone.wait(60)
        if thread == failing:
            raise ZeroDivisionError(failing)
        time.sleep(0.01)
        ended.append(thread)

    for _ in range(5):
        with pytest.raises(ZeroDivisionError, match=str(failing)):
            run_on_threads(fail, 4)
        assert sorted(ended) == [thread for thread in range(4) if thread != failing]
        ended.clear()
    phases = Phases([9, 9], 4)
    run_on_threads(phases, 4)
    phases.check()


def test_an_interrupt_while_threads_are_called_waits_for_those_that_work(monkeypatch):
    """Else what they write to would be let go of, and soon be somebody else's."""
    started, ended = threading.Event(), []

    def work(thread: int) -> None:
        started.set()
        time.sleep(0.05)
        ended.append(thread)

    with ThreadPoolExecutor(1) as pool:

        class Interrupted:
            n_submitted = 0

            def submit(self, *arguments: Any) -> Future:
                self.n_submitted += 1
                if self.n_submitted == 2:
                    assert started.wait(60)
                    raise KeyboardInterrupt
                return pool.submit(*arguments)

        monkeypatch.setattr(threads, "_pools", {os.getpid(): Interrupted()})
        with pytest.raises(KeyboardInterrupt):
            run_on_threads(work, 3)
        assert ended == [1]


def test_an_interrupt_while_the_caller_waits_does_not_end_the_wait(monkeypatch):
    started, ended = threading.Event(), []

    def work(thread: int) -> None:
        if thread == 0:
            assert started.wait(60)
            return
        started.set()
        time.sleep(0.2)
        ended.append(thread)

    def interrupted(seconds: float) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    run_on_threads(lambda thread: None, 2)
    sleep = time.sleep
    monkeypatch.setattr(
        threads.time,
        "sleep",
        lambda seconds: interrupted(seconds) if seconds == 0 else sleep(seconds),
    )
    with pytest.raises(KeyboardInterrupt):
        run_on_threads(work, 2)
    assert ended == [1]


# How many threads


def test_little_work_is_not_shared(monkeypatch):
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", 100)
    with kernel_threads(3):
        assert [threads_worth(cost) for cost in (0, 199, 200, 299, 300, 10**9)] == [
            1,
            1,
            2,
            2,
            3,
            3,
        ]


def test_outside_of_kernel_threads_their_number_is_torchs():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert threads_worth(10**9) == 2
        with kernel_threads(5):
            assert threads_worth(10**9) == 5
        assert threads_worth(10**9) == 2
    finally:
        torch.set_num_threads(before)


def test_other_threads_do_not_see_a_number_that_is_set_in_one():
    with kernel_threads(5), ThreadPoolExecutor(1) as pool:
        assert pool.submit(threads_worth, 10**9).result() == torch.get_num_threads() != 5


@pytest.mark.parametrize("n_granted", [0, 1, 2])
def test_where_fewer_threads_are_granted_these_do_the_work(n_granted, monkeypatch):
    start, granted = threading.Thread.start, list[threading.Thread]()

    def start_if_granted(thread):
        if sum(one.is_alive() for one in granted) == n_granted:
            raise RuntimeError("can't start new thread")
        granted.append(thread)
        start(thread)

    monkeypatch.setattr(threads, "_pools", {})
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(threading.Thread, "start", start_if_granted)
    called: list[int] = []
    for _ in range(3):
        phases = Phases([5, 3], 4)
        run_on_threads(lambda thread, phases=phases: called.append(thread) or phases(thread), 4)
        phases.check()
    assert sum(one.is_alive() for one in granted) == n_granted
    # Nothing is left behind that would be called later.
    n_called, pool = len(called), threads._pool()
    if n_granted == 0:
        assert (pool, called) == (None, [0, 0, 0])
    else:
        list(pool.map(time.sleep, [0.01] * n_granted))
        assert len(called) == n_called


def test_threads_that_start_at_once_have_one_pool(monkeypatch):
    """Making the pool takes long here, so that they all meet in it."""
    barrier = threading.Barrier(4)

    class SlowPool(ThreadPoolExecutor):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            barrier.wait(timeout=60)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(threads, "ThreadPoolExecutor", SlowPool)
    monkeypatch.setattr(threads, "_pools", {})
    with ThreadPoolExecutor(4) as callers:
        pools = [callers.submit(threads._pool) for _ in range(4)]
    assert len({pool.result() for pool in pools}) == 1


# Memory that is used again


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("shape", [(1,), (3, 5), (7, 1003), (2, 3, 4)])
def test_matrices_are_aligned_to_cache_lines(shape):
    array = buffers.empty_matrix(*shape)
    assert array.shape == shape
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert address(array) % 64 == 0


def saved_by_autograd(array: np.ndarray) -> Tensor:
    factor = torch.ones(array.shape, requires_grad=True)
    return (factor * torch.from_numpy(array)).sum()


VIEWS = {
    "itself": lambda array: array,
    "slice": lambda array: array[1:, ::2],
    "reshaped": lambda array: array.reshape(-1)[5:],
    "view of a view": lambda array: array[1:].T[3:].view(np.int32),
    "tensor": torch.from_numpy,
    "tensor of a slice": lambda array: torch.from_numpy(array[1:])[:, 1],
    "array of a tensor": lambda array: torch.from_numpy(array).view(-1)[2:].numpy(),
    "detached tensor": lambda array: torch.from_numpy(array).requires_grad_().detach(),
    "autograd": saved_by_autograd,
    "memoryview": lambda array: memoryview(array),
}


@pytest.mark.parametrize("view", VIEWS)
def test_memory_is_used_again_only_after_its_last_view(view):
    # A size that nothing else here has.
    shape = (3, 70_001)
    array = buffers.empty_matrix(*shape)
    place = address(array)
    held = VIEWS[view](array)
    del array
    others = [buffers.empty_matrix(*shape) for _ in range(3)]
    assert place not in map(address, others)
    del held, others
    gc.collect(1)  # What is young: all others in this process would take a second.
    again = [buffers.empty_matrix(*shape) for _ in range(4)]
    assert place in map(address, again)
    assert len(set(map(address, again))) == 4


def test_memory_of_another_size_is_large_enough():
    sizes = [*range(1, 70), 1000, 1023, 1024, 1025, 4097, 70_001]
    for size in sizes:
        capacity = buffers._capacity(size)
        assert size <= capacity <= max(16, 1.25 * size + 16)
        buffers.empty_matrix(size)[:] = 0


def test_only_so_much_unused_memory_is_kept(monkeypatch):
    held = [buffers.empty_matrix(30_011) for _ in range(4)]
    gc.collect()
    buffers.release_memory()
    capacity = buffers._capacity(30_011)
    monkeypatch.setattr(buffers, "_LIMIT", 2 * capacity + 1)
    del held
    gc.collect()
    # The limit and one more: the fourth does not fit, and all make room for it.
    assert buffers._n_unused == capacity


def test_a_buffer_that_is_larger_than_the_limit_is_used_again(monkeypatch):
    gc.collect()
    monkeypatch.setattr(buffers, "_LIMIT", 1000)
    addresses = set()
    for _ in range(3):
        large, small = buffers.empty_matrix(50_000), buffers.empty_matrix(100)
        addresses.add(large.ctypes.data)
        del large, small
        gc.collect()
        assert len(buffers._unused[buffers._capacity(50_000)]) == 1
    assert len(addresses) == 1


def test_threads_never_share_memory():
    barrier = threading.Barrier(4)

    def fill(number: int) -> bool:
        barrier.wait(timeout=60)
        for turn in range(300):
            arrays = [buffers.empty_matrix(3, 1000 + turn % 3) for _ in range(3)]
            for which, array in enumerate(arrays):
                array[:] = 10 * number + which
            for which, array in enumerate(arrays):
                if not (array == 10 * number + which).all():
                    return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(fill, range(4)))


@pytest.mark.skipif("not hasattr(__import__('os'), 'fork')")
def test_a_forked_child_has_memory_and_threads_though_another_thread_held_the_lock():
    run_python(
        """
        import os, threading
        import numpy as np
        from dsn_sktime.kernels import buffers, threads

        os.cpu_count = lambda: 2

        def run_two():
            both, done = threading.Barrier(2), []

            def work(thread):
                # Gets by only if the other thread is there.
                both.wait(60)
                done.append(thread)

            threads.run_on_threads(work, 2)
            assert sorted(done) == [0, 1], done

        run_two()
        del_me = buffers.empty_matrix(100)
        del del_me
        locked, over = threading.Event(), threading.Event()

        def hold():
            with buffers._lock:
                locked.set()
                over.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        locked.wait()
        child = os.fork()
        if child == 0:
            buffers.empty_matrix(100)[:] = 1
            run_two()
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        over.set()
        thread.join()
        assert status == 0
        run_two()
        """
    )


# Compilation


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch):
    def njit(cache=False, **settings):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**settings)

    monkeypatch.setattr(jit, "njit", njit)
    assert jit.compiled_entry(lambda x: x + 1)(2) == 3


def test_the_stamp_is_of_every_source_of_the_engine(tmp_path, monkeypatch):
    sources = list(Path(jit.__file__).parent.glob("*.py"))
    assert len(sources) > 10
    for source in sources:
        shutil.copy(source, tmp_path)
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    expected = jit._digest_of_sources()
    assert expected == jit._SOURCES
    for source in tmp_path.glob("*.py"):
        before = source.read_bytes()
        source.write_bytes(before + b"\n")
        assert jit._digest_of_sources() != expected, source
        source.write_bytes(before)
    assert jit._digest_of_sources() == expected


@pytest.fixture
def load(tmp_path: Path) -> Callable[[], ModuleType]:
    """Return what imports a module with one compiled function anew, as a new process does."""
    path = tmp_path / "with_compiled.py"
    path.write_text(
        "from dsn_sktime.kernels.jit import compiled_entry\n"
        "@compiled_entry\n"
        "def raised(x):\n"
        "    return x + 1\n"
    )

    def load() -> ModuleType:
        spec = importlib.util.spec_from_file_location("with_compiled", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_machine_code_on_disk_is_that_of_the_sources(load, monkeypatch):
    def is_from_disk() -> bool:
        raised = load().raised
        assert raised(1) == 2
        return bool(raised.stats.cache_hits)

    assert [is_from_disk(), is_from_disk()] == [False, True]
    # As if a file had changed that the function is not in.
    monkeypatch.setattr(jit, "_SOURCES", "0" * 64)
    assert [is_from_disk(), is_from_disk()] == [False, True]
