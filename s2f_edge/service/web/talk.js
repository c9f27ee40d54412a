/** The part of the result screen in which the chosen face says the recording, and the video of it is saved. */

import { knownInfo, Problem } from "./api.js";
import { $, announce } from "./dom.js";
import { speech } from "./device.js";
import { duration, has, t } from "./i18n.js";
import { fileName, save } from "./pictures.js";
import { Player } from "./player.js";
import { canSave, HereTalk, letWorkersGo, loadWorkers } from "./talk-here.js";
import { playable, SentTalk } from "./talk-sent.js";

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

let player;
/** @type {import("./session.js").Answer | null} */
let answer = null;
/** @type {HereTalk | SentTalk | null} */
let talk = null;
let begun = false; // the face has begun to speak, and its end has not come
let saving = null; // an AbortController while a video is saved
let problem = null;
let left = null; // seconds until a video is recorded

export function startTalk() {
  $("#talk-on").checked = !calm.matches;
  player = new Player($("#talk-player"), before);
  $("#talk-on").addEventListener("change", () => {
    begun = false;
    usePicture();
  });
  $("#talk-save").addEventListener("click", saveVideo);
  for (const media of [player.sound, $("#talk-video")]) {
    media.addEventListener("play", () => setBegun(moves()));
    media.addEventListener("ended", () => setBegun(false));
  }
}

/** Gets ready while faces are still made on this device. */
export function expectTalk() {
  if ($("#talk-on").checked && speech.can()) loadWorkers();
}

/** Shows it for the chosen face of an answer. @param {import("./session.js").Answer} given */
export function showTalk(given) {
  hideTalk();
  answer = given;
  player.load(answer.clip);
  usePicture();
}

/** Stops, and lets all of it go. */
export function hideTalk() {
  drop();
  player.unload();
  begun = false;
  problem = null;
  answer = null;
}

/** What waits for another face of the same answer stays. */
export function leaveTalk() {
  hideTalk();
  letWorkersGo();
}

function drop() {
  saving?.abort();
  talk?.end();
  talk = null;
}

const here = () => Boolean(answer.facts.on_device);
const moves = () => $("#talk-on").checked && possible();
const format = () => playable(knownInfo()?.talk ?? []);
const tooLong = () => !here() && answer.clip.seconds > knownInfo().limits.talk_seconds;
const possible = () => (here() ? speech.can() && Boolean(answer.faces[answer.chosen].look) : Boolean(format()) && !tooLong());

/** Still or moving, as is wanted; what can be prepared without the server is. */
function usePicture() {
  if (moves() && !here()) player.use($("#talk-video"));
  else player.use(player.sound);
  if (moves() && here()) made().prepare();
  renderTalk();
}

function made() {
  if (talk) return talk;
  problem = null;
  const { clip, facts, chosen, faces, skipped } = answer;
  const failed = (found) => {
    if (found.code === "cancelled") return;
    problem = found;
    begun = false;
    drop();
    renderTalk();
  };
  if (here()) {
    const face = { look: faces[chosen].look, generator: facts.generator, level: facts.level_dbfs, seed: chosen };
    talk = new HereTalk($("#talk-canvas"), player.sound, clip, face, failed);
  } else {
    const candidate = chosen + skipped + 1;
    const options = { gender: facts.asked_gender, seed: facts.seed, candidate, format: format() };
    talk = new SentTalk($("#talk-video"), clip, options, failed);
  }
  return talk;
}

async function before() {
  if (here()) saving?.abort(); // a video is recorded while nothing else plays
  if (!moves()) return;
  const waiting = made().prepare();
  renderTalk();
  await waiting;
}

function setBegun(now) {
  begun = now;
  renderTalk();
}

async function saveVideo() {
  if (saving) {
    saving.abort();
    return;
  }
  player.audio.pause();
  const mine = new AbortController();
  saving = mine;
  renderTalk();
  try {
    const file = await made().save((seconds) => {
      left = seconds;
      renderState();
    }, mine.signal);
    const url = URL.createObjectURL(file.blob);
    save(url, fileName(answer.made, answer.chosen, file.suffix));
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    announce(t("talk.saved"));
  } catch (error) {
    if (!mine.signal.aborted) problem = error instanceof Problem ? error : new Problem("device-failed");
  } finally {
    if (saving === mine) saving = null;
    left = null;
    renderTalk();
  }
}

export function renderTalk() {
  $("#talk").hidden = !answer || !(possible() || tooLong());
  if (!answer) return;
  const shown = begun && moves();
  $("#talk-canvas").hidden = !shown || !here();
  $("#talk-video").hidden = !shown || here();
  const values = { index: answer.chosen + 1, count: answer.faces.length };
  for (const name of ["#talk-canvas", "#talk-video"]) $(name).setAttribute("aria-label", t("talk.alt", values));
  $("#talk-on").disabled = !possible();
  $("#talk-save").hidden = !possible() || (here() && !canSave());
  $("#talk-save span").textContent = t(saving ? "talk.stop" : "talk.save");
  $("#talk-about").textContent = about();
  player.render();
  renderState();
}

function about() {
  if (tooLong()) return t("talk.long", { seconds: duration(knownInfo().limits.talk_seconds) });
  return t(calm.matches && !$("#talk-on").checked ? "talk.calm" : "talk.about");
}

function renderState() {
  const title = problem && (has(`problem.${problem.code}.title`) ? problem.code : "internal");
  const text = problem
    ? t("talk.failed", { reason: t(`problem.${title}.title`) })
    : saving
      ? t(left === null ? "talk.making" : "talk.recording", { left: duration(Math.ceil(left ?? 0)) })
      : "";
  if ($("#talk-state").textContent !== text) $("#talk-state").textContent = text;
}
