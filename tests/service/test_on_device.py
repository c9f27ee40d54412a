"""Faces made in the browser: the server's faces, nothing sent, and offline after the first time."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import soundfile
import soxr
import webrtcvad
from PIL import Image

pytest.importorskip("playwright", reason="playwright is not installed; it is in the group test.")
pytest.importorskip("torch", reason="torch is not installed; export needs it, which is in the extra train.")

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

import s2f_edge
from export import to_browser as command
from s2f_edge.errors import SetupError
from s2f_edge.marks import provenance
from s2f_edge.pack.pack import Pack
from s2f_edge.service.device import SCHEMA, checked
from tests.service.browser import (
    DESKTOP,
    WINDOWS,
    launch,
    not_isolated,
    opened,
    reload_offline,
    shots,
    upload,
    violations,
    wait_for,
    wait_until,
)

if TYPE_CHECKING:
    from tests.service.conftest import Server

DETECTOR = Path(s2f_edge.__file__).parent / "service" / "web" / "device" / "detector.wasm"
RATE = 16_000
SLOW = 60_000  # ms: a first load compiles 14 MB of WebAssembly


@pytest.fixture(scope="module")
def folder(device_folder: Path) -> Path:
    return device_folder


@pytest.fixture(scope="module")
def device_server(folder: Path, start_server: Callable[..., Server]) -> Iterator[Server]:
    server = start_server("--on-device", str(folder))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def base(device_server: Server) -> str:
    return device_server.url


@pytest.fixture(scope="module")
def browser(examples: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = launch(playwright, examples / "male.wav")
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def loaded(browser: Browser, base: str) -> Iterator[Page]:
    """A phone on which the page is installed; the model is loaded once for all tests that change nothing of it."""
    with opened(browser, base, service_workers="allow") as page:
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        wait_until(page, "navigator.serviceWorker.controller !== null")
        yield page


@pytest.fixture
def page(loaded: Page) -> Page:
    """The same, at home."""
    loaded.click("header [data-home]")
    wait_for(loaded, "home")
    return loaded


def send(page: Page, file: Path) -> None:
    """Has a face made here."""
    upload(page, file)
    wait_for(page, "choose")
    page.locator("#choose-form [value=auto]").check()  # a test before may have chosen
    page.locator("#device-on").check()
    page.click("#send")


def switch_on(page: Page) -> None:
    page.locator("#device-on").check()


FACTS = """async letters => {
    const device = await import("./device.js");
    await device.look();
    const blob = new Blob([Uint8Array.from(atob(letters), letter => letter.charCodeAt(0))]);
    const on = { progress() {}, signal: new AbortController().signal };
    const { facts, faces, rest } = await device.facesHere(blob, { gender: "auto", count: 4, others: false }, on);
    const early = await Promise.race([rest.then(() => false), Promise.resolve(true)]);
    return { threads: facts.threads, first: faces.length, early, rest: (await rest).length };
}"""


def letters(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def result(page: Page) -> None:
    expect(page.locator("[data-screen=result]")).to_be_visible(timeout=SLOW)


def picture(page: Page, index: int = 1) -> bytes:
    """The file of one of the faces, as it is saved."""
    page.locator(f"#strip label:nth-of-type({index}) input").check()
    with page.expect_download() as download:
        page.click("#save")
    return Path(download.value.path()).read_bytes()


def pixels(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)), np.float64)


def psnr(a: bytes, b: bytes) -> float:
    return float(10 * np.log10(255.0**2 / max(np.square(pixels(a) - pixels(b)).mean(), 1e-9)))


def served(base: str, sound: bytes, **fields: Any) -> tuple[dict[str, Any], bytes]:
    """The server's facts and first picture, as the page would ask for them."""
    fields = {"samples": 1, "size": 512, "format": "json", **fields}
    answer = httpx.post(f"{base}/v1/face", files={"file": ("x", sound)}, data=fields, timeout=60)
    body = answer.json()
    return body, base64.b64decode(body["pictures"][0]["base64"]) if answer.status_code == 200 else b""


# ------------------------------------------------------------------------------ the same face


def test_the_servers_face_without_sending_and_then_offline(page: Page, base: str, examples: Path, folder: Path) -> None:
    asked: list[tuple[str, str]] = []
    page.context.on("request", lambda request: asked.append((request.method, request.url)))
    upload(page, examples / "male.wav")
    wait_for(page, "choose")
    expect(page.locator("#device-about")).to_contain_text(re.compile(r"1\d(\.\d)? MB are downloaded once"))
    switch_on(page)
    page.click("#send")
    expect(page.locator("#sending-state")).to_have_text("Downloading what is needed, once…")
    expect(page.locator("#sending-loaded")).to_contain_text(re.compile(r"MB of 1\d(\.\d)? MB"))
    result(page)
    assert {method for method, _ in asked} == {"GET"}
    assert all(url.startswith((base, "blob:")) for _, url in asked)

    sound = (examples / "male.wav").read_bytes()
    facts, theirs = served(base, sound)
    assert psnr(picture(page), theirs) >= 40
    expect(page.locator("#fact-sounds")).to_have_text(f"male, {facts['male_probability']:.0%}")
    expect(page.locator("#fact-generator")).to_have_text("male faces")
    expect(page.locator("#fact-speech")).to_have_text(f"{facts['speech_seconds']:.1f} seconds")
    expect(page.locator("#made-here")).to_contain_text("your sound was not sent")
    assert psnr(picture(page, 2), theirs) < 40  # another candidate, and near
    assert psnr(picture(page, 2), theirs) > 12

    page.evaluate(
        "caches.open('s2f-device').then(cache => cache.put('on-device/of-an-older-pack?v=1', new Response('')))"
    )
    reload_offline(page)
    wait_for(page, "home")
    expect(page.locator("#offline")).to_have_text("You are offline. Faces can be made on this device.")
    expect(page.locator("#home-privacy-device")).to_be_visible()
    upload(page, examples / "female.wav")
    wait_for(page, "choose")
    expect(page.locator("#device-about")).to_contain_text("already downloaded")
    expect(page.locator("#device-on")).to_be_checked()
    page.click("#send")
    result(page)
    offline = picture(page)
    page.context.set_offline(False)
    kept = page.evaluate(
        "caches.open('s2f-device').then(cache => cache.keys()).then(keys => keys.map(key => new URL(key.url).pathname))"
    )
    # Nobody has wanted a face to speak: what that needs is not there.
    files = set(json.loads((folder / "manifest.json").read_text())["files"]) - {"animator.onnx", "motion.onnx"}
    names = ["manifest.json", *files]
    assert sorted(kept) == sorted(f"/on-device/{name}" for name in names)
    assert psnr(offline, served(base, (examples / "female.wav").read_bytes())[1]) >= 40


def test_the_page_is_isolated_and_uses_the_cores(page: Page, examples: Path) -> None:
    assert page.evaluate("crossOriginIsolated") is True
    assert page.evaluate(FACTS, letters(examples / "male.wav"))["threads"] == min(4, os.cpu_count() or 1)


def test_a_page_that_is_not_isolated_makes_the_same_face_with_one_thread(
    browser: Browser, base: str, examples: Path
) -> None:
    with opened(browser, base) as page:
        not_isolated(page)
        assert page.evaluate("crossOriginIsolated") is False
        send(page, examples / "male.wav")
        result(page)
        assert psnr(picture(page), served(base, (examples / "male.wav").read_bytes())[1]) >= 40
        assert page.evaluate(FACTS, letters(examples / "male.wav"))["threads"] == 1


def test_the_first_face_is_shown_before_the_others_are_made(browser: Browser, base: str, examples: Path) -> None:
    with opened(browser, base) as page:
        said = page.evaluate(FACTS, letters(examples / "male.wav"))
        assert (said["first"], said["rest"], said["early"]) == (1, 3, True)


def test_other_faces_and_another_generator(page: Page, base: str, examples: Path) -> None:
    send(page, examples / "male.wav")
    result(page)
    first = picture(page)
    page.click("#again-form [type=submit]")
    wait_for(page, "sending")
    result(page)
    assert psnr(picture(page), first) < 40
    page.locator("#again-form").get_by_label("Female").check()
    page.click("#again-form [type=submit]")
    wait_for(page, "sending")
    result(page)
    expect(page.locator("#fact-generator")).to_have_text("female faces")
    theirs = served(base, (examples / "male.wav").read_bytes(), gender="female")[1]
    assert psnr(picture(page), theirs) >= 40


@pytest.mark.parametrize("kind", ["wav-16 44100 stereo", "flac 48000", "mp3 22050", "opus 48000", "m4a 44100"])
def test_sound_of_other_formats(
    page: Page,
    base: str,
    examples: Path,
    tmp_path: Path,
    encoded: Callable[[str, Any, int], bytes],
    kind: str,
) -> None:
    name, rate, *stereo = kind.split()
    samples = soxr.resample(soundfile.read(examples / "female.wav")[0], RATE, int(rate))
    samples = np.stack([samples, 0.5 * samples], axis=1) if stereo else samples
    path = tmp_path / f"clip.{name}"
    path.write_bytes(encoded(name, samples, int(rate)))
    send(page, path)
    result(page)
    assert psnr(picture(page), served(base, path.read_bytes())[1]) >= 40


def test_real_recordings_of_others(page: Page, base: str, s2f_data: Path, tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(s2f_data / "data" / "librispeech" / "librispeech.tar") as archive:
        members = [member for member in archive if member.name.endswith(".ogg")]
        for number, member in enumerate(members[5 :: len(members) // 3][:3]):
            path = tmp_path / f"{number}.ogg"
            file = archive.extractfile(member)
            assert file
            path.write_bytes(file.read())
            send(page, path)
            result(page)
            facts, theirs = served(base, path.read_bytes())
            assert psnr(picture(page), theirs) >= 40, member.name
            warnings = page.locator("#warning-list li").count()
            assert warnings == len(facts["warnings"]), member.name
            page.click("header [data-home]")


def test_the_pictures_carry_their_marks(page: Page, examples: Path) -> None:
    send(page, examples / "female.wav")
    result(page)
    for index in (1, 2):
        found = provenance.read(picture(page, index))
        assert found.layers == ("metadata", "watermark")
        assert found.metadata["generator"] == "female"
        assert found.metadata["pack_sha256"] == Pack.open().sha256
        assert "not the speaker" in found.metadata["notice"]
        assert found.watermark
        assert found.watermark.generator == "female"
        assert found.watermark.log10_false_alarm < -8


# --------------------------------------------------------------------------------- refusals


def sounds(folder: Path, examples: Path) -> dict[str, Path]:
    speech, _ = soundfile.read(examples / "male.wav", dtype="float32")
    random = np.random.default_rng(0)
    made = {
        "silent": np.zeros(4 * RATE),
        "noise": 0.1 * random.standard_normal(4 * RATE),
        "tone": 0.3 * np.sin(2 * np.pi * 440 / RATE * np.arange(4 * RATE)),
        "short": speech[RATE : RATE + 3 * RATE // 10],
        "hum": 0.001 * random.standard_normal(2 * RATE),
    }
    for name, samples in made.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE)
    (folder / "text.wav").write_text("These are words, and no sound. " * 40)
    return {name: folder / f"{name}.wav" for name in (*made, "text")}


def test_what_is_no_speech_is_refused_in_the_servers_words(
    page: Page, base: str, examples: Path, tmp_path: Path
) -> None:
    for name, path in sounds(tmp_path, examples).items():
        titles = []
        for here in (True, False):
            upload(page, path)
            wait_for(page, "choose")
            page.locator("#device-on").set_checked(here)
            page.click("#send")
            wait_for(page, "problem")
            titles.append(page.inner_text("#problem-title"))
            page.go_back()
            wait_for(page, "choose")
            page.click("header [data-home]")
        assert titles[0] == titles[1], name
    upload(page, examples / "male.wav")
    switch_on(page)
    page.click("#send")
    result(page)


def test_quiet_sound_is_heard_as_the_server_hears_it(page: Page, base: str, examples: Path, tmp_path: Path) -> None:
    samples, _ = soundfile.read(examples / "male.wav", dtype="float32")
    path = tmp_path / "quiet.wav"
    soundfile.write(path, np.concatenate([samples, samples]) * 0.004, RATE, subtype="FLOAT")
    send(page, path)
    result(page)
    facts, theirs = served(base, path.read_bytes())
    assert [warning["code"] for warning in facts["warnings"]] == ["quiet"]
    expect(page.locator("#warning-list")).to_contain_text("The voice is very quiet")
    expect(page.locator("#fact-speech")).to_have_text(f"{facts['speech_seconds']:.1f} seconds")
    assert psnr(picture(page), theirs) >= 40


# --------------------------------------------------------------------------------- failures


def test_a_download_that_breaks_off_is_told_and_can_be_gone_round(browser: Browser, base: str, examples: Path) -> None:
    with opened(browser, base) as page:
        page.route("**/on-device/face.onnx*", lambda route: route.abort())
        upload(page, examples / "male.wav")
        switch_on(page)
        page.click("#send")
        expect(page.locator("#problem-title")).to_have_text("The download did not work")
        assert violations(page) == []
        page.unroute("**/on-device/face.onnx*")
        page.route("**/on-device/marks.bin*", lambda route: route.fulfill(body=b"\0" * 49112))
        page.click("[data-action=retry]")
        expect(page.locator("#problem-title")).to_have_text("The download did not work")
        page.click("[data-action=server]")
        wait_for(page, "result")
        expect(page.locator("#made-here")).to_be_hidden()


def test_a_browser_that_cannot_is_told(browser: Browser, base: str, examples: Path) -> None:
    with opened(browser, base) as page:
        page.evaluate("WebAssembly.validate = () => false")
        upload(page, examples / "male.wav")
        switch_on(page)
        page.click("#send")
        expect(page.locator("#problem-title")).to_have_text("This browser cannot make faces itself")
        page.click("[data-action=server]")
        wait_for(page, "result")


def test_too_little_memory_is_told(browser: Browser, base: str, examples: Path) -> None:
    with opened(browser, base) as page:
        script = """self.onmessage = ({ data }) => self.postMessage({ id: data.id,
            problem: { code: "device-memory", values: {}, detail: "RangeError: out of memory" } });"""
        headers = {"Content-Type": "text/javascript", "Cross-Origin-Embedder-Policy": "require-corp"}
        page.route("**/device/worker.js", lambda route: route.fulfill(body=script, headers=headers))
        upload(page, examples / "male.wav")
        switch_on(page)
        page.click("#send")
        expect(page.locator("#problem-title")).to_have_text("There is not enough memory")


def test_it_can_be_cancelled_while_it_loads(browser: Browser, base: str, examples: Path) -> None:
    with opened(browser, base) as page:
        held: list[Route] = []
        page.route("**/on-device/face.onnx*", lambda route: held.append(route))
        upload(page, examples / "male.wav")
        switch_on(page)
        page.click("#send")
        wait_for(page, "sending")
        page.wait_for_timeout(300)
        page.click("#cancel")
        wait_for(page, "choose")
        page.locator("#device-on").uncheck()
        page.click("#send")
        wait_for(page, "result")


# ---------------------------------------------------------------------------------- looks


@pytest.mark.parametrize(
    ("window", "theme", "locale"),
    [("phone", "light", "en-GB"), ("desktop", "dark", "en-GB"), ("phone", "dark", "ar-EG")],
)
def test_the_screens_with_it(
    browser: Browser, base: str, examples: Path, tmp_path: Path, window: str, theme: Any, locale: str
) -> None:
    folder = shots(tmp_path)

    def check(screen: str) -> None:
        page.screenshot(path=folder / f"device-{window}-{theme}-{locale[:2]}-{screen}.png", full_page=True)
        assert violations(page) == []
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{screen} is {wide} pixels wider than the window"

    with opened(browser, base, **WINDOWS[window], color_scheme=theme, locale=locale) as page:
        upload(page, examples / "male.wav")
        wait_for(page, "choose")
        switch_on(page)
        check("choose")
        if locale == "ar-EG":
            return
        if window == "desktop":
            page.route("**/on-device/face.onnx*", lambda route: route.abort())
            page.click("#send")
            wait_for(page, "problem")
            check("problem")
            return
        page.click("#send")
        wait_for(page, "sending")
        page.wait_for_timeout(300)
        check("sending")
        result(page)
        check("result")
        page.go_back()
        check("choose-again")
        page.click("header [data-home]")
        check("home")
        page.click("#home-record")
        expect(page.locator("#live-choice")).to_be_hidden()  # it would send the voice


def test_the_switch_is_not_there_without_the_folder(browser: Browser, live_server: Server, examples: Path) -> None:
    with opened(browser, live_server.url, **DESKTOP) as page:
        upload(page, examples / "male.wav")
        wait_for(page, "choose")
        page.wait_for_timeout(300)
        expect(page.locator("#device-choice")).to_be_hidden()


# ------------------------------------------------------------------------------ the server


def test_what_computes_is_isolated_and_nothing_else(device_server: Server, live_server: Server) -> None:
    """A page, its workers and the scripts of its threads must all say it; what has no use for it does not."""
    name = "cross-origin-embedder-policy"
    with device_server.client() as client:
        for path in ("/", "/device/worker.js", "/device/frames.js", "/on-device/ort-wasm-simd-threaded.mjs"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers[name]) == (200, "require-corp")
            assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        for path in ("/v1/info", "/docs", "/terms"):
            assert name not in client.get(path).headers
        assert not any(client.get(path).headers.get("cross-origin-resource-policy") for path in ("/", "/v1/info"))
    with live_server.client() as client:
        assert name not in client.get("/").headers


def test_only_workers_may_compile(device_server: Server, live_server: Server) -> None:
    def policy(server: Server, path: str) -> str:
        with server.client() as client:
            return str(client.get(path).headers["content-security-policy"])

    assert "wasm-unsafe-eval" not in policy(device_server, "/")
    assert "wasm-unsafe-eval" in policy(device_server, "/device/worker.js")
    assert "unsafe-eval" not in policy(device_server, "/device/worker.js").replace("wasm-unsafe-eval", "")
    assert "wasm-unsafe-eval" not in policy(live_server, "/device/worker.js")


def test_what_is_served(device_server: Server, live_server: Server, folder: Path) -> None:
    assert checked(folder, Pack.open().sha256)["pack"] == "default 3"
    with device_server.client() as client:
        assert client.get("/v1/info").json()["on_device"] is True
        manifest = client.get("/on-device/manifest.json").json()
        for name, entry in manifest["files"].items():
            packed = client.get(f"/on-device/{name}?v={entry['sha256'][:16]}", headers={"Accept-Encoding": "gzip"})
            assert packed.headers["content-encoding"] == "gzip"
            assert "immutable" in packed.headers["cache-control"]
            assert len(packed.content) == entry["bytes"]
            assert int(packed.headers["content-length"]) == entry["sent"]
        plain = client.get("/on-device/marks.bin", headers={"Accept-Encoding": "identity"})
        assert plain.content == (folder / "marks.bin").read_bytes()
        assert "MIT License" in client.get("/on-device/onnxruntime-MIT.txt").text
        for name in ("face.onnx.gz", "other", "..%2fmanifest.json", ""):
            assert client.get(f"/on-device/{name}").status_code == 404, name
    with live_server.client() as client:
        assert client.get("/v1/info").json()["on_device"] is False
        assert client.get("/on-device/manifest.json").status_code == 404


def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    sha256 = Pack.open().sha256
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "marks.bin").write_bytes(b"marks")
    files = {"marks.bin": {"sha256": hashlib.sha256(b"marks").hexdigest()}}
    facts = {"schema": SCHEMA, "pack": "default 3", "pack_sha256": sha256, "files": files}
    (folder / "manifest.json").write_text(json.dumps(facts))
    assert checked(folder, sha256)["pack"] == "default 3"
    with pytest.raises(SetupError, match="another pack"):
        checked(folder, "0" * 64)
    with pytest.raises(SetupError, match="has no files for browsers"):
        checked(tmp_path, sha256)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "marks.bin").write_bytes(b"x")
    with pytest.raises(SetupError, match=r"marks\.bin does not match manifest\.json"):
        checked(broken, sha256)
    manifest = json.loads((broken / "manifest.json").read_text())
    for wrong in ({**manifest, "schema": 7}, {**manifest, "files": {"../x": {"sha256": ""}}}, [], {"schema": SCHEMA}):
        (broken / "manifest.json").write_text(json.dumps(wrong))
        with pytest.raises(SetupError, match="has no files for browsers"):
            checked(broken, sha256)


def test_an_archive_of_another_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.tgz").write_bytes(b"something else")
    assert command.main([str(tmp_path / "out"), "--tarball", str(tmp_path / "x.tgz")]) == 1
    assert "Nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------------- the detector

HEAR = """
const fs = require("fs");
WebAssembly.instantiate(fs.readFileSync(process.argv[1]), {}).then(({ instance: { exports: detector } }) => {
  const pcm = fs.readFileSync(0);
  if (detector.start(2) !== 0) throw new Error("start");
  const frame = new Uint8Array(detector.memory.buffer, detector.frame(), 640);
  let said = "";
  for (let at = 0; at + 640 <= pcm.length; at += 640) {
    frame.set(pcm.subarray(at, at + 640));
    said += detector.hear();
  }
  console.log(said);
});
"""


def test_the_detector_in_wasm_is_the_one_in_python(examples: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; it runs the detector outside of a browser.")
    speech = np.concatenate([soundfile.read(examples / f"{n}.wav", dtype="int16")[0] for n in ("male", "female")])
    random = np.random.default_rng(3)
    noise = (300 * random.standard_normal(3 * RATE)).astype(np.int16)
    pcm = np.concatenate([speech, noise, speech // 16, np.zeros(RATE, np.int16), speech]).astype("<i2").tobytes()
    done = subprocess.run([node, "-e", HEAR, str(DETECTOR)], input=pcm, capture_output=True, check=True)
    detector = webrtcvad.Vad(2)
    frames = [pcm[at : at + 640] for at in range(0, len(pcm) - 639, 640)]
    wanted = "".join(str(int(detector.is_speech(frame, RATE))) for frame in frames)
    assert 0.5 < wanted.count("1") / len(wanted) < 0.98
    assert done.stdout.decode().strip() == wanted
