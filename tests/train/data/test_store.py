"""Reading a store, by our reader and by the webdataset library."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from s2f_edge.hearing import features, vad
from s2f_train.data.store import Store, StoreError
from s2f_train.prepare.plan import Plan
from tests.train.made_sources import PEOPLE, RATE


@pytest.fixture
def copy(made_store: Store, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_store.folder, tmp_path / "copy"))


def test_it_has_what_the_sources_had(made_store: Store, made_plan: Plan) -> None:
    items = {(entry.item.kind, entry.item.name) for unit in made_plan.units for entry in unit.entries}
    assert len(made_store.voices) == 12
    assert len(made_store.faces) == 15
    assert len(items) == 27
    assert {name: (who.gender, who.age) for name, who in made_store.identities.items()} == {
        name: (who.gender, who.age) for name, who in PEOPLE.items()
    }
    assert {s.clip for s in made_store.voices} == {f"clip{i}" for i in range(12)}
    assert {s.view for s in made_store.faces} == {"photo", "face", "s2f"}
    keys = [s.key for s in made_store.voices + made_store.faces]
    assert len(set(keys)) == 27


def test_the_logmel_is_that_of_the_runtime(made_store: Store, made_plan: Plan) -> None:
    items = {entry.key: entry.item for unit in made_plan.units for entry in unit.entries}
    for sample in made_store.voices:
        samples, _ = soundfile.read(items[sample.key].place.path, dtype="float32")
        voiced = vad.find_speech(samples).samples
        expected = features.normalise_logmel(features.logmel(voiced))
        stored = made_store.logmel(sample)
        assert stored.dtype == np.float16
        assert stored.shape == (sample.frames, 64) == expected.shape
        np.testing.assert_array_equal(stored, expected.astype(np.float16))
        np.testing.assert_array_equal(stored, np.load(io.BytesIO(made_store.read(sample, "logmel.npy"))))
        assert sample.seconds == pytest.approx(len(voiced) / RATE, abs=1e-3)


def test_the_sound_is_the_voiced_part(made_store: Store, made_plan: Plan) -> None:
    sample = made_store.voices[0]
    item = next(entry.item for unit in made_plan.units for entry in unit.entries if entry.key == sample.key)
    samples, _ = soundfile.read(item.place.path, dtype="int16")
    voiced = vad.find_speech(samples / np.float32(2**15)).samples
    stored, rate = soundfile.read(io.BytesIO(made_store.read(sample, "flac")), dtype="int16")
    assert rate == RATE
    np.testing.assert_array_equal(stored, np.rint(voiced * 2**15).astype(np.int16))


def test_faces_have_the_size_and_their_facts(made_store: Store) -> None:
    for sample in made_store.faces:
        with Image.open(io.BytesIO(made_store.read(sample, "png"))) as image:
            assert image.size == (64, 64)
        facts = json.loads(made_store.read(sample, "json"))
        who = made_store.identities[sample.identity]
        assert facts["identity"] == sample.identity
        assert (facts["gender"], facts["age"], facts["split"]) == (who.gender, who.age, who.split)
        assert (facts["view"], facts["clip"], facts["source"]) == (sample.view, sample.clip, "made")


def test_a_member_that_is_not_there_is_named(made_store: Store) -> None:
    with pytest.raises(StoreError, match="has no flac; it has json, png"):
        made_store.read(made_store.faces[0], "flac")


def test_splits_share_no_one(made_store: Store) -> None:
    samples = {split: made_store.of_split(split) for split in ("train", "valid", "test")}
    assert sum(map(len, samples.values())) == 12
    people = [{s.identity for s in some} for some in samples.values()]
    assert sum(map(len, people)) == len(set.union(*people))


def test_the_webdataset_library_reads_the_shards(made_store: Store) -> None:
    wds = pytest.importorskip("webdataset")
    for kind, samples in (("voices", made_store.voices), ("faces", made_store.faces)):
        urls = [str(made_store.folder / shard) for shard in made_store.facts["shards"][kind]]
        rows = list(wds.WebDataset(urls, shardshuffle=False))
        assert [row["__key__"] for row in rows] == [s.key for s in samples]
        for row, sample in zip(rows, samples, strict=True):
            for member in sample.members:
                assert row[member] == made_store.read(sample, member)


def test_a_cut_shard_is_noticed(copy: Path) -> None:
    shard = copy / "voices" / "000001.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(StoreError, match=r"000001\.tar has \d+ bytes instead of \d+.*run prepare again"):
        Store.open(copy)


def test_a_missing_shard_or_index_is_noticed(copy: Path) -> None:
    (copy / "faces" / "000000.tar").unlink()
    with pytest.raises(StoreError, match=r"000000\.tar is missing"):
        Store.open(copy)
    (copy / "voices" / "000000.jsonl").unlink()
    with pytest.raises(StoreError, match=r"000000\.jsonl cannot be read"):
        Store.open(copy)


def test_an_index_of_something_else_is_noticed(copy: Path) -> None:
    (copy / "voices" / "000000.jsonl").write_text("")
    with pytest.raises(StoreError, match="no index of this version"):
        Store.open(copy)


def test_an_unfinished_store_is_refused(copy: Path) -> None:
    (copy / "store.json").unlink()
    with pytest.raises(StoreError, match="is not finished: run the same prepare command again"):
        Store.open(copy)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}'])
def test_another_store_json_is_refused(copy: Path, text: str) -> None:
    (copy / "store.json").write_text(text)
    with pytest.raises(StoreError, match="is no store"):
        Store.open(copy)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is no store: store\.json cannot be read"):
        Store.open(tmp_path)
