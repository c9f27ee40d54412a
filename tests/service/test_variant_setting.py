"""A service of one of a pack's variants."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.edge.pack.test_pack_variants import add_variant
from tests.tiny_packs import make_pack

pytest.importorskip("fastapi", reason="fastapi is not installed; it is in the extra serve.")

from s2f_edge.cli.main import app
from s2f_edge.errors import PackNotFoundError
from s2f_edge.pack import network
from s2f_edge.pack.pack import Pack
from s2f_edge.service import app as service
from s2f_edge.service.inference import InferenceService
from s2f_edge.service.metrics import Metrics
from s2f_edge.service.settings import ServiceSettings


def test_the_flag_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[ServiceSettings] = []
    monkeypatch.setattr(service, "serve", lambda settings, *_: found.append(settings))
    assert CliRunner().invoke(app, ["serve", "--variant", "int8"]).exit_code == 0
    monkeypatch.setenv("S2F_SERVE_VARIANT", "float32")
    assert CliRunner().invoke(app, ["serve"]).exit_code == 0
    monkeypatch.delenv("S2F_SERVE_VARIANT")
    assert CliRunner().invoke(app, ["serve"]).exit_code == 0
    assert [settings.variant for settings in found] == ["int8", "float32", "auto"]


def test_auto_is_the_processors_choice_and_the_pack_itself_beside_pages_that_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = make_pack(tmp_path / "pack")
    add_variant(pack)
    monkeypatch.setattr(network, "multiplies_8_bits", lambda: True)
    wanted = {
        ServiceSettings(pack=pack, concurrency=1): "int8",
        ServiceSettings(pack=pack, concurrency=1, on_device=tmp_path): "float32",
        ServiceSettings(pack=pack, concurrency=1, on_device=tmp_path, variant="int8"): "int8",
    }
    for settings, variant in wanted.items():
        engine = InferenceService(settings, Metrics())
        engine.close()
        assert engine.model.variant == variant
        assert engine.model.pack == Pack.open(pack, variant)


def test_the_service_hears_as_many_windows_as_it_is_told(tmp_path: Path) -> None:
    pack = make_pack(tmp_path / "pack", "fbank-80", windows=5)
    for every, windows in ((False, 5), (True, None)):
        engine = InferenceService(ServiceSettings(pack=pack, all_windows=every, concurrency=1), Metrics())
        try:
            assert engine.model.windows == windows
        finally:
            engine.close()


def test_the_service_has_the_variant(tmp_path: Path) -> None:
    pack = make_pack(tmp_path / "pack")
    add_variant(pack)
    engine = InferenceService(ServiceSettings(pack=pack, variant="int8", concurrency=1), Metrics())
    try:
        assert engine.model.pack == Pack.open(pack, "int8")
    finally:
        engine.close()
    with pytest.raises(PackNotFoundError, match="has no variant float16"):
        InferenceService(ServiceSettings(pack=pack, variant="float16", concurrency=1), Metrics())
