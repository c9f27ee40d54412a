"""The face says the recording on the page: as the server's video, and on this device."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
import soundfile

pytest.importorskip("playwright", reason="playwright is not installed; it is in the group test.")
pytest.importorskip("torch", reason="torch is not installed; export needs it, which is in the extra train.")

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from s2f_edge import Speech2Face
from s2f_edge.marks import watermark
from tests.service.browser import launch, opened, upload, violations, wait_for, wait_until, wait_until_asked, with_info

if TYPE_CHECKING:
    from tests.service.conftest import Server

SLOW = 120_000  # ms: networks are loaded, and a machine may be busy
PIXELS = """() => {
    const canvas = document.querySelector("#talk-canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const letters = [];
    for (let at = 0; at < data.length; at += 4096) letters.push(String.fromCharCode(...data.subarray(at, at + 4096)));
    return { frame: Number(canvas.dataset.frame), pixels: btoa(letters.join("")) };
}"""
SHOWN = "Number(document.querySelector('#talk-canvas').dataset.shown)"


@pytest.fixture(scope="module")
def base(device_folder: Path, start_server: Callable[..., Server]) -> Iterator[str]:
    server = start_server("--on-device", str(device_folder), "--request-seconds", "120")
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def browser(examples: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = launch(playwright, examples / "male.wav")
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def short(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 s of speech: what is played to its end takes as long as it is."""
    samples, rate = soundfile.read(examples / "male.wav", dtype="int16")
    path = tmp_path_factory.mktemp("short") / "male.wav"
    soundfile.write(path, samples[: 3 * rate], rate)
    return path


@pytest.fixture
def page(browser: Browser, base: str) -> Iterator[Page]:
    """Home, for somebody who likes motion."""
    with opened(browser, base, reduced_motion="no-preference") as page:
        yield page


def made(page: Page, file: Path, here: bool = False) -> None:
    """Has faces made, and waits for them."""
    upload(page, file)
    wait_for(page, "choose")
    if here:
        page.locator("#device-on").check()
    page.click("#send")
    expect(page.locator("[data-screen=result]")).to_be_visible(timeout=SLOW)


def play(page: Page) -> None:
    page.locator("#talk-player button").focus()
    page.keyboard.press("Enter")


def ended(page: Page) -> None:
    """The sound is at its end, and the still face is back."""
    expect(page.locator("#talk-player [data-time]")).to_have_text("0:03 / 0:03", timeout=SLOW)
    expect(page.locator("#talk-player button")).to_have_accessible_name("Play", timeout=SLOW)
    expect(page.locator("#talk-video")).to_be_hidden()
    expect(page.locator("#talk-canvas")).to_be_hidden()


def saved(page: Page, folder: Path) -> Path:
    with page.expect_download(timeout=SLOW) as download:
        page.click("#talk-save")
    name = download.value.suggested_filename
    assert re.fullmatch(r"invented-face-\d{8}-\d{4}-1\.(mp4|webm)", name)
    download.value.save_as(folder / name)
    return folder / name


def seen(video: Path) -> tuple[list[np.ndarray], float]:
    """The frames of a video, and the seconds of its sound."""
    with av.open(str(video)) as file:
        frames, samples, rate = [], 0, 1
        for frame in file.decode():
            if isinstance(frame, av.VideoFrame):
                frames.append(frame.to_ndarray(format="rgb24"))
            else:
                samples, rate = samples + frame.samples, frame.sample_rate
    return frames, samples / rate


def psnr(a: Any, b: Any) -> float:
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return float(10 * np.log10(255.0**2 / max(np.square(difference).mean(), 1e-9)))


# ----------------------------------------------------------------------------- on the server


def test_the_servers_video_plays_and_is_saved(page: Page, short: Path, tmp_path: Path) -> None:
    made(page, short)
    expect(page.locator("#talk-about")).to_have_text("How it moves is invented too: nobody was filmed.")
    expect(page.locator("figcaption:visible")).to_contain_text("It is not the speaker")
    play(page)
    expect(page.locator("#talk-video")).to_be_visible(timeout=SLOW)
    expect(page.locator("#talk-video")).to_have_accessible_name("Invented face, 1 of 4, that says the recording")
    wait_until(page, "document.querySelector('#talk-video').videoWidth === 256")
    assert violations(page) == []
    ended(page)
    frames, seconds = seen(saved(page, tmp_path))
    assert len(frames) == 75
    assert abs(seconds - 3) < 0.1
    assert watermark.find(frames[37])


def test_a_refusal_is_told_beside_the_face(page: Page, examples: Path) -> None:
    made(page, examples / "male.wav")
    page.route("**/v1/talk", lambda route: route.fulfill(status=503, body="{}", content_type="application/json"))
    play(page)
    expect(page.locator("#talk-state")).to_have_text("The face cannot speak now. The server is busy.")
    expect(page.locator("#face")).to_be_visible()
    page.unroute("**/v1/talk")
    play(page)
    expect(page.locator("#talk-video")).to_be_visible(timeout=SLOW)


def test_leaving_stops_the_video(page: Page, examples: Path) -> None:
    made(page, examples / "male.wav")
    held: list[Route] = []
    page.route("**/v1/talk", lambda route: held.append(route))
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/v1/talk")):
        play(page)
        wait_until_asked(page, held)
        page.click("header [data-home]")
    wait_for(page, "home")


def test_what_is_too_long_for_a_video_keeps_its_still_face(page: Page, examples: Path) -> None:
    with_info(page, lambda info: info["limits"].update(talk_seconds=3))
    made(page, examples / "male.wav")
    expect(page.locator("#talk-on")).to_be_disabled()
    expect(page.locator("#talk-about")).to_contain_text("at most 3 seconds")
    expect(page.locator("#talk-save")).to_be_hidden()


def test_a_server_without_videos_has_no_place_for_them(page: Page, examples: Path) -> None:
    with_info(page, lambda info: info.update(talk=[]))
    made(page, examples / "male.wav")
    expect(page.locator("#talk")).to_be_hidden()


def test_who_wants_little_motion_gets_the_sound_and_can_ask_for_more(browser: Browser, base: str, short: Path) -> None:
    with opened(browser, base) as page:  # reduced motion
        made(page, short)
        expect(page.locator("#talk-on")).not_to_be_checked()
        expect(page.locator("#talk-about")).to_contain_text("the picture stays still")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        play(page)
        ended(page)
        assert not [url for url in asked if url.endswith("/v1/talk")]
        page.locator("#talk-on").check()
        play(page)
        expect(page.locator("#talk-video")).to_be_visible(timeout=SLOW)


# ---------------------------------------------------------------------------- on this device


def test_on_this_device_frames_are_the_servers_and_nothing_is_sent(
    page: Page, base: str, short: Path, tmp_path: Path
) -> None:
    asked: list[tuple[str, str]] = []
    page.context.on("request", lambda request: asked.append((request.method, request.url)))
    made(page, short, here=True)
    page.wait_for_selector("#talk-canvas[data-shown]", state="attached", timeout=SLOW)
    play(page)
    expect(page.locator("#talk-canvas")).to_be_visible(timeout=SLOW)
    wait_until(page, f"{SHOWN} > 5")
    page.locator("#talk-player button").click()  # it waits there
    found = page.evaluate(PIXELS)
    expect(page.locator("#talk-canvas")).to_have_accessible_name("Invented face, 1 of 4, that says the recording")
    assert violations(page) == []
    play(page)
    ended(page)
    assert page.evaluate(SHOWN) > 10

    talk = Speech2Face(device="cpu", variant=None).talk(short)
    frames = [frame.pixels for frame in talk.frames(mark=watermark.IN_VIDEO)]
    here = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8).reshape(256, 256, 4)
    assert (here[..., 3] == 255).all()
    assert psnr(here[..., :3], frames[found["frame"]]) > 38
    assert psnr(here[..., :3], frames[0]) < psnr(here[..., :3], frames[found["frame"]]) - 3, "it has moved"

    page.locator("#strip label:nth-of-type(2) input").check()
    page.locator("#strip label:nth-of-type(1) input").check()
    shown, seconds = seen(saved(page, tmp_path))
    assert len(shown) > 10
    assert abs(seconds - 3) < 0.5
    mark = watermark.find(shown[len(shown) // 2])
    assert mark
    assert watermark.read_payload(mark.payload).generator == "male"
    assert {method for method, _ in asked} == {"GET"}
    assert all(url.startswith((base, "blob:")) for _, url in asked)


def test_on_this_device_little_motion_is_respected(browser: Browser, base: str, short: Path) -> None:
    asked: list[str] = []
    with opened(browser, base) as page:
        page.context.on("request", lambda request: asked.append(request.url))
        made(page, short, here=True)
        play(page)
        ended(page)
        assert page.get_attribute("#talk-canvas", "data-shown") is None
        assert any("renderer.onnx" in url for url in asked)
        assert not any(name in url for url in asked for name in ("animator.onnx", "motion.onnx"))
        page.locator("#talk-on").check()
        page.wait_for_selector("#talk-canvas[data-shown]", state="attached", timeout=SLOW)
        play(page)
        expect(page.locator("#talk-canvas")).to_be_visible(timeout=SLOW)
