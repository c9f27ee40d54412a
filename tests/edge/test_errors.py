"""The classes of `s2f_edge.errors` and the table in its docstring."""

from __future__ import annotations

import inspect
import json
import re

import pytest

from s2f_edge import errors
from s2f_edge.errors import BusyError, NotSpeechError, S2FError, TooLittleSpeechError, from_dict

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
}
GROUPS = {"S2FError", "AudioError", "PackError", "ServiceError"}  # never told apart by their exit status


def documented() -> dict[str, tuple[int, int]]:
    """Class name -> (exit status, HTTP status), as the docstring's table says."""
    rows = re.findall(r"(\w+Error) [^\n]*?exit +(\d+) +HTTP +(\d+)", errors.__doc__ or "")
    return {name: (int(status), int(http)) for name, status, http in rows}


def documented_parents() -> dict[str, str]:
    """Class name -> parent, by the depth at which the table's tree draws the name."""
    parents: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([ │├└─]*)(\w+Error)\b", line)
        if not match:
            continue
        depth, name = len(match[1]), match[2]
        while stack and stack[-1][0] >= depth:
            stack.pop()
        if stack:
            parents[name] = stack[-1][1]
        stack.append((depth, name))
    return parents


def test_there_are_classes_and_all_have_one_root() -> None:
    assert len(CLASSES) >= 15
    assert all(issubclass(cls, S2FError) for cls in CLASSES.values())


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_says_its_code_and_statuses(name: str) -> None:
    cls = CLASSES[name]
    assert "code" in vars(cls), "a code of its own, not its parent's"
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cls.code)
    assert 1 <= cls.exit_status <= 125  # the shell takes 126 and above for itself
    assert 400 <= cls.http_status <= 599


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in CLASSES.values()]
    assert len(set(codes)) == len(codes)


def test_exit_statuses_tell_the_errors_apart() -> None:
    statuses = [cls.exit_status for name, cls in CLASSES.items() if name not in GROUPS]
    assert len(set(statuses)) == len(statuses)


def test_the_docstring_lists_every_class_with_its_statuses() -> None:
    table = documented()
    assert set(table) == set(CLASSES) - GROUPS
    assert table == {name: (CLASSES[name].exit_status, CLASSES[name].http_status) for name in table}


def test_the_docstring_draws_the_tree_of_classes() -> None:
    parents = documented_parents()
    assert set(parents) == set(CLASSES) - {"S2FError"}
    for name, parent in parents.items():
        assert CLASSES[name].__bases__[0] is CLASSES[parent]


def test_errors_with_fields_keep_them_and_say_what_to_do() -> None:
    silent = NotSpeechError("silence", "The recording is silent.")
    assert silent.reason == "silence"
    assert str(silent).startswith("The recording is silent. Give a recording")

    short = TooLittleSpeechError(found_s=0.4, needed_s=1.0, heard_s=5.0)
    assert (short.found_s, short.needed_s, short.heard_s) == (0.4, 1.0, 5.0)
    assert all(figure in str(short) for figure in ("0.40 s", "1.0 s", "5.00 s"))


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("UsageError", ValueError),
        ("UnreadableAudioError", ValueError),
        ("MissingDecoderError", ImportError),
        ("PackNotFoundError", FileNotFoundError),
        ("DeviceError", RuntimeError),
        ("OutputError", OSError),
    ],
)
def test_callers_can_catch_the_builtin_kind_too(name: str, builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match="what happened"):
        raise CLASSES[name]("what happened")


@pytest.mark.parametrize(
    "error",
    [
        *(
            cls("what happened")
            for name, cls in CLASSES.items()
            if name not in ("NotSpeechError", "TooLittleSpeechError")
        ),
        NotSpeechError("silence", "The recording is silent."),
        TooLittleSpeechError(found_s=0.4, needed_s=1.0, heard_s=5.0),
        BusyError("The queue is full.", 5),
    ],
)
def test_an_error_comes_back_from_json(error: S2FError) -> None:
    facts = json.loads(json.dumps(error.to_dict()))
    back = from_dict(facts)
    assert type(back) is type(error)
    assert (str(back), back.known(), back.to_dict()) == (str(error), error.known(), facts)


def test_an_error_that_is_not_in_the_tree_keeps_its_code() -> None:
    facts = {"error": "memory", "message": "There is not enough memory.", "exit_status": 1}
    assert type(from_dict(facts)) is S2FError
    assert from_dict(facts).to_dict() == facts
