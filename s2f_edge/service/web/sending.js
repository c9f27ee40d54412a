/** Sends the sound, or gives it to the device, and waits for faces; it can be cancelled. */

import { Problem, requestFaces } from "./api.js";
import { facesHere, want } from "./device.js";
import { $ } from "./dom.js";
import { megabytes, t } from "./i18n.js";
import { blobOf } from "./pictures.js";
import { showProblem } from "./problem.js";
import { back, define, go, replace } from "./screens.js";
import { keepAnswer, session } from "./session.js";
import { expectTalk } from "./talk.js";

const FACES = 4;
const SIZE = 512;

/**
 * What is asked for.
 * @typedef {object} Wish
 * @property {import("./session.js").Clip} clip
 * @property {string} gender auto, male or female
 * @property {boolean} [others] other faces than the last ones for the same voice
 * @property {boolean} [here] on this device, and nothing is sent
 */

/** @type {Wish | null} */
let wish = null;
let cancel = new AbortController();
let uploaded = 0; // 0 to 1; on the device, how far the download is
let loaded = ""; // what of it, in words

/** Goes to this screen and sends. @param {Wish} wanted */
export function send(wanted) {
  wish = wanted;
  session.clip = wanted.clip; // an older one, where the person went back to its faces
  go("sending");
}

export function startSending() {
  $("#cancel").addEventListener("click", back);
  define("sending", {
    enter: run,
    leave: () => cancel.abort(),
    render,
    passing: true, // going forward must not send anything
  });
}

async function run() {
  cancel = new AbortController();
  const { signal } = cancel;
  const { clip, gender, others } = wish;
  uploaded = 0;
  loaded = "";
  // The first face of an answer is drawn without chance, so it would be the same one again.
  const skipped = others ? 1 : 0;
  const options = { gender, samples: FACES + skipped, size: SIZE, format: "json" };
  const progress = (share, bytes = 0, total = 0) => {
    uploaded = share;
    loaded = total ? t("device.loaded", { loaded: megabytes(bytes), total: megabytes(total) }) : "";
    if (!signal.aborted) render();
  };
  try {
    const { facts, faces, rest } = wish.here
      ? await facesHere(clip.blob, { gender, count: FACES, others: Boolean(others) }, { progress, signal, loaded: expectTalk })
      : await sent(clip, options, { progress, signal });
    clip.sent = true;
    const left = faces.slice(wish.here ? 0 : skipped).map(shown);
    const answer = { clip, facts, faces: left, skipped, chosen: 0, made: new Date() };
    // Without the others, those that are there stay.
    answer.rest = rest?.then((more) => answer.faces.push(...more.map(shown))).catch(() => {});
    replace("result", { answer: keepAnswer(answer) });
  } catch (problem) {
    if (!signal.aborted) fail(problem);
  }
}

async function sent(clip, options, on) {
  const { pictures, ...facts } = await requestFaces(clip, options, on);
  return { facts, faces: pictures.map((picture) => ({ blob: blobOf(picture) })) };
}

const shown = (face) => ({ ...face, url: URL.createObjectURL(face.blob) });

/** Sends to the server what the device could not do, when the person asks for that. */
export function sendInstead() {
  want(false);
  wish = { ...wish, here: false };
  replace("sending");
}

function fail(problem) {
  if (problem.code === "unauthorised") {
    session.keyRefused = true;
    replace("choose");
  } else {
    showProblem(problem instanceof Problem ? problem : new Problem("internal", { detail: String(problem) }));
  }
}

function render() {
  const listening = uploaded >= 1;
  const here = loaded ? "device.downloading" : "device.preparing";
  const text = t(listening ? "sending.listening" : wish.here ? here : "sending.upload");
  if ($("#sending-state").textContent !== text) $("#sending-state").textContent = text;
  $("#sending-loaded").textContent = listening ? "" : loaded;
  // Without a value, the bar shows that something is going on.
  if (listening || (wish.here && !loaded)) $("#progress").removeAttribute("value");
  else $("#progress").value = uploaded;
}
