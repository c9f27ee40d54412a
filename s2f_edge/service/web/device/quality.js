/**
 * What a recording is like, as the server measures it (s2f_edge/hearing/quality.py): levels, background,
 * and whether it is speech; and what follows from it: a refusal, or warnings.
 */

import { RATE } from "../resampler.js";

const HOP = RATE / 100;
const WINDOW = RATE / 40;
const SECOND = 100 * HOP;
const FLOOR_DBFS = -120;
const STEPS = 130; // of 1 dB, up to +10 dBFS
const SILENCE_DBFS = -75;
const DEAD_DBFS = -95;
const QUIETEST_SHARE = 0.1;
const QUIETEST_BIAS_DB = 2;
const CLIP_LEVEL = 0.999;
const LEAST_FRAMES = 30;
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

/** How often each level occurs among frames of 10 ms, and the power in it. */
function levelsOf(samples) {
  const counts = new Float64Array(STEPS);
  const powers = new Float64Array(STEPS);
  for (let at = 0; at + HOP <= samples.length; at += HOP) {
    const power = Math.max(powerOf(samples, at, HOP), 1e-12);
    const step = Math.min(STEPS - 1, Math.max(0, Math.floor(decibels(power) - FLOOR_DBFS)));
    counts[step] += 1;
    powers[step] += power;
  }
  return { counts, powers, total: counts.reduce((sum, count) => sum + count, 0) };
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
 * The first second of every four of a recording, for the gate; null where there is nothing to judge.
 * @param {Float32Array} samples
 */
export function lookedAt(samples) {
  const pieces = [];
  for (let at = 0; at + SECOND + WINDOW - HOP <= samples.length; at += HEARD_EVERY_S * RATE) {
    pieces.push(samples.subarray(at, at + SECOND + WINDOW - HOP));
  }
  if (pieces.length === 0 && samples.length >= LEAST_FRAMES * HOP) pieces.push(samples);
  const loud = pieces.filter((piece) => piece.some((value) => value !== 0));
  if (loud.length === 0) return null;
  // Frames reach into the next second by 15 ms, which is that of the piece itself only at the end.
  const last = loud.pop();
  const joined = new Float32Array(loud.length * SECOND + last.length);
  loud.forEach((piece, i) => joined.set(piece.subarray(0, SECOND), i * SECOND));
  joined.set(last, loud.length * SECOND);
  return joined;
}

/** Frames that lie within so many samples. */
export const framesIn = (samples) => Math.max(0, Math.floor((samples - WINDOW) / HOP) + 1);

/** Whether the gate has enough in the voiced samples alone. */
export const isEnough = (voiced) => framesIn(voiced.length) >= 100;

/** Whether the gate may look at the voiced samples at all. */
export const isSome = (voiced) => framesIn(voiced.length) >= LEAST_FRAMES;

/**
 * Probability and kind by what the model said of some sound.
 * @param {{speech_probability: number, sounds: number[]}} said
 * @param {string[]} classes
 */
export function verdictOf(said, classes) {
  const probability = said.speech_probability;
  if (probability >= 0.5) return { probability, kind: "speech" };
  const others = said.sounds.slice(1);
  const highest = Math.max(...others);
  const total = others.reduce((sum, value) => sum + Math.exp(value - highest), 0);
  return { probability, kind: 1 / total >= 0.5 ? classes[1 + others.indexOf(highest)] : "unclear" };
}

/**
 * All measures of a recording.
 * @param {Float32Array} samples
 * @param {Float32Array} voiced
 * @param {{probability: number, kind: string} | null} verdict of the gate; null where it had nothing to judge
 */
export function measure(samples, voiced, verdict) {
  const levels = levelsOf(samples);
  const peak = peakOf(levels);
  let { probability, kind } = verdict ?? { probability: 0, kind: "unclear" };
  if (peak < DEAD_DBFS || (peak < SILENCE_DBFS && kind !== "speech")) [probability, kind] = [0, "silence"];
  const kept = powerOf(voiced);
  const background = backgroundOf(levels);
  let snr = null;
  if (background !== null && kind === "speech" && voiced.length >= LEAST_FRAMES * HOP) {
    const speech = Math.max(kept - background, 1e-12);
    snr = Math.min(60, Math.max(-10, decibels(speech / Math.max(background, 1e-12))));
  }
  let clipped = 0;
  for (const value of samples) clipped += Math.abs(value) >= CLIP_LEVEL ? 1 : 0;
  return {
    heard: samples.length / RATE,
    speech: voiced.length / RATE,
    snr,
    level: Math.max(FLOOR_DBFS, decibels(voiced.length ? kept : powerOf(samples))),
    clipped: samples.length ? clipped / samples.length : 0,
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
