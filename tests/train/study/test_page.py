"""The study in a real browser: people whose preference is known, on phones and by keyboard, in both languages."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

pytest.importorskip("playwright", reason="playwright is not installed; it is in the group test.")

from playwright.sync_api import Browser, Page, expect, sync_playwright

from s2f_train.evaluate.tables import Table
from s2f_train.study.answers import read_answers
from s2f_train.study.design import Trial, trials_of
from s2f_train.study.score import score
from s2f_train.study.serve import create_app
from s2f_train.study.study import PHOTOGRAPH
from tests.service.browser import DESKTOP, PHONE, WAIT, Watched, chromium, shots, violations, wait_until
from tests.train.study.made_study import answer_of, made_study

FIELDS = "#trial fieldset:not([hidden]):not(:disabled)"
# In window.plays, how often a voice began to play.
COUNT_PLAYS = """{
    const play = HTMLMediaElement.prototype.play;
    window.plays = 0;
    HTMLMediaElement.prototype.play = async function () {
        await play.call(this);
        window.plays += 1;
    };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(playwright), args=["--no-sandbox"])
        yield launched
        launched.close()


class Serving:
    """A study and its server, which can be stopped and started."""

    def __init__(self, folder: Path, **about: Any):
        self.folder, self.study = folder, made_study(folder, **about)
        self.port = 0
        self.start()

    def start(self) -> None:
        self._app = create_app(self.folder)
        self._server = uvicorn.Server(uvicorn.Config(self._app, port=self.port, log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.02)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._app.state.answers.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    started = Serving(tmp_path / "study", systems=("ours",), voices=12, each=(4, 2, 2))
    yield started
    started.stop()


def visit(browser: Browser, url: str, script: str = "", **options: Any) -> Page:
    """A person of their own, at the text to agree to; a script runs before those of the page."""
    context = browser.new_context(**{"locale": "en-GB", "reduced_motion": "reduce", **PHONE, **options})
    context.set_default_timeout(WAIT)
    if script:
        context.add_init_script(script)
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("[data-screen=consent]:visible")
    return page


def begin(page: Page) -> None:
    page.check("#agree")
    page.click("#begin button")
    page.wait_for_selector("[data-screen=task]:visible")


def to_trial(page: Page, place: int, of: int) -> None:
    """Waits for a trial, past the introduction of its task, until it can be answered."""
    told = f"{place + 1} of {of}"
    start, trial = page.locator("#go:visible"), page.locator("#place:visible", has_text=re.compile(f"^{told}$"))
    start.or_(trial).wait_for()  # at once, where expect looks from time to time
    if start.is_visible():
        start.click()
    trial.wait_for()
    page.wait_for_selector(FIELDS)


def give(page: Page, trial: Trial, given: Any, keyboard: bool) -> None:
    """Answers as a person does, and goes on."""
    if trial.shown["ask"] in ("rate", "beeps"):
        steps = given if isinstance(given, dict) else {"beeps": given}
        for scale, step in steps.items():
            if keyboard:
                page.keyboard.press(str(step))
            else:
                page.locator(f"[data-name={scale}] label", has_text=str(step)).click()
    elif keyboard:
        page.keyboard.press("ArrowLeft" if given == "left" else "ArrowRight")
    else:
        page.locator(f"#sides label:has([value={given}])").click()
    if keyboard:
        page.keyboard.press("Enter")
    else:
        page.click("#next")


def answered_one(page: Page, before: str) -> None:
    """Waits until another trial, or another screen, is there."""
    for _ in range(3000):
        if not page.is_visible("[data-screen=trial]") or page.inner_text("#place") != before:
            return
        page.wait_for_timeout(10)
    pytest.fail(f"The answer to {before} leads nowhere: {page.inner_text('#trouble')}")


@pytest.mark.slow
def test_people_whose_preference_is_known(browser: Browser, tmp_path: Path) -> None:
    """In three of four cases they choose the photograph's and ours; the report says so, and its range holds it."""
    serving = Serving(tmp_path / "study", systems=("ours",), voices=12, each=(4, 2, 0), seed=3)
    study, rng, preference = serving.study, np.random.default_rng(4), 0.75
    given: list[tuple[str, str, bool]] = []
    try:
        for number in range(8):
            page = visit(browser, serving.url, **(PHONE if number % 2 else DESKTOP))
            begin(page)
            for place, trial in enumerate(trials_of(study, number)):
                to_trial(page, place, study.trials)
                right = bool(rng.random() < preference)
                if not trial.check:
                    given.append((trial.task, trial.system, right))
                give(page, trial, answer_of(trial, right, lambda _: 3), keyboard=number % 2 == 0)
            page.wait_for_selector("[data-screen=done]:visible")
            page.context.close()
    finally:
        serving.stop()
    result = score(serving.folder, draws=0)
    tables = {part.key: part for section in result.evaluation.sections for part in section.parts
              if isinstance(part, Table)}  # fmt: skip
    for task, system, column in (
        ("match", PHOTOGRAPH, None), ("match", "ours", None), ("pair", "ours", "photograph told"),
    ):  # fmt: skip
        (row,) = (row for row in tables[task].rows if row["system"] == system)
        figures = [row[column]] if column else [row["right, all"], row["right, same gender"]]
        rights = [right for t, s, right in given if (t, s) == (task, system)]
        assert sum(f.value * f.n for f in figures) == pytest.approx(sum(rights))
        assert sum(f.n for f in figures) == len(rights) == 16
        for figure in figures:
            assert figure.low <= preference <= figure.high
    assert all(person.answers[0].ms > 0 for person in read_answers(serving.folder, study))


@pytest.mark.parametrize(
    ("locale", "window", "theme"),
    [("en-GB", PHONE, "light"), ("ar-EG", PHONE, "dark"), ("ar-EG", DESKTOP, "light")],
    ids=["en-phone", "ar-phone", "ar-desktop"],
)
@pytest.mark.slow
def test_every_screen(
    browser: Browser, serving: Serving, tmp_path: Path, locale: str, window: dict[str, Any], theme: Any
) -> None:
    folder, seen = shots(tmp_path), set()
    page = visit(browser, serving.url, locale=locale, color_scheme=theme, **window)
    watched = Watched(serving.url)
    watched.watch(page.context)

    def check(screen: str) -> None:
        name = f"study-{locale[:2]}-{window['viewport']['width']}-{screen}"
        page.screenshot(path=folder / f"{name}.png", full_page=True)
        assert violations(page) == []
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{screen} is {wide} pixels wider than the window"

    assert page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == (
        ["ar", "rtl"] if locale.startswith("ar") else ["en", "ltr"]
    )
    check("consent")
    begin(page)
    for trial in trials_of(serving.study, 0):
        page.wait_for_selector("[data-screen=task]:visible, [data-screen=trial]:visible")
        if page.is_visible("[data-screen=task]"):
            check(f"task-{trial.task}")
            page.click("#go")
        page.wait_for_selector(FIELDS)
        if trial.shown["ask"] not in seen:
            seen.add(trial.shown["ask"])
            check(trial.shown["ask"])
        boxes = [page.locator(f"#sides label:has([value={side}])").bounding_box() for side in ("left", "right")]
        if boxes[0] and boxes[1]:  # left is left in Arabic too: the arrow keys and the answers say so
            assert boxes[0]["x"] < boxes[1]["x"]
        before = page.inner_text("#place")
        give(page, trial, answer_of(trial, True, lambda _: 4), keyboard=True)
        answered_one(page, before)
    page.wait_for_selector("[data-screen=done]:visible")
    check("done")
    assert watched.foreign == []
    assert watched.errors == []
    assert len(read_answers(serving.folder, serving.study)[0].answers) == serving.study.trials
    page.context.close()


@pytest.mark.slow
def test_a_person_closes_the_tab_and_goes_on_and_the_server_is_gone_for_a_while(
    browser: Browser, serving: Serving
) -> None:
    study, trials = serving.study, trials_of(serving.study, 0)
    page = visit(browser, serving.url)
    begin(page)
    for place in range(3):
        to_trial(page, place, study.trials)
        give(page, trials[place], answer_of(trials[place], True, lambda _: 2), keyboard=False)
    to_trial(page, 3, study.trials)
    serving.stop()
    give(page, trials[3], answer_of(trials[3], True, lambda _: 2), keyboard=False)
    expect(page.locator("#trouble")).to_contain_text("Your answer is kept", timeout=WAIT)
    context = page.context
    page.close()  # with an answer that the server never got
    serving.start()
    page = context.new_page()
    page.goto(serving.url)
    page.wait_for_selector("[data-screen=task]:visible")
    expect(page.locator("#task-count")).to_have_text(f"You have answered 4 of {study.trials}.")
    to_trial(page, 4, study.trials)
    assert [answer.given for answer in read_answers(serving.folder, study)[0].answers] == [
        answer_of(trial, True, lambda _: 2) for trial in trials[:4]
    ]
    page.click("#withdraw")
    page.click("#sure button[value=yes]")
    expect(page.locator("#problem-title")).to_have_text("Your answers are deleted")
    page.reload()
    page.wait_for_selector("[data-screen=consent]:visible")
    assert page.evaluate("Object.keys(localStorage).filter(name => name.includes('study'))") == []
    context.close()


@pytest.mark.slow
def test_a_voice_is_heard_before_an_answer_and_again(browser: Browser, serving: Serving) -> None:
    study = serving.study
    number = next(n for n in range(6) if trials_of(study, n)[0].task == "match")
    for _ in range(number):  # others came before
        page = visit(browser, serving.url)
        begin(page)
        page.context.close()
    page = visit(browser, serving.url, script=COUNT_PLAYS)
    begin(page)
    to_trial(page, 0, study.trials)
    expect(page.locator("#next")).to_be_disabled()  # nothing is chosen yet
    for count in (2, 3, 4):
        if count < 4:
            page.keyboard.press("r")
        else:
            page.click("#play")
        wait_until(page, f"window.plays >= {count}")
    trial = trials_of(study, number)[0]
    give(page, trial, trial.right, keyboard=True)
    expect(page.locator("#place")).to_have_text(f"2 of {study.trials}", timeout=WAIT)
    (answer,) = read_answers(serving.folder, study)[number].answers
    assert answer.plays >= 3
    page.context.close()
