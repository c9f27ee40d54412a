"""A Chromium with a microphone that plays a file, and pages that are watched."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
import soxr
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Route, expect

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 1,
    "is_mobile": True,
    "has_touch": True,
}
DESKTOP: dict[str, Any] = {
    "viewport": {"width": 1280, "height": 800},
    "device_scale_factor": 1,
    "is_mobile": False,
    "has_touch": False,
}
WINDOWS = {"phone": PHONE, "desktop": DESKTOP}

WAIT = 30_000  # ms: a machine may be busy
expect.set_options(timeout=WAIT)

FACE_URL = "**/v1/face"
MICROPHONE_RATE = 48_000
NAMES = ("chromium", "chromium-browser", "google-chrome")

# Chromium says the first when a test takes the server away, Playwright the second when it keeps a service worker out.
EXPECTED = ("Failed to load resource", "Service Worker registration blocked by Playwright")
REPORT_VIOLATIONS = (
    "addEventListener('securitypolicyviolation', e => console.error('CSP', e.violatedDirective, e.blockedURI))"
)


def chromium(playwright: Playwright) -> str:
    """The path of a Chromium: of S2F_CHROMIUM, on PATH, or Playwright's own."""
    candidates = [os.environ.get("S2F_CHROMIUM"), *map(shutil.which, NAMES), playwright.chromium.executable_path]
    for path in candidates:
        if path and Path(path).exists():
            return path
    reason = (
        f"No Chromium: set S2F_CHROMIUM, or install one of {', '.join(NAMES)}, or run `playwright install chromium`."
    )
    if os.environ.get("CI") or os.environ.get("S2F_DATA"):
        pytest.fail(reason)
    pytest.skip(reason)


def reload_offline(page: Page) -> None:
    """Opens the page again without a network.

    In Chromium 150, Playwright leaves navigator.onLine true in a page that is loaded offline, until it is told anew.
    """
    page.context.set_offline(True)
    page.reload()
    for _ in range(50):  # on a busy machine once is not always enough
        if not page.evaluate("navigator.onLine"):
            return
        page.context.set_offline(False)
        page.context.set_offline(True)
        page.wait_for_timeout(100)
    pytest.fail("The browser never says that it is offline.")


def not_isolated(page: Page) -> None:
    """Opens the page anew as it is over plain HTTP, or where something on the way drops the header."""

    def plain(route: Route) -> None:
        answer = route.fetch()
        headers = {name: value for name, value in answer.headers.items() if name != "cross-origin-embedder-policy"}
        route.fulfill(response=answer, headers=headers)

    page.route(page.url, plain)
    page.reload()
    page.wait_for_selector("[data-screen=home]:visible")


def launch(playwright: Playwright, microphone: Path) -> Browser:
    """A browser without a window, whose microphone plays a wav file again and again."""
    return playwright.chromium.launch(
        executable_path=chromium(playwright),
        args=[
            "--no-sandbox",  # for root, as in containers
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        ],
    )


def write_microphone(clip: Path, target: Path) -> Path:
    """A clip as Chromium's fake microphone wants it: 48 kHz, 16 bit, two channels."""
    samples, rate = soundfile.read(clip, dtype="float32")
    louder = soxr.resample(samples, rate, MICROPHONE_RATE)
    soundfile.write(target, np.stack([louder, louder], axis=1), MICROPHONE_RATE, subtype="PCM_16")
    return target


@dataclass
class Watched:
    """What a page did: no request may leave the server, and nothing may be wrong."""

    base: str
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("request", lambda request: self._asked(request.url))
        context.on("console", lambda message: self._said(message.type, message.text))
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.add_init_script(REPORT_VIOLATIONS)

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data") and parts.netloc != urlsplit(self.base).netloc:
            self.foreign.append(url)

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not text.startswith(EXPECTED):
            self.errors.append(text)


@contextmanager
def opened(browser: Browser, base: str, *, microphone: bool = True, **options: Any) -> Iterator[Page]:
    """The page, at home, in a fresh profile; at the end it is checked for requests and errors."""
    options = {"locale": "en-GB", "service_workers": "block", "reduced_motion": "reduce", **PHONE, **options}
    context = browser.new_context(**options)
    context.set_default_timeout(WAIT)
    context.grant_permissions(["microphone"] if microphone else [], origin=base)
    watched = Watched(base)
    watched.watch(context)
    page = context.new_page()
    try:
        page.goto(f"{base}/")
        page.wait_for_selector("[data-screen=home]:visible")
        yield page
        assert watched.foreign == []
        assert watched.errors == [], watched.errors
    finally:
        context.close()


def violations(page: Page) -> list[str]:
    """What axe finds that is serious or critical."""
    found = Axe().run(page).response["violations"]
    return [
        f"{problem['id']}: {[node['html'] for node in problem['nodes']]}"
        for problem in found
        if problem["impact"] in ("serious", "critical")
    ]


def shots(folder: Path) -> Path:
    """Where screenshots go: S2F_SCREENSHOTS, or else the given folder."""
    target = Path(os.environ.get("S2F_SCREENSHOTS") or folder)
    target.mkdir(parents=True, exist_ok=True)
    return target


# ------------------------------------------------------------------- what a person does


def wait_for(page: Page, screen: str) -> None:
    expect(page.locator(f"[data-screen={screen}]")).to_be_visible()


def upload(page: Page, file: Path) -> None:
    """Chooses a file on the screen that is shown."""
    with page.expect_file_chooser() as chooser:
        page.locator("#home-upload:visible, [data-action=upload]:visible").click()
    chooser.value.set_files(file)


def send(page: Page, file: Path) -> None:
    upload(page, file)
    wait_for(page, "choose")
    page.click("#send")


def wait_until(page: Page, condition: str) -> None:
    """Playwright's own wait_for_function needs eval, which the page's policy forbids."""
    for _ in range(WAIT // 50):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"This did not come: {condition}")


def wait_until_asked(page: Page, held: list[Route]) -> None:
    """Waits for the first request that a test's own route holds; routes are called while Playwright waits."""
    for _ in range(WAIT // 20):
        if held:
            return
        page.wait_for_timeout(20)
    pytest.fail("The page does not ask for it.")


def wait_until_heard(page: Page, seconds: float) -> None:
    wait_until(page, f"Number(document.querySelector('#timer').dataset.seconds) >= {seconds}")


def record(page: Page, seconds: float) -> None:
    page.click("#shutter")
    expect(page.locator("#shutter")).to_have_accessible_name(re.compile("Stop|إيقاف"))
    wait_until_heard(page, seconds)
    page.click("#shutter")
    expect(page.locator("#review")).to_be_visible()


def answer_with(page: Page, status: int, code: str, headers: dict[str, str] | None = None, **fields: Any) -> None:
    """Has the service refuse to make faces."""
    body = {"code": code, "status": status, "title": code, "detail": "As the test wants it.", **fields}

    def refuse(route: Route) -> None:
        route.fulfill(
            status=status, headers=headers or {}, content_type="application/problem+json", body=json.dumps(body)
        )

    page.route(FACE_URL, refuse)


def with_info(page: Page, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes what the service says of itself, and opens the page anew."""

    def changed(route: Route) -> None:
        info = route.fetch().json()
        change(info)
        route.fulfill(json=info)

    page.route("**/v1/info", changed)
    page.reload()
    wait_for(page, "home")


def drop(page: Page, file: Path) -> None:
    """Drops a file on the middle of the page."""
    transfer = page.evaluate_handle(
        """([letters, name]) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(letters), letter => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], name, { type: "audio/wav" }));
            return transfer;
        }""",
        [base64.b64encode(file.read_bytes()).decode(), file.name],
    )
    page.dispatch_event("main", "dragover", {"dataTransfer": transfer})
    expect(page.locator(".drop")).to_be_visible()
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})
