/** The faces: four to choose from, what was heard, and what can be done next. */

import { $, all, announce } from "./dom.js";
import { genderOf, showGender } from "./genders.js";
import { duration, has, percent, t } from "./i18n.js";
import { fileName, save } from "./pictures.js";
import { define } from "./screens.js";
import { send } from "./sending.js";
import { session } from "./session.js";
import { leaveTalk, renderTalk, showTalk, startTalk } from "./talk.js";

/** @type {import("./session.js").Answer} */
let answer;

export function startResult() {
  $("#strip").addEventListener("change", (event) => choose(Number(event.target.value)));
  $("#save").addEventListener("click", () => {
    save(answer.faces[answer.chosen].url, nameOfChosen());
    announce(t("result.saved"));
  });
  $("#share").addEventListener("click", share);
  const form = $("#again-form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    session.gender = genderOf(form);
    const others = session.gender === answer.facts.asked_gender;
    send({ clip: answer.clip, gender: session.gender, others, here: Boolean(answer.facts.on_device) });
  });
  startTalk();
  define("result", { enter, leave: leaveTalk, render, possible: (state) => session.answers.has(state.answer) });
}

function enter(state) {
  answer = session.answers.get(state.answer);
  showGender($("#again-form"), answer.facts.asked_gender);
  for (const label of all("label", $("#strip"))) label.remove();
  addFaces();
  const mine = answer;
  mine.rest?.then(() => {
    if (answer !== mine) return;
    addFaces();
    render();
  });
  showTalk(answer);
}

/** Offers the faces that are not offered yet. */
function addFaces() {
  const { faces, chosen } = answer;
  for (let index = all("#strip label").length; index < faces.length; index++) {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "face", value: String(index) });
    radio.checked = index === chosen;
    label.append(radio, Object.assign(new Image(), { src: faces[index].url, alt: "" }));
    $("#strip").append(label);
  }
}

function choose(index) {
  answer.chosen = index;
  renderChosen();
  showTalk(answer);
}

function renderChosen() {
  const { faces, chosen } = answer;
  $("#face").src = faces[chosen].url;
  $("#face").alt = t("result.alt", { index: chosen + 1, count: faces.length });
  const file = chosenFile();
  $("#share").hidden = !navigator.canShare?.({ files: [file] });
}

const nameOfChosen = () => fileName(answer.made, answer.chosen);
const chosenFile = () => new File([answer.faces[answer.chosen].blob], nameOfChosen(), { type: "image/png" });

function share() {
  // The person may close the share sheet; that is no fault.
  navigator.share({ files: [chosenFile()], text: t("result.notice") }).catch(() => {});
}

function render() {
  const { facts, faces } = answer;
  renderChosen();
  all("#strip img").forEach((image, i) => {
    image.alt = t("result.face", { index: i + 1, count: faces.length });
  });
  const speech = duration(facts.speech_seconds);
  $("#fact-speech").textContent = speech;
  $("#fact-sounds").textContent = sounds(facts);
  $("#fact-generator").textContent = t(`result.generator.${facts.generator}`);
  $("#made-here").hidden = !facts.on_device;
  renderTalk();
  $("#warnings").hidden = facts.warnings.length === 0;
  $("#warning-list").replaceChildren(...facts.warnings.map((warning) => item(warning, speech)));
}

function sounds({ gender, male_probability: male }) {
  if (male === null) return t("result.unknown");
  const likely = male > 0.5 ? "male" : "female";
  const share = percent(Math.max(male, 1 - male));
  return t(gender === "unsure" ? `result.unsure.${likely}` : `result.${likely}`, { share });
}

function item({ code, message }, speech) {
  const known = has(`warning.${code}`);
  const entry = document.createElement("li");
  entry.textContent = known ? t(`warning.${code}`, { speech }) : message;
  if (!known) entry.dir = "auto"; // the service speaks English
  return entry;
}
