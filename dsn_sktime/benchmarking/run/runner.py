"""Run jobs, each once, and write the record of each."""

import json
import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

from dsn_sktime.benchmarking.run import results
from dsn_sktime.benchmarking.run.jobs import Job, failure, run_job

_KILLED = "The process of this job was killed, perhaps for want of memory."


@dataclass
class Runner:
    """Runs the jobs that have no result yet.

    Processes that share the results file ``path`` share out the jobs. With one worker they run
    in this process, else in as many, or on the workers of the dask scheduler at an address.
    ``counts`` has "done", "failed", "done before", "failed before" and "left to another process".
    """

    path: Path
    n_workers: int = 1
    scheduler: str | None = None
    retry_failed: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.folder = results.folder_of(self.path)
        self._running: dict[Future, tuple[Job, FileLock]] = {}
        self._suspects: list[Job] = []
        self._deaths: type[Exception] = BrokenProcessPool

    def run(self, jobs: Sequence[Job]) -> None:
        """Run the jobs in their order.

        Raise OSError if a record cannot be written; ValueError if results are malformed or there
        is no dask scheduler.
        """
        if self.path.is_dir():
            raise ValueError(f"the results file {self.path} is not a file.")
        if not self.path.parent.is_dir():
            raise ValueError(f"there is no folder {self.path.parent}.")
        self.folder.mkdir(exist_ok=True)
        rows = results.read(self.path).itertuples()
        self._known = {row.job: (row.status, row.started) for row in rows}
        try:
            with ExitStack() as stack:
                self._bar = stack.enter_context(tqdm(total=len(jobs), unit="job", smoothing=0))
                stack.callback(self._release_all)
                executor = self._executor(stack)
                # Processes that ran the other jobs may have finished, or died, by now.
                elsewhere = self._run(executor, self._run(executor, jobs))
                self._count("left to another process", len(elsewhere))
        finally:
            if any(self.folder.glob("*.json")):
                results.export(self.path)

    def _executor(self, stack: ExitStack) -> Callable[[], tuple[Executor, int]]:
        """Return a function that returns an executor and its slots.

        Call it in each round: a pool with a dead process is replaced, a cluster grows or shrinks.
        """
        if self.scheduler is None and self.n_workers == 1:
            return lambda: (_Here(), 1)
        if self.scheduler is None:
            # joblib would take the pool for one of its own kind and fail.
            stack.callback(lambda: get_reusable_executor(reuse=True).shutdown(kill_workers=True))
            return lambda: (get_reusable_executor(self.n_workers), self.n_workers)
        try:
            from dask.distributed import Client, KilledWorker

            client = stack.enter_context(Client(self.scheduler, timeout="20s"))
        except ImportError as error:
            raise ValueError("dask is missing: pip install dsn-sktime[dask].") from error
        except (OSError, ValueError) as error:
            raise ValueError(f"no dask scheduler at {self.scheduler!r} ({error}).") from error
        self._deaths = KilledWorker
        cluster = client.get_executor(pure=False)
        return lambda: (cluster, max(sum(client.nthreads().values()), 1))

    def _run(self, executor: Callable[[], tuple[Executor, int]], jobs: Sequence[Job]) -> list[Job]:
        """Run jobs and return those that another process is running.

        A job is claimed when it is submitted, not before, so that other processes can take it.
        """
        waiting, elsewhere = deque(jobs), list[Job]()
        while True:
            pool, n_slots = executor()
            while waiting and len(self._running) < n_slots:
                self._start(pool, waiting.popleft(), elsewhere)
            if not self._running:
                break
            for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                try:
                    self._record(future, future.result())
                except self._deaths:
                    job, lock = self._running.pop(future)
                    _release(lock)
                    self._suspects.append(job)
        # One of the jobs that were running killed the process: run each of them separately.
        while self._suspects:
            self._start(executor()[0], job := self._suspects.pop(), elsewhere)
            for future in list(self._running):
                try:
                    self._record(future, future.result())
                except self._deaths:
                    self._record(future, failure(job, _KILLED))
        return elsewhere

    def _start(self, pool: Executor, job: Job, elsewhere: list[Job]) -> None:
        """Claim a job and submit it, unless it has a result or another process runs it."""
        if self._is_settled(job):
            return
        # The system releases the claim when this process ends, however it does.
        lock = FileLock(self.folder / f"{job.digest}.lock", thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            elsewhere.append(job)
            return
        try:
            # Checked again: the process that held the claim has written its record by now.
            if self._is_settled(job):
                _release(lock)
            else:
                self._running[pool.submit(run_job, job)] = job, lock
        except BaseException as error:
            _release(lock)
            if not isinstance(error, self._deaths):  # of the pool, by another job
                raise
            self._suspects.append(job)

    def _is_settled(self, job: Job) -> bool:
        """Count and return whether the job has a result."""
        found = known = self._known.get(job.digest, ("", ""))
        if (file := self.folder / f"{job.digest}.json").exists():
            record = json.loads(file.read_text(encoding="utf-8"))
            found = record["status"], record["started"]
        # Another process may have run a failed job again since.
        if not found[0] or (self.retry_failed and found == known and found[0] == "failed"):
            return False
        self._count("done before" if found[0] == "ok" else "failed before")
        return True

    def _record(self, future: Future, record: dict[str, Any]) -> None:
        results.write(self.path, record)
        job, lock = self._running.pop(future)
        _release(lock)
        self._count("done" if record["status"] == "ok" else "failed")
        if record["status"] != "ok":
            tqdm.write(f"failed: {job}: {record['error']}", file=sys.stderr)

    def _count(self, kind: str, n: int = 1) -> None:
        self.counts[kind] += n
        self._bar.update(n)

    def _release_all(self) -> None:
        for _, lock in self._running.values():
            _release(lock)
        for left in self.folder.glob("*.lock"):  # of processes killed after their record
            if left.with_suffix(".json").exists():
                # A failed job may be running again.
                with suppress(Timeout), FileLock(left, timeout=0) as lock:
                    _release(lock)


class _Here(Executor):
    """Executor that runs a function when it is submitted, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _release(lock: FileLock) -> None:
    # Removed while held: a waiting process finds the file gone and creates its own.
    with suppress(OSError):
        Path(lock.lock_file).unlink()
    lock.release()
