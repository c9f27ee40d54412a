/** The voice of a trial: heard at once where the browser allows it, and again as often as wanted. */

import { $ } from "./dom.js";
import { t } from "./i18n.js";

const ENOUGH_S = 2; // or all of it, before an answer can be given

const audio = new Audio(); // one for all: a browser that let it play once lets it play again

let plays = 0;
let heard = false;
let enough = () => {};
let failed = () => {};

for (const event of ["play", "pause", "ended"]) audio.addEventListener(event, render);
audio.addEventListener("timeupdate", () => hear(audio.currentTime >= ENOUGH_S));
audio.addEventListener("ended", () => hear(true));
audio.addEventListener("error", () => {
  if (audio.getAttribute("src")) failed();
});

function hear(now) {
  if (heard || !now) return;
  heard = true;
  enough();
  render();
}

/**
 * Loads a voice and plays it.
 * @param {string | null} name a file, or none
 * @param {() => void} whenEnough called once when enough has been heard
 * @param {() => void} whenFailed called when it cannot be loaded
 */
export function loadVoice(name, whenEnough, whenFailed) {
  stopVoice();
  plays = 0;
  heard = false;
  enough = whenEnough;
  failed = whenFailed;
  $("#sound").hidden = !name;
  if (name) {
    audio.src = `media/${name}`;
    playVoice();
  }
  render();
}

/** From the beginning. A browser that wants a press before it plays leaves it at that: the button stands there. */
export async function playVoice() {
  audio.currentTime = 0;
  try {
    await audio.play();
    plays += 1;
    render();
  } catch {
    render();
  }
}

export function stopVoice() {
  audio.pause();
  audio.removeAttribute("src");
}

export const timesPlayed = () => plays;

/** Writes the button in the language of the page. */
export function render() {
  const again = plays > 0;
  $("#play").replaceChildren(icon(again ? "i-again" : "i-play"), t(again ? "voice.again" : "voice.play"));
  $("#heard").textContent = heard ? "" : t(audio.paused ? "voice.first" : "voice.listen");
}

function icon(name) {
  const [svg, use] = ["svg", "use"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}
