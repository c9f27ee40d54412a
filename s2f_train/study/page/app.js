/** Starts the study, and goes from screen to screen. */

import { $, all } from "./dom.js";
import { firstLanguage, otherLanguage, rememberLanguage, t, useLanguage } from "./i18n.js";
import { begin, forgetKey, next, readKey, readStudy, sendAnswer, withdraw } from "./server.js";
import { startTheme, switchTheme } from "./theme.js";
import { renderTrial, showTrial, startTrial } from "./trial.js";
import { stopVoice } from "./voice.js";

let study = null; // as the server describes it
let following = null; // what is asked next
let current = "";
let problem = "";
let seen = false; // whether this visit has shown an introduction

startTheme();
startTrial(answer, () => current === "trial");
speak(firstLanguage());
$("#language").addEventListener("click", () => {
  speak(otherLanguage());
  rememberLanguage();
});
$("#theme").addEventListener("click", switchTheme);
$("#begin").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!$("#agree").checked) $("#agree").focus();
  else attempt(async () => follow(await begin(document.documentElement.lang)));
});
$("#go").addEventListener("click", trial);
$("#again").addEventListener("click", open);
$("#withdraw").addEventListener("click", () => $("#sure").showModal());
$("#sure").addEventListener("close", () => {
  if ($("#sure").returnValue === "yes") attempt(async () => (await withdraw(), fail("withdrawn")));
  $("#sure").returnValue = "";
});
open();

/** Reads the study, and where this person stopped. */
function open() {
  attempt(async () => {
    study = await readStudy();
    $("#study-title").textContent = study.title;
    document.title = study.title;
    if (readKey()) follow(await next());
    else show("consent");
  });
}

/** What the server does not do is said on a screen of its own; of the answers nothing is lost. */
async function attempt(what) {
  try {
    await what();
  } catch (refused) {
    if (refused.status === undefined) throw refused;
    if (refused.status === 401) {
      forgetKey();
      show("consent");
    } else fail(refused.status === 409 ? "full" : "unreachable");
  }
}

function fail(what) {
  problem = what;
  show("problem");
}

function follow(asked) {
  following = asked;
  if (asked.done) show("done");
  else if (asked.first || !seen) show("task");
  else trial();
}

function trial() {
  seen = true;
  show("trial");
  showTrial(following);
}

function answer(given) {
  const waiting = (waits) => ($("#trouble").textContent = waits ? t("trial.waiting") : "");
  attempt(async () => follow(await sendAnswer(given, waiting)));
}

function show(screen) {
  if (screen !== "trial") stopVoice();
  current = screen;
  document.body.dataset.at = screen;
  for (const section of all("[data-screen]")) section.hidden = section.dataset.screen !== screen;
  $("#footer").hidden = !["task", "trial", "done"].includes(screen);
  render();
  window.scrollTo(0, 0);
  $(`[data-screen="${screen}"] h1`).focus({ preventScroll: true });
}

function speak(language) {
  useLanguage(language);
  $("#language").textContent = t("app.language");
  $("#language").lang = otherLanguage();
  render();
}

/** Writes what is not fixed text. */
function render() {
  if (study) {
    $("#length").textContent = t("consent.length", { n: study.minutes, trials: study.trials });
    $("#consent").replaceChildren(...study.consent[document.documentElement.lang].map(paragraph));
  }
  if (following && !following.done) {
    $("#task-title").textContent = t(`task.${following.task}`);
    $("#task-text").textContent = t(`task.${following.task}.text`);
    $("#task-keys").textContent = t(`task.${following.task}.keys`);
    $("#task-count").textContent = following.first
      ? t("task.count", { n: following.trials })
      : t("task.back", { n: following.answered, of: following.of });
  }
  if (current === "trial") renderTrial();
  if (problem) {
    $("#problem-title").textContent = t(`problem.${problem}`);
    $("#problem-text").textContent = t(`problem.${problem}.text`);
    $("#again").hidden = problem !== "unreachable";
  }
}

function paragraph(text) {
  const element = document.createElement("p");
  element.textContent = text;
  return element;
}
