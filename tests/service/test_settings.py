"""Settings: by flag, by environment, by file; and the command that makes keys."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from s2f_edge.cli.main import app
from s2f_edge.errors import SetupError, UsageError
from s2f_edge.service import app as service
from s2f_edge.service.keys import KeyRing
from s2f_edge.service.settings import ServiceSettings, setting_help

Run = Callable[..., Result]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, ServiceSettings]:
    """What a service would have been started with, under `settings`."""
    found: dict[str, ServiceSettings] = {}
    monkeypatch.setattr(service, "serve", lambda settings, *_: found.update(settings=settings))
    for name in setting_help():
        monkeypatch.delenv(f"S2F_SERVE_{name.upper()}", raising=False)
    return found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_flag_wins_over_the_environment_and_that_over_a_file(
    given: dict[str, ServiceSettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "s2f.toml"
    file.write_text('queue = 1\nstreams = 1\nconcurrency = 1\npage = false\nstore = "kept"\nmax_seconds = 5\n')
    monkeypatch.setenv("S2F_SERVE_QUEUE", "2")
    monkeypatch.setenv("S2F_SERVE_STREAMS", "2")
    assert run("serve", "--config", str(file), "--queue", "3").exit_code == 0
    settings = given["settings"]
    assert (settings.queue, settings.streams, settings.concurrency) == (3, 2, 1)
    assert (settings.page, settings.store, settings.max_seconds) == (False, Path("kept"), 5.0)
    monkeypatch.setenv("S2F_SERVE_CONFIG", str(file))
    assert run("serve").exit_code == 0
    assert given["settings"].concurrency == 1


def test_as_it_is_it_listens_to_this_machine_and_keeps_nothing(given: dict[str, ServiceSettings]) -> None:
    assert run("serve").exit_code == 0
    settings = given["settings"]
    assert settings == ServiceSettings()
    assert (settings.host, settings.store, settings.audit, settings.origins) == ("127.0.0.1", None, None, "")
    assert settings.allowed_hosts == ["127.0.0.1", "localhost", "[::1]"]
    assert ServiceSettings(host="0.0.0.0").allowed_hosts == ["*"]
    assert ServiceSettings(host="0.0.0.0", hosts="a.example, b.example").allowed_hosts == ["a.example", "b.example"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--queue", "many"], "--queue"),
        (["--port", "70000"], "port is 70000; it must be from 0 to 65535."),
        (["--request-seconds", "nan"], "request_seconds is nan; it must be at least 1."),
        (["--tls-certificate", "a.pem"], "TLS needs both"),
        (["--device", "tpu"], "device is 'tpu'"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_a_flag_that_cannot_be_is_named(given: dict[str, ServiceSettings], arguments: list[str], said: str) -> None:
    result = run("serve", *arguments)
    assert result.exit_code == 2
    assert said in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
    assert not given


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"colour = 1\n", "unknown settings: colour"),
        (b"queue = \n", "cannot be read"),
        (b"queue = 'many'\n", "--queue"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_is_named(
    given: dict[str, ServiceSettings], tmp_path: Path, text: bytes, said: str
) -> None:
    file = tmp_path / "s2f.toml"
    file.write_bytes(text)
    result = run("serve", "--config", str(file))
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    missing = run("serve", "--config", str(tmp_path / "none.toml"))
    assert missing.exit_code == 2
    assert not given


def test_help_names_every_setting() -> None:
    said = run("serve", "--help").output
    assert all(f"--{name.replace('_', '-')}" in said for name in setting_help())


# ---------------------------------------------------------------------------------- keys


def test_a_key_is_shown_once_and_its_hash_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    made = [run("key", name, "--file", str(file)) for name in ("phone", "web")]
    assert [result.exit_code for result in made] == [0, 0]
    keys = [result.stdout.split()[0] for result in made]
    assert keys[0] != keys[1]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not any(key in file.read_text() for key in keys)
    ring = KeyRing(file)
    assert [ring.name_of(key) for key in keys] == ["phone", "web"]
    assert ring.name_of(keys[0][:-1]) is None
    assert ring.name_of("") is None


def test_a_key_is_added_to_no_other_file(tmp_path: Path) -> None:
    file = tmp_path / "letter"
    file.write_text("Dear all,\n")
    refused = run("key", "phone", "--file", str(file))
    assert refused.exit_code == SetupError.exit_status
    assert file.read_text() == "Dear all,\n"
    assert run("key", "two words", "--file", str(tmp_path / "keys")).exit_code == UsageError.exit_status
    assert not (tmp_path / "keys").exists()
    assert run("key", "phone", "--file", str(tmp_path / "none" / "keys")).exit_code == SetupError.exit_status


def test_keys_are_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    keys = [run("key", name, "--file", str(file)).stdout.split()[0] for name in "abc"]
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: compared.append(one) or one == other)
    assert KeyRing(file).name_of(keys[0]) == "a"
    assert len(compared) == 3, "all of them, wherever the right one stands"


def test_a_damaged_key_file_stops_the_start(tmp_path: Path) -> None:
    for number, text in enumerate(("phone 1234\n", f"{'x' * 70} {'0' * 64}\n", "phone\n")):
        file = tmp_path / str(number)
        file.write_text(text)
        with pytest.raises(SetupError, match="line 1"):
            KeyRing(file)
    with pytest.raises(SetupError, match="cannot be read"):
        KeyRing(tmp_path / "none")
