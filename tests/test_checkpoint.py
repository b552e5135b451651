"""Checkpoints that are damaged, foreign, forged, or cannot be written."""

from __future__ import annotations

import copy
import errno
import hashlib
import io
import math
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import panel, tiny_classifier
from training_runs import (
    Logger,
    assert_equal_states,
    clone_state,
    tiny_network,
    tiny_panel,
    trainer_of,
    without_seconds,
)

from dsn_sktime.training import Callback, Checkpoint, EarlyStopping
from dsn_sktime.training.checkpoint import read_checkpoint

try:
    import fcntl
except ImportError:
    fcntl = None


class StopAt(Callback):
    """Interrupts a run after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, trainer, record):
        if record["epoch"] == self.epoch:
            raise KeyboardInterrupt


def run(folder, callbacks=(), every=1, **changes):
    trainer = trainer_of([Checkpoint(folder, every), *callbacks], **changes)
    trainer.run_id = "run"
    return trainer


def saved_run(folder, n_done=3, **changes):
    """Interrupt a run, and return its file."""
    trainer = run(folder, [StopAt(n_done - 1)], **changes)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*tiny_panel())
    return folder / "dsn-run.ckpt"


def write(path, state):
    """Write a state as a checkpoint whose digest is right."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    path.write_bytes(b"dsn_sktime checkpoint 3\n" + hashlib.sha256(payload).digest() + payload)


def assert_refused(path, folder, words="", **changes):
    """A run refuses the file in one sentence before its first epoch, and stays as it was."""
    log = []
    trainer = run(folder, [Logger("a", log)], **changes)
    before = clone_state(trainer.network)
    message = f"^the checkpoint {re.escape(repr(str(path)))} cannot be .*{words}.*start again\\.$"
    with pytest.raises(ValueError, match=message) as caught:
        trainer.fit(*tiny_panel())
    assert "weights_only" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert log == []
    assert trainer.history == []
    assert_equal_states(trainer.network.state_dict(), before)


# Damage


def test_flipped_bits_and_truncation_are_refused_wherever_they_are(tmp_path):
    path = saved_run(tmp_path)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    # Of the first line, the digest, the start and the end of the rest, and anywhere.
    places = [*range(0, 60, 4), *range(-60, 0, 4), *rng.integers(len(content), size=70)]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        assert_refused(path, tmp_path)
    for length in [0, 1, 24, 40, 56, len(content) - 1, *rng.integers(len(content), size=20)]:
        path.write_bytes(content[:length])
        assert_refused(path, tmp_path)
    path.write_bytes(content + b"\0")
    assert_refused(path, tmp_path, "damaged")
    path.write_bytes(content)
    run(tmp_path).fit(*tiny_panel())


@pytest.mark.parametrize(
    "content", [b"", b"abc", b"PK\x03\x04" * 40, b"\0" * 5000], ids=["empty", "abc", "zip", "zeros"]
)
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "dsn-run.ckpt"
    path.write_bytes(content)
    assert_refused(path, tmp_path, "not a checkpoint of this version")


def test_a_file_that_torch_saved_is_refused(tmp_path):
    path = tmp_path / "dsn-run.ckpt"
    torch.save(tiny_network().state_dict(), path)
    assert_refused(path, tmp_path, "not a checkpoint of this version")


class Evil:
    """Would write a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_objects_are_not_unpickled(tmp_path):
    path = tmp_path / "dsn-run.ckpt"
    write(path, {"run_id": "run", "evil": Evil(tmp_path / "touched")})
    assert_refused(path, tmp_path, "objects other than tensors, numbers and strings")
    assert not (tmp_path / "touched").exists()


def test_a_renamed_file_is_refused(tmp_path):
    path = saved_run(tmp_path)
    os.replace(path, tmp_path / "dsn-other.ckpt")
    log = []
    trainer = run(tmp_path, [Logger("a", log)])
    trainer.run_id = "other"
    with pytest.raises(ValueError, match=r"dsn-other.ckpt.*another training run.*Delete it"):
        trainer.fit(*tiny_panel())
    assert log == []


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    path = tmp_path / "dsn-run.ckpt"
    path.mkdir()
    with pytest.raises(OSError, match=rf"{re.escape(repr(str(path)))} cannot be read: .*\.$"):
        run(tmp_path).fit(*tiny_panel())


# Forged states


def change(*keys, value):
    """Return a function that sets an entry of a state to a value, or to that of a function."""

    def apply(state):
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = value(state[keys[-1]]) if callable(value) else value

    return apply


def with_entry(number):
    def set_entry(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[0] = number
        return tensor

    return set_entry


WEIGHT, OPTIMIZER = "head.classes.weight", ("followers", 0, 0)
FORGERIES = {
    "no dict": lambda state: state.clear(),
    "seed": change("seed", value=-1),
    "float seed": change("seed", value=1.5),
    "tensor seed": change("seed", value=torch.tensor(3)),
    "bool seed": change("seed", value=True),
    "finished": change("finished", value=1),
    "no history": change("history", value=None),
    "history of others": change("history", 1, value=3),
    "long history": change("history", value=lambda history: history * 9),
    "missing record": change("history", value=lambda history: history[:-1]),
    "float epoch": change("history", 1, "epoch", value=1.0),
    "epoch": change("history", 1, "epoch", value=7),
    "NaN loss": change("history", 1, "loss", value=math.nan),
    "infinite loss": change("history", 1, "loss", value=math.inf),
    "negative loss": change("history", 1, "loss", value=-1.0),
    "huge loss": change("history", 1, "loss", value=10**400),
    "str loss": change("history", 1, "loss", value="low"),
    "tensor loss": change("history", 1, "loss", value=torch.ones(2)),
    "lr": change("history", 1, "lr", value=-1e-3),
    "no metric": lambda state: state["history"][0].pop("accuracy"),
    "negative count": change("history", 1, "n_grown", value=-1),
    "best_epoch": change("best_epoch", value=lambda epoch: epoch - 1),
    "late best_epoch": change("best_epoch", value=77),
    "float best_epoch": change("best_epoch", value=float),
    "no network": change("network", value=[]),
    "missing tensor": lambda state: state["network"].pop(WEIGHT),
    "other tensor": lambda state: state["network"].update(other=torch.zeros(1)),
    "shape": change("network", WEIGHT, value=lambda weight: weight[:1]),
    "scalar": change("network", WEIGHT, value=torch.tensor(1.0)),
    "no tensor": change("network", WEIGHT, value=1.0),
    "dtype": change("network", WEIGHT, value=lambda weight: weight.double()),
    "sparse tensor": change("network", WEIGHT, value=lambda weight: weight.to_sparse()),
    "NaN weight": change("network", WEIGHT, value=with_entry(math.nan)),
    "infinite weight": change("best_state", WEIGHT, value=with_entry(math.inf)),
    "no best_state": change("best_state", value={}),
    "negative variance": change("network", "head.norm.running_var", value=with_entry(-1.0)),
    "negative batches": change("network", "head.norm.num_batches_tracked", value=with_entry(-1)),
    "topology": change("network", "layers.1.conv.index", value=with_entry(10**6)),
    "negative index": change("best_state", "layers.1.conv.index", value=with_entry(-1)),
    "no followers": change("followers", value=[]),
    "followers": change("followers", value=lambda followers: followers * 2),
    "missing parameter": change("followers", 0, value=lambda states: states[:-1]),
    "negative steps": change(*OPTIMIZER, "step", value=with_entry(-5)),
    "steps": change(*OPTIMIZER, "step", value=with_entry(2**31 - 1)),
    "float steps": change(*OPTIMIZER, "step", value=lambda steps: steps.float()),
    "scalar moment": change(*OPTIMIZER, "exp_avg", value=torch.tensor(0.0)),
    "NaN moment": change(*OPTIMIZER, "exp_avg", value=with_entry(math.nan)),
    "negative square": change(*OPTIMIZER, "exp_avg_sq", value=with_entry(-1.0)),
    "no moment": lambda state: state["followers"][0][0].pop("exp_avg"),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_forged_states_are_refused_before_anything_is_changed(tmp_path, forgery):
    path = saved_run(tmp_path)
    state = read_checkpoint(path)
    forgery(state)
    write(path, {**state, "run_id": "run"})
    assert_refused(path, tmp_path, "does not match this training run, found")


@pytest.mark.parametrize("state", [[], 3, None, torch.zeros(2), "state"], ids=repr)
def test_states_of_another_type_are_refused(tmp_path, state):
    path = tmp_path / "dsn-run.ckpt"
    write(path, state)
    assert_refused(path, tmp_path, "no training run")


def test_the_average_of_a_checkpoint_is_checked_too(tmp_path):
    path = saved_run(tmp_path, n_done=5, keep="average")
    state = read_checkpoint(path)
    assert state["followers"][1][0]["step"].max() > 0
    for name, number in [("step", -1), ("mean", math.inf)]:
        forged = copy.deepcopy(state)
        forged["followers"][1][0][name] = with_entry(number)(forged["followers"][1][0][name])
        write(path, forged)
        assert_refused(path, tmp_path, "followers", keep="average")
    write(path, state)
    assert_refused(path, tmp_path, "followers")  # without an average


# Writing


def test_a_finished_checkpoint_is_not_written_again(tmp_path, monkeypatch):
    stopped = [EarlyStopping(patience=1, min_delta=99)]
    for callbacks, folder in ((), tmp_path / "a"), (stopped, tmp_path / "b"):
        first = run(folder, callbacks)
        first.fit(*tiny_panel())
        with monkeypatch.context() as patch:
            patch.setattr(torch, "save", None)
            patch.setattr("os.replace", None)
            again = run(folder, callbacks, network_seed=1)
            again.fit(*tiny_panel())
        assert again.history == first.history
        assert_equal_states(again.network.state_dict(), first.network.state_dict())


READ_ONLY = """
    import os, sys
    sys.path.insert(0, {tests!r})
    from test_checkpoint import run, tiny_panel, trainer_of
    from pathlib import Path
    trainer_of().fit(*tiny_panel())  # Loads what only root may be able to read.
    os.setuid(65534)
    for folder in ({finished!r}, {empty!r}):
        run(Path(folder)).fit(*tiny_panel())
        print("loaded")
"""


@pytest.fixture
def open_folder():
    """Folder that another user can read but not write; those of pytest are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.skipif("os.name != 'posix' or os.getuid() != 0", reason="takes root to be another")
def test_a_read_only_folder_is_loaded_from_or_else_named_before_the_first_epoch(open_folder):
    finished, empty = open_folder / "finished", open_folder / "empty"
    for folder in (finished, empty):
        folder.mkdir()
        folder.chmod(0o755)
    run(finished).fit(*tiny_panel())
    (finished / "dsn-run.ckpt").chmod(0o644)
    code = textwrap.dedent(READ_ONLY).format(
        tests=os.path.dirname(__file__), finished=str(finished), empty=str(empty)
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "loaded\n", done.stderr
    last = done.stderr.strip().splitlines()[-1]
    path = repr(str(empty / "dsn-run.ckpt"))
    assert last.startswith(f"OSError: the checkpoint {path} cannot be written: Permission denied.")


def test_a_full_disk_names_the_file_and_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    path = saved_run(tmp_path)
    content = path.read_bytes()

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    words = rf"^the checkpoint {re.escape(repr(str(path)))} cannot be written: No space left"
    with pytest.raises(OSError, match=words):
        run(tmp_path).fit(*tiny_panel())
    assert path.read_bytes() == content
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    monkeypatch.undo()
    run(tmp_path).fit(*tiny_panel())


LIMITED = """
    import resource, sys
    sys.path.insert(0, {tests!r})
    from test_checkpoint import run, tiny_panel
    from pathlib import Path
    trainer = run(Path({folder!r}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    trainer.fit(*tiny_panel())
"""


def test_a_file_size_limit_names_the_file_and_keeps_the_last_checkpoint(tmp_path):
    path = saved_run(tmp_path)
    content = path.read_bytes()
    assert len(content) > 4096
    code = textwrap.dedent(LIMITED).format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"OSError: the checkpoint {str(path)!r} cannot be written: ")
    assert path.read_bytes() == content
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_drafts_of_killed_saves_are_deleted_but_no_others(tmp_path):
    path = saved_run(tmp_path)
    killed = [tmp_path / f"{path.name}{number}.tmp" for number in range(3)]
    others = [tmp_path / "dsn-run2.ckptabc.tmp", tmp_path / "dsn-other.ckptabc.tmp"]
    for draft in [*killed, *others]:
        draft.write_bytes(b"half a file")
    run(tmp_path).fit(*tiny_panel())
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


@pytest.mark.skipif(fcntl is None, reason="the system has no file locks")
def test_the_draft_of_a_live_save_is_not_deleted(tmp_path):
    live = tmp_path / "dsn-run.ckptlive.tmp"
    with live.open("wb") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        run(tmp_path).fit(*tiny_panel())
        assert live.exists()
    run(tmp_path, n_epochs=6).fit(*tiny_panel())


def test_a_run_killed_between_save_and_stop_is_resumed_as_uninterrupted(tmp_path, monkeypatch):
    """The checkpoint stands first in the list, and the stop of the later callback is lost."""
    stopping = EarlyStopping(patience=2, min_delta=99)
    whole = run(tmp_path / "whole", [stopping])
    whole.fit(*tiny_panel())
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_train_end", lambda self, trainer: None)
        run(tmp_path / "killed", [stopping]).fit(*tiny_panel())
    assert not read_checkpoint(tmp_path / "killed" / "dsn-run.ckpt")["finished"]
    resumed = run(tmp_path / "killed", [stopping])
    resumed.fit(*tiny_panel())
    assert without_seconds(resumed.history) == without_seconds(whole.history)
    assert_equal_states(resumed.network.state_dict(), whole.network.state_dict())


def test_a_classifier_stays_as_fitted_when_its_checkpoint_is_refused(tmp_path):
    X, y = panel()
    classifier = tiny_classifier(callbacks=[Checkpoint(tmp_path)]).fit(X, y)
    expected = classifier.predict_proba(X)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    again = tiny_classifier(callbacks=[Checkpoint(tmp_path)])
    with pytest.raises(ValueError, match=r"damaged.*Delete it to start again"):
        again.fit(X, y)
    path.unlink()
    assert np.array_equal(again.fit(X, y).predict_proba(X), expected)
