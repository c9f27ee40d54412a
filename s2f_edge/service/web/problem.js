/** The screen that says what did not work and what to do. */

import { $, all, announce } from "./dom.js";
import { pickFile } from "./files.js";
import { t } from "./i18n.js";
import { describe } from "./problems.js";
import { currentScreen, define, go, replace } from "./screens.js";

// A press on Back must not lead into these again.
const PASSING = new Set(["record", "sending", "problem"]);

/** @type {import("./api.js").Problem | null} */
let problem = null;
let readyAt = 0; // when it may be tried again, in ms
let timer = 0;

/** @param {import("./api.js").Problem} met */
export function showProblem(met) {
  problem = met;
  readyAt = Date.now() + 1000 * met.retryAfter;
  (PASSING.has(currentScreen()) ? replace : go)("problem");
}

/** @param {() => void} sendInstead sends to the server what the device could not do */
export function startProblem(sendInstead) {
  const does = { retry: () => replace("sending"), server: sendInstead, record: () => replace("record"), upload: pickFile };
  for (const button of all("#problem-actions [data-action]")) {
    button.addEventListener("click", does[button.dataset.action]);
  }
  define("problem", { enter, leave: () => clearInterval(timer), render, possible: () => problem !== null });
}

function enter() {
  clearInterval(timer);
  if (readyAt > Date.now()) timer = setInterval(tick, 250);
}

function tick() {
  renderWait();
  if (readyAt > Date.now()) return;
  clearInterval(timer);
  announce(t("problem.ready"));
}

function render() {
  const words = describe(problem);
  $("#problem-title").textContent = words.title;
  $("#problem-text").textContent = words.text;
  $("#problem-detail").textContent = words.detail;
  $("#problem-detail").hidden = !words.detail;
  $("#problem-id").textContent = t("problem.id", { id: words.requestId });
  $("#problem-id").hidden = !words.requestId;
  for (const button of all("#problem-actions [data-action]")) {
    button.hidden = !words.actions.includes(button.dataset.action);
    button.classList.toggle("primary", button.dataset.action === words.actions[0]);
    button.style.order = String(words.actions.indexOf(button.dataset.action));
  }
  renderWait();
}

function renderWait() {
  const seconds = Math.ceil((readyAt - Date.now()) / 1000);
  const waiting = seconds > 0;
  $("#problem-wait").hidden = !waiting;
  if (waiting) $("#problem-wait").textContent = t("problem.wait", { n: seconds });
  $("[data-action=retry]").disabled = waiting;
}
