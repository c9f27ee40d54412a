/**
 * What a recording is like, as the server measures it (s2f_edge/hearing/quality.py): levels, background,
 * and whether it is speech; and what follows from it: a refusal, or warnings.
 */

import { RATE } from "../resampler.js";
import { FRAME, HOP, joined, LEAST_FRAMES, SECOND, WINDOW } from "./hearing.js";

const PAUSE_FRAMES = 1000; // of 10 ms: a pause of up to 10 s belongs to the speech
const BESIDE_FRAMES = 100; // of a longer one, a second
const [SPEECH, OTHER] = [1, 2];
const FLOOR_DBFS = -120;
const STEPS = 130; // of 1 dB, up to +10 dBFS
const SILENCE_DBFS = -75;
const DEAD_DBFS = -95;
const QUIETEST_SHARE = 0.1;
const QUIETEST_BIAS_DB = 2;
const CLIP_LEVEL = 0.999;
const HEARD_EVERY_S = 4;

const decibels = (power) => 10 * Math.log10(Math.max(power, 1e-12));

/** Mean power without the constant part. */
function powerOf(samples, start = 0, count = samples.length) {
  let sum = 0;
  let squares = 0;
  for (let i = start; i < start + count; i++) {
    sum += samples[i];
    squares += samples[i] * samples[i];
  }
  return count ? Math.max(0, squares / count - (sum / count) ** 2) : 0;
}

/**
 * Which frames of 10 ms are around the speech: it, its pauses of up to 10 s, and a second beside it in longer ones.
 * @param {Uint8Array} marks of frames of 20 ms
 * @param {number} count
 */
function around(marks, count) {
  const near = new Uint8Array(count);
  const markAt = (at) => marks[Math.floor((at * HOP) / FRAME)];
  let end = 0; // of the speech before
  for (let at = 0; at <= count; at++) {
    if (at < count && markAt(at) !== SPEECH) continue;
    if (at - end <= PAUSE_FRAMES) {
      near.fill(1, end, at + 1);
    } else {
      if (end > 0) near.fill(1, end, end + BESIDE_FRAMES);
      if (at < count) near.fill(1, at - BESIDE_FRAMES, at + 1);
    }
    end = at + 1;
  }
  return near.map((flag, at) => (markAt(at) === OTHER ? 0 : flag));
}

/** How often each level occurs among frames of 10 ms, the power in it, and the share of samples at full scale. */
function levelsOf(samples, near) {
  const counts = new Float64Array(STEPS);
  const powers = new Float64Array(STEPS);
  let [total, length, clipped] = [0, 0, 0];
  const count = (at, end) => {
    length += end - at;
    for (let i = at; i < end; i++) clipped += Math.abs(samples[i]) >= CLIP_LEVEL ? 1 : 0;
  };
  near.forEach((flag, i) => {
    if (!flag) return;
    const power = Math.max(powerOf(samples, i * HOP, HOP), 1e-12);
    const step = Math.min(STEPS - 1, Math.max(0, Math.floor(decibels(power) - FLOOR_DBFS)));
    counts[step] += 1;
    powers[step] += power;
    total += 1;
    count(i * HOP, (i + 1) * HOP);
  });
  if (near.at(-1) !== 0) count(near.length * HOP, samples.length);
  return { counts, powers, total, clipped: length ? clipped / length : 0 };
}

/** The level that 1 % of the frames reach. */
function peakOf({ counts, total }) {
  if (total === 0) return FLOOR_DBFS;
  let above = 0;
  for (let step = STEPS - 1; step >= 0; step--) {
    above += counts[step];
    if (above >= Math.max(1, 0.01 * total)) return FLOOR_DBFS + step;
  }
  return FLOOR_DBFS;
}

/** The power of the quietest tenth of the frames, or null where less than a second was heard. */
function backgroundOf({ counts, powers, total }) {
  if (total < RATE / HOP) return null;
  const wanted = QUIETEST_SHARE * total;
  let before = 0;
  let quietest = 0;
  for (let step = 0; step < STEPS; step++) {
    const taken = Math.min(counts[step], Math.max(0, wanted - before));
    quietest += ((powers[step] / Math.max(counts[step], 1)) * taken) / wanted;
    before += counts[step];
  }
  return quietest * 10 ** (QUIETEST_BIAS_DB / 10);
}

/**
 * The first second of every four of a recording, which the gate looks at where little is voiced.
 * @param {Float32Array} samples
 * @returns {Float32Array[]}
 */
export function lookedAt(samples) {
  const pieces = [];
  for (let at = 0; at + SECOND + WINDOW - HOP <= samples.length; at += HEARD_EVERY_S * RATE) {
    pieces.push(samples.subarray(at, at + SECOND + WINDOW - HOP));
  }
  if (pieces.length === 0 && samples.length >= LEAST_FRAMES * HOP) pieces.push(samples);
  return pieces.filter((piece) => piece.some((value) => value !== 0));
}

/**
 * Probability and kind by what the model said of some sounds, all of which weigh the same.
 * @param {Record<string, {data: Float32Array}>[]} said at least one
 * @param {string[]} classes
 */
export function verdictOf(said, classes) {
  const mean = (valueOf) => said.reduce((sum, each) => sum + valueOf(each), 0) / said.length;
  const odds = mean(({ speech_probability: { data } }) => Math.log(data[0] / (1 - data[0])));
  const probability = 1 / (1 + Math.exp(-odds));
  if (probability >= 0.5) return { probability, kind: "speech" };
  const others = classes.slice(1).map((_, i) => mean(({ sounds }) => sounds.data[1 + i]));
  const highest = Math.max(...others);
  const total = others.reduce((sum, value) => sum + Math.exp(value - highest), 0);
  return { probability, kind: 1 / total >= 0.5 ? classes[1 + others.indexOf(highest)] : "unclear" };
}

/**
 * All measures of a recording, which are those of its speech.
 * @param {Float32Array} samples
 * @param {Uint8Array} kept what `detected` gave
 * @param {ArrayLike<number>} speech of each second of what was kept: is it speech? What follows is as the last one.
 * @param {{probability: number, kind: string} | null} verdict of the gate; null where it had nothing to judge
 */
export function measure(samples, kept, speech, verdict) {
  const some = Array.prototype.includes.call(speech, 1);
  let count = 0;
  const marks = kept.map((each) => {
    if (!each) return 0;
    const second = Math.min(Math.floor((count++ * FRAME) / SECOND), speech.length - 1);
    return some && !speech[second] ? OTHER : SPEECH;
  });
  const frames = Math.floor(samples.length / HOP);
  const levels = levelsOf(samples, some ? around(marks, frames) : new Uint8Array(frames).fill(1));
  const voiced = joined(samples, marks, SPEECH);
  const peak = peakOf(levels);
  let { probability, kind } = verdict ?? { probability: 0, kind: "unclear" };
  if (peak < DEAD_DBFS || (peak < SILENCE_DBFS && kind !== "speech")) [probability, kind] = [0, "silence"];
  const power = powerOf(voiced);
  const background = backgroundOf(levels);
  let snr = null;
  if (background !== null && kind === "speech" && voiced.length >= LEAST_FRAMES * HOP) {
    const above = Math.max(power - background, 1e-12);
    snr = Math.min(60, Math.max(-10, decibels(above / Math.max(background, 1e-12))));
  }
  return {
    heard: samples.length / RATE,
    speech: voiced.length / RATE,
    snr,
    level: Math.max(FLOOR_DBFS, decibels(voiced.length ? power : powerOf(samples))),
    clipped: levels.clipped,
    probability,
    kind,
  };
}

/** Why a recording is refused, as the service would say it; null where it is not. */
export function refusalOf(found, needed) {
  const tooLittle = { code: "too-little-speech", values: { found_s: found.speech, needed_s: needed } };
  if (found.heard === 0 || (found.kind === "unclear" && found.heard < needed)) return tooLittle;
  if (found.kind !== "speech") return { code: "not-speech", values: { reason: found.kind } };
  return found.speech < needed ? tooLittle : null;
}

/** Codes of what the person should know. */
export function warningsOf(found) {
  const codes = {
    "short-speech": found.speech < 3,
    "low-snr": found.snr !== null && found.snr < 10,
    clipping: found.clipped > 0.001,
    quiet: found.level < -45,
    unsure: found.kind === "speech" && found.probability < 0.8,
  };
  return Object.keys(codes).filter((code) => codes[code]);
}
