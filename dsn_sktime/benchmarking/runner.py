"""Run jobs, each once, and append to the results file what comes of them."""

from __future__ import annotations

import os
import sys
import warnings
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

from dsn_sktime.benchmarking import results
from dsn_sktime.benchmarking.harness import failure, identity, run_job
from dsn_sktime.benchmarking.jobs import Job

__all__ = ["Runner", "Summary"]


@dataclass
class Summary:
    """What became of the jobs.

    Attributes
    ----------
    done, failed : int
        Ended in this run.
    done_before, failed_before : int
        Found in the results file.
    elsewhere : int
        Left to another process, which was running them.
    """

    done: int = 0
    failed: int = 0
    done_before: int = 0
    failed_before: int = 0
    elsewhere: int = 0


class Runner:
    """Runs the jobs that a results file does not hold yet.

    Parameters
    ----------
    path : str or Path
        Results file; processes that share it share out the jobs.
    n_workers : int, default=1
        Processes; with 1 the jobs run in this one.
    scheduler : str, optional
        Address of a dask scheduler, on whose workers the jobs run instead.
    retry_failed : bool, default=False
        Whether jobs whose last line in the file says "failed" are run again.
    """

    def __init__(
        self,
        path: str | Path,
        n_workers: int = 1,
        scheduler: str | None = None,
        retry_failed: bool = False,
    ) -> None:
        self.path = Path(path)
        self.n_workers = n_workers
        self.scheduler = scheduler
        self.retry_failed = retry_failed
        self.summary = Summary()
        self._running: dict[str, tuple[Job, FileLock]] = {}
        self._error: OSError | None = None
        self._deaths: type[Exception] = BrokenProcessPool
        self._read_at = (-1, -1)
        self._lines: dict[str, list[tuple[int, str]]] = {}

    def run(self, jobs: Sequence[Job]) -> Summary:
        """Run the jobs in their order.

        Raises
        ------
        OSError
            If the results file cannot be written. It then holds what ended before.
        ValueError
            If the results file has other columns, or there is no dask scheduler.
        """
        _check_writable(self.path)
        # Where failed jobs are run again, their lines from before do not count.
        self._first_line_that_counts = len(_read(self.path)) if self.retry_failed else 0
        self._claims = Path(f"{self.path}.claims")
        pending = self._claimed(jobs)
        with ExitStack() as stack:
            stack.callback(self._release_all)
            self._bar = stack.enter_context(tqdm(total=len(jobs), unit="job", smoothing=0))
            stack.enter_context(self._backend())
            while self._run_until_a_process_dies(pending):
                self._run_alone([job for job, _ in self._running.values()])
        if self._error is not None:
            raise self._error
        return self.summary

    def _backend(self) -> AbstractContextManager:
        """Return the context in which joblib runs jobs where they are to run."""
        if self.scheduler is None:
            return parallel_config("loky", n_jobs=self.n_workers)
        try:
            from dask.distributed import KilledWorker

            from dsn_sktime.benchmarking.cluster import connect, on_cluster
        except ImportError as error:
            raise ValueError(
                "a dask scheduler needs dask.distributed: pip install 'dask[distributed]'."
            ) from error
        self._client = connect(self.scheduler)
        self._deaths = KilledWorker
        return on_cluster(self._client)

    def _run_until_a_process_dies(self, pending: Iterator[Any]) -> bool:
        # One job at a time per process, claimed when it is handed out: not before, so
        # that others may have it, and so that no result waits for that of another job.
        parallel = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs")
        try:
            for row in parallel(pending):
                self._record(row)
        except self._deaths:
            return True
        return False

    def _run_alone(self, jobs: list[Job]) -> None:
        """Run each of the jobs that were running when a process died in one of its own."""
        for job in jobs:
            try:
                row = self._submit(job).result()
            except self._deaths:
                reason = "The process of this job was killed, perhaps for want of memory."
                row = {**dict.fromkeys(results.COLUMNS), **identity(job), **failure(reason)}
            self._record(row)

    def _submit(self, job: Job) -> Any:
        if self.scheduler is None:
            return get_reusable_executor(max_workers=1).submit(run_job, job)
        return self._client.submit(run_job, job, pure=False)

    def _claimed(self, jobs: Sequence[Job]) -> Iterator[Any]:
        """Yield the jobs that are neither done nor another process's.

        joblib asks for them from a thread of its own, which an error would end unseen.
        """
        try:
            # Whoever ran a job at first may have ended, or died, by the end.
            elsewhere = yield from self._claimed_once(jobs)
            elsewhere = yield from self._claimed_once(elsewhere)
        except OSError as error:
            self._error = _unwritable(self.path, error)
            return
        self.summary.elsewhere = len(elsewhere)
        self._bar.update(len(elsewhere))

    def _claimed_once(self, jobs: Sequence[Job]) -> Generator[Any, None, list[Job]]:
        elsewhere = []
        for job in jobs:
            try:
                claimed = self._claim(job)
            except Timeout:
                elsewhere.append(job)
                continue
            if claimed:
                yield delayed(run_job)(job)
            else:
                self._bar.update()
        return elsewhere

    def _claim(self, job: Job) -> bool:
        """Return whether the job is now this process's to run, or has been run before.

        Raises
        ------
        Timeout
            If another process has the job.
        """
        if self._is_settled(job):
            return False
        lock = self._lock(job)
        # Once more: who had the claim before has written its line by now.
        if self._is_settled(job):
            _release(lock)
            return False
        self._running[job.digest] = job, lock
        return True

    def _lock(self, job: Job) -> FileLock:
        # The system gives the lock back when this process ends, however it does.
        lock = FileLock(self._claims / f"{job.digest}.lock", thread_local=False)
        while True:
            self._claims.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # another process just removed the folder
                lock.acquire(blocking=False)
                return lock

    def _is_settled(self, job: Job) -> bool:
        """Count and return whether the results file holds the job's outcome."""
        statuses = self._statuses().get(job.digest, [])
        if any(status == "ok" for _, status in statuses):
            self.summary.done_before += 1
            return True
        if any(line >= self._first_line_that_counts for line, _ in statuses):
            self.summary.failed_before += 1
            return True
        return False

    def _statuses(self) -> dict[str, list[tuple[int, str]]]:
        """Return line numbers and statuses by job, read anew where the file has changed."""
        now = os.stat(self.path)
        if self._read_at != (now.st_size, now.st_mtime_ns):
            self._read_at = now.st_size, now.st_mtime_ns
            self._lines = defaultdict(list)
            for line, (digest, status) in enumerate(_read(self.path)):
                self._lines[digest].append((line, status))
        return self._lines

    def _record(self, row: dict[str, Any]) -> None:
        try:
            results.append(self.path, row)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        job, lock = self._running.pop(row["job"])
        _release(lock)
        if row["status"] == "ok":
            self.summary.done += 1
        else:
            self.summary.failed += 1
            tqdm.write(f"failed: {job}: {row['error']}", file=sys.stderr)
        self._bar.update()

    def _release_all(self) -> None:
        for _, lock in self._running.values():
            _release(lock)
        self._running.clear()
        with suppress(OSError):  # others have claims, or there were none
            self._release_left_behind()
            self._claims.rmdir()

    def _release_left_behind(self) -> None:
        """Clear what a process left that was killed between a job's line and its release."""
        for left in self._claims.glob("*.lock"):
            if left.stem in self._statuses():
                lock = FileLock(left)
                with suppress(Timeout):  # another process runs the job again
                    lock.acquire(blocking=False)
                    _release(lock)


def _read(path: Path) -> list[tuple[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the command tells of broken lines, once
        table = results.read(path)
    return list(zip(table["job"], table["status"], strict=True))


def _release(lock: FileLock) -> None:
    # Removed while it is held: who waits for it finds that it has gone and makes its own.
    with suppress(OSError):
        Path(lock.lock_file).unlink()
    lock.release()


def _unwritable(path: Path, error: OSError) -> OSError:
    return OSError(
        f"{path} cannot be written ({error.strerror or error}); it holds all jobs that ended "
        "before, so mend that and start again."
    )


def _check_writable(path: Path) -> None:
    if not path.parent.is_dir():
        raise ValueError(f"the results file cannot be written: there is no folder {path.parent}.")
    if path.exists() and not path.is_file():
        raise ValueError(f"the results file {path} is not a file.")
    try:
        path.open("ab").close()
    except OSError as error:
        raise OSError(f"the results file {path} cannot be written: {error.strerror}.") from error
