"""What is shown on the way changes nothing of what passes."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from rich.console import Console

from s2f_train.evaluate.progress import each

LOGGER = "s2f_train.evaluate.progress"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor


@pytest.fixture(params=[True, False], ids=["terminal", "log"])
def console(request: pytest.FixtureRequest) -> Console:
    return Console(file=io.StringIO(), force_terminal=request.param, width=100)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("total", [0, 1, 3, 5, 100])
def test_items_pass_in_their_order(console: Console, total: int) -> None:
    for passed in ([], ["a"], list("hello")):  # `total` is what is shown, and may be wrong
        assert list(each(iter(passed), "faces", total, console)) == passed


def test_one_item_at_a_time(console: Console) -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5):
            asked.append(number)
            yield number

    for number in each(items(), "faces", 5, console):
        assert asked == list(range(number + 1))


def test_a_log_gets_a_line_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    with caplog.at_level(logging.INFO, LOGGER):
        passing = each(range(3), "faces of default", 3, console)
        assert [next(passing), next(passing), next(passing)] == [0, 1, 2]
        assert not caplog.messages
        assert not list(passing)
    assert caplog.messages == ["faces of default: 3 in 0 s"]
    assert shown(console) == ""


def test_a_terminal_gets_a_bar_that_leaves_no_trace(console: Console) -> None:
    assert list(each(range(3), "faces of default", 3, console)) == [0, 1, 2]
    if not console.is_terminal:
        return
    assert "faces of default" in shown(console)
    assert "3/3" in shown(console)
    assert shown(console).rfind(SHOW) > shown(console).rfind(HIDE)
    assert shown(console).endswith("\x1b[2K")  # its line is cleared


def test_nothing_to_do(console: Console, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, LOGGER):
        assert list(each([], "faces", 0, console)) == []
    assert caplog.messages == ["faces: 0 in 0 s"]


def test_who_asks_may_stop_early(console: Console, caplog: pytest.LogCaptureFixture) -> None:
    source = iter(range(10))
    with caplog.at_level(logging.INFO, LOGGER):
        passing = each(source, "faces", 10, console)
        assert [next(passing), next(passing)] == [0, 1]
        passing.close()  # type: ignore[attr-defined]
        for number in each(source, "more faces", 8, console):  # it is free for the next
            if number == 4:
                break
    assert next(source) == 5
    assert not caplog.messages
    if console.is_terminal:
        assert shown(console).rfind(SHOW) > shown(console).rfind(HIDE)


def test_an_error_of_the_items_is_passed_on(console: Console, caplog: pytest.LogCaptureFixture) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    passed = []
    with caplog.at_level(logging.INFO, LOGGER), pytest.raises(ValueError, match="broken"):
        passed.extend(each(items(), "faces", 2, console))
    assert not caplog.messages
    assert list(each([1], "faces", 1, console)) == [1]


def test_stages_within_stages(console: Console) -> None:
    assert [list(each(range(n), "inner", n)) for n in each([1, 2], "outer", 2, console)] == [[0], [0, 1]]
