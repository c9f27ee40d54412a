"""How a fit ends when it cannot go on: one line that says why, and nothing half written."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from s2f_train import checkpoint
from s2f_train.data.store import Store
from s2f_train.fit import loop
from s2f_train.fit.gan import GanTask
from s2f_train.fit.voice import VoiceTask
from tests.train.fit.fit_tools import at_step, begin, figures, newest_run, one_thread, refused, s2f_train, tensors


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with one_thread():
        yield begin(tmp_path_factory.mktemp("fits"))


@pytest.fixture(scope="module")
def recipe(place: Path) -> Path:
    return place / "recipe.toml"


@pytest.fixture
def store(place: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged. (A path of its own: shards that were opened once stay mapped.)"""
    return shutil.copytree(place / "store", tmp_path / "store")


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


# ------------------------------------------------------------------------------------ settings


def test_wrong_commands(place: Path, recipe: Path, tmp_path: Path) -> None:
    runs = f"runs={tmp_path}/runs"
    assert "did you mean 'batch'?" in refused("fit", "gan", recipe, runs, "bach=8")
    assert "key=value" in refused("fit", "gan", recipe, runs, "batch")
    assert "batch is 'many', a str" in refused("fit", "gan", recipe, runs, "batch=many")
    assert "batch is 7; 2 processes must share it" in refused("fit", "gan", recipe, runs, "batch=7", "devices=2")
    assert "Which recipe?" in refused("fit", "gan")
    assert "Which recipe?" in refused("fit", "gan", "batch=8")
    assert "thesis" in refused("fit", "gan", "thesis2024")  # the nearest one, or all
    assert "store is not set" in refused("fit", "gan", "wen2019")
    assert f"{tmp_path / 'no'} is no store" in refused("fit", "gan", recipe, runs, f"store={tmp_path / 'no'}")
    assert "voice is not set" in refused("fit", "gan", recipe, runs, "voice=")
    assert f"{tmp_path / 'no'} is neither a checkpoint nor a run" in refused(
        "fit", "gan", recipe, runs, f"voice={tmp_path / 'no'}"
    )
    assert "no.whl" in refused("fit", "gan", recipe, runs, f"voice={tmp_path / 'no.whl'}")
    assert "start:" in refused("fit", "gan", recipe, runs, f"start={place}/runs/00000-voice")
    assert "its pictures are face, photo, s2f" in refused("fit", "gan", recipe, runs, "view=other")
    assert "no voices" in refused("fit", "gan", recipe, runs, 'sources=["other"]')
    assert "speakers" in refused("fit", "voice", recipe, runs, 'sources=["other"]')
    if not torch.cuda.is_available():
        assert "1 GPUs are asked for, 0 are here" in refused("fit", "gan", recipe, runs, "accelerator=cuda")
    assert not [path for path in tmp_path.glob("runs/*") if path.name != "cache"]


def test_torchrun_with_another_number_of_processes(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its processes would do the whole fit alone."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "torchrun started 2 processes; devices=1" in refused("fit", "voice", recipe, f"runs={tmp_path}/runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_help_and_the_list_of_settings() -> None:
    for kind, key in (("voice", "embedding_size"), ("gan", "pixel_weight")):
        listed = s2f_train("fit", kind, "--settings")
        assert listed.exit_code == 0
        assert key in listed.output
        assert "learning rate" in listed.output
        assert "--resume" in s2f_train("fit", kind, "--help").output
    assert "sample" in s2f_train("--help").output


# ------------------------------------------------------------------------------------ damaged stores


def overwrite(store: Path, kind: str, member: str) -> str:
    """Puts garbage into the first sample of the training split; gives its key."""
    opened = Store.open(store)
    sample = opened.of_split("train", kind)[0]
    offset, size = sample.members[member]
    with (store / sample.shard).open("r+b") as file:
        file.seek(offset)
        file.write(b"?" * size)
    return sample.key


def test_a_cut_shard(recipe: Path, store: Path) -> None:
    shard = store / "voices" / "000000.tar"
    size = shard.stat().st_size
    with shard.open("r+b") as file:
        file.truncate(size // 2)
    said = refused("fit", "voice", recipe, f"store={store}", f"runs={store.parent}/runs")
    assert f"{shard} has {size // 2} bytes instead of {size}" in said
    assert "prepare" in said


def test_a_missing_shard(recipe: Path, store: Path) -> None:
    (store / "faces" / "000000.tar").unlink()
    said = refused("fit", "gan", recipe, f"store={store}", f"runs={store.parent}/runs")
    assert f"{store / 'faces' / '000000.tar'} is missing" in said


def test_garbage_in_a_picture(recipe: Path, store: Path) -> None:
    key = overwrite(store, "faces", "png")
    words = ["view=face"] if key == "f00000" else ["view=photo"]
    said = refused("fit", "gan", recipe, f"store={store}", f"runs={store.parent}/runs", *words)
    assert f"{store / 'faces' / '000000.tar'}: {key} cannot be decoded" in said


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.slow
def test_garbage_in_a_sound(recipe: Path, store: Path, workers: int) -> None:
    key = overwrite(store, "voices", "flac")
    runs = store.parent / "runs"
    words = [f"store={store}", f"runs={runs}", "noise_share=1.0", "batch=32", f"workers={workers}"]
    said = refused("fit", "voice", recipe, *words)
    assert str(store / "voices" / "000000.tar") in said
    assert key in said
    assert said.removeprefix("error: ") in (newest_run(runs) / "log.txt").read_text()


def test_a_store_without_what_is_needed(recipe: Path, tmp_path: Path) -> None:
    from tests.train.made_store import crowd, made_store

    made_store(tmp_path / "store", crowd(4, 0, 0, voices=2))
    said = refused("fit", "voice", recipe, f"store={tmp_path}/store", f"runs={tmp_path}/runs", "noise_share=0.1")
    assert "flac" in said
    assert not (tmp_path / "runs").exists()  # it says so before the first step, not when the first such voice is drawn


# ------------------------------------------------------------------------------------ numbers that are none


def test_a_loss_that_is_nan(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = GanTask.step

    def poisoned(self: GanTask, batch: Any, at: int) -> Any:
        figures = step(self, batch, at)
        return {name: value * (float("nan") if at in (3, 4) else 1) for name, value in figures.items()}

    monkeypatch.setattr(GanTask, "step", poisoned)
    words = [f"runs={tmp_path}/runs", "steps=9", "log_every=3", "save_every=2", "sample_every=9"]
    said = refused("fit", "gan", recipe, *words)
    assert "The losses of 1 of the 1 steps up to step 4 are NaN or infinite." in said
    assert "Lower the rate, or set clip_gradient." in said
    run = newest_run(tmp_path / "runs")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000002"]
    assert [row["step"] for row in figures(run)] == [2, 3]
    assert "NaN" not in (run / "stats.jsonl").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("gan", "rate=1e30", "optimiser=adam", "save_every=1"),
        ("gan", "rate=1e30", "optimiser=rmsprop", "save_every=1"),
        ("voice", "rate=1e30", "save_every=1"),
        ("voice", "rate=1e30", "log_every=9", "steps=9", "save_every=9", "sample_every=9"),
    ],
)
def test_a_rate_that_is_too_high(recipe: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    kind, *given = words
    said = refused("fit", kind, recipe, f"runs={tmp_path}/runs", *given)
    assert "NaN or infinite" in said
    assert "Lower the rate" in said
    for path in newest_run(tmp_path / "runs").glob("checkpoints/*"):
        assert all(tensor.isfinite().all() for tensor in tensors(path).values())


def test_weights_that_are_infinite_after_a_finite_loss(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = VoiceTask.step

    def poisoned(self: VoiceTask, batch: Any, at: int) -> Any:
        figures = step(self, batch, at)
        if at == 3:
            with torch.no_grad():
                next(self.voice.parameters())[0] = float("inf")
        return figures

    monkeypatch.setattr(VoiceTask, "step", poisoned)
    said = refused("fit", "voice", recipe, f"runs={tmp_path}/runs")
    assert "The weights after step 4 are NaN or infinite." in said
    run = newest_run(tmp_path / "runs")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000002"]


# ------------------------------------------------------------------------------------ a full disk


def test_a_disk_that_is_full_at_a_checkpoint(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoint.save_file

    def full(tensors: Any, path: Path) -> None:
        if "step-000004" in str(path) and path.stem == "speaker_head":
            path.write_bytes(b"half")
            raise checkpoint.SafetensorError("Error while serializing: I/O error: No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    said = refused("fit", "voice", recipe, f"runs={tmp_path}/runs")
    run = newest_run(tmp_path / "runs")
    assert f"{run / 'checkpoints' / 'step-000004'} cannot be written: " in said
    assert "No space left on device" in said
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000002"]
    assert hidden(tmp_path) == []
    networks, facts = checkpoint.load(run / "checkpoints" / "step-000002")
    assert facts["step"] == 2
    assert "voice" in networks
    monkeypatch.undo()
    assert s2f_train("fit", "voice", "--resume", run).exit_code == 0  # once there is room again
    assert [row["step"] for row in figures(run)] == [1, 2, 3, 4]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a file of Linux")
def test_a_disk_that_is_full_at_the_figures(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill() -> None:
        stats = newest_run(tmp_path / "runs") / "stats.jsonl"
        stats.unlink()
        stats.symlink_to("/dev/full")

    at_step(monkeypatch, VoiceTask, 2, fill)
    said = refused("fit", "voice", recipe, f"runs={tmp_path}/runs")
    run = newest_run(tmp_path / "runs")
    assert f"{run} cannot be written: No space left on device" in said
    assert checkpoint.load(run / "checkpoints" / "step-000002")[1]["step"] == 2


@pytest.mark.slow
def test_a_worker_that_is_killed(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill() -> None:
        for child in multiprocessing.active_children():
            child.kill()

    at_step(monkeypatch, VoiceTask, 2, kill)
    words = [f"runs={tmp_path}/runs", "noise_share=0.1", "workers=1", "steps=99"]
    assert "A worker process was ended" in refused("fit", "voice", recipe, *words)
    assert checkpoint.load(newest_run(tmp_path / "runs") / "checkpoints" / "step-000002")[1]["step"] == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("[/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed"), "Another process of"),
        (torch.distributed.DistBackendError("NCCL error"), "Another process of this fit has ended"),
        (torch.OutOfMemoryError("CUDA out of memory.\nMore."), "CUDA out of memory. Give a smaller batch"),
    ],
)
def test_what_is_no_fault_of_the_code(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError, said: str
) -> None:
    def fail() -> None:
        raise error

    at_step(monkeypatch, VoiceTask, 1, fail)
    assert said in refused("fit", "voice", recipe, f"runs={tmp_path}/runs")


def test_a_fault_of_the_code_shows_itself(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("shapes")

    at_step(monkeypatch, VoiceTask, 1, fail)
    with pytest.raises(pytest.fail.Exception, match="shapes"):
        s2f_train("fit", "voice", recipe, f"runs={tmp_path}/runs")
    assert "error: shapes" in (newest_run(tmp_path / "runs") / "log.txt").read_text()


def test_a_folder_that_cannot_be_made(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "file" in refused("fit", "voice", recipe, f"runs={tmp_path}/file/runs")


# ------------------------------------------------------------------------------------ being stopped


@pytest.mark.parametrize(("kind", "task"), [("voice", VoiceTask), ("gan", GanTask)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_a_signal_stops_after_the_step_and_it_goes_on(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, task: type[Any], number: signal.Signals
) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        at_step(patch, task, 2, lambda: os.kill(os.getpid(), number))
        stopped = s2f_train("fit", kind, recipe, f"runs={tmp_path}/runs", "steps=100000")
    assert stopped.exit_code == 130
    run = newest_run(tmp_path / "runs")
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-000002", "step-000003"]
    assert [row["step"] for row in figures(run)] == [1, 2, 3]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert s2f_train("fit", kind, "--resume", run, "steps=4").exit_code == 0
    assert [row["step"] for row in figures(run)] == [1, 2, 3, 4]


def test_a_signal_in_the_last_step_changes_nothing(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, VoiceTask, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert s2f_train("fit", "voice", recipe, f"runs={tmp_path}/runs").exit_code == 0


def twice() -> None:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_ctrl_c_that_comes_twice_is_one(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun passes on what the terminal has sent to all."""
    at_step(monkeypatch, VoiceTask, 2, twice)
    assert s2f_train("fit", "voice", recipe, f"runs={tmp_path}/runs", "steps=100000").exit_code == 130
    assert (newest_run(tmp_path / "runs") / "checkpoints" / "step-000003").exists()


def test_a_second_ctrl_c_stops_at_once(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAME_REQUEST_S", 0.0)
    at_step(monkeypatch, VoiceTask, 2, twice)
    stopped = s2f_train("fit", "voice", recipe, f"runs={tmp_path}/runs", "steps=100000")
    assert stopped.exit_code == 130
    assert "stopped at once" in stopped.output
    run = newest_run(tmp_path / "runs")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000002"]


def test_ctrl_c_before_the_first_step(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VoiceTask, "_build", interrupted)
    assert s2f_train("fit", "voice", recipe, f"runs={tmp_path}/runs").exit_code == 130
    assert not (tmp_path / "runs").exists()
