/** The screen that records: ready, recording, and listening to what was recorded. */

import { knownInfo, Problem, serviceInfo } from "./api.js";
import { $, announce } from "./dom.js";
import { clock, duration, t } from "./i18n.js";
import { LiveFace } from "./live-face.js";
import { Player } from "./player.js";
import { showProblem } from "./problem.js";
import { startRecording } from "./recorder.js";
import { RATE } from "./resampler.js";
import { currentScreen, define, go, heading, renderScreen } from "./screens.js";
import { session } from "./session.js";
import { Waveform } from "./waveform.js";

const ENOUGH_S = 5;
const LONGEST_S = 60; // where the server has not told its limit
const SILENT_PEAK = 0.003; // -50 dBFS
const SILENT_S = 2;
const LOUD_PEAK = 0.99;
const NOTHING_S = 0.3;
const FORM_BYTES = 4096; // what a request has besides the samples

/** @type {"idle" | "waiting" | "recording" | "stopping" | "review"} */
let state = "idle";
let attempt = 0; // which start() is the present one
let recorder = null;
let ending = ""; // how the last recording ended: "", limit or interrupted
let heard = nothingYet();
let wave, player, live;

export const isRecording = () => state === "recording" || state === "stopping";

function nothingYet() {
  return { seconds: 0, soundAt: 0, loudAt: -Infinity };
}

export function startRecord() {
  wave = new Waveform($("#wave"));
  player = new Player($("#review-player"));
  live = new LiveFace();
  $("#shutter").addEventListener("click", () => (state === "recording" ? stop() : start()));
  $("#record-again").addEventListener("click", start);
  $("#use").addEventListener("click", () => go("choose"));
  define("record", { enter, leave, render });
}

function enter() {
  const reviewable = Boolean(session.clip?.recorded);
  if (!reviewable) heard = nothingYet();
  change(reviewable ? "review" : "idle");
  if (reviewable) player.load(session.clip);
  else wave.clear();
  serviceInfo().then(() => currentScreen() === "record" && render());
}

function leave() {
  attempt += 1;
  // What was said so far is kept: home offers to go on with it.
  if (state === "recording") stop();
  player.unload();
  live.hide();
}

async function start() {
  if (state === "waiting" || isRecording()) return;
  player.unload();
  attempt += 1;
  const mine = attempt;
  change("waiting");
  try {
    const begun = await startRecording({ heard: onSound, cutOff: () => stop("interrupted") });
    if (mine !== attempt) {
      begun.stop(); // the person went away while the browser asked
      return;
    }
    recorder = begun;
  } catch (problem) {
    if (mine === attempt) showProblem(problem);
    return;
  }
  heard = nothingYet();
  wave.clear();
  live.start();
  change("recording");
  $("#shutter").focus();
  announce(t("record.begun"));
}

async function stop(how = "") {
  if (state !== "recording") return;
  state = "stopping";
  live.end();
  const { blob, seconds } = await recorder.stop();
  ending = how;
  const enough = seconds >= NOTHING_S;
  if (enough) session.clip = { blob, seconds, name: "recording.wav", recorded: true, sent: false };
  if (currentScreen() !== "record") {
    state = "idle";
    renderScreen();
  } else if (enough) {
    wave.finish();
    player.load(session.clip);
    change("review");
    heading().focus();
    announce(t("record.stopped", { length: duration(seconds) }));
  } else {
    showProblem(new Problem("no-sound"));
  }
}

function onSound({ level, peak, samples, seconds }) {
  if (state !== "recording") return;
  live.send(samples);
  wave.push(peak);
  heard.seconds = seconds;
  if (peak > SILENT_PEAK) heard.soundAt = seconds;
  if (peak > LOUD_PEAK) heard.loudAt = seconds;
  // In decibels, as ears do it: -60 dBFS is empty, 0 is full.
  const share = Math.max(0, Math.min(1, 1 + (20 * Math.log10(level + 1e-9)) / 60));
  $("#level span").style.inlineSize = `${100 * share}%`;
  $("#level").classList.toggle("loud", peak > LOUD_PEAK);
  showTime();
  write("#record-hint", hint());
  if (seconds >= longest()) stop("limit");
}

function showTime() {
  $("#timer").textContent = clock(heard.seconds);
  $("#timer").dataset.seconds = heard.seconds.toFixed(1);
}

/** Seconds that the server takes, in time and in bytes. */
function longest() {
  const limits = knownInfo()?.limits;
  return limits ? Math.min(limits.seconds, (limits.bytes - FORM_BYTES) / (2 * RATE)) : LONGEST_S;
}

function change(next) {
  state = next;
  if (currentScreen() === "record") renderScreen();
}

function render() {
  const running = isRecording();
  const reviewing = state === "review";
  $("#record-title").textContent = t(`record.title.${reviewing ? "review" : running ? "recording" : "idle"}`);
  write("#record-hint", hint());
  showTime();
  $("#timer").hidden = reviewing;
  $("#shutter").hidden = reviewing;
  $("#shutter").disabled = state === "waiting";
  $("#shutter").classList.toggle("running", running);
  $("#shutter").setAttribute("aria-label", t(running ? "record.stop" : "record.start"));
  $("#level").hidden = reviewing;
  $("#review").hidden = !reviewing;
  $("#use").hidden = reviewing && tooShort();
  player.render();
  live.render(state === "idle");
}

const tooShort = () => session.clip.seconds < (knownInfo()?.limits.min_speech_seconds ?? 0);

function hint() {
  if (state === "waiting") return t("record.waiting");
  if (isRecording()) {
    if (heard.seconds - heard.loudAt < 1) return t("record.loud");
    if (heard.seconds - heard.soundAt > SILENT_S) return t("record.silent");
    return t(heard.seconds < ENOUGH_S ? "record.speak" : "record.enough");
  }
  if (state !== "review") return t("record.idle");
  const length = duration(session.clip.seconds);
  if (tooShort()) return t("record.short", { length });
  return ending ? t(`record.${ending}`, { length }) : "";
}

/** Sets a text only where it changes: a screen reader would say it again and again. */
function write(selector, text) {
  const element = $(selector);
  if (element.textContent !== text) element.textContent = text;
}
