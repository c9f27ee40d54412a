"""Each picture is looked at once, on all cores, whatever interrupts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from s2f_train.evaluate import judging
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.judging import JudgeError, judge_all
from s2f_train.evaluate.tables import Picture
from tests.train.evaluate.made_judges import Counter, Dier, Nan, Refuser


def noise(count: int, seed: int = 0) -> list[Picture]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3)).astype(np.uint8))


def test_each_picture_is_looked_at_once(tmp_path: Path) -> None:
    pictures = noise(10)
    cache, judge = VectorCache(tmp_path / "cache.sqlite"), Counter()
    seen = judge_all(judge, [*pictures, *pictures[::-1]], cache)
    assert judge.asked == 10
    assert seen.dtype == np.float32
    assert np.array_equal(seen[:10], seen[:9:-1])
    assert seen[:, 0] == pytest.approx([p.mean() for p in [*pictures, *pictures[::-1]]])
    assert np.array_equal(judge_all(judge, pictures, VectorCache(tmp_path / "cache.sqlite")), seen[:10])
    assert judge.asked == 10
    other = Counter(sha256="01")
    judge_all(other, pictures[:3], cache)
    assert other.asked == 3


def test_an_interrupted_call_goes_on_where_it_was(tmp_path: Path) -> None:
    cache, pictures = VectorCache(tmp_path / "cache.sqlite"), noise(30)
    with pytest.raises(KeyboardInterrupt):
        judge_all(Counter(fails_after=20), pictures, cache, jobs=1)
    judge = Counter()
    judge_all(judge, pictures, cache, jobs=1)
    assert judge.asked == 30 - 20 // judging.CHUNK * judging.CHUNK


def test_no_pictures() -> None:
    assert judge_all(Counter(), [], VectorCache()).shape == (0, 0)


def test_what_processes_saw_is_kept_and_counts(tmp_path: Path) -> None:
    cache, pictures = VectorCache(tmp_path / "cache.sqlite"), noise(40)
    seen = judge_all(Counter(), pictures, cache, jobs=2)
    judge = Counter()
    assert np.array_equal(judge_all(judge, pictures, cache, jobs=2), seen)
    assert judge.asked == 0


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(JudgeError, match="A process in which mean looked at faces died"):
        judge_all(Dier(), noise(40), VectorCache(), jobs=2)


SLOW = """
import sys, time
import numpy as np
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.judging import judge_all

class Slow:
    name, sha256 = "slow", "00"
    def look(self, picture):
        print("looking", flush=True)
        time.sleep(0.05)
        return np.ones(2, np.float32)

if __name__ == "__main__":
    try:
        pictures = np.random.default_rng(0).integers(0, 256, (1000, 2, 2, 3), np.uint8)
        judge_all(Slow(), list(pictures), VectorCache(), jobs=2)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups to signal.")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.slow
def test_all_processes_end_with_the_first(end: signal.Signals, tmp_path: Path) -> None:
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    command = [sys.executable, str(program)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True, "text": True}
    running = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, **pipes)  # type: ignore[call-overload]
    try:
        assert running.stdout.readline() == "looking\n"
        if end == signal.SIGINT:
            os.killpg(running.pid, end)  # as a terminal does
        else:
            running.kill()
        _, told = running.communicate(timeout=20)  # workers hold the pipes: it returns when all have ended
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == (130 if end == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in told


@pytest.mark.slow
def test_what_a_process_refuses_is_told() -> None:
    with pytest.raises(JudgeError, match="made of straw"):
        judge_all(Refuser(), noise(40), VectorCache(), jobs=2)


def test_a_judge_that_gives_no_numbers_is_refused() -> None:
    cache = VectorCache()
    with pytest.raises(JudgeError, match="mean gave no vector of finite numbers"):
        judge_all(Nan(), noise(2), cache)
    assert judge_all(Counter(), noise(2), cache).shape == (2, 2)
