"""Recipes: a TOML file, `key=value` on the command line over it, every key known and checked.

Keys that all fits have stand at the top of the file, the others in tables such as [voice], [gan] and [vae].
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import typing
from pathlib import Path
from typing import Any, TypeVar

from s2f_train.config import (
    AppearanceSettings,
    GanSettings,
    LightSettings,
    MotionSettings,
    MouthSettings,
    RendererSettings,
    RunSettings,
    SettingsError,
    VaeSettings,
    VoiceSettings,
)

RECIPES = Path(__file__).parent / "configs"
KINDS: dict[str, type[RunSettings]] = {
    "voice": VoiceSettings,
    "gan": GanSettings,
    "vae": VaeSettings,
    "light": LightSettings,
    "renderer": RendererSettings,
    "appearance": AppearanceSettings,
    "mouth": MouthSettings,
    "talk": MotionSettings,
}
AnySettings = TypeVar("AnySettings", bound=RunSettings)


def load(kind: str, path: Path, given: list[str]) -> RunSettings:
    """The settings of a fit.

    Args:
        kind: one of `KINDS`.
        path: a TOML file.
        given: "key=value" over it; a value is TOML, and what is no TOML is a string.

    Raises:
        SettingsError: the file is no TOML, a key is unknown, or a value is wrong.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except (OSError, ValueError) as error:  # no TOML, or no text
        raise SettingsError(f"{path} cannot be read: {error}") from None
    common = names(RunSettings)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in KINDS:
            _known(key, common, f"{path}: at the top")
            values[key] = value
        elif not isinstance(value, dict):
            raise SettingsError(f"{path}: {key} is a table of settings: [{key}].")
    for other, settings in KINDS.items():
        for key in table.get(other, {}):
            _known(key, names(settings), f"{path}: in [{other}]")
    values |= table.get(kind, {})
    types = typing.get_type_hints(KINDS[kind])
    for pair in given:
        key, sign, text = pair.partition("=")
        key = key.removeprefix(f"{kind}.").replace("-", "_")
        if not sign:
            raise SettingsError(f"{pair!r} is no setting; settings are key=value.")
        _known(key, names(KINDS[kind]), "On the command line:")
        value = _value(text)
        # A folder may be called 2023.
        values[key] = text if types[key] is str and not isinstance(value, str) else value
    return build(KINDS[kind], values)


def build(settings: type[AnySettings], values: dict[str, Any]) -> AnySettings:
    """Settings of a kind from plain values, checked.

    Raises:
        SettingsError: a key is unknown, or a value is of the wrong type or out of range.
    """
    types = typing.get_type_hints(settings)
    made: dict[str, Any] = {}
    options = {option.name: option for option in dataclasses.fields(settings)}
    for key, value in values.items():
        _known(key, list(options), "Among the settings:")
        made[key] = _checked(key, value, types[key], options[key].metadata)
    result = settings(**made)
    result.check()
    return result


def find_recipe(name: str) -> Path:
    """The file of a recipe: a path, or the name of one that comes with s2f_train.

    Raises:
        SettingsError: there is neither.
    """
    path, own = Path(name), RECIPES / f"{Path(name).stem}.toml"
    if path.is_file():
        return path
    if path.parent == Path() and own.exists():
        return own
    known = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
    raise SettingsError(f"{name} is neither a file nor a recipe of s2f_train; those are {known}.")


def names(settings: type[RunSettings]) -> list[str]:
    return [option.name for option in dataclasses.fields(settings)]


def as_toml(kind: str, settings: RunSettings) -> str:
    """The settings, all of them, in a file that `load` reads: common ones above, the kind's own in its table."""
    common = names(RunSettings)
    values = dataclasses.asdict(settings)
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if key in common]
    lines += ["", f"[{kind}]"]
    lines += [f"{key} = {_toml(value)}" for key, value in values.items() if key not in common]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    # What we have is the same in both, but for characters that JSON would write as two escapes.
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def described(kind: str) -> list[tuple[str, str, str]]:
    """(key, default, what it is) of every setting of a kind."""
    rows = []
    for option in dataclasses.fields(KINDS[kind]):
        text = option.metadata["help"]
        if option.metadata["choices"]:
            text += ": " + ", ".join(map(str, option.metadata["choices"]))
        rows.append((option.name, _toml(option.default), text))
    return rows


def _known(key: str, known: list[str], where: str) -> None:
    if key in known:
        return
    close = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}."
    raise SettingsError(f"{where} unknown setting {key!r}; {hint}")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _checked(key: str, value: Any, wanted: Any, about: typing.Mapping[str, Any]) -> Any:
    """`value` as the type `wanted`; an int may stand for a float, a list for a tuple."""
    if typing.get_origin(wanted) is tuple:
        if not isinstance(value, (list, tuple)):
            raise SettingsError(f"{key} is {value!r}; it must be a list, such as [1, 2].")
        return tuple(_checked(key, item, typing.get_args(wanted)[0], {"choices": (), "least": None}) for item in value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not wanted:
        raise SettingsError(f"{key} is {value!r}, a {type(value).__name__}; it must be a {wanted.__name__}.")
    if wanted is float and not math.isfinite(value):
        raise SettingsError(f"{key} is {value}; it must be a finite number.")
    if about["choices"] and value not in about["choices"]:
        raise SettingsError(f"{key} is {value!r}; it must be one of {', '.join(map(str, about['choices']))}.")
    if about["least"] is not None and not value >= about["least"]:
        raise SettingsError(f"{key} is {value}; it must be at least {about['least']:g}.")
    return value
