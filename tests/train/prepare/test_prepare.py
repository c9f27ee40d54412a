"""Data sets to a store: planning, single items, whole runs and how they end."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from PIL import Image
from typer.testing import CliRunner

from s2f_edge import processes
from s2f_train.cli.prepare import register
from s2f_train.data.items import Identity, Item, Place, Source
from s2f_train.data.store import Store
from s2f_train.prepare import engines
from s2f_train.prepare import worker as prepare_worker
from s2f_train.prepare.build import is_finished, missing, prepare
from s2f_train.prepare.item import Entry, Maker, Prepared, PrepareSettings, Skipped
from s2f_train.prepare.plan import Choice, Plan, plan
from s2f_train.prepare.unit import Unit
from s2f_train.prepare.worker import PrepareError
from tests.train.made_sources import (
    PEOPLE,
    RATE,
    SMALL,
    DeadlyPlace,
    EndlessPlace,
    KilledPlace,
    face,
    made_source,
    npy,
    picture,
    prepared,
    speech,
    voice,
)

ROOT = Path(__file__).resolve().parents[3]


def source_of(items: list[Item], name: str = "made") -> Source:
    return Source(name, PEOPLE, items)


def make(item: Item, settings: PrepareSettings | None = None) -> Prepared | Skipped:
    return Maker(settings or PrepareSettings())(Entry("key", item, replace(PEOPLE[item.identity], split="train")))


def made(item: Item, settings: PrepareSettings | None = None) -> Prepared:
    result = make(item, settings)
    assert isinstance(result, Prepared), result
    return result


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.suffix != ".html" and p.is_file()
    }


# ----------------------------------------------------------------------------- planning


def test_a_plan_has_every_item_once_and_voices_apart_from_faces(made_plan: Plan) -> None:
    entries = [entry for unit in made_plan.units for entry in unit.entries]
    assert sorted(entry.item.name for entry in entries) == sorted(i.name for i in made_plan.sources[0].items)
    shards = [unit.shard for unit in made_plan.units]
    assert shards == [f"{kind}/00000{i}.tar" for kind in ("voices", "faces") for i in range(3)]
    for unit in made_plan.units:
        assert {entry.item.kind for entry in unit.entries} == {"voice" if unit.shard[0] == "v" else "face"}
    assert [len(unit.entries) for unit in made_plan.units] == [5, 5, 2, 5, 5, 5]


def test_digests_of_shards_stay() -> None:
    """By them, an earlier version's store is known to be finished."""
    entry = Entry("k", Item("voice", "src", "who", "name", Place("/a/b"), "sound"), Identity("who", "f"))
    assert Unit.of("voices/0.tar", (entry,), PrepareSettings()).digest == "6f1a370346e2e79bb094e287942f0517"


def test_the_seed_decides_the_order(tmp_path: Path) -> None:
    sources = [made_source(tmp_path)]

    def order(seed: int) -> list[str]:
        return [
            entry.key
            for unit in plan(sources, replace(SMALL, seed=seed), PrepareSettings()).units
            for entry in unit.entries
        ]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != sorted(order(0))
    assert sorted(order(0)) == sorted(order(1))


def test_keys_are_readable_and_differ() -> None:
    place = Place("x.wav")
    names = ["id1-a/b.c d", "id1-a_b_c_d", "plain", "long" * 40, "long" * 40 + "2"]
    items = [Item("voice", "made", "Yan", name, place, "sound") for name in names]
    items += [
        Item("face", "made", "Yan", name, place, "aligned", view) for name, view in (("p", "s2f"), ("q", "photo"))
    ]
    items += [Item("face", "made", "Yan", "plain", place, "aligned")]
    items += [Item("face", "made", "Yan", name, place, "aligned", "face") for name in ("clip.face", "clip")]
    keys = {
        entry.item.name: entry.key
        for u in plan([source_of(items)], Choice(), PrepareSettings()).units
        for entry in u.entries
    }
    keys_seen = [entry.key for u in plan([source_of(items)], Choice(), PrepareSettings()).units for entry in u.entries]
    assert len(set(keys_seen)) == len(items)
    assert keys["p"] == "made-p-s2f"
    assert keys["q"] == "made-q"
    assert keys["id1-a/b.c d"].startswith("made-id1-a_b_c_d-")
    assert all(len(key) <= 80 for key in keys_seen)
    assert not any(
        set(key) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") for key in keys_seen
    )


def test_two_items_of_one_name_are_refused() -> None:
    items = [Item("voice", "made", "Yan", "same", Place(path), "sound") for path in ("a.wav", "b.wav")]
    with pytest.raises(PrepareError, match="Two items of a source have the same name, 'same'"):
        plan([source_of(items)], Choice(), PrepareSettings())


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    source = made_source(tmp_path, 1, 0)
    with pytest.raises(PrepareError, match="Two of the sources are called 'made'"):
        plan([source, source], Choice(), PrepareSettings())


def test_nothing_to_prepare_is_refused() -> None:
    with pytest.raises(PrepareError, match="no voices and no faces"):
        plan([source_of([])], Choice(), PrepareSettings())


def test_caps_and_limit(tmp_path: Path) -> None:
    sources = [made_source(tmp_path / "a"), made_source(tmp_path / "b", name="other")]
    capped = plan(sources, replace(SMALL, voices_per_identity=2, faces_per_identity=3), PrepareSettings())
    assert (capped.count("voice"), capped.count("face")) == (10, 15)
    limited = plan(sources, replace(SMALL, limit=4), PrepareSettings())
    assert (limited.count("voice"), limited.count("face")) == (8, 8)
    names = {entry.item.name for unit in limited.units for entry in unit.entries if entry.item.kind == "voice"}
    assert names == {"v000", "v001", "v002", "v003"}


def test_sources_know_more_of_a_person_together_and_the_rule_splits(tmp_path: Path) -> None:
    voices = Source("voices", {"Ann": Identity("Ann")}, [voice(tmp_path / "a.wav", "Ann", "voices")])
    faces = Source("faces", {"Ann": Identity("Ann", "f", 40.0)}, [face(tmp_path / "a.png", "Ann", "faces")])
    planned = plan([voices, faces], Choice("letter"), PrepareSettings())
    assert planned.identities == {"Ann": Identity("Ann", "f", 40.0, "valid")}
    assert {entry.identity.gender for unit in planned.units for entry in unit.entries} == {"f"}


# ------------------------------------------------------------------------------ one item


def test_keep_decides_the_members(tmp_path: Path) -> None:
    path = tmp_path / "v.wav"
    soundfile.write(path, speech("m"), RATE)
    members = {keep: set(made(voice(path), PrepareSettings(keep)).members) for keep in ("both", "sound", "features")}
    assert members == {
        "both": {"flac", "logmel.npy", "json"},
        "sound": {"flac", "json"},
        "features": {"logmel.npy", "json"},
    }


def test_long_speech_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "v.wav"
    soundfile.write(path, np.tile(speech("m"), 5), RATE)
    whole, cut = made(voice(path)), made(voice(path), PrepareSettings(max_seconds=3.0))
    assert not whole.cut
    assert cut.cut
    assert cut.seconds == 3.0
    assert cut.frames == 301
    samples = [soundfile.read(io.BytesIO(m.members["flac"]), dtype="int16")[0] for m in (whole, cut)]
    np.testing.assert_array_equal(samples[1], samples[0][: 3 * RATE])


def test_a_stretch_is_what_was_cut_by_hand(tmp_path: Path) -> None:
    samples = speech("f")
    soundfile.write(tmp_path / "all.wav", np.concatenate([np.tile(samples, 3), samples[:100]]), RATE)
    soundfile.write(tmp_path / "part.wav", np.tile(samples, 3)[int(4.5 * RATE) : 7 * RATE], RATE)
    part = made(voice(tmp_path / "part.wav"))
    stretch = made(voice(tmp_path / "all.wav", name="part", start=4.5, seconds=2.5))
    assert stretch == part
    to_the_end = made(voice(tmp_path / "all.wav", start=15.0))
    assert 2 < to_the_end.seconds < 6
    beyond = make(voice(tmp_path / "all.wav", start=100.0, seconds=2.0))
    assert beyond == Skipped("too little speech: 0.00 s in 0.00 s of sound; 0.5 s is needed")


def test_what_lies_behind_a_stretch_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "v.flac"
    noise = np.random.default_rng(0).normal(0, 0.05, 60 * RATE)
    soundfile.write(path, np.concatenate([speech("m"), noise]), RATE)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert made(voice(path, start=0.0, seconds=7.0)).seconds > 3
    assert "cut off or damaged" in make(voice(path)).why


def test_a_member_of_a_tar(tmp_path: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, speech("m"), RATE, format="WAV")
    (tmp_path / "all.tar").write_bytes(b"x" * 700 + file.getvalue() + b"y" * 300)
    (tmp_path / "one.wav").write_bytes(file.getvalue())
    inside = voice(tmp_path / "all.tar", name="one", offset=700, size=len(file.getvalue()))
    assert made(inside) == made(voice(tmp_path / "one.wav"))
    cut = make(voice(tmp_path / "all.tar", name="one", offset=700, size=len(file.getvalue()) + 1000))
    assert "ends inside a member" in cut.why


def logmel_item(path: Path, array: np.ndarray) -> Item:
    path.write_bytes(npy(array))
    return replace(voice(path), content="logmel")


def test_features_that_are_ready_are_taken_either_way_round(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    results = [made(logmel_item(tmp_path / "a.npy", some)) for some in (array, array.T, array.astype(np.float64))]
    assert results[0] == results[1] == results[2]
    np.testing.assert_array_equal(np.load(io.BytesIO(results[0].members["logmel.npy"])), array.astype(np.float16))
    assert (results[0].seconds, results[0].frames) == (2.0, 200)
    cut = made(logmel_item(tmp_path / "a.npy", array), PrepareSettings(max_seconds=1.5))
    assert (cut.frames, cut.cut) == (150, True)


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros((200, 40), np.float32), r"log-mel must be floats, \(frames, 64\); found float32 \(200, 40\)"),
        (np.zeros(64, np.float32), r"found float32 \(64,\)"),
        (np.zeros((200, 64), np.int16), "found int16"),
        (np.full((200, 64), np.nan, np.float32), "NaN or infinite"),
        (np.full((200, 64), 1e6, np.float32), "NaN or infinite"),
        (np.zeros((20, 64), np.float32), "too little speech: 0.20 s"),
        (np.array([{"a": 1}], dtype=object), "allow_pickle"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_features_that_cannot_be_right_are_left_out(tmp_path: Path, array: np.ndarray, why: str) -> None:
    result = make(logmel_item(tmp_path / "a.npy", array))
    assert isinstance(result, Skipped)
    with pytest.raises(ValueError, match=why):
        raise ValueError(result.why)


def test_faces_become_png_or_jpeg_and_stay_round(tmp_path: Path) -> None:
    picture(1, 300).resize((400, 200)).save(tmp_path / "wide.png")
    small = made(face(tmp_path / "wide.png"))
    large = made(face(tmp_path / "wide.png"), PrepareSettings(face_size=224))
    with Image.open(io.BytesIO(small.members["png"])) as image:
        assert (image.format, image.size) == ("PNG", (64, 64))
        middle = Image.open(tmp_path / "wide.png").crop((100, 0, 300, 200)).resize((64, 64), Image.Resampling.LANCZOS)
        assert np.abs(np.asarray(image, float) - np.asarray(middle, float)).mean() < 2
    with Image.open(io.BytesIO(large.members["jpg"])) as image:
        assert (image.format, image.size) == ("JPEG", (224, 224))


def test_a_picture_without_a_face_is_left_out(tmp_path: Path) -> None:
    pytest.importorskip("dlib")
    picture(0, 120).save(tmp_path / "f.png")
    assert make(replace(face(tmp_path / "f.png"), content="picture")) == Skipped("no face found")


# ---------------------------------------------------------------------------- whole runs


@pytest.mark.slow
def test_the_same_input_makes_the_same_bytes(made_plan: Plan, made_store: Store, tmp_path: Path) -> None:
    prepared(made_plan, tmp_path / "again", jobs=2)
    assert files(tmp_path / "again") == files(made_store.folder)
    assert not list(tmp_path.rglob("*.part"))


def test_facts_add_up(made_store: Store) -> None:
    counts = made_store.facts["counts"]
    assert (counts["voices"], counts["faces"], counts["identities"], counts["skipped"]) == (12, 15, 5, 0)
    for what in ("splits", "genders"):
        assert sum(row["voices"] for row in counts[what].values()) == 12
        assert sum(row["faces"] for row in counts[what].values()) == 15
        assert sum(row["identities"] for row in counts[what].values()) == 5
        assert sum(row["hours"] for row in counts[what].values()) == pytest.approx(counts["hours"], abs=1e-3)
    assert set(counts["genders"]) == {"m", "f", "unknown"}
    assert counts["bytes"] == sum(p.stat().st_size for p in made_store.folder.rglob("*.tar"))
    source = made_store.facts["sources"]["made"]
    assert (source["voices"], source["faces"], source["identities"]) == (12, 15, 5)
    assert source["notes"] == ["3 rows without files: <a>, b & c."]
    rows = [json.loads(line) for line in (made_store.folder / "identities.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == sorted(PEOPLE)
    assert sum(row["voices"] for row in rows) == 12
    assert sum(row["faces"] for row in rows) == 15


@pytest.fixture
def copy(made_store: Store, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_store.folder, tmp_path / "copy"))


def test_a_finished_store_is_left_alone(made_plan: Plan, copy: Path) -> None:
    assert missing(made_plan, copy) == []
    assert is_finished(made_plan, copy)


@pytest.mark.parametrize("damage", ["no index", "no shard", "cut shard", "broken index", "both"])
def test_only_what_is_missing_is_made_again(made_plan: Plan, made_store: Store, copy: Path, damage: str) -> None:
    shard, index = copy / "faces" / "000001.tar", copy / "faces" / "000001.jsonl"
    if damage in ("no index", "both"):
        index.unlink()
    if damage in ("no shard", "both"):
        shard.unlink()
    if damage == "cut shard":
        shard.write_bytes(shard.read_bytes()[:-1])
    if damage == "broken index":
        index.write_text('{"unit": "')
    (copy / "voices" / ".000000.tar.0badc0de.part").write_text("left by a run that was killed")
    todo = missing(made_plan, copy, replace_other=damage == "broken index")
    assert [unit.shard for unit in todo] == ["faces/000001.tar"]
    before = {p: p.stat().st_mtime_ns for p in copy.rglob("*.tar") if p != shard}
    store = prepare(
        made_plan, copy, lambda units: engines.local(units, copy, PrepareSettings(), 1, lambda *_: None), todo
    )
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert files(copy) == files(made_store.folder)
    assert len(store.faces) == 15


def test_a_lost_store_json_or_report_is_written_again(made_plan: Plan, made_store: Store, copy: Path) -> None:
    for name in ("store.json", "report.html"):
        (copy / name).unlink()
        assert missing(made_plan, copy) == []
        assert not is_finished(made_plan, copy)
        prepared(made_plan, copy)
        assert files(copy) == files(made_store.folder)


def test_another_plan_is_refused_unless_it_may_replace(made_plan: Plan, made_store: Store, copy: Path) -> None:
    other = plan(made_plan.sources, replace(SMALL, shard_items=10), PrepareSettings())
    with pytest.raises(PrepareError, match=r"holds 6 shards \(of 6\) that these data.*--replace"):
        missing(other, copy)
    assert files(copy) == files(made_store.folder)
    store = prepared(other, copy, replace=True)
    assert sorted(p.name for p in copy.rglob("*.tar")) == ["000000.tar"] * 2 + ["000001.tar"] * 2
    assert (len(store.voices), len(Store.open(copy).faces)) == (12, 15)


def test_another_face_size_keeps_the_voices(made_plan: Plan, copy: Path) -> None:
    other = plan(made_plan.sources, SMALL, PrepareSettings(face_size=224))
    todo = missing(other, copy, replace_other=True)
    assert {unit.shard.split("/")[0] for unit in todo} == {"faces"}
    assert not (copy / "store.json").exists()


def test_a_folder_of_something_else_is_refused(made_plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "mine.jsonl").write_text("precious")
    with pytest.raises(FileExistsError, match=r"is no store, since it holds .*mine\.jsonl"):
        missing(made_plan, tmp_path, replace_other=True)
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match=r"is no store, since it holds .*thesis\.tex"):
        missing(made_plan, tmp_path, replace_other=True)
    with pytest.raises(FileExistsError, match="is a file"):
        missing(made_plan, tmp_path / "thesis.tex")
    assert (tmp_path / "voices" / "mine.jsonl").read_text() == "precious"


def broken_source(folder: Path) -> tuple[Source, dict[str, str]]:
    """Files that cannot be used among those that can, and a word of why for each."""
    source = made_source(folder, 20, 10)
    data = (folder / "v000.wav").read_bytes()
    samples = np.float32(speech("m"))
    why: dict[str, str] = {}
    items = []

    def add(name: str, word: str, content: bytes | None, item: Item) -> None:
        if content is not None:
            (folder / name).write_bytes(content)
        why[item.name] = word
        items.append(item)

    def sound(name: str, word: str, content: bytes) -> None:
        add(name, word, content, voice(folder / name))

    def wav(array: np.ndarray, **options: str) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, array, RATE, format="WAV", **options)
        return file.getvalue()

    flac = io.BytesIO()
    soundfile.write(flac, samples, RATE, format="FLAC")
    sound("empty.wav", "is empty (0 bytes)", b"")
    sound("text.wav", "is no sound that can be read", b"This is a text.\n" * 50)
    sound("head.wav", "cut off or damaged", data[:44])
    sound("cut.flac", "cut off or damaged", flac.getvalue()[:40_000])
    sound(
        "nan.wav", "NaN or infinite", wav(np.where(np.arange(len(samples)) == 20_000, np.nan, samples), subtype="FLOAT")
    )
    sound("silent.wav", "too little speech: 0.00 s in 3.00 s", wav(np.zeros(3 * RATE)))
    sound("short.wav", "too little speech", wav(samples[RATE : RATE + 5000]))
    add("gone.wav", "No such file", None, voice(folder / "gone.wav"))
    add("text.jpg", "no picture that can be read", b"This is a text.\n", face(folder / "text.jpg", name="text jpg"))
    add(
        "cut.png",
        "no picture that can be read",
        (folder / "f000.png").read_bytes()[:900],
        face(folder / "cut.png", name="cut png"),
    )
    add("none.png", "no picture that can be read", b"", face(folder / "none.png"))
    add("sound.png", "no picture that can be read", data, face(folder / "sound.png"))
    return replace(source, items=[*source.items, *items]), why


@pytest.mark.slow
def test_broken_files_are_listed_and_stop_nothing(tmp_path: Path) -> None:
    source, why = broken_source(tmp_path / "data")
    store = prepared(plan([source], Choice(), PrepareSettings()), tmp_path / "store")
    assert (len(store.voices), len(store.faces)) == (20, 10)
    rows = [json.loads(line) for line in (tmp_path / "store" / "skipped.jsonl").read_text().splitlines()]
    assert {row["name"] for row in rows} == set(why)
    for row in rows:
        assert why[row["name"]] in row["why"], row
        assert "\n" not in row["why"]
        assert str(tmp_path) not in row["why"]
        assert "0x" not in row["why"]
    assert store.facts["sources"]["made"]["skipped"] == len(why)
    again = prepared(plan([source], Choice(), PrepareSettings()), tmp_path / "again")
    assert files(again.folder) == files(store.folder)


@pytest.mark.slow
def test_an_item_that_kills_its_process_is_left_out_alone(tmp_path: Path) -> None:
    source = made_source(tmp_path / "data", 2, 20)
    place = str(tmp_path / "data" / "f000.png")
    items = [
        replace(face(Path(place), name="deadly"), place=DeadlyPlace(place)),
        replace(face(Path(place), name="killed"), place=KilledPlace(place)),
    ]
    store = prepared(
        plan([replace(source, items=source.items + items)], Choice(), PrepareSettings()), tmp_path / "store"
    )
    assert (len(store.voices), len(store.faces)) == (2, 20)
    rows = [json.loads(line) for line in (tmp_path / "store" / "skipped.jsonl").read_text().splitlines()]
    assert {row["name"]: row["why"] for row in rows} == {
        "deadly": "the process that read it ended with status 3",
        "killed": "the process that read it was ended by SIGKILL",
    }


@pytest.mark.slow
def test_an_item_that_never_ends_is_left_out_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_worker, "STUCK_S", 1.5)
    place = str(tmp_path / "f000.png")
    made_source(tmp_path, 0, 1)
    endless = replace(face(Path(place), name="endless"), place=EndlessPlace(place))
    entries = [Entry("key", item, PEOPLE["Yan"]) for item in (face(Path(place)), endless)]
    worker = prepare_worker.ItemWorker(PrepareSettings())
    try:
        good, bad = worker.make(entries)
    finally:
        worker.stop()
    assert isinstance(good, Prepared)
    assert bad == Skipped("the process that read it did not answer and was killed")


def test_a_process_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_serve", os._exit)
    with pytest.raises(PrepareError, match="No worker process can be started: it ended with status 1"):
        prepare_worker.ItemWorker(PrepareSettings())


@pytest.mark.slow
def test_data_that_are_gone_are_not_taken_for_broken(tmp_path: Path) -> None:
    planned = plan([made_source(tmp_path / "data")], SMALL, PrepareSettings())
    (tmp_path / "data").rename(tmp_path / "unplugged")
    with pytest.raises(PrepareError, match=r"5 of 5 files for voices/000000\.tar cannot be opened.*still there"):
        prepared(planned, tmp_path / "store")
    assert not [p for p in (tmp_path / "store").rglob("*") if p.is_file()]
    (tmp_path / "unplugged").rename(tmp_path / "data")
    assert len(prepared(planned, tmp_path / "store").voices) == 12


def test_a_package_that_is_missing_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "missing").mkdir()
    (tmp_path / "missing" / "dlib.py").write_text("raise ModuleNotFoundError(\"No module named 'dlib'\")")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "missing"), *sys.path])
    made_source(tmp_path / "data", 0, 1)
    item = replace(face(tmp_path / "data" / "f000.png"), content="picture")
    with pytest.raises(PrepareError, match="needs dlib: pip install dlib-bin"):
        prepared(plan([source_of([item])], Choice(), PrepareSettings()), tmp_path / "store")


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    planned = plan([made_source(tmp_path / "data")], SMALL, PrepareSettings())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))  # the system then refuses to write more
    try:
        with pytest.raises(PrepareError, match=r"tar cannot be written: File too large\. What is finished stays"):
            prepared(planned, tmp_path / "store")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [p for p in (tmp_path / "store").rglob("*") if p.is_file()]
    assert len(prepared(planned, tmp_path / "store").voices) == 12


def test_nothing_that_can_be_used_is_an_error(tmp_path: Path) -> None:
    source = made_source(tmp_path / "data", 3, 0)
    for item in source.items:
        Path(item.place.path).write_bytes(b"")
    with pytest.raises(PrepareError, match=r"None of the 3 items can be used; .*is empty"):
        prepared(plan([source], SMALL, PrepareSettings()), tmp_path / "store")
    assert not (tmp_path / "store" / "store.json").exists()


@pytest.mark.ray
@pytest.mark.slow
def test_ray_makes_the_same_bytes(made_plan: Plan, made_store: Store, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    told: list[int] = []
    folder = tmp_path / "ray"

    def engine(units: Sequence[Unit]) -> Generator[Unit, None, None]:
        return engines.on_ray(units, folder, PrepareSettings(), "local", 2, lambda items, *_: told.append(items))

    prepare(made_plan, folder, engine, missing(made_plan, folder))
    assert files(folder) == files(made_store.folder)
    assert sum(told) == 27


# -------------------------------------------------------------------------- command line


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer()
    register(made)
    return made


@pytest.fixture
def librispeech(tmp_path: Path) -> Path:
    folder = tmp_path / "LibriSpeech" / "dev-clean" / "84" / "121123"
    folder.mkdir(parents=True)
    samples = speech("f")
    for i in range(6):
        soundfile.write(folder / f"84-121123-{i:04d}.flac", samples[i * 2000 :], RATE)
    (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").write_text(";ID|SEX\n84 | F | dev-clean | 8.02 | Christie Nowak\n")
    return tmp_path / "LibriSpeech"


@pytest.mark.slow
def test_the_commands(app: typer.Typer, librispeech: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    command = ["prepare", "--out", str(tmp_path / "store"), "--librispeech", str(librispeech), "--jobs", "1"]
    dry = runner.invoke(app, [*command, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "librispeech: 6 voices, about" in dry.output
    assert "100% of those tried can be used" in dry.output
    assert not (tmp_path / "store").exists()
    first = runner.invoke(app, command)
    assert first.exit_code == 0, first.output
    assert "has 6 voices" in first.output
    before = files(tmp_path / "store")
    begun = time.process_time()
    second = runner.invoke(app, command)
    assert second.exit_code == 0, second.output
    assert second.output.startswith("Nothing to do: ")
    assert time.process_time() - begun < 2
    assert files(tmp_path / "store") == before
    other = runner.invoke(app, [*command, "--max-seconds", "2"])
    assert other.exit_code == 1
    assert "--replace" in other.output
    (tmp_path / "store" / "report.html").unlink()
    shown = runner.invoke(app, ["store", str(tmp_path / "store"), "--json"])
    assert json.loads(shown.output)["counts"]["voices"] == 6
    assert (tmp_path / "store" / "report.html").exists()
    assert runner.invoke(app, ["store", str(librispeech)]).exit_code == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], r"No data set is given: name one or more with --voxceleb1, --voxceleb2, .*--s2f-data\."),
        (["--voxceleb1", "x"], r"--voxceleb1 needs --vox1-meta too\."),
        (["--wen-fbank", "x"], r"--wen-fbank needs --wen-faces and --vox1-meta too\."),
        (["--wen-faces", "x"], r"--wen-faces needs --wen-fbank too\."),
        (["--avspeech-times", "x"], r"--avspeech-times needs --avspeech too\."),
        (["--librispeech", "/nowhere"], r"/nowhere does not exist"),
        (["--librispeech", "/nowhere", "--face-size", "100"], r"--face-size is 100; it must be 64 or 224\."),
    ],
)
def test_wrong_options_are_one_line(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.setenv("S2F_DATA", str(tmp_path))  # must not add data by itself
    result = CliRunner().invoke(app, ["prepare", "--out", str(tmp_path / "store"), *options])
    assert result.exit_code == 2
    with pytest.raises(ValueError, match=f"^error: .*{message}"):
        raise ValueError(result.output)
    assert result.output.count("\n") == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_an_interrupted_run_goes_on(librispeech: Path, tmp_path: Path, number: signal.Signals) -> None:
    folder = librispeech / "dev-clean" / "84" / "121123"
    for i in range(6, 80):
        (folder / f"84-121123-{i:04d}.flac").symlink_to(folder / f"84-121123-{i % 6:04d}.flac")
    program = "import typer; from s2f_train.cli.prepare import register; app = typer.Typer(); register(app); app()"
    out = tmp_path / "store"
    options = ["--out", str(out), "--librispeech", str(librispeech), "--jobs", "2", "--shard-items", "1"]
    command = [sys.executable, "-c", program, "prepare", *options]
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while run.poll() is None and len(list(out.glob("voices/*.jsonl"))) < 3:
        time.sleep(0.01)
    os.killpg(run.pid, number) if number == signal.SIGINT else run.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "error: stopped. Finished shards stay; the same command goes on." in said
    assert "Traceback" not in said
    done = len(list(out.glob("voices/*.jsonl")))
    assert 3 <= done < 80
    assert not list(out.rglob("*.part"))
    assert not (out / "store.json").exists()
    if number == signal.SIGTERM:
        return
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{done} are there already" in again.stderr
    assert len(Store.open(out).voices) == 80
