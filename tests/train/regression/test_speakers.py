"""What is known of the training speakers before a generator learns, and how well a network tells speakers apart."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from s2f_train.config import GanSettings
from s2f_train.data.store import Store
from s2f_train.evaluate.error_rate import equal_error_rate
from s2f_train.models.traits import MOST_WEIGHT, WEIGHT_DECAY, VoiceTraits, balanced
from s2f_train.models.voice import GE2EEncoder, VoiceEmbeddingNetwork, unit
from s2f_train.regression.speakers import COPIES, SpeakerVoices, unseen_surprise
from tests.train.made_store import Person, made_store

SHORT = (60, 80)
PEOPLE = [
    Person("Dan", "m", voices=5, photos=0, frames=SHORT),
    Person("Amy", "f", voices=2, photos=0, frames=SHORT),
    Person("Bob", "m", voices=1, photos=0, frames=SHORT, source="other"),
    Person("Cat", "", voices=2, photos=0, frames=SHORT),
    Person("Val", "f", voices=3, photos=0, frames=SHORT, split="valid"),
    Person("Tom", "m", voices=3, photos=0, frames=SHORT, split="test"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_store(tmp_path_factory.mktemp("stores") / "made", PEOPLE, shard_items=4)


@pytest.fixture(scope="module")
def encoder() -> VoiceEmbeddingNetwork:
    torch.manual_seed(2)
    network = VoiceEmbeddingNetwork((64, 12, 12), 8)
    network(torch.randn(8, 64, 40))
    return network.eval()


def speakers(store: Store, encoder: VoiceEmbeddingNetwork, runs: Path, **values: object) -> SpeakerVoices:
    settings = GanSettings(runs=str(runs), **values)  # type: ignore[arg-type]
    return SpeakerVoices.of(store, settings, encoder, Fabric(accelerator="cpu", devices=1))


def by_hand(store: Store, encoder: VoiceEmbeddingNetwork, name: str, clip: int) -> torch.Tensor:
    voice = [v for v in store.voices if v.identity == name][clip]
    frames = np.resize(store.logmel(voice).astype(np.float32), (1000, 64))
    with torch.inference_mode():
        return encoder(torch.from_numpy(frames.T.copy())[None])[0]


# ------------------------------------------------------------------------------- embeddings


def test_at_most_three_clips_of_each_training_speaker(
    store: Store, encoder: VoiceEmbeddingNetwork, tmp_path: Path
) -> None:
    """By name, so that clips of one speaker stand together; nobody of the other splits, whatever the gender."""
    found = speakers(store, encoder, tmp_path, gender="female")
    expected = [("Amy", 0), ("Amy", 1), ("Bob", 0), ("Cat", 0), ("Cat", 1), ("Dan", 0), ("Dan", 1), ("Dan", 2)]
    assert found.embeddings.shape == (8, 8)
    for row, (name, clip) in zip(found.embeddings, expected, strict=True):
        torch.testing.assert_close(row, by_hand(store, encoder, name, clip), rtol=1e-4, atol=1e-5)
    genders = ["m" if x == 1 else "f" if x == 0 else "" for x in found.male.tolist()]
    assert genders == ["f", "f", "m", "", "", "m", "m", "m"]


def test_only_the_sources_that_are_asked_for(store: Store, encoder: VoiceEmbeddingNetwork, tmp_path: Path) -> None:
    found = speakers(store, encoder, tmp_path, sources=("other",))
    torch.testing.assert_close(found.embeddings[0], by_hand(store, encoder, "Bob", 0), rtol=1e-4, atol=1e-5)
    assert len(found.embeddings) == 1
    assert found.traits() is None


def of_embeddings(embeddings: torch.Tensor, male: list[float]) -> SpeakerVoices:
    nothing: object = None
    samples = [SimpleNamespace(source="made")] * len(male)
    return SpeakerVoices(nothing, nothing, Path(), nothing, samples, embeddings, torch.tensor(male))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------- gender and typicality


def crowd_of_embeddings(count: int = 120, seed: int = 0) -> tuple[torch.Tensor, list[float]]:
    """Men on one side and women on the other, (count, 16), and who is which."""
    generator = torch.Generator().manual_seed(seed)
    male = [float(i % 2) for i in range(count)]
    x = 0.1 * torch.randn(count, 16, generator=generator)
    x[:, 0] += 2 * torch.tensor(male) - 1
    return unit(x), male


def test_traits_tell_the_gender_of_someone_new() -> None:
    embeddings, male = crowd_of_embeddings()
    found = of_embeddings(embeddings, male).traits()
    assert found is not None
    traits, facts = found
    assert facts["right"] == 1
    new, truth = crowd_of_embeddings(60, seed=9)
    with torch.no_grad():
        told, surprise = traits(new)
    assert ((told > 0.5).float() == torch.tensor(truth)).all()
    # About 1 for a usual voice, and far more for one that is not like any.
    assert 0.5 < surprise.mean() < 2
    with torch.no_grad():
        odd = traits(unit(torch.eye(16)[5:6] - torch.eye(16)[7:8]))[1]
    assert odd > 2 * facts["surprise_p99"]
    assert facts["surprise_p50"] < facts["surprise_p95"] < facts["surprise_p99"]


def test_traits_are_the_same_each_time_and_leave_the_dice() -> None:
    embeddings, male = crowd_of_embeddings(40)
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    made = [of_embeddings(embeddings, male).traits() for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert made[0] is not None
    assert made[1] is not None
    for key, tensor in made[0][0].state_dict().items():
        assert torch.equal(made[1][0].state_dict()[key], tensor)


def test_copies_from_elsewhere_teach_what_stays_of_the_gender() -> None:
    """What tells genders apart in the stored voices alone is of no use where it is lost."""
    embeddings, male = crowd_of_embeddings()
    generator = torch.Generator().manual_seed(3)

    def elsewhere(embeddings: torch.Tensor, male: list[float]) -> torch.Tensor:
        copy = embeddings + 0.02 * torch.randn(embeddings.shape, generator=generator)
        copy[:, 0] = 0.0
        copy[:, 1] += 0.3 * (2 * torch.tensor(male) - 1)
        return unit(copy)

    speakers = of_embeddings(embeddings, male)
    copies = torch.stack([elsewhere(embeddings, male) for _ in range(2)])
    plain, taught = speakers.traits(), speakers.traits(copies=copies)
    assert plain
    assert taught
    new, truth = crowd_of_embeddings(60, seed=9)
    right = []
    for traits, _ in (plain, taught):
        with torch.no_grad():
            told = [traits(x)[0] > 0.5 for x in (new, elsewhere(new, truth))]
        right.append([float((x == (torch.tensor(truth) > 0.5)).float().mean()) for x in told])
    assert right[0][0] == right[1][0] == 1
    assert right[0][1] < 0.8
    assert right[1][1] > 0.95
    assert torch.equal(plain[0].whiten, taught[0].whiten)  # what is usual is as before


def test_women_and_men_weigh_alike_in_each_source() -> None:
    male = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    torch.testing.assert_close(balanced(male[:4]), torch.tensor([2 / 3, 2 / 3, 2 / 3, 2.0]))
    found = balanced(male, ["a", "a", "a", "a", "b", "b", "c"])
    torch.testing.assert_close(found, torch.tensor([2 / 3, 2 / 3, 2 / 3, 2.0, 1.0, 1.0, 0.5]))
    lonely = balanced(torch.tensor([0.0] + [1.0] * 99))
    assert lonely[0] == MOST_WEIGHT


def test_where_women_are_few_a_voice_is_no_more_a_mans() -> None:
    """A data set with hardly any women says nothing of a voice that sounds like its recordings."""
    embeddings, male = crowd_of_embeddings(400)
    embeddings[200:, 2] += 0.5  # how the other set sounds
    kept = [i for i in range(400) if i < 200 or male[i] == 1 or i % 20 == 0]
    embeddings, male = unit(embeddings)[kept], [male[i] for i in kept]
    sources = ["even" if i < 200 else "other" for i in kept]
    leaning = []
    for known in ((), sources):
        traits = VoiceTraits(16, 8)
        traits.fit(embeddings, torch.tensor(male), sources=known)
        leaning.append(float(traits.gender.weight[0, 2].detach()))
    assert leaning[0] > 0.5
    assert abs(leaning[1]) < 0.5 * leaning[0]


def test_copies_are_of_voices_of_known_gender(tmp_path: Path) -> None:
    store = made_store(tmp_path / "sounds", PEOPLE, flac=True)
    torch.manual_seed(0)
    found = speakers(store, GE2EEncoder(16, 12, 1).eval(), tmp_path)
    copies = found.elsewhere()
    assert copies is not None
    assert copies.shape == (COPIES, 6, 12)  # Amy 2, Bob 1, Dan 3; of Cat nothing is known
    assert all(not torch.equal(a, b) for a, b in combinations([found.embeddings[~found.male.isnan()], *copies], 2))
    torch.testing.assert_close(copies.norm(dim=2), torch.ones(COPIES, 6))
    planned = dataclasses.replace(found, cache=None).elsewhere()
    assert planned is not None
    assert planned.shape == copies.shape


def test_stored_features_have_no_copies(store: Store, encoder: VoiceEmbeddingNetwork, tmp_path: Path) -> None:
    assert speakers(store, encoder, tmp_path).elsewhere() is None


def test_more_decay_makes_the_gender_less_sure() -> None:
    embeddings, male = crowd_of_embeddings()
    sure = []
    for decay in (2.0, WEIGHT_DECAY, 60.0):
        found = of_embeddings(embeddings, male).traits(decay)
        assert found
        with torch.no_grad():
            sure.append(float((found[0](embeddings)[0] - 0.5).abs().mean()))
    assert sure[0] > sure[1] > sure[2] > 0.01


def test_traits_do_with_few_speakers() -> None:
    """Two of each gender are the least."""
    embeddings, male = crowd_of_embeddings(4)
    found = of_embeddings(embeddings, male).traits()
    assert found is not None
    assert all(np.isfinite(list(found[1].values())))
    assert of_embeddings(embeddings[:3], male[:3]).traits() is None


def test_surprise_is_of_speakers_that_were_left_out() -> None:
    """Neighbours are left out together: else a clip's twin would make it usual."""
    embeddings, _ = crowd_of_embeddings(50)
    odd = unit(torch.eye(16)[4:5] + 0.01)
    placed = torch.cat([odd, odd, embeddings.repeat_interleave(2, dim=0)])
    found = unseen_surprise(placed, 16)
    everyone = VoiceTraits(16, 16)
    everyone.fit(placed, torch.full((len(placed),), float("nan")))
    with torch.no_grad():
        with_itself = everyone(placed)[1]
    torch.testing.assert_close(found[0], found[1])
    assert found[0] > found[2:].max()
    assert found[0] > 1.5 * with_itself[0]
    assert 0.5 < found[2:].median() < 2


# ------------------------------------------------------------------------------- the equal error rate


@pytest.mark.parametrize(
    ("scores", "same", "rate"),
    [
        ([4, 3, 2, 1], [1, 1, 0, 0], 0),
        ([4, 3, 2, 1], [0, 0, 1, 1], 1),
        ([4, 3, 2, 1], [1, 0, 1, 0], 0.5),
        ([6, 5, 4, 3, 2, 1], [1, 1, 0, 1, 0, 0], 1 / 3),
        ([1, 2, 3, 4, 5, 6], [0, 0, 1, 0, 1, 1], 1 / 3),
        ([9, 8, 7, 6, 5], [1, 1, 1, 1, 0], 0),
        ([5, 4, 3, 2, 1], [1, 0, 1, 1, 1], (3 / 4 + 1) / 2),  # at 4, where the two rates are nearest
    ],
)
def test_equal_error_rate(scores: list[float], same: list[int], rate: float) -> None:
    scores_, same_ = np.array(scores, np.float32), np.array(same, bool)
    assert equal_error_rate(scores_, same_) == pytest.approx(rate)
    turned = np.random.default_rng(0).permutation(len(scores))
    assert equal_error_rate(scores_[turned], same_[turned]) == equal_error_rate(scores_, same_)


def test_equal_error_rate_of_chance() -> None:
    rng = np.random.default_rng(0)
    scores, same = rng.normal(size=20_000), rng.random(20_000) < 0.1
    assert equal_error_rate(scores, same) == pytest.approx(0.5, abs=0.02)


def test_equal_error_rate_of_two_bells() -> None:
    """Of deviation 1 and means 2 apart: the normal distribution's share beyond 1."""
    rng = np.random.default_rng(0)
    same = rng.random(200_000) < 0.5
    assert equal_error_rate(rng.normal(size=200_000) + 2 * same, same) == pytest.approx(0.1587, abs=0.005)


@pytest.mark.parametrize("first", [True, False])
def test_a_network_that_says_the_same_of_all_is_no_better_than_chance(first: bool) -> None:
    same = np.array([first] * 5 + [not first] * 5)
    assert equal_error_rate(np.ones(10), same) == 0.5


def test_equal_error_rate_needs_both_kinds() -> None:
    assert np.isnan(equal_error_rate(np.ones(3), np.ones(3, bool)))
    assert np.isnan(equal_error_rate(np.ones(3), np.zeros(3, bool)))
