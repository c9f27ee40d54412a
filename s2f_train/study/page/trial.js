/** One trial: its pictures, its voice, its question, and the answer by finger, mouse or keyboard. */

import { $, all } from "./dom.js";
import { number, t } from "./i18n.js";
import { loadVoice, playVoice, render as renderVoice, timesPlayed } from "./voice.js";

const SCALES = ["realism", "fit", "appeal"];
const STEPS = [1, 2, 3, 4, 5];
const BEEPS = [2, 3, 4, 5];

/** @type {any} as the server describes it */
let trial = null;
let since = 0;
let waiting = false;

/** @param {(answer: object) => void} answered @param {() => boolean} shown whether a trial is on the screen */
export function startTrial(answered, shown) {
  $("#play").addEventListener("click", playVoice);
  $("#trial").addEventListener("change", renderNext);
  $("#trial").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!isAnswered() || waiting) return;
    waiting = true;
    renderNext();
    const ms = Math.round(performance.now() - since);
    answered({ place: trial.place, given: given(), ms, plays: timesPlayed() });
  });
  document.addEventListener("keydown", (event) => {
    if (shown() && !$("#sure").open && !event.ctrlKey && !event.metaKey && !event.altKey) press(event);
  });
}

/** Shows a trial; answers can be given when its pictures are there and its voice has been heard. */
export async function showTrial(next) {
  trial = next;
  waiting = false;
  $("#trouble").textContent = "";
  $("#trial").reset();
  steps();
  renderTrial();
  const sides = trial.left !== undefined;
  $("#sides").hidden = !sides;
  $("#face").hidden = !trial.face;
  const pictures = sides ? all("#sides img") : trial.face ? [$("#face")] : [];
  const names = sides ? [trial.left, trial.right] : [trial.face];
  pictures.forEach((picture, i) => (picture.src = `media/${names[i]}`));
  allow(false);
  const mine = trial;
  const heard = new Promise((resolve, reject) => loadVoice(trial.sound ?? null, resolve, reject));
  since = performance.now();
  try {
    await Promise.all(pictures.map((picture) => picture.decode()));
    since = performance.now();
    if (trial.sound) await heard;
  } catch {
    if (mine === trial) $("#trouble").textContent = t("trial.missing");
    return;
  }
  if (mine === trial) allow(true);
}

/** Writes the texts of the trial in the language of the page. */
export function renderTrial() {
  if (!trial) return;
  $("#progress").max = trial.of;
  $("#progress").value = trial.answered;
  $("#place").textContent = t("trial.place", { n: trial.answered + 1, of: trial.of });
  $("#question").textContent = t(`question.${trial.ask}`);
  $("#sides-legend").textContent = t(`question.${trial.ask}`);
  $("#told").hidden = !trial.told;
  if (trial.told) $("#told").textContent = told();
  for (const [i, picture] of all("#sides img").entries()) picture.alt = t(i ? "side.right.alt" : "side.left.alt");
  $("#face").alt = t("face.alt");
  for (const scale of all("#steps fieldset")) {
    const name = scale.dataset.name;
    $("legend", scale).textContent = t(`scale.${name}`);
    for (const [i, end] of all(".ends span", scale).entries()) {
      end.textContent = name === "beeps" ? "" : t(`scale.${name}.${i ? "high" : "low"}`);
    }
    for (const label of all("label", scale)) $("span", label).textContent = number(Number($("input", label).value));
  }
  renderVoice();
}

function told() {
  if (trial.ask === "side") return t(`told.${trial.told}`);
  return t("told.rate", trial.told);
}

/** The rows of steps that the trial has. */
function steps() {
  const scales = trial.ask === "rate" ? SCALES.map((name) => [name, STEPS]) : trial.ask === "beeps" ? [["beeps", BEEPS]] : [];
  $("#steps").replaceChildren(
    ...scales.map(([name, values]) => {
      const scale = $("#scale").content.cloneNode(true).firstElementChild;
      scale.dataset.name = name;
      $(".row", scale).append(...values.map((value) => step(name, value)));
      return scale;
    }),
  );
}

function step(name, value) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name, value: String(value) });
  label.append(input, document.createElement("span"));
  return label;
}

const fields = () => all("#trial fieldset").filter((field) => !field.hidden);

function allow(yes) {
  for (const field of fields()) field.disabled = !yes;
  renderNext();
}

const isAnswered = () => fields().every((field) => !field.disabled && $(":checked", field));

function renderNext() {
  $("#next").disabled = waiting || !isAnswered();
}

function given() {
  const values = fields().map((field) => $(":checked", field));
  if (trial.ask !== "rate") return trial.ask === "beeps" ? Number(values[0].value) : values[0].value;
  return Object.fromEntries(values.map((input) => [input.name, Number(input.value)]));
}

/** Arrows choose a side, digits a step, R hears the voice again, Enter goes on. */
function press(event) {
  const side = { ArrowLeft: "left", ArrowRight: "right" }[event.key];
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1];
  if (side && !$("#sides").hidden) choose($(`#sides [value=${side}]`));
  else if (digit && $("#steps").childElementCount) {
    const at = fields().find((field) => field.contains(document.activeElement)) ?? fields().find((f) => !$(":checked", f));
    const input = at && $(`[value="${digit}"]`, at);
    if (!input || at.disabled) return;
    choose(input);
    const open = fields().find((field) => !$(":checked", field));
    if (open) $("input", open).focus();
  } else if (event.code === "KeyR" && trial.sound) playVoice();
  else if (event.key === "Enter" && event.target === document.body) $("#trial").requestSubmit();
  else return;
  event.preventDefault();
}

function choose(input) {
  if (input.disabled || input.closest("fieldset").disabled) return;
  input.checked = true;
  input.focus();
  renderNext();
}
