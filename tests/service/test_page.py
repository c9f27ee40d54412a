"""The page in a real browser, against the real service: every screen, every failure, two languages."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("playwright", reason="playwright is not installed; it is in the group test.")

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

import s2f_edge
from tests.service.browser import (
    DESKTOP,
    FACE_URL,
    WINDOWS,
    answer_with,
    drop,
    launch,
    opened,
    record,
    reload_offline,
    send,
    shots,
    upload,
    violations,
    wait_for,
    wait_until,
    wait_until_asked,
    wait_until_heard,
    with_info,
    write_microphone,
)

if TYPE_CHECKING:
    from tests.service.conftest import Server

WEB = Path(s2f_edge.__file__).parent / "service" / "web"
RATE = 16_000
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def browser(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Its microphone hears examples/male.wav."""
    microphone = write_microphone(examples / "male.wav", tmp_path_factory.mktemp("sound") / "microphone.wav")
    with sync_playwright() as playwright:
        launched = launch(playwright, microphone)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def base(live_server: Server) -> str:
    """Where the page is."""
    return live_server.url


@pytest.fixture
def page(browser: Browser, base: str) -> Iterator[Page]:
    """Home on a phone, in English."""
    with opened(browser, base) as page:
        yield page


@pytest.fixture(scope="module")
def sounds(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that no face can be made for."""
    folder = tmp_path_factory.mktemp("sounds")
    speech, _ = soundfile.read(examples / "male.wav", dtype="float32")
    noise = 0.1 * np.random.default_rng(0).standard_normal(4 * RATE)
    soundfile.write(folder / "silent.wav", np.zeros(4 * RATE), RATE)
    soundfile.write(folder / "noise.wav", noise, RATE)
    soundfile.write(folder / "short.wav", speech[RATE : RATE + 3 * RATE // 10], RATE)
    (folder / "text.wav").write_text("These are words, and no sound. " * 40)
    (folder / "empty.wav").write_bytes(b"")
    return folder


# -------------------------------------------------------------------------- all screens


@pytest.mark.parametrize(
    ("window", "theme", "locale"),
    [
        ("phone", "light", "en-GB"),
        ("phone", "dark", "ar-EG"),
        ("desktop", "dark", "en-GB"),
        ("desktop", "light", "ar-EG"),
    ],
)
def test_every_screen_from_recording_to_face(
    browser: Browser, base: str, tmp_path: Path, window: str, theme: Any, locale: str
) -> None:
    folder = shots(tmp_path)

    def check(screen: str) -> None:
        page.screenshot(path=folder / f"{window}-{theme}-{locale[:2]}-{screen}.png", full_page=True)
        assert violations(page) == []
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{screen} is {wide} pixels wider than the window"

    with opened(browser, base, **WINDOWS[window], color_scheme=theme, locale=locale) as page:
        assert page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == (
            ["ar", "rtl"] if locale.startswith("ar") else ["en", "ltr"]
        )
        check("1-home")
        page.click("#home-record")
        expect(page.locator("#live-choice")).to_be_visible()
        check("2-record")
        page.click("#shutter")
        wait_until_heard(page, 1.5)
        check("3-recording")
        wait_until_heard(page, 2.5)
        page.click("#shutter")
        expect(page.locator("#review")).to_be_visible()
        check("4-review")
        page.click("#use")
        wait_for(page, "choose")
        check("5-choose")

        held: list[Route] = []
        page.route(FACE_URL, lambda route: held.append(route))
        page.click("#send")
        wait_for(page, "sending")
        wait_until_asked(page, held)
        check("6-sending")
        held[0].continue_()
        wait_for(page, "result")
        wait_until(page, "[...document.querySelectorAll('#strip img, #face')].every(i => i.naturalWidth === 512)")
        check("7-result")
        page.unroute(FACE_URL)
        answer_with(page, 503, "busy", {"Retry-After": "5"})
        page.click("#again-form [type=submit]")
        wait_for(page, "problem")
        check("8-problem")


def test_a_recording_is_what_the_microphone_heard(page: Page) -> None:
    page.evaluate(
        """() => {
            const send = XMLHttpRequest.prototype.send;
            XMLHttpRequest.prototype.send = function (form) { window.sent = form.get("file"); send.call(this, form); };
        }"""
    )
    page.click("#home-record")
    record(page, 3)
    page.click("#use")
    page.click("#send")
    wait_for(page, "result")
    expect(page.locator("#fact-sounds")).to_contain_text("male, ")
    wav = page.evaluate(
        """() => new Promise(resolve => {
            const reader = new FileReader();
            reader.onload = () => resolve(reader.result.split(",")[1]);
            reader.readAsDataURL(window.sent);
        })"""
    )
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(wav)))
    assert (rate, samples.ndim) == (RATE, 1)
    assert 3 <= len(samples) / RATE < 6
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    assert np.sqrt(np.mean(samples**2)) > 0.01
    assert spectrum[: len(spectrum) // 2].sum() > 10 * spectrum[len(spectrum) // 2 :].sum()  # a voice, not noise


# ------------------------------------------------------------------------- what is given


@pytest.mark.parametrize("window", WINDOWS)
def test_upload_choose_a_face_and_save_it(browser: Browser, base: str, examples: Path, window: str) -> None:
    with opened(browser, base, **WINDOWS[window]) as page:
        upload(page, examples / "male.wav")
        wait_for(page, "choose")
        expect(page.locator("#clip-name")).to_have_text("male.wav")
        expect(page.locator("#clip-length")).to_have_text("7.4 seconds")
        page.locator("#choose-form").get_by_label("Female").check()
        page.click("#send")
        wait_for(page, "result")
        expect(page.locator("#fact-generator")).to_have_text("female faces")
        expect(page.locator("#face")).to_have_attribute("alt", "Invented face, 1 of 4")

        first = page.get_attribute("#face", "src")
        page.get_by_role("radio", name="Face 3 of 4").check()
        expect(page.locator("#face")).to_have_attribute("alt", "Invented face, 3 of 4")
        assert page.get_attribute("#face", "src") != first
        with page.expect_download() as download:
            page.click("#save")
        assert re.fullmatch(r"invented-face-\d{8}-\d{4}-3\.png", download.value.suggested_filename)
        assert Path(download.value.path()).read_bytes().startswith(PNG)


def test_other_faces_are_others_and_back_shows_the_first_again(page: Page, examples: Path) -> None:
    send(page, examples / "female.wav")
    wait_for(page, "result")
    first = page.evaluate("document.querySelector('#face').src")
    page.click("#again-form [type=submit]")
    wait_for(page, "sending")
    wait_for(page, "result")
    second = page.evaluate("document.querySelector('#face').src")
    assert second != first
    page.go_back()
    wait_for(page, "result")
    assert page.evaluate("document.querySelector('#face').src") == first
    page.go_back()
    wait_for(page, "choose")
    expect(page.locator("#clip-name")).to_have_text("female.wav")


def test_a_dropped_file_is_taken(browser: Browser, base: str, examples: Path) -> None:
    with opened(browser, base, **DESKTOP) as page:
        drop(page, examples / "female.wav")
        wait_for(page, "choose")
        expect(page.locator("#clip-name")).to_have_text("female.wav")
        expect(page.locator(".drop")).to_be_hidden()


# ------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("silent", "The recording is silent"),
        ("noise", "Only noise can be heard"),
        ("short", "That was too short"),
        ("text", "This is not a sound file"),
    ],
)
def test_a_sound_that_cannot_be_used_is_told_in_clear_words(page: Page, sounds: Path, name: str, title: str) -> None:
    send(page, sounds / f"{name}.wav")
    wait_for(page, "problem")
    expect(page.locator("#problem-title")).to_have_text(title)
    expect(page.locator("#problem-title")).to_be_focused()
    assert page.locator("[data-action]:visible").count() == 2
    page.go_back()
    wait_for(page, "choose")


def test_files_are_looked_at_before_they_are_sent(page: Page, sounds: Path, examples: Path) -> None:
    upload(page, sounds / "empty.wav")
    expect(page.locator("#problem-title")).to_have_text("The file is empty")
    with_info(page, lambda info: info["limits"].update(bytes=1000))
    upload(page, examples / "male.wav")
    expect(page.locator("#problem-title")).to_have_text("The file is too large")
    page.unroute("**/v1/info")
    with_info(page, lambda info: info["limits"].update(seconds=3))
    upload(page, examples / "male.wav")
    expect(page.locator("#problem-title")).to_have_text("The recording is too long")
    expect(page.locator("#problem-text")).to_contain_text("3 seconds")


def test_a_microphone_that_is_not_allowed_or_not_there(browser: Browser, base: str) -> None:
    with opened(browser, base, microphone=False) as page:
        page.click("#home-record")
        page.click("#shutter")
        expect(page.locator("#problem-title")).to_have_text("The microphone is not allowed")
        expect(page.locator("[data-action=upload]")).to_be_visible()
        for error, title in [
            ("NotFoundError", "No microphone found"),
            ("NotReadableError", "The microphone does not answer"),
        ]:
            page.evaluate(
                "name => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', name)) }",
                error,
            )
            page.click("[data-action=record]")
            page.click("#shutter")
            expect(page.locator("#problem-title")).to_have_text(title)
        page.evaluate("Object.defineProperty(window, 'isSecureContext', { value: false })")
        page.click("[data-action=record]")
        page.click("#shutter")
        expect(page.locator("#problem-title")).to_have_text("Recording needs a safe connection")


def test_a_microphone_that_is_taken_away_leaves_what_was_said(page: Page) -> None:
    page.evaluate(
        """() => {
            const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wanted) => (window.stream = await ask(wanted));
        }"""
    )
    page.click("#home-record")
    page.click("#shutter")
    wait_until_heard(page, 1.5)
    page.evaluate("window.stream.getTracks()[0].dispatchEvent(new Event('ended'))")
    expect(page.locator("#record-hint")).to_contain_text("The recording was interrupted")
    expect(page.locator("#use")).to_be_visible()


def test_a_recording_stops_at_the_longest_that_the_server_takes(page: Page) -> None:
    with_info(page, lambda info: info["limits"].update(seconds=2))
    page.click("#home-record")
    page.click("#shutter")
    expect(page.locator("#record-hint")).to_contain_text("The recording stopped by itself")
    expect(page.locator("#use")).to_be_visible()


def test_a_recording_that_is_too_short_cannot_be_used(page: Page) -> None:
    page.click("#home-record")
    record(page, 0.4)
    expect(page.locator("#record-hint")).to_contain_text("is too short")
    expect(page.locator("#use")).to_be_hidden()
    expect(page.locator("#record-again")).to_be_visible()


def test_leaving_a_recording_keeps_it(page: Page) -> None:
    page.click("#home-record")
    page.click("#shutter")
    wait_until_heard(page, 1.5)
    page.go_back()
    wait_for(page, "home")
    page.click("#resume-continue")
    expect(page.locator("#clip-name")).to_have_text("Recording")


def test_a_busy_server_is_asked_again_after_a_while(page: Page, examples: Path) -> None:
    answer_with(page, 503, "busy", {"Retry-After": "2"})
    send(page, examples / "male.wav")
    expect(page.locator("#problem-title")).to_have_text("The server is busy")
    expect(page.locator("#problem-wait")).to_have_text(re.compile("You can try again in (2 seconds|one second)."))
    expect(page.locator("[data-action=retry]")).to_be_disabled()
    expect(page.locator("[data-action=retry]")).to_be_enabled()
    expect(page.locator("#announce")).to_have_text("You can try again now.")
    page.unroute(FACE_URL)
    page.click("[data-action=retry]")
    wait_for(page, "result")


def test_every_refusal_has_its_words(page: Page, examples: Path) -> None:
    upload(page, examples / "male.wav")
    for status, code, title in [
        (429, "too-many-requests", "Too many requests"),
        (504, "timeout", "It took too long"),
        (415, "missing-decoder", "This server cannot read such files"),
        (413, "too-long", "The recording is too long"),
        (422, "decoder-failed", "The file could not be read"),
        (422, "never-heard-of", "Something went wrong on the server"),
        (500, "internal", "Something went wrong on the server"),
    ]:
        wait_for(page, "choose")
        answer_with(page, status, code, request_id="abc123")
        page.click("#send")
        expect(page.locator("#problem-title")).to_have_text(title)
        if code == "never-heard-of":
            expect(page.locator("#problem-detail")).to_have_text("As the test wants it.")
        if code == "internal":
            expect(page.locator("#problem-id")).to_have_text("Number of the request: abc123")
        page.unroute(FACE_URL)
        page.go_back()


def test_offline_and_back_again(page: Page, examples: Path) -> None:
    upload(page, examples / "male.wav")
    wait_for(page, "choose")
    page.context.set_offline(True)
    expect(page.locator("#offline")).to_contain_text("You are offline")
    page.click("#send")
    expect(page.locator("#problem-title")).to_have_text("You are offline")
    page.context.set_offline(False)
    expect(page.locator("#offline")).to_be_hidden()
    page.click("[data-action=retry]")
    wait_for(page, "result")


def test_a_server_that_is_down_is_told_at_once_and_found_again(page: Page) -> None:
    page.clock.install()
    page.route("**/v1/info", lambda route: route.abort())
    page.reload()
    expect(page.locator("#offline")).to_contain_text("The server does not answer")
    page.unroute("**/v1/info")
    page.clock.fast_forward(20_000)
    expect(page.locator("#offline")).to_be_hidden()


def test_the_access_key_is_asked_for_and_forgotten_with_the_tab(page: Page, examples: Path) -> None:
    with_info(page, lambda info: info.update(key_needed=True))

    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer sesame":
            route.continue_()
        else:
            route.fulfill(status=401, content_type="application/problem+json", body='{"code": "unauthorised"}')

    page.route(FACE_URL, guard)
    send(page, examples / "male.wav")
    expect(page.locator("#key-error")).to_have_text("Please enter the access key.")
    expect(page.locator("#key")).to_be_focused()
    page.fill("#key", "wrong")
    page.click("#send")
    expect(page.locator("#key-error")).to_contain_text("does not accept")
    expect(page.locator("#key")).to_be_focused()
    assert violations(page) == []
    page.fill("#key", "sesame")
    page.keyboard.press("Enter")
    wait_for(page, "result")
    assert page.evaluate("Object.values(localStorage).concat(document.cookie).join().includes('sesame')") is False
    assert page.evaluate("Object.values(sessionStorage)") == ["sesame"]


def test_sending_can_be_cancelled(page: Page, examples: Path) -> None:
    held: list[Route] = []
    page.route(FACE_URL, lambda route: held.append(route))
    send(page, examples / "male.wav")
    wait_for(page, "sending")
    page.click("#cancel")
    wait_for(page, "choose")
    page.go_forward()  # sends nothing
    page.wait_for_timeout(300)
    wait_for(page, "choose")
    assert len(held) == 1


# ------------------------------------------------------------------ keyboard, languages, theme


def test_the_whole_way_by_keyboard(browser: Browser, base: str) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(30):
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
            page.keyboard.press("Tab")
        pytest.fail(f"Tab does not lead to {selector}")

    with opened(browser, base, **DESKTOP) as page:
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        tab_to("#home-record")
        page.keyboard.press("Enter")
        expect(page.locator("#record-title")).to_be_focused()
        tab_to("#shutter")
        page.keyboard.press("Space")
        wait_until_heard(page, 2)
        expect(page.locator("#shutter")).to_be_focused()
        page.keyboard.press("Space")
        expect(page.locator("#record-title")).to_be_focused()
        tab_to("#use")
        page.keyboard.press("Enter")
        expect(page.locator("[data-screen=choose] h1")).to_be_focused()
        tab_to("#choose-form [name=gender]")
        page.keyboard.press("ArrowDown")
        expect(page.locator("#choose-form").get_by_label("Female")).to_be_checked()
        tab_to("#send")
        page.keyboard.press("Enter")
        expect(page.locator("[data-screen=result] h1")).to_be_focused()
        tab_to("#strip input")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#face")).to_have_attribute("alt", "Invented face, 2 of 4")
        tab_to("[data-screen=result] [data-home]")
        page.keyboard.press("Enter")
        expect(page.locator("[data-screen=home] h1")).to_be_focused()


def test_language_and_theme_are_switched_and_remembered(page: Page) -> None:
    page.click("#language")
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator("#home-record .name")).to_have_text("تسجيل")
    page.click("#theme")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    wait_for(page, "home")
    expect(page.locator("html")).to_have_attribute("lang", "ar")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.title() == "وجه يلائم الصوت"


def test_both_languages_have_the_same_texts() -> None:
    def texts(language: str) -> dict[str, set[str]]:
        source = (WEB / f"strings.{language}.js").read_text("utf-8")
        entries = re.findall(r'^  "([^"]+)":(.*?)(?=^  "|^\};)', source, re.M | re.S)
        return {key: set(re.findall(r"\{([a-z]+)\}", text)) for key, text in entries}

    english = texts("en")
    assert len(english) > 100
    assert english == texts("ar")
    used = set(re.findall(r'data-t(?:-label)?="([^"]+)"', (WEB / "index.html").read_text("utf-8")))
    assert used <= english.keys()


def test_touch_targets_are_large_enough(page: Page, examples: Path) -> None:
    def small() -> list[str]:
        found = page.evaluate(
            """() => [...document.querySelectorAll('button, footer a, label, input:not([type=radio], [type=checkbox])')]
                .filter(e => e.checkVisibility())
                .map(e => [e.id || e.textContent.trim(), e.getBoundingClientRect()])
                .filter(([, box]) => box.width < 44 || box.height < 44).map(([name]) => name)"""
        )
        return list(found)

    assert small() == []
    send(page, examples / "male.wav")
    wait_for(page, "result")
    assert small() == []


# ---------------------------------------------------------------------------- what it keeps


def test_it_installs_opens_offline_and_keeps_no_face(browser: Browser, base: str, examples: Path) -> None:
    with opened(browser, base, service_workers="allow") as page:
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        wait_until(page, "navigator.serviceWorker.controller !== null")
        send(page, examples / "male.wav")
        wait_for(page, "result")
        kept = page.evaluate(
            """async () => {
                const caches_ = await Promise.all((await caches.keys()).map(name => caches.open(name)));
                const requests = (await Promise.all(caches_.map(cache => cache.keys()))).flat();
                return {
                    paths: requests.map(request => new URL(request.url).pathname),
                    databases: await indexedDB.databases(),
                    settings: { ...localStorage, ...sessionStorage },
                };
            }"""
        )
        files = {f"/{file.relative_to(WEB).as_posix()}" for file in WEB.rglob("*") if file.suffix in (".js", ".css")}
        assert set(kept["paths"]) >= files - {"/sw.js"} | {"/", "/manifest.webmanifest"}
        assert not any("v1" in url for url in kept["paths"])
        assert (kept["databases"], kept["settings"]) == ([], {})

        reload_offline(page)
        wait_for(page, "home")
        expect(page.locator("#offline")).to_contain_text("You are offline")


def test_the_manifest_makes_it_an_app(page: Page) -> None:
    manifest = page.evaluate("fetch(document.querySelector('link[rel=manifest]').href).then(r => r.json())")
    assert manifest["display"] == "standalone"
    assert all(manifest[name] for name in ("id", "name", "short_name", "start_url", "theme_color", "background_color"))
    pngs = {(icon["purpose"], icon["sizes"]) for icon in manifest["icons"] if icon["type"] == "image/png"}
    assert pngs == {(purpose, size) for purpose in ("any", "maskable") for size in ("192x192", "512x512")}
    for icon in manifest["icons"]:
        width = page.evaluate(
            "async src => { const i = new Image(); i.src = src; await i.decode(); return i.width }", icon["src"]
        )
        assert icon["sizes"] in ("any", f"{width}x{width}")
    with page.context.expect_page() as terms:
        page.click("footer a[href=terms]")
    assert terms.value.url.endswith("/terms")


# --------------------------------------------------------------------------------- live


def test_a_face_appears_while_speaking(page: Page) -> None:
    page.click("#home-record")
    page.locator("#live-on").check()
    assert violations(page) == []
    page.click("#shutter")
    expect(page.locator("#live-face")).to_be_visible()
    assert violations(page) == []
    page.click("#shutter")
    expect(page.locator("#use")).to_be_visible()
    expect(page.locator("#live-face")).to_be_visible()
    page.click("#use")
    wait_for(page, "choose")
