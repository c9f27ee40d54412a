"""Embeddings of stored voices: those of the runtime, computed once."""

from __future__ import annotations

import io
import shutil
import zlib
from itertools import combinations
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from s2f_edge.hearing import audio, fbank, features, frontend
from s2f_edge.hearing.features import LOGMEL_BINS
from s2f_edge.hearing.frontend import LogMel64FrontEnd, MelPower40FrontEnd
from s2f_train.data import augment as augment_module
from s2f_train.data import degrade, embeddings
from s2f_train.data.augment import ELSEWHERE, augment
from s2f_train.data.embeddings import embed, windows_of, windows_of_speech
from s2f_train.data.store import Store, StoreError
from s2f_train.models import campplus, voice
from s2f_train.models.projected import ProjectedEncoder
from s2f_train.models.voice import GE2EEncoder, VoiceEmbeddingNetwork
from tests.train.made_store import Person, made_store

PEOPLE = [Person(name, voices=2, photos=0, frames=(150, 420)) for name in ("Ann", "Ben")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made_store(tmp_path_factory.mktemp("stores") / "made", PEOPLE, flac=True)


def network(seed: int = 0) -> VoiceEmbeddingNetwork:
    torch.manual_seed(seed)
    made = VoiceEmbeddingNetwork((LOGMEL_BINS, 12), 8)
    made(torch.randn(4, LOGMEL_BINS, 40))
    return made.eval()


def test_stored_features_give_what_the_runtime_gives(store: Store) -> None:
    encoder = network()
    for sample in store.voices:
        front_end = LogMel64FrontEnd()
        front_end.push(soundfile.read(io.BytesIO(store.read(sample, "flac")), dtype="float32")[0])
        with torch.inference_mode():
            (expected,) = [encoder(torch.from_numpy(batch)).numpy() for batch, _ in front_end.inputs()]
        found = windows_of(store, sample, encoder)
        assert found.shape == (1, 8)
        np.testing.assert_allclose(found, expected, atol=2e-4)  # float16 in between


def test_every_window_of_the_public_encoder(store: Store) -> None:
    torch.manual_seed(0)
    encoder = GE2EEncoder(16, 12, 1).eval()
    counts = []
    for sample in store.voices:
        front_end = MelPower40FrontEnd()
        front_end.push(soundfile.read(io.BytesIO(store.read(sample, "flac")), dtype="float32")[0])
        with torch.inference_mode():
            expected = torch.cat([encoder(torch.from_numpy(batch)) for batch, _ in front_end.inputs()]).numpy()
        found = windows_of(store, sample, encoder)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        counts.append(len(found))
    assert max(counts) > min(counts)


@pytest.mark.parametrize("kind", ["wen-cnn", "ge2e-lstm"])
def test_they_come_in_order_and_again_from_the_cache(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    encoder = network() if kind == "wen-cnn" else GE2EEncoder(16, 12, 1).eval()
    samples = [store.voices[i] for i in (2, 0, 3)]
    first = embed(store, samples, encoder, tmp_path / "cache")
    for windows, sample in zip(first, samples, strict=True):
        np.testing.assert_array_equal(windows.numpy(), windows_of(store, sample, encoder))
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.name.startswith("embeddings-")

    def fail(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(embeddings, "windows_of", fail)
    again = embed(store, samples, encoder, tmp_path / "cache")
    assert [w.tolist() for w in again] == [w.tolist() for w in first]


@pytest.mark.parametrize("kind", ["wen-cnn", "ge2e-lstm"])
def test_copies_are_of_the_same_voices_recorded_elsewhere(store: Store, tmp_path: Path, kind: str) -> None:
    """Each number is another recording, the same at each call; 0 is the voice as it is stored."""
    encoder = network() if kind == "wen-cnn" else GE2EEncoder(16, 12, 1).eval()
    cache = tmp_path / "cache"
    plain, first, second = (embed(store, store.voices, encoder, cache, copy=copy) for copy in (0, 1, 2))
    assert len(list(cache.iterdir())) == 3
    assert all(not torch.equal(torch.cat(a), torch.cat(b)) for a, b in combinations((plain, first, second), 2))
    for sample, windows in zip(store.voices, second, strict=True):
        speech = soundfile.read(io.BytesIO(store.read(sample, "flac")), dtype="float32")[0]
        rng = np.random.default_rng([2, zlib.crc32(sample.key.encode())])
        expected = windows_of_speech(augment(rng, speech, ELSEWHERE), encoder)
        torch.testing.assert_close(windows, expected)
    shutil.rmtree(cache)
    assert [w.tolist() for w in embed(store, store.voices, encoder, cache, copy=1)] == [w.tolist() for w in first]


@pytest.mark.parametrize("module", [augment_module, degrade], ids=lambda m: m.__name__)
def test_copies_that_are_kept_are_of_the_code_that_makes_them(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    counts = []
    for _ in range(2):
        for copy in (0, 1):
            embed(store, store.voices[:1], network(), tmp_path, copy=copy)
        counts.append(len(list(tmp_path.glob("embeddings-*"))))
        assert module.__file__
        changed = tmp_path / "changed.py"
        changed.write_bytes(Path(module.__file__).read_bytes() + b"# changed")
        monkeypatch.setattr(module, "__file__", str(changed))
    assert counts == [2, 3]  # the voices as they are stored are not heard again


def test_the_cache_is_of_these_weights_voices_and_store(store: Store, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    encoder = network()
    embed(store, store.voices, encoder, cache)
    other = embed(store, store.voices, network(1), cache)
    np.testing.assert_array_equal(other[0].numpy(), windows_of(store, store.voices[0], network(1)))
    turned = embed(store, store.voices[::-1], encoder, cache)
    np.testing.assert_array_equal(turned[0].numpy(), windows_of(store, store.voices[-1], encoder))
    # A norm's running mean is a weight too, though it is no parameter.
    encoder.model[1].running_mean += 1
    moved = embed(store, store.voices, encoder, cache)
    np.testing.assert_array_equal(moved[0].numpy(), windows_of(store, store.voices[0], encoder))
    another = made_store(tmp_path / "another", PEOPLE, flac=True, seed=1)
    elsewhere = embed(another, another.voices, encoder, cache)
    np.testing.assert_array_equal(elsewhere[0].numpy(), windows_of(another, another.voices[0], encoder))
    assert len(list(cache.iterdir())) == 5


@pytest.mark.parametrize("module", [audio, features, fbank, frontend, voice, campplus], ids=lambda m: m.__name__)
def test_the_cache_is_of_the_code_that_hears(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    """An embedding by another front end or trunk is another embedding, whatever the weights."""
    embed(store, store.voices[:1], network(), tmp_path / "cache")
    assert module.__file__
    changed = tmp_path / "changed.py"
    changed.write_bytes(Path(module.__file__).read_bytes() + b"# changed")
    monkeypatch.setattr(module, "__file__", str(changed))
    embed(store, store.voices[:1], network(), tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_projections_share_what_their_encoder_said(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    encoder = GE2EEncoder(16, 12, 1).eval()
    cache = tmp_path / "cache"
    projections = [ProjectedEncoder("ge2e-lstm", encoder.settings, size).eval() for size in (5, 3)]
    for projection in projections:
        projection.encoder.load_state_dict(encoder.state_dict())
    found = [embed(store, store.voices, projections[0], cache)]
    with monkeypatch.context() as patch:
        patch.setattr(embeddings, "windows_of", None)  # nothing is computed again
        found.append(embed(store, store.voices, projections[1], cache))
        plain = embed(store, store.voices, encoder, cache)
    assert len(list(cache.iterdir())) == 1
    for projection, projected in zip(projections, found, strict=True):
        for windows, theirs, sample in zip(projected, plain, store.voices, strict=True):
            with torch.no_grad():
                assert torch.equal(windows, projection.project(theirs))
            np.testing.assert_allclose(windows.numpy(), windows_of(store, sample, projection), atol=1e-5)


def test_a_failure_leaves_no_half_cache(store: Store, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(store.folder, tmp_path / "copy"))
    sample = store.voices[3]
    with (folder / sample.shard).open("r+b") as file:
        file.seek(sample.members["flac"][0])
        file.write(b"\xee" * sample.members["flac"][1])
    with pytest.raises(StoreError, match=r"voices/000000.tar: v00003: "):
        embed(Store.open(folder), store.voices, GE2EEncoder(16, 12, 1).eval(), tmp_path / "cache")
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())


def test_what_the_front_end_needs_must_be_there(tmp_path: Path) -> None:
    logmels = made_store(tmp_path / "logmels", PEOPLE)
    assert embed(logmels, logmels.voices, network(), tmp_path / "cache")
    with pytest.raises(StoreError, match=r"has no flac; it has logmel.npy, json"):
        embed(logmels, logmels.voices, GE2EEncoder(16, 12, 1).eval(), tmp_path / "cache")


@pytest.mark.slow
def test_many_are_spread_over_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = [Person("Ann", voices=9, photos=0, frames=(30, 60))]
    store = made_store(tmp_path / "store", people)
    monkeypatch.setattr(embeddings, "FEW", 5)
    found = embed(store, store.voices, network(), tmp_path / "cache", jobs=1)
    for windows, sample in zip(found, store.voices, strict=True):
        np.testing.assert_allclose(windows.numpy(), windows_of(store, sample, network()), atol=1e-6)
