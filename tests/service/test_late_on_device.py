"""Speech that comes late, heard by the page's own worker: what it keeps, measures and draws is the server's.

The worker runs in node with the files of `export.to_browser`.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch is not installed; export needs it, which is in the extra train.")

import s2f_edge
from s2f_edge import Speech2Face
from s2f_edge.errors import NotSpeechError, TooLittleSpeechError
from s2f_edge.hearing import audio
from s2f_edge.hearing.features import SAMPLE_RATE, Float32s
from tests.edge.hearing.test_late_speech import PLACES, SOUNDS, at, put

WEB = Path(s2f_edge.__file__).parent / "service" / "web"
LEVELS = (-70, -50, -30)
OTHER_S = 10  # of other sound; 70 s are in the last test

WORK = """
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
const [, , web, folder] = process.argv;
globalThis.self = globalThis;
globalThis.fetch = async (address) =>
  new Response(readFileSync(address.startsWith("file:") ? new URL(address) : `${web}/device/${address}`));
const answer = (task) => new Promise((done) => {
  self.postMessage = (message) => (message.total ? null : done(message));
  self.onmessage({ data: { id: 1, ...task } });
});
await import(`file://${web}/device/worker.js`);
const manifest = JSON.parse(readFileSync(`${folder}/manifest.json`));
const loaded = await answer({ task: "load", manifest, base: `file://${folder}/` });
if (loaded.problem) throw new Error(loaded.problem.detail);
for await (const name of createInterface({ input: process.stdin })) {
  const bytes = readFileSync(name);
  const samples = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const wish = { rate: 16000, gender: "auto", count: 1, others: false };
  const { done, problem } = await answer({ task: "faces", samples, ...wish });
  if (done) writeFileSync(`${name}.png`, Buffer.from(await done.faces[0].blob.arrayBuffer()));
  console.log(JSON.stringify({ facts: done?.facts, problem }));
}
process.exit(0);
"""


@pytest.fixture(scope="module")
def model() -> Speech2Face:
    return Speech2Face(device="cpu", variant=None)


@pytest.fixture(scope="module")
def speech(examples: Path) -> Float32s:
    return audio.read(examples / "male.wav").samples


@pytest.fixture(scope="module")
def on_device(
    device_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """What the page's worker, loaded once, answers to recordings at 16 kHz; its picture is under `picture`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; it runs the page's worker outside of a browser.")
    folder = tmp_path_factory.mktemp("worker")
    shutil.copytree(WEB, folder / "web")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "work.mjs").write_text(WORK)
    errors = folder / "errors.txt"
    command = [node, str(folder / "work.mjs"), str(folder / "web"), str(device_folder)]
    with (
        errors.open("w") as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        asked, told = process.stdin, process.stdout
        assert asked
        assert told

        def answers(recordings: list[Float32s]) -> list[dict[str, Any]]:
            found = []
            for number, samples in enumerate(recordings):
                path, picture = folder / f"{number}.f32", folder / f"{number}.f32.png"
                path.write_bytes(samples.astype("<f4").tobytes())
                picture.unlink(missing_ok=True)
                print(path, file=asked, flush=True)
                line = told.readline()
                assert line, errors.read_text()
                answer = json.loads(line)
                found.append(answer | {"picture": picture.read_bytes() if "facts" in answer else None})
            return found

        yield answers
        asked.close()
        assert process.wait(30) == 0, errors.read_text()


def psnr(ours: bytes, theirs: bytes) -> float:
    a, b = (np.asarray(Image.open(io.BytesIO(data)), np.float64) for data in (ours, theirs))
    return float(10 * np.log10(255.0**2 / max(np.square(a - b).mean(), 1e-9)))


def check(model: Speech2Face, samples: Float32s, found: dict[str, Any], about: Any) -> None:
    """It is what Python says of the recording."""
    if "problem" in found:
        with pytest.raises((NotSpeechError, TooLittleSpeechError)) as raised:
            model.infer(samples, sample_rate=SAMPLE_RATE)
        error = raised.value
        assert found["problem"]["code"] == error.code, about
        values = found["problem"]["values"]
        assert values == {name: pytest.approx(getattr(error, name), abs=1e-6) for name in values}, about
        return
    wanted = model.infer(samples, sample_rate=SAMPLE_RATE)
    facts, quality = found["facts"], wanted.voice.quality
    assert facts["speech_seconds"] == pytest.approx(quality.speech_s, abs=1e-6), about
    assert facts["level_dbfs"] == pytest.approx(quality.level_dbfs, abs=0.01), about
    assert facts["snr_db"] == pytest.approx(quality.snr_db, abs=0.1), about
    assert facts["male_probability"] == pytest.approx(wanted.male_probability, abs=1e-3), about
    assert facts["generator"] == wanted.generator, about
    assert [each["code"] for each in facts["warnings"]] == [each.code for each in wanted.warnings], about
    assert psnr(found["picture"], wanted.png(512)) >= 40, about


@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.slow
def test_other_sound_before_between_and_after(
    model: Speech2Face, speech: Float32s, on_device: Callable[..., list[dict[str, Any]]], sound: str
) -> None:
    made = SOUNDS[sound]()[: OTHER_S * SAMPLE_RATE]
    made /= np.float32(made.std())
    # Of the sounds in turn, every place has every level twice; tests/edge/hearing has them all.
    turn = list(SOUNDS).index(sound)
    kinds = [(place, LEVELS[(turn + number) % 3]) for number, place in enumerate(PLACES)]
    recordings = [put(place, speech, at(dbfs) * made) for place, dbfs in kinds]
    for kind, samples, found in zip(kinds, recordings, on_device(recordings), strict=True):
        check(model, samples, found, kind)
        assert "facts" in found


@pytest.mark.slow
def test_quiet_speech_after_loud_sound_and_what_is_refused(
    model: Speech2Face, speech: Float32s, on_device: Callable[..., list[dict[str, Any]]]
) -> None:
    music = SOUNDS["music"]()
    music /= np.float32(music.std())
    noise = SOUNDS["pink noise"]()
    recordings = {
        "quiet speech after loud music": np.concatenate([at(-30) * music, at(-30) * speech]),
        "quiet speech after quiet noise": np.concatenate([at(-70) * noise / noise.std(), at(-40) * speech]),
        "loud music after quiet speech": np.concatenate([at(-40) * speech, at(-20) * music[: 12 * SAMPLE_RATE]]),
        "full scale in the music alone": np.concatenate([np.clip(9 * music, -1, 1), speech]),
        "music alone": at(-30) * music,
        "half a second": np.concatenate([at(-70) * noise, speech[SAMPLE_RATE : 3 * SAMPLE_RATE // 2]]),
        "no sound": np.zeros(3 * SAMPLE_RATE, np.float32),
    }
    for about, found in zip(recordings, on_device(list(recordings.values())), strict=True):
        check(model, recordings[about], found, about)
