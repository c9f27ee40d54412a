"""A whole evaluation of small stores: the figures that must come out, and what stands where nothing can be measured."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from s2f_train.data.store import Store, StoreError
from s2f_train.evaluate import voices
from s2f_train.evaluate.cache import VectorCache
from s2f_train.evaluate.evaluation import EvaluationSettings, evaluate
from s2f_train.evaluate.judging import Judge
from s2f_train.evaluate.report import write_report
from s2f_train.evaluate.systems import EvaluateError
from s2f_train.evaluate.tables import Evaluation, Figure, Grid, Table
from tests.tiny_packs import make_pack
from tests.train import made_store as store_maker
from tests.train.evaluate.made_scene import READER, asked, made_judges, of, portrait, spoken, value
from tests.train.made_store import Person, made_store

PEOPLE = [
    *(Person(f"T{i}", "mf"[i % 2], 20.0 + 5 * i, "test", voices=2, photos=3, clips=2) for i in range(6)),
    Person("Only voice", "m", None, "test", voices=2, photos=0),
    *(Person(f"Old{i}", "mf"[i % 2], 30.0, "train", voices=0, photos=3, clips=0) for i in range(4)),
]
TESTED, VOICES = 6, 12
USED = "ef" * 32  # SHA-256 of a network that a pack's training used


@pytest.fixture(scope="module", autouse=True)
def _speaking() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_maker, "speech", spoken)
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_store(tmp_path_factory.mktemp("store") / "s", PEOPLE, flac=True, logmels=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all tests here: voices are heard once."""
    return tmp_path_factory.mktemp("cache") / "cache.sqlite"


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two men and two women, and one more voice."""
    people = [person for person in PEOPLE if person.name in ("T0", "T1", "T2", "T3", "Only voice")]
    return made_store(tmp_path_factory.mktemp("four") / "s", people, flac=True, logmels=False).folder


@pytest.fixture
def few_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each kind: voices are tried in them all elsewhere."""
    monkeypatch.setattr(voices, "CONDITIONS", list({one.group: one for one in voices.CONDITIONS}.values()))


Run = Callable[..., tuple[Evaluation, list[dict[str, str]]]]


@pytest.fixture
def run(store: Store, cache: Path) -> Run:
    def run(
        known: Sequence[Person] = PEOPLE, weights: tuple[str, ...] = (), **settings: Any
    ) -> tuple[Evaluation, list[dict[str, str]]]:
        chosen: dict[str, Any] = {"store": str(store.folder), "draws": 20, "voice_side": False} | settings
        found, trials = evaluate(EvaluationSettings(**chosen), made_judges(known, VectorCache(cache), weights))
        return found, list(csv.DictReader(io.StringIO(trials.decode())))

    return run


@pytest.fixture(scope="module")
def faces(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A perfect system's folder: another picture of the speaker for each voice that has a clip."""
    folder = tmp_path_factory.mktemp("perfect")
    for i, voice in enumerate(store.voices):
        Image.fromarray(portrait(voice.identity, i)).save(folder / f"{voice.key}.png")
    return folder


def tables(evaluation: Evaluation) -> dict[str, Table]:
    return {part.key: part for s in evaluation.sections for part in s.parts if isinstance(part, Table)}


def systems(table: Table) -> list[str]:
    return [row["system"] for row in table.rows]


def section(evaluation: Evaluation, title: str) -> dict[str, Table]:
    (found,) = (s for s in evaluation.sections if s.title == title)
    return {part.key: part for part in found.parts if isinstance(part, Table)}


def pack_trained_with(folder: Path, *hashes: str) -> Path:
    make_pack(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["training"] = {"gan": {"networks": list(hashes)}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


# -------------------------------------------------------------------------------- figures


@pytest.mark.slow
def test_the_figures_that_must_come_out(run: Run, faces: Path, tiny_pack: Path) -> None:
    found, trials = run(packs={"tiny": tiny_pack}, pictures={"perfect": faces}, references=("face",))
    assert found.title == f"tiny, perfect, face on {VOICES} voices"
    assert found.summary[:2] == [(str(TESTED), "people"), (str(VOICES), "voices")]
    assert all(what.endswith("tiny: general") for _, what in found.summary[2:])
    by_key = tables(found)
    named = [
        "tiny: general", "tiny: auto", "perfect", "face", "random face", "mean face", "mean face of the gender",
        "shuffled voices (tiny: general)", "silence as input", "noise as input", "chance",
        "oracle: another photograph",
    ]  # fmt: skip
    assert systems(by_key["matching"]) == named
    for name in ("perfect", "face", "oracle: another photograph"):
        matched = of(by_key["matching"], name)
        assert [value(matched[key]) for key in ("2_False", "5_False", "2_True")] == [1, 1, 1]
        ranked = of(by_key["retrieval_whole_cosine"], name)
        assert (value(ranked["r1"]), value(ranked["median"])) == (1, 1)
        assert value(of(by_key["gender"], name)["right"]) == 1
        assert value(of(by_key["similarity"], name)["cosine"]) == 1
        assert value(of(by_key["similarity"], name)["cosine_wrong"]) == 0
        assert value(of(by_key["age"], name)["error"]) == 0
    # To this judge a face is one of the people's: that of another is never the speaker's.
    assert value(of(by_key["matching"], "random face")["2_False"]) <= 0.5
    for name in ("silence as input", "noise as input", "mean face"):
        assert value(of(by_key["diversity"], name)["cosine"]) == pytest.approx(1)
        assert of(by_key["diversity"], name)["pixels"] == 0
    stable = of(by_key["stability"], "perfect")
    assert (stable["pairs"], value(stable["within"]), value(stable["across"])) == (TESTED, 1, 0)
    # A pack is tried on the people without a real face too.
    assert of(by_key["stability"], "tiny: general", what="two recordings")["people"] == TESTED + 1
    assert [row["system"] for row in by_key["gender_flag"].rows] == ["tiny: male", "tiny: female"]
    assert systems(by_key["thesis"])[:5] == ["tiny: general", "tiny: male", "tiny: female", "perfect", "face"]

    facts = found.facts
    assert (facts["people"], facts["voices"], facts["voices whose speaker has no real face"]) == (TESTED, VOICES, 2)
    assert (facts["real faces"], facts["real faces of others"]) == (TESTED * 2, 4 * 3)
    assert facts["gender"] == {"by the data": 6, "by the judge, for impostors and groups alone": 0, "not known": 0}
    assert facts["packs"]["tiny"]["refused voices"] == {}
    assert trials


def test_a_shuffled_perfect_system_is_never_right(run: Run, faces: Path) -> None:
    """The gallery holds the giver: to a judge that is never wrong it is always another person."""
    found, trials = run(pictures={"perfect": faces})
    name = "shuffled voices (perfect)"
    by_key = tables(found)
    assert value(of(by_key["retrieval_whole_cosine"], name)["r1"]) == 0
    # Right never; 1/2 where the giver is not the impostor, which is 4 of the 5 others.
    assert value(of(by_key["matching"], name)["2_False"]) == pytest.approx(0.4, abs=0.05)
    assert {row[name] for row in trials if row["n"] == "2"} == {"0", "0.5"}


def test_trials_give_the_figures_of_the_report(
    run: Run, store: Store, faces: Path, tiny_pack: Path, tmp_path: Path
) -> None:
    found, trials = run(packs={"tiny": tiny_pack}, pictures={"perfect": faces}, trials=7)
    names = [name for name in systems(tables(found)["matching"]) if name != "chance"]
    assert list(trials[0]) == ["protocol", "impostors", "n", "voice", "speaker", "others", *names, "score"]
    matching = [row for row in trials if row["protocol"] == "matching"]
    # 7 trials a voice: all of 2 and 5 people; the same gender, of which there are 3, of 2 people alone.
    assert len(matching) == 3 * 7 * VOICES
    write_report(found, tmp_path / "report", {"trials.csv": b""})
    report = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    parts = {part["key"]: part for s in report["sections"] for part in s["parts"]}
    for row in parts["matching"]["rows"]:
        for n, kind, key in (("2", "all", "2_False"), ("5", "all", "5_False"), ("2", "same gender", "2_True")):
            if row["system"] == "chance":
                continue
            right = [float(t[row["system"]]) for t in matching if (t["n"], t["impostors"]) == (n, kind)]
            assert np.mean(right) == pytest.approx(row[key]["value"], abs=1e-6)
            assert len(right) == row[key]["n"]
    who = {sample.key: sample.identity for sample in [*store.voices, *store.faces]}
    for trial in matching:
        others = [who[key] for key in trial["others"].split()]
        assert who[trial["voice"]] == who[trial["speaker"]]
        assert len(others) == int(trial["n"]) - 1
        assert len({who[trial["speaker"]], *others}) == int(trial["n"])


@pytest.mark.usefixtures("few_conditions")
@pytest.mark.slow
def test_pairs_of_voices_stand_in_the_trials(run: Run, four: Path, tiny_pack: Path) -> None:
    found, trials = run(store=str(four), packs={"tiny": tiny_pack}, voice_side=True)
    (whole,) = (row for row in section(found, "Voices")["voices"].rows if row["source"] == "all")
    pairs = [row for row in trials if row["protocol"] == "voices to tiny"]
    assert (whole["clips"], whole["speakers"], whole["same"]) == (10, 5, 5)  # the one without a face too
    assert sum(row["impostors"] == "same speaker" for row in pairs) == whole["same"]
    assert len(pairs) == whole["same"] + whole["different"]
    assert {row["protocol"] for row in trials} > {"matching", "voices to tiny", "voices to tiny, clean"}


# -------------------------------------------------------------------------------- again


@pytest.mark.slow
def test_the_same_gives_the_same_bytes_and_asks_nobody_again(
    store: Store, faces: Path, tiny_pack: Path, tmp_path: Path
) -> None:
    settings = EvaluationSettings(
        str(store.folder), {"tiny": tiny_pack}, {"perfect": faces}, ("face",), draws=20, voice_side=False
    )
    counts, written = [], []
    for turn in ("first", "second", "else"):
        name = "other.sqlite" if turn == "else" else "cache.sqlite"
        judges = made_judges(PEOPLE, VectorCache(tmp_path / name))
        found, listed = evaluate(settings, judges)
        write_report(found, tmp_path / turn, {"trials.csv": listed})
        counts.append(asked(judges))
        written.append({path.name: path.read_bytes() for path in (tmp_path / turn).iterdir()})
    assert counts[0] > 100
    assert counts == [counts[0], 0, counts[0]]
    assert written[0] == written[1] == written[2]
    assert sorted(written[0]) == ["report.html", "report.json", "trials.csv"]


def test_another_seed_draws_other_trials(run: Run, faces: Path) -> None:
    drawn = [run(pictures={"perfect": faces}, seed=seed)[1] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


# -------------------------------------------------------------------------------- voices in common


def test_all_are_judged_on_the_voices_that_all_have(run: Run, store: Store, faces: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    shutil.copytree(faces, few)
    mine = [voice for voice in store.voices if voice.identity.startswith("T")]
    for voice in mine[:3]:
        (few / f"{voice.key}.png").unlink()
    found, trials = run(pictures={"perfect": faces, "few": few})
    assert found.warnings[0] == "few has no face for 3 of 12 voices; they are left out for all."
    assert not any(warning.startswith("perfect") for warning in found.warnings)
    matching = tables(found)["matching"]
    assert {row["voices"] for row in matching.rows if row["system"] != "chance"} == {9}
    assert {row["voice"] for row in trials} == {voice.key for voice in mine[3:]}
    assert (found.facts["people"], found.facts["voices"]) == (TESTED, 9)


def test_nothing_in_common_is_told(run: Run, store: Store, tmp_path: Path) -> None:
    mine = [voice for voice in store.voices if voice.identity.startswith("T")]
    for name, some in (("one", mine[:6]), ("two", mine[5:])):
        (tmp_path / name).mkdir()
        for voice in some:
            Image.fromarray(portrait(voice.identity)).save(tmp_path / name / f"{voice.key}.png")
    with pytest.raises(EvaluateError, match=r"voices of 1 people for which every system .*one has no face for 6"):
        run(pictures={"one": tmp_path / "one", "two": tmp_path / "two"})


def test_voices_of_one_person_are_too_few(run: Run, store: Store, tmp_path: Path) -> None:
    for voice in store.voices:
        if voice.identity == "T0":
            Image.fromarray(portrait(voice.identity)).save(tmp_path / f"{voice.key}.png")
    with pytest.raises(EvaluateError, match="people"):
        run(pictures={"one": tmp_path})


# -------------------------------------------------------------------------------- judges that took part in training


def test_a_pack_trained_with_the_judge_is_in_no_headline(run: Run, faces: Path, tmp_path: Path) -> None:
    pack = pack_trained_with(tmp_path / "pack", USED)
    found, trials = run(weights=("cd" * 32, USED), packs={"tiny": pack}, pictures={"perfect": faces})
    apart = section(found, "Not to be compared")["matching_refused"]
    of_pack = [f"tiny: {generator}" for generator in ("general", "auto", "male", "female")]
    made_of_it = ["shuffled voices (tiny: general)", "silence as input", "noise as input"]
    assert systems(apart) == [*of_pack, *made_of_it, "chance"]
    assert all("knowing" in row["_note"] for row in apart.rows if row["system"] != "chance")
    for part in tables(found).values():
        if part is not apart and part.columns[0].key == "system":
            assert not {str(row["system"]) for row in part.rows} & {*of_pack, *made_of_it}, part.key
    for name in of_pack:
        assert any(w.startswith(f"{name} is in no headline table: its training used knowing") for w in found.warnings)
    assert all(what.endswith("perfect") for _, what in found.summary[2:])
    assert not {*trials[0]} & {*of_pack}


def test_a_user_can_say_so_of_a_folder(run: Run, faces: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(faces, again)
    found, _ = run(
        weights=(USED,), pictures={"perfect": faces, "again": again}, trained_with={"perfect": frozenset([USED])}
    )
    apart = section(found, "Not to be compared")["matching_refused"]
    assert systems(apart) == ["perfect", "shuffled voices (perfect)", "chance"]
    assert "perfect" not in systems(tables(found)["matching"])
    assert "again" in systems(tables(found)["matching"])
    assert found.warnings[0].startswith("perfect is in no headline table")


def test_what_a_refused_generator_makes_of_silence_is_refused_too(run: Run, tiny_pack: Path) -> None:
    used = {"tiny: general": frozenset([USED])}
    found, _ = run(weights=(USED,), packs={"tiny": tiny_pack}, trained_with=used)
    apart = systems(section(found, "Not to be compared")["matching_refused"])
    assert apart[:2] == ["tiny: general", "shuffled voices (tiny: general)"]
    assert "silence as input" in apart


@pytest.mark.usefixtures("few_conditions")
@pytest.mark.slow
def test_a_judge_of_gender_that_trained_a_pack_does_not_judge_its_voices(run: Run, four: Path, tmp_path: Path) -> None:
    pack = pack_trained_with(tmp_path / "pack", READER)
    found, _ = run(store=str(four), packs={"tiny": pack}, references=("face",), voice_side=True)
    assert "tiny: general" not in systems(tables(found)["gender"])
    assert all(row["face"] is None for row in section(found, "Voices")["voices"].rows)


@pytest.mark.slow
def test_another_network_refuses_nobody(run: Run, tmp_path: Path) -> None:
    found, _ = run(weights=(USED,), packs={"tiny": pack_trained_with(tmp_path / "pack", "12" * 32)})
    assert "Not to be compared" not in [s.title for s in found.sections]
    assert not any("headline" in warning for warning in found.warnings)


def test_of_a_system_that_there_is_not(run: Run, faces: Path) -> None:
    with pytest.raises(EvaluateError, match="There is no system perfekt; there are perfect"):
        run(pictures={"perfect": faces}, trained_with={"perfekt": frozenset([USED])})


# -------------------------------------------------------------------------------- what packs there are


@pytest.mark.usefixtures("few_conditions")
@pytest.mark.slow
def test_two_packs(run: Run, four: Path, tiny_pack: Path, tmp_path: Path) -> None:
    other = make_pack(tmp_path / "other", traits=False, generators="general female")
    found, _ = run(store=str(four), packs={"one": tiny_pack, "two": other}, voice_side=True)
    assert systems(tables(found)["matching"])[:3] == ["one: general", "one: auto", "two: general"]
    assert systems(tables(found)["gender_flag"]) == ["one: male", "one: female", "two: female"]
    for name in ("one", "two"):
        assert {f"voices_{name}", f"conditions_{name}"} == {*section(found, f"Voices: {name}")}
    keys = [part.key for s in found.sections for part in s.parts]
    assert len(keys) == len(set(keys))
    of_two = [row for row in section(found, "Voices: two")["voices_two"].rows if row["source"] == "all"]
    assert of_two[0]["gender"] is None  # without traits the voice says nothing


@pytest.mark.usefixtures("few_conditions")
@pytest.mark.slow
def test_a_pack_without_a_general_generator(run: Run, four: Path, tmp_path: Path) -> None:
    pack = make_pack(tmp_path / "men", generators="male")
    found, _ = run(store=str(four), packs={"men": pack}, references=("face",), voice_side=True)
    assert systems(tables(found)["matching"])[0] == "face"
    assert systems(tables(found)["gender_flag"]) == ["men: male"]
    assert "shuffled voices (face)" in systems(tables(found)["matching"])  # the flag's faces are no headline
    assert any("men has no general generator" in warning for warning in found.warnings)


def test_a_pack_that_refuses_all(tiny_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_maker, "speech", lambda rng, name, count: np.zeros(count, np.float32))
    silent = made_store(tmp_path / "silent", PEOPLE, flac=True, logmels=False)
    settings = EvaluationSettings(str(silent.folder), {"tiny": tiny_pack})
    with pytest.raises(
        EvaluateError, match=r"voices of 0 people .*tiny has no face for 12 of 12 voices \(not-speech 12\)"
    ):
        evaluate(settings, made_judges(PEOPLE))


@pytest.mark.usefixtures("few_conditions")
@pytest.mark.slow
def test_pairs_of_voices_of_two_packs_can_be_told_apart(run: Run, four: Path, tiny_pack: Path, tmp_path: Path) -> None:
    other = make_pack(tmp_path / "other", features="logmel-64")
    _, trials = run(store=str(four), packs={"one": tiny_pack, "two": other}, voice_side=True)
    pairs = [tuple({**row, "score": ""}.items()) for row in trials if row["protocol"].startswith("voices")]
    assert len(pairs) == len(set(pairs))  # whatever the score is


# -------------------------------------------------------------------------------- what stores there are


def test_nothing_to_evaluate(run: Run) -> None:
    with pytest.raises(EvaluateError, match="give a pack, a folder of pictures, or a view of the store"):
        run()


def test_two_systems_of_one_name(run: Run, faces: Path) -> None:
    with pytest.raises(EvaluateError, match="Two systems are called face; give one of them another name"):
        run(pictures={"face": faces}, references=("face",))


def test_a_store_without_photographs(run: Run, tmp_path: Path, tiny_pack: Path) -> None:
    people = [Person(f"T{i}", split="test", photos=0) for i in range(3)]
    folder = made_store(tmp_path / "s", people).folder
    with pytest.raises(StoreError, match="0 people of the split 'test' have a voice and a face of view 'photo'"):
        run(store=str(folder), packs={"tiny": tiny_pack})
    with pytest.raises(StoreError, match="0 people of the split 'valid'"):
        run(store=str(folder), packs={"tiny": tiny_pack}, split="valid")


def test_a_store_without_sounds(run: Run, tmp_path: Path, tiny_pack: Path) -> None:
    folder = made_store(tmp_path / "s", [Person(f"T{i}", split="test") for i in range(3)]).folder
    with pytest.raises(StoreError, match=r"has no flac; .* another --keep"):
        run(store=str(folder), packs={"tiny": tiny_pack})


@pytest.mark.parametrize(
    "people",
    [
        pytest.param([Person(f"T{i}", "f", split="test", clips=2) for i in range(10)], id="one gender"),
        pytest.param([Person(f"T{i}", "", split="test", clips=2) for i in range(8)], id="no labels"),
    ],
)
def test_people_of_one_kind(run: Run, tmp_path: Path, people: list[Person]) -> None:
    folder = made_store(tmp_path / "s", people).folder
    found, _ = run(known=people, store=str(folder), references=("s2f",), view="face", draws=0)
    by_key = tables(found)
    assert value(of(by_key["matching"], "s2f")["2_False"]) == 1
    labelled = sum(person.gender != "" for person in people)
    assert found.facts["gender"]["by the data"] == labelled
    assert any(w.startswith(f"The data say the gender of {labelled} of {len(people)} people") for w in found.warnings)
    trials_of_gender = of(by_key["matching"], "s2f")["2_True"].n
    assert trials_of_gender == (20 * 2 * 10 if labelled else 0)
    write_report(found, tmp_path / "report", {"trials.csv": b""})


def test_without_draws_there_are_no_intervals(run: Run, faces: Path, tiny_pack: Path, tmp_path: Path) -> None:
    found, _ = run(packs={"tiny": tiny_pack}, pictures={"perfect": faces}, draws=0)
    figures = [cell for row in tables(found)["matching"].rows for cell in row.values() if isinstance(cell, Figure)]
    assert figures
    assert all(figure.low is None and figure.high is None for figure in figures)
    assert not any(" to " in words for words, what in found.summary if "kernel" not in what)
    write_report(found, tmp_path / "report", {"trials.csv": b""})


def test_two_people(run: Run, tiny_pack: Path) -> None:
    found, _ = run(packs={"tiny": tiny_pack}, people=2, voices_per_person=1)
    assert found.facts["people"] == 2
    assert of(tables(found)["matching"], "tiny: general")["2_False"].n == 2 * 20


def test_one_person_alone_has_another_photograph(run: Run, tmp_path: Path) -> None:
    people = [Person(f"T{i}", "mf"[i % 2], 20.0, "test", voices=1, photos=1 + (i == 0), clips=1) for i in range(8)]
    folder = made_store(tmp_path / "s", people).folder
    found, _ = run(known=people, store=str(folder), references=("s2f",))
    assert of(tables(found)["matching"], "oracle: another photograph")["voices"] == 1


def test_the_pictures_to_look_at(run: Run, faces: Path) -> None:
    found, _ = run(pictures={"perfect": faces}, references=("face",))
    grids = {part.key: part for s in found.sections for part in s.parts if isinstance(part, Grid)}
    assert {*grids} == {"voices", "ends"}  # no gender is read wrong
    assert grids["voices"].columns == ["real face", "face", "perfect"]
    assert len(grids["voices"].rows) == VOICES
    assert [said.split(",")[0] for said, _ in grids["ends"].rows] == ["best"] * 4 + ["median"] * 4 + ["worst"] * 4
    assert {said for said, _ in grids["voices"].rows} == {
        "man, under 30", "woman, under 30", "man, 30 to 60", "woman, 30 to 60",
    }  # fmt: skip
    assert not any(person.name in said for person in PEOPLE for grid in grids.values() for said, _ in grid.rows)


def test_the_split_is_told_if_it_is_train(run: Run, tmp_path: Path) -> None:
    people = [Person(f"T{i}", "mf"[i % 2], 20.0, "train", voices=2, clips=2) for i in range(8)]
    folder = made_store(tmp_path / "s", people).folder
    found, _ = run(known=people, store=str(folder), references=("s2f",), split="train")
    assert "The split is train: packs may have learnt from these people." in found.warnings
    assert "The gallery holds 8 people; others state figures for 100." in found.warnings


@pytest.mark.slow
def test_a_pack_of_another_split_is_told(run: Run, four: Path, tmp_path: Path) -> None:
    pack = make_pack(tmp_path / "pack")
    manifest = json.loads((pack / "manifest.json").read_text())
    for split, told in (("letter", True), (None, False)):  # a made store has no rule
        manifest["training"] = {"store": {"plan": "made", "split": split}}
        (pack / "manifest.json").write_text(json.dumps(manifest))
        found, _ = run(packs={"tiny": pack}, store=str(four), trials=1)
        assert any("whose split goes by letter" in warning for warning in found.warnings) == told


def test_judges_are_named(run: Run, faces: Path) -> None:
    found, _ = run(pictures={"perfect": faces})
    judges: list[Judge] = made_judges(PEOPLE).all
    assert found.facts["judges"] == {
        role: {"name": judge.name, "sha256": judge.sha256}
        for role, judge in zip(
            ("recogniser", "gender and age", "Fréchet distance, made"), (judges[0], judges[1], judges[0]), strict=True
        )
    }
