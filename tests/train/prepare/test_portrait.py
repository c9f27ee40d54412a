"""Portraits: brought to the frame, left out with a reason, and once each in the store."""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from typer.testing import CliRunner

from s2f_train.cli.prepare import register
from s2f_train.data.frame import MEAN_SHAPE, POINTS_MEMBER, SIDE, VIEW
from s2f_train.data.items import split_of
from s2f_train.data.landmarks import MIRRORED
from s2f_train.data.portraits import load_portraits
from s2f_train.data.store import Store, read_lines
from s2f_train.prepare import portrait
from s2f_train.prepare.align import Picture, warp
from s2f_train.prepare.build import is_finished, missing
from s2f_train.prepare.fingerprint import MOST_BITS, fingerprint, look_the_same, near_pairs
from s2f_train.prepare.item import PrepareSettings
from s2f_train.prepare.plan import Choice, plan
from s2f_train.prepare.portrait import PortraitError, PortraitMaker
from s2f_train.prepare.sources.portraits import portraits
from s2f_train.prepare.unit import Unit
from tests.train.made_sources import SMALL, made_source, prepared

GROUND = (120, 140, 170)


GOLDEN = Path(__file__).resolve().parents[2] / "golden"


@pytest.fixture(scope="module")
def faces() -> dict[str, Picture]:
    """A man's and a woman's face of 64x64, made by version 2 of the default pack: nobody's."""
    return {name: np.asarray(Image.open(GOLDEN / f"face_{name}.png")) for name in ("male", "female")}


@pytest.fixture(scope="module")
def maker() -> PortraitMaker:
    return PortraitMaker()


def head(face: Picture, seed: int = 0, noise: float = 10.0) -> Picture:
    """A picture of 400x400 with a head of 320 pixels; noise, since the pack's face is smooth."""
    canvas = np.empty((400, 400, 3))
    canvas[:] = GROUND
    canvas[60:380, 40:360] = resized(face, 320)
    canvas += np.random.default_rng(seed).normal(0, noise, (400, 400, 1))
    return canvas.clip(0, 255).astype(np.uint8)


def resized(picture: Picture, side: int) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def squeezed(picture: Picture, share: float) -> Picture:
    """The left half takes `share` of the width, as the far side of a turned head does."""
    image, side = Image.fromarray(picture), picture.shape[1]
    middle = round(share * side)
    left = image.crop((0, 0, side // 2, side)).resize((middle, side))
    right = image.crop((side // 2, 0, side, side)).resize((side - middle, side))
    return np.concatenate([np.asarray(left), np.asarray(right)], axis=1)


def grey(picture: Picture) -> Picture:
    return np.asarray(Image.fromarray(picture).convert("L").convert("RGB"))


def blurred(picture: Picture, radius: float) -> Picture:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def mirrored(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture[:, ::-1])


def distance(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Mean distance of points in pixels of the frame."""
    return float(SIDE * np.hypot(*(one.astype(float) - other.astype(float)).T).mean())


def save(folder: Path, **pictures: Picture) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def store_of(folder: Path, root: Path, choice: Choice = SMALL, jobs: int = 1) -> Store:
    prepared(plan(portraits(root), choice, PrepareSettings()), folder, jobs=jobs)
    return Store.open(folder)


def reasons(store: Store) -> dict[str, str]:
    return {row["name"]: row["why"] for row in read_lines(store.folder / "skipped.jsonl")}


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- the frame


def test_the_mean_shape_is_symmetric_and_inside() -> None:
    assert (MEAN_SHAPE.dtype, MEAN_SHAPE.shape) == (np.float32, (68, 2))
    mirror = MEAN_SHAPE[list(MIRRORED)] * [-1, 1] + [1, 0]
    np.testing.assert_allclose(mirror, MEAN_SHAPE, atol=1e-6)
    assert MEAN_SHAPE.min() > 0.2  # room for the hair above and beside
    assert MEAN_SHAPE.max() < 0.95


@pytest.mark.slow
def test_a_head_lies_on_the_frame(maker: PortraitMaker, faces: dict[str, Picture]) -> None:
    for face in faces.values():
        made = maker(head(face))
        assert (made.pixels.shape, made.pixels.dtype) == ((256, 256, 3), np.uint8)
        assert (made.points.shape, made.points.dtype) == ((68, 2), np.float16)
        assert distance(made.points, MEAN_SHAPE) < 4
        # The pixels are where the points say: found again in them, on the frame already.
        again = maker(made.pixels)
        assert distance(again.points, made.points) < 1.5
        assert again.enlarged == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("degrees", "scale"), [(-12, 1.0), (15, 0.8), (0, 1.4)])
def test_a_turned_or_scaled_copy_gives_the_same_portrait(
    maker: PortraitMaker, faces: dict[str, Picture], degrees: float, scale: float
) -> None:
    picture = head(faces["female"], noise=6)
    angle, side = math.radians(degrees), 700
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / scale
    copy = warp(picture, np.column_stack([matrix, [200, 200] - matrix @ [side / 2, side / 2]]), side)
    straight, other = maker(picture), maker(copy)
    assert distance(straight.points, other.points) < 1.5
    assert other.enlarged == pytest.approx(straight.enlarged / scale, rel=0.03)
    assert np.abs(straight.pixels.astype(float) - other.pixels).mean() < 8
    assert look_the_same(straight.pixels, other.pixels)


def test_where_the_picture_ends_its_edge_goes_on(maker: PortraitMaker, faces: dict[str, Picture]) -> None:
    picture = head(faces["male"])
    whole, cut = maker(picture), maker(picture[:, 90:310])
    assert distance(cut.points, whole.points) < 2
    rows = [np.abs(np.diff(made.pixels[:, :8].astype(int), axis=1)).mean() for made in (whole, cut)]
    assert rows[1] < rows[0] / 3  # columns that repeat
    assert cut.pixels[:, :8].mean() > 50  # and are not black


def test_of_two_heads_the_larger_is_taken(maker: PortraitMaker, faces: dict[str, Picture]) -> None:
    both = np.full((400, 700, 3), GROUND, np.uint8)
    both[:, :400] = head(faces["male"])
    both[100:360, 430:690] = resized(head(faces["female"]), 260)
    alone, found = maker(head(faces["male"])), maker(both)
    assert distance(alone.points, found.points) < 1.5
    assert look_the_same(alone.pixels, found.pixels)
    assert not look_the_same(maker(head(faces["female"])).pixels, found.pixels)


def test_the_points_of_a_mirror_image_are_mirrored(maker: PortraitMaker, faces: dict[str, Picture]) -> None:
    made, mirror = maker(head(faces["female"])), maker(mirrored(head(faces["female"])))
    back = mirror.points[list(MIRRORED)].astype(float) * [-1, 1] + [1, 0]
    assert distance(back, made.points) < 2.5


# --- what is left out


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda picture: np.full_like(picture, 128), "no face found"),
        (lambda picture: resized(picture, 130), r"too small: the head's frame has \d+ pixels, 128 are needed"),
        (lambda picture: squeezed(picture, 0.24), r"turned: the nose is 0\.\d\d of half the face beside its middle"),
        (grey, r"grey: colour is 0\.0 levels, 8 is needed"),
        (lambda picture: blurred(picture, 2.5), r"blurred: sharpness is \d+, 60 is needed"),
    ],
    ids=["no face", "small", "turned", "grey", "blurred"],
)
def test_what_is_no_portrait_is_left_out(
    maker: PortraitMaker, faces: dict[str, Picture], change: Callable[[Picture], Picture], why: str
) -> None:
    picture = head(faces["female"])
    maker(picture)
    with pytest.raises(PortraitError, match=f"^{why}"):
        maker(change(picture))


@pytest.mark.parametrize("change", [lambda p: resized(p, 260), lambda p: squeezed(p, 0.42), lambda p: blurred(p, 0.3)])
def test_a_little_of_it_does_not_matter(
    maker: PortraitMaker, faces: dict[str, Picture], change: Callable[[Picture], Picture]
) -> None:
    assert maker(change(head(faces["female"]))).points.shape == (68, 2)


def test_how_far_a_nose_is_off_the_middle() -> None:
    points = MEAN_SHAPE.astype(np.float64)
    assert portrait.turn_of(points) == pytest.approx(0, abs=1e-6)
    moved = points.copy()
    half = (points[portrait.JAW_RIGHT, 0].mean() - points[portrait.JAW_LEFT, 0].mean()) / 2
    moved[portrait.NOSE, 0] -= 0.3 * half
    assert portrait.turn_of(moved) == pytest.approx(0.3)


def test_points_that_are_no_face_are_told() -> None:
    points = MEAN_SHAPE.astype(np.float64)
    assert portrait._turned(points) == ""
    points[48:, 1] += 0.1  # the mouth on the chin
    assert portrait._turned(points).startswith("turned or hidden: the points are 0.054")


def test_sharpness_and_colour_are_those_of_the_face() -> None:
    points = MEAN_SHAPE.astype(np.float64)
    inside = portrait._inside(points)
    assert 0.2 < inside.mean() < 0.5
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    around = np.where(inside[..., None], np.uint8(90), noise)
    within = np.where(inside[..., None], noise, np.uint8(90))
    assert portrait.sharpness_of(within, points) > 20 * portrait.sharpness_of(around, points)
    assert portrait.colour_of(around, points) == 0
    assert portrait.colour_of(within, points) > 100
    step = np.zeros((SIDE, SIDE, 3), np.uint8)
    step[::2, ::2] = 10  # its Laplacian is -40, 20 and 0 in a quarter, a half and a quarter
    assert portrait.sharpness_of(step, points) == pytest.approx(600, rel=0.02)


# --- the same picture twice


def test_near_fingerprints_are_found_wherever_they_are() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (700, 256), dtype=np.uint8)
    for one, other, changed in ((3, 650, MOST_BITS), (5, 300, MOST_BITS + 1), (255, 256, 1), (600, 601, 0)):
        bits[other] = bits[one]
        bits[other, rng.choice(256, changed, replace=False)] ^= 1
    prints = [np.packbits(row).tobytes().hex() for row in bits]
    assert near_pairs(prints) == [(3, 650), (255, 256), (600, 601)]
    assert near_pairs(prints[:1]) == near_pairs([]) == []


def test_a_fingerprint_survives_copying_but_not_a_mirror(maker: PortraitMaker, faces: dict[str, Picture]) -> None:
    picture = head(faces["male"])
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=50)
    copies = [resized(picture, 300), np.asarray(Image.open(file).convert("RGB"))]
    others = [mirrored(picture), head(faces["female"])]
    first, *rest = (maker(p) for p in [picture, *copies, *others])
    near = {j for i, j in near_pairs([first.fingerprint, *(made.fingerprint for made in rest)]) if i == 0}
    assert near == {1, 2}
    assert first.fingerprint == fingerprint(first.pixels)
    assert [look_the_same(first.pixels, made.pixels) for made in rest[:2]] == [True, True]
    assert not look_the_same(first.pixels, rest[-1].pixels)


# --- whole stores


@pytest.fixture(scope="module")
def root(faces: dict[str, Picture], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two heads, their copies, and what is no portrait."""
    male, female = head(faces["male"]), head(faces["female"])
    folder = save(
        tmp_path_factory.mktemp("portraits"),
        male=male,
        another=resized(male, 300),
        female=female,
        same=female,
        tiny=resized(female, 130),
        blurred=blurred(male, 3),
        flat=np.full_like(male, 200),
    )
    return save(folder / "more", mirror=mirrored(male)).parent


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of `root`, 5 items a shard. Shared: a test that changes a store makes its own."""
    return store_of(tmp_path_factory.mktemp("stores") / "portraits", root)


@pytest.mark.slow
def test_a_store_has_each_portrait_once(made: Store) -> None:
    why = reasons(made)
    assert {name: text.split(":")[0] for name, text in why.items()} == {
        "another": "doubled",
        "same": "doubled",
        "tiny": "too small",
        "blurred": "blurred",
        "flat": "no face found",
    }
    # Of the sizes the largest, of equal ones the first by name.
    assert why["another"] == "doubled: the same picture as male of portraits"
    assert why["same"] == "doubled: the same picture as female of portraits"
    assert {s.identity for s in made.faces} == {"portraits-male", "portraits-female", "portraits-more-mirror"}
    assert made.facts["counts"]["faces"] == 3
    assert made.facts["counts"]["skipped"] == made.facts["sources"]["portraits"]["skipped"] == 5
    assert made.voices == []
    page = (made.folder / "report.html").read_text()
    assert "portrait: 3 of 3" in page
    assert all(f">{reason}</td>" in page for reason in ("doubled", "too small", "blurred", "no face found"))


def test_a_portrait_has_its_picture_and_points(made: Store, maker: PortraitMaker, root: Path) -> None:
    for sample in made.faces:
        facts = json.loads(made.read(sample, "json"))
        expected = maker(np.asarray(Image.open(root / f"{facts['name'].replace('more-', 'more/')}.png")))
        assert (sample.view, sample.source) == (VIEW, "portraits")
        assert set(sample.members) == {"jpg", "json", POINTS_MEMBER}
        np.testing.assert_array_equal(np.load(io.BytesIO(made.read(sample, POINTS_MEMBER))), expected.points)
        with Image.open(io.BytesIO(made.read(sample, "jpg"))) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (256, 256), "RGB")
            assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # 4:4:4
            assert np.abs(np.asarray(image, float) - expected.pixels).mean() < 3
        who = made.identities[sample.identity]
        assert (who.gender, who.age, who.split) == ("", None, split_of(replace(who, split=None), "hash"))
        assert facts["enlarged"] == pytest.approx(expected.enlarged, abs=1e-3)
    pictures, points = load_portraits(made, made.faces)
    assert tuple(pictures.shape) == (3, 3, 256, 256)
    assert tuple(points.shape) == (3, 68, 2)


def test_shards_have_what_their_indices_say(made: Store) -> None:
    shards = sorted(made.folder.glob("faces/*.tar"))
    assert len(shards) == 2
    for shard in shards:
        head, *rows = read_lines(shard.with_suffix(".jsonl"))
        with tarfile.open(shard) as tar:
            keys = list(dict.fromkeys(member.name.split(".")[0] for member in tar))
        assert keys == [row["key"] for row in rows if "why" not in row]
        assert (head["samples"], head["skipped"]) == (len(keys), len(rows) - len(keys))
        assert head["bytes"] == shard.stat().st_size


@pytest.mark.parametrize(("items", "jobs"), [(1, 2), (2, 1), (100, 1)])
@pytest.mark.slow
def test_it_does_not_matter_who_makes_which(made: Store, root: Path, tmp_path: Path, items: int, jobs: int) -> None:
    other = store_of(tmp_path / "store", root, replace(SMALL, shard_items=items), jobs)
    assert reasons(other) == reasons(made)
    assert sorted(s.key for s in other.faces) == sorted(s.key for s in made.faces)


@pytest.mark.parametrize("lost", ["store.json", "faces/000000.tar", "faces/000001.jsonl"])
@pytest.mark.slow
def test_a_store_that_lost_something_becomes_the_same_again(made: Store, root: Path, tmp_path: Path, lost: str) -> None:
    planned = plan(portraits(root), SMALL, PrepareSettings())
    store_of(tmp_path / "store", root)
    assert files(tmp_path / "store").keys() == files(made.folder).keys()
    (tmp_path / "store" / lost).unlink()
    todo = missing(planned, tmp_path / "store")
    assert [unit.shard for unit in todo] == ([] if lost == "store.json" else [lost.replace("jsonl", "tar")])
    prepared(planned, tmp_path / "store")
    before, after = files(made.folder), files(tmp_path / "store")
    assert {name for name in before if before[name] != after[name]} <= {"report.html"}  # it has the folder's name
    assert is_finished(planned, tmp_path / "store")
    assert missing(planned, tmp_path / "store") == []


@pytest.mark.slow
def test_a_double_is_back_when_the_other_is_gone(faces: dict[str, Picture], tmp_path: Path) -> None:
    female = head(faces["female"])
    folder = save(tmp_path / "data", a=female, b=resized(female, 360), c=head(faces["male"]))
    one_each = replace(SMALL, shard_items=1)
    store = store_of(tmp_path / "store", folder, one_each)
    assert set(reasons(store)) == {"b"}
    (folder / "a.png").unlink()
    again = plan(portraits(folder), one_each, PrepareSettings())
    prepared(again, tmp_path / "store", replace=True)
    store = Store.open(tmp_path / "store")
    assert {s.identity for s in store.faces} == {"portraits-b", "portraits-c"}
    assert reasons(store) == {}


@pytest.mark.slow
def test_an_interruption_between_two_shards_does_not_matter(
    made: Store, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s2f_train.prepare import doubles

    planned = plan(portraits(root), replace(SMALL, shard_items=1), PrepareSettings())
    whole = prepared(planned, tmp_path / "whole")
    leave_out, done = doubles.leave_out, []

    def first_alone(unit: Unit, folder: Path, why: dict[str, str]) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(unit)
        leave_out(unit, folder, why)

    monkeypatch.setattr(doubles, "leave_out", first_alone)
    with pytest.raises(KeyboardInterrupt):
        prepared(planned, tmp_path / "store")
    monkeypatch.undo()
    assert len(done) == 1
    assert missing(planned, tmp_path / "store") == []
    prepared(planned, tmp_path / "store")
    before, after = files(whole.folder), files(tmp_path / "store")
    assert {name for name in before if before[name] != after.get(name)} == {"report.html"}


@pytest.mark.slow
def test_beside_other_data_nothing_of_them_changes(root: Path, tmp_path: Path) -> None:
    others = made_source(tmp_path / "data", 2, 4)
    alone, both = (plan(sources, SMALL, PrepareSettings()) for sources in ([others], [others, *portraits(root)]))
    store = prepared(both, tmp_path / "store")
    assert Counter(s.source for s in store.faces) == {"made": 4, "portraits": 3}
    assert len(store.voices) == 2
    assert set(store.identities) >= {item.identity for item in others.items}
    expected = prepared(alone, tmp_path / "alone")
    old = {s.key: expected.read(s, "png") for s in expected.faces}
    assert {s.key: store.read(s, "png") for s in store.faces if s.source == "made"} == old
    assert [u.digest for u in both.units if u.shard.startswith("voices")] == [
        u.digest for u in alone.units if u.shard.startswith("voices")
    ]
    entries = alone.units[-1].entries  # faces without a portrait among them depend on no portrait
    assert Unit.of("faces/000000.tar", entries, PrepareSettings(), "x") == Unit.of(
        "faces/000000.tar", entries, PrepareSettings()
    )
    portrait_entries = tuple(entry for unit in both.units for entry in unit.entries if entry.item.content == "portrait")
    assert (
        Unit.of("s", portrait_entries, PrepareSettings(), "x").digest
        != Unit.of("s", portrait_entries, PrepareSettings(), "y").digest
    )


@pytest.mark.slow
def test_a_store_where_nothing_is_twice_is_not_written_again(
    faces: dict[str, Picture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s2f_train.prepare import doubles

    monkeypatch.setattr(doubles, "leave_out", lambda *_: pytest.fail("nothing is to be left out"))
    store = store_of(tmp_path / "store", save(tmp_path / "data", a=head(faces["male"]), b=head(faces["female"])))
    assert len(store.faces) == 2


# --- the command


@pytest.mark.slow
def test_the_command(root: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    register(app)
    (tmp_path / "who.csv").write_text("name,source,gender,age,identity\nmale,studio,m,44,Ann\nfemale,studio,f,,\n")
    command = ["prepare", "--out", str(tmp_path / "store"), "--portraits", str(root), "--jobs", "1"]
    command += ["--portraits-csv", str(tmp_path / "who.csv")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "has 0 voices (0.00 h of speech) and 3 faces of 3 identities; 5 items were left out." in result.output
    store = Store.open(tmp_path / "store")
    assert Counter(s.source for s in store.faces) == {"portraits-studio": 2, "portraits": 1}
    assert (store.identities["Ann"].gender, store.identities["Ann"].age) == ("m", 44.0)
    assert store.identities["portraits-female"].gender == "f"
    again = CliRunner().invoke(app, command)
    assert again.output.startswith("Nothing to do: ")
    dry = CliRunner().invoke(app, [*command, "--dry-run"])
    assert "portraits-studio: 2 faces, about" in dry.output
    alone = CliRunner().invoke(app, ["prepare", "--out", str(tmp_path / "x"), "--portraits-csv", "who.csv"])
    assert (alone.exit_code, alone.output) == (2, "error: --portraits-csv needs --portraits too.\n")


# --- real portraits


@pytest.mark.slow
def test_real_portraits(s2f_data: Path, tmp_path: Path) -> None:
    """40 pictures of all sources, and changed copies of some of them."""
    archive = s2f_data / "data" / "faces" / "faces.tar"
    folder = tmp_path / "data"
    folder.mkdir()
    with tarfile.open(archive) as tar:
        members = tar.getmembers()[7::120]
        assert len(members) == 40
        for member in members:
            file = tar.extractfile(member)
            assert file is not None
            (folder / member.name).write_bytes(file.read())
    (folder / "faces.csv").write_bytes((s2f_data / "data" / "faces" / "faces.csv").read_bytes())
    with np.load(archive.with_name("landmarks68.npz")) as archive_points:
        known = dict(zip(archive_points["names"].tolist(), archive_points["points"], strict=True))
    changed: dict[str, str] = {}
    for i, member in enumerate(members[:6]):
        pixels = np.asarray(Image.open(folder / member.name).convert("RGB"))
        turned = squeezed(pixels if known[member.name[:-5]][30, 0] < 0.5 else mirrored(pixels), 0.22)  # further
        copies = {
            "blurred": blurred(pixels, 2),
            "turned": turned,
            "too small": resized(pixels, 110),
            "grey": grey(pixels),
            "doubled": resized(pixels, 190),
            "": mirrored(pixels),
        }
        for why, copy in copies.items():
            name = f"{why.replace(' ', '_') or 'mirror'}_{i}"
            changed[name] = why
            Image.fromarray(copy).save(folder / f"{name}.jpg", quality=90)
    planned = plan(portraits(folder), replace(SMALL, shard_items=30), PrepareSettings())
    store = prepared(planned, tmp_path / "store")

    found = {name: why.split(":")[0].split(" or ")[0] for name, why in reasons(store).items()}
    assert found == {name: why for name, why in changed.items() if why}
    assert len(store.faces) == 40 + 6
    genders = Counter(store.identities[s.identity].gender for s in store.faces)
    assert genders["f"] > 10
    assert genders["m"] > 5
    assert "portraits-synth" in store.facts["sources"]
    assert {who.split for who in store.identities.values()} == {"train", "valid", "test"}
    assert all(who.split == split_of(replace(who, split=None), "hash") for who in store.identities.values())

    pictures, points = load_portraits(store, store.faces)
    assert tuple(pictures.shape) == (46, 3, 256, 256)
    distances = [
        distance(points[i].numpy(), known[name])
        for i, sample in enumerate(store.faces)
        if (name := sample.identity.removeprefix("portraits-")) in known
    ]
    assert len(distances) == 40
    assert np.mean(distances) < 2  # pixels of 256; these pictures lie on the frame already, by other points
    assert np.abs(points.mean(dim=0).numpy() - MEAN_SHAPE).max() < 0.02
