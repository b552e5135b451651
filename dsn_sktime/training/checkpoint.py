"""Checkpoints: a training run in a file, from which an interrupted one is continued."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import torch

from dsn_sktime.training.checks import brief_repr, check_integer
from dsn_sktime.training.trainer import Callback, Trainer

try:
    import fcntl
except ImportError:  # On Windows, where a file that is open cannot be deleted anyway.
    fcntl = None  # type: ignore[assignment]

# A file is this line, the SHA-256 digest of the rest, and the rest: what torch.save wrote.
_FIRST_LINE = b"dsn_sktime checkpoint 3\n"
_DIGEST_SIZE = hashlib.sha256().digest_size
_BINARY = getattr(os, "O_BINARY", 0)  # On Windows.


class Checkpoint(Callback):
    """Save the training run to a file, and resume it after an interruption.

    The file's name is derived from the data, all settings that shape the result and the
    version of this package, so one folder serves a whole grid search. A ``fit`` that finds
    its file unfinished continues it and ends with the same weights as without the
    interruption; one that finds it finished loads the result instead of computing it again.
    ``random_state`` must be an integer, because the seed is part of the identity.

    Files hold tensors and numbers only, with a digest of them, and are read without
    unpickling objects. They are replaced atomically: a kill at any moment leaves the last
    complete one.

    Parameters
    ----------
    folder : str or Path
        Created if it does not exist. Checkpoints in it are never deleted.
    every : int, default=10
        Epochs between two saves; the last epoch is always saved.

    Raises
    ------
    ValueError
        If ``every`` is below 1 or ``folder`` is a file. By ``fit``: if the file is damaged or
        belongs to another run.
    TypeError
        If ``every`` is not an integer or ``folder`` not a path.
    OSError
        By ``fit``: if the file cannot be read or written.
    """

    def __init__(self, folder: str | Path, every: int = 10) -> None:
        if not isinstance(folder, str | Path):
            raise TypeError(f"folder must be a str or a pathlib.Path, found {brief_repr(folder)}.")
        check_integer("every", every, 1)
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise ValueError(f"folder must be a folder, found the file {str(folder)!r}.")
        self.folder = folder
        self.every = every

    def __repr__(self) -> str:
        """Return the call that makes an equal callback."""
        return f"Checkpoint({str(self.folder)!r}, {self.every})"

    def path(self, trainer: Trainer) -> Path:
        """Return the file of a training run."""
        return Path(self.folder) / f"dsn-{trainer.run_id}.ckpt"

    def on_train_begin(self, trainer: Trainer) -> None:
        """Continue the run that the file holds, if there is one."""
        path = self.path(trainer)
        if os.path.exists(path):  # False too where one may not look.
            device = next(trainer.network.parameters()).device
            state = read_checkpoint(path, device)
            if state.pop("run_id", None) != trainer.run_id:
                raise _refusal(path, "it holds another training run, so it was renamed")
            try:
                trainer.load_state_dict(state)
            except ValueError as error:
                raise _refusal(path, str(error)) from None
        if not trainer.is_finished:
            with _writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                _delete_drafts(path)
                with _draft(path):  # To learn now, not epochs later, that nothing can be saved.
                    pass

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Save if it is time to."""
        if trainer.is_finished or (record["epoch"] + 1) % self.every == 0:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer) -> None:
        """Save that training was stopped, maybe by a later callback of the list."""
        if trainer.should_stop and len(trainer.history) > trainer.n_resumed:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        path, buffer = self.path(trainer), io.BytesIO()
        with _writing(path):
            torch.save({**trainer.state_dict(), "run_id": trainer.run_id}, buffer)
            payload = buffer.getbuffer()
            write_atomically(path, _FIRST_LINE + hashlib.sha256(payload).digest(), payload)


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return the state in a checkpoint: the trainer's state, and "run_id".

    Raise ValueError if the file is no checkpoint, or damaged; OSError if it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            f"the checkpoint {str(path)!r} cannot be read: {reason}. Make it readable, or delete "
            "it to start again."
        ) from error
    start = len(_FIRST_LINE) + _DIGEST_SIZE
    if not content.startswith(_FIRST_LINE):
        raise _refusal(path, "it is not a checkpoint of this version of dsn_sktime")
    payload = content[start:]
    if hashlib.sha256(payload).digest() != content[len(_FIRST_LINE) : start]:
        raise _refusal(path, "it is damaged, since its content does not match its digest")
    try:
        state = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
    except Exception:
        # Without torch's words, which advise to load it unsafely.
        raise _refusal(path, "it holds objects other than tensors, numbers and strings") from None
    if not isinstance(state, dict):
        raise _refusal(path, "it holds no training run")
    return state


def _refusal(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"the checkpoint {str(path)!r} cannot be resumed: {reason}. Delete it to start again."
    )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            f"the checkpoint {str(path)!r} cannot be written: {reason}. Free space or choose "
            "another folder; what was saved before is kept."
        ) from error


def write_atomically(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file that is complete or, if anything fails, as it was before."""
    with _draft(path) as (file, draft):
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
        if fcntl is None:
            file.close()  # Windows renames no open file.
        os.replace(draft, path)


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """Open a new file next to a path, locked while written and deleted unless renamed."""
    while True:
        # Not by tempfile, whose files nobody else may read.
        draft = f"{path}.{uuid4().hex}.tmp"
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        except FileNotFoundError:
            raise FileNotFoundError(
                errno.ENOENT, "There is no such folder", str(path.parent)
            ) from None
        with contextlib.suppress(OSError):  # Not every file system has locks.
            _lock(descriptor, wait=True)
        if os.fstat(descriptor).st_nlink:  # Otherwise another process deleted it as a leftover.
            break
        os.close(descriptor)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file, draft
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)


def _delete_drafts(path: Path) -> None:
    """Delete what killed saves of the same run have left behind."""
    for draft in path.parent.glob(f"{path.name}*.tmp"):
        with contextlib.suppress(OSError), draft.open("rb") as file:
            _lock(file.fileno(), wait=False)
            draft.unlink()


def _lock(descriptor: int, wait: bool) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
