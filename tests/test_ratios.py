"""What `make bench` says of ratios that changed; the benchmarks themselves are run by it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parent.parent / "benchmarks" / "ratios.py"
LOWER, HIGHER = "clip of 10 s: time of the torch way's", "log-mel: faster than frame by frame"


@pytest.fixture
def ratios(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script, with a record of its own."""
    found = importlib.util.spec_from_file_location("ratios", FILE)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, "ratios", module)
    found.loader.exec_module(module)
    monkeypatch.setattr(module, "RECORD", tmp_path / "ratios.json")
    return module


@pytest.mark.parametrize(
    ("title", "now", "said"),
    [
        (LOWER, 0.56, "WORSE by 12%"),
        (LOWER, 0.54, "as before"),
        (LOWER, 0.44, "better by 12%"),
        (HIGHER, 0.40, "WORSE by 25%"),
        (HIGHER, 0.48, "as before"),
        (HIGHER, 0.60, "better by 17%"),
    ],
)
def test_a_tenth_counts_and_the_direction_is_known(ratios: ModuleType, title: str, now: float, said: str) -> None:
    assert ratios.verdict(title, now, 0.5) == said


def test_what_has_no_record_is_new(ratios: ModuleType) -> None:
    assert ratios.verdict(LOWER, 0.5, None) == "new"


def recorded(ratios: ModuleType) -> dict[str, float]:
    found: dict[str, float] = json.loads(ratios.RECORD.read_text())[ratios.kind()]["ratios"]
    return found


def run(ratios: ModuleType, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object], str]:
    status = ratios.main([*words, "--only", "clip"])
    printed = capsys.readouterr().out
    return status, json.loads(printed.splitlines()[-1]), printed


def test_it_records_and_then_sees_what_got_worse(
    ratios: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dict.fromkeys(ratios.BENCHMARKS["clip"][1], 0.5)
    monkeypatch.setattr(ratios, "measured", lambda name: before)
    assert run(ratios, capsys, "--record")[0] == 0
    assert recorded(ratios) == before
    assert run(ratios, capsys)[1]["worse"] == []
    monkeypatch.setattr(ratios, "measured", lambda name: before | {LOWER: 0.7})
    status, told, printed = run(ratios, capsys)
    assert status == 1
    assert told["worse"] == [LOWER]
    assert f"| {LOWER} | 0.5 | 0.7 | WORSE by 40% |" in printed
    assert recorded(ratios) == before  # only --record changes it


def test_what_another_kind_of_machine_does_is_no_measure(
    ratios: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = dict.fromkeys(ratios.BENCHMARKS["clip"][1], 0.5)
    monkeypatch.setattr(ratios, "measured", lambda name: found)
    monkeypatch.setattr(ratios, "kind", lambda: "a slow one, 2 cores")
    run(ratios, capsys, "--record")
    slow = recorded(ratios)
    monkeypatch.setattr(ratios, "kind", lambda: "a fast one, 8 cores")
    monkeypatch.setattr(ratios, "measured", lambda name: found | {LOWER: 0.7})
    status, told, printed = run(ratios, capsys)
    assert (status, told["worse"]) == (0, [])
    assert "No record is of a machine like this one (a fast one, 8 cores)" in printed
    assert "--record" in printed
    assert "Records are of: a slow one, 2 cores." in printed
    assert run(ratios, capsys, "--record")[0] == 0
    assert recorded(ratios)[LOWER] == 0.7
    monkeypatch.setattr(ratios, "kind", lambda: "a slow one, 2 cores")
    assert recorded(ratios) == slow  # each kind keeps its own
    assert run(ratios, capsys)[1]["worse"] == [LOWER]


def test_what_lasts_is_left_out_unless_it_is_asked_for(
    ratios: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(ratios, "measured", lambda name: ran.append(name) or {})
    for words, wanted in (
        ([], set(ratios.BENCHMARKS) - set(ratios.LASTING)),
        (["--all"], set(ratios.BENCHMARKS)),
        (["--only", "hour"], {"hour"}),
    ):
        ran.clear()
        assert ratios.main(words) == 0
        assert set(ran) == wanted


def test_the_records_are_of_this_file_s_ratios(ratios: ModuleType) -> None:
    titles = {title for _, found in ratios.BENCHMARKS.values() for title in found}
    for name, record in json.loads(FILE.with_suffix(".json").read_text()).items():
        assert name.endswith(" cores")
        assert set(record["ratios"]) <= titles


def test_what_is_worse_once_and_not_again_was_noise(
    ratios: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dict.fromkeys(ratios.BENCHMARKS["clip"][1], 0.5)
    monkeypatch.setattr(ratios, "measured", lambda name: before)
    run(ratios, capsys, "--record")
    turns = iter([before | {LOWER: 0.7}, before])
    monkeypatch.setattr(ratios, "measured", lambda name: next(turns))
    assert run(ratios, capsys)[0] == 0
    with pytest.raises(StopIteration):
        next(turns)


def test_a_benchmark_that_fails_is_said(ratios: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ratios.BENCHMARKS, "clip", (["none.py"], {}))
    with pytest.raises(SystemExit, match=r"none\.py failed"):
        ratios.measured("clip")


def test_every_ratio_has_one_title_and_every_script_is_there(ratios: ModuleType) -> None:
    titles = [title for _, found in ratios.BENCHMARKS.values() for title in found]
    assert len(titles) == len(set(titles))
    assert {words[0] for words, _ in ratios.BENCHMARKS.values()} <= {path.name for path in FILE.parent.glob("*.py")}
