/**
 * Waveform to voiced sound, as the server does it (s2f_edge/hearing/gain.py and vad.py): the gain with which the
 * detector hears, which is that of the speech, whenever it comes; and WebRTC's detector with the collector of two
 * frames around it. All at 16 kHz.
 */

import { RATE } from "../resampler.js";

export const FRAME = RATE / 50; // 20 ms
export const HOP = RATE / 100; // of the gate's frames
export const WINDOW = RATE / 40; // their length
export const SECOND = 100 * HOP; // what the gate decides on
export const LEAST_FRAMES = 30; // that it looks at
const PCM_SCALE = 32768;
const MODE = 2; // how strict the detector is

const QUIET_DBFS = -40;
const HEARING_DBFS = -26;
const MAX_GAIN_DB = 50;
const DEAD_DBFS = -90;
const UNIT = 10 * RATE;
const MOST_UNITS = 6;
const ENOUGH_AGAINST = 5; // log odds that end a stretch of speech
const ENOUGH_FOR = 8; // that begin one

const decibels = (power) => 10 * Math.log10(power);

/** Level that a tenth of the frames reach, in dBFS; digital silence is left out. */
function levelOf(samples) {
  const powers = [];
  for (let at = 0; at + FRAME <= samples.length; at += FRAME) {
    let sum = 0;
    for (let i = at; i < at + FRAME; i++) sum += samples[i] * samples[i];
    if (sum / FRAME > 10 ** (DEAD_DBFS / 10)) powers.push(sum / FRAME);
  }
  if (powers.length === 0) return -Infinity;
  powers.sort((a, b) => a - b);
  const place = 0.9 * (powers.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, powers.length - 1);
  return decibels(powers[below] + (powers[above] - powers[below]) * (place - below));
}

function gainOf(samples) {
  const level = levelOf(samples);
  if (level >= QUIET_DBFS || level <= DEAD_DBFS) return 1;
  return 10 ** (Math.min(HEARING_DBFS - level, MAX_GAIN_DB) / 20);
}

/** Frames of the gate that lie within so many samples. */
const framesIn = (samples) => Math.max(0, Math.floor((samples - WINDOW) / HOP) + 1);

/** Whether the gate has enough in the voiced samples alone. */
export const isEnough = (voiced) => framesIn(voiced.length) >= 100;

/** Whether the gate may look at the voiced samples at all. */
export const isSome = (voiced) => framesIn(voiced.length) >= LEAST_FRAMES;

/** To the nearest whole number, halves to the even one. */
function nearest(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/**
 * Finds the voiced frames of a stretch.
 * @param {Float32Array} samples of the recording
 * @param {[number, number]} stretch its start, on a frame, and its end, in samples
 * @param {number} gain for the detector
 * @param {WebAssembly.Exports} detector of detector.wasm
 * @param {Uint8Array} kept of each frame of the recording: is it voiced? Filled in.
 */
function find(samples, [start, end], gain, detector, kept) {
  if (detector.start(MODE) !== 0) throw new Error("The voice detector does not start.");
  const heard = new Int16Array(detector.memory.buffer, detector.frame(), FRAME);
  const scale = Math.fround(gain * PCM_SCALE);
  const pcmAt = (at) =>
    Int16Array.from(samples.subarray(at, at + FRAME), (value) =>
      nearest(Math.min(32767, Math.max(-32768, Math.fround(value * scale)))),
    );
  const hear = (pcm) => {
    heard.set(pcm);
    return detector.hear() === 1 ? 1 : 0;
  };
  // It gets used to the second before: it takes the first of any sound for speech.
  for (let at = Math.max(0, start - RATE); at < start; at += FRAME) hear(pcmAt(at));
  const first = start / FRAME;
  const count = Math.max(0, Math.floor((end - start - 1) / FRAME));
  kept.fill(0, first);
  let ring = []; // of at most two frames
  let open = false;
  for (let i = first; i < first + count; i++) {
    ring = [...ring.slice(-1), pcmAt(i * FRAME)];
    const speech = ring.reduce((sum, pcm) => sum + hear(pcm), 0);
    if (open) kept[i] = 1;
    // A segment ends, and begins, where the whole ring agrees.
    if (ring.length === 2 && speech === (open ? 0 : 2)) {
      open = !open;
      ring = [];
      if (open) kept.fill(1, i - 1, i + 1);
    }
  }
}

/** The frames of a recording that are marked, joined. @param {Uint8Array} marks @param {number} [mark] */
export function joined(samples, marks, mark = 1) {
  let count = 0;
  for (const each of marks) count += each === mark ? 1 : 0;
  const out = new Float32Array(count * FRAME);
  let at = 0;
  marks.forEach((each, i) => {
    if (each !== mark) return;
    out.set(samples.subarray(i * FRAME, (i + 1) * FRAME), at);
    at += FRAME;
  });
  return out;
}

/** @typedef {(sound: Float32Array) => Promise<Record<string, {data: any}>>} Gate what the model says of a voiced sound */

/** A stretch with its gain, from the beginning of a sound: see `GainFinder`. */
async function stretchOf(sound, isSpeech) {
  let quiet = 0;
  while (quiet < MOST_UNITS * UNIT) {
    const unit = sound.subarray(quiet, quiet + UNIT);
    if (levelOf(unit) >= QUIET_DBFS) {
      if (quiet === 0 || (await isSpeech(unit))) return { gain: 1, length: quiet + unit.length };
      break;
    }
    quiet += unit.length;
    if (unit.length < UNIT) break;
  }
  return { gain: gainOf(sound.subarray(0, quiet)), length: quiet };
}

/** Whether there is speech for certain in voiced sound that comes piece by piece: `Windows`, until it first says so. */
class Evidence {
  rest = new Float32Array(0); // from the last second on that was judged
  judged = 0; // seconds of it
  other = false; // is it known that there was other sound?
  sum = 0;

  /** @param {Float32Array} voiced @param {Gate} gate */
  async after(voiced, gate) {
    const sound = new Float32Array(this.rest.length + voiced.length);
    sound.set(this.rest);
    sound.set(voiced, this.rest.length);
    this.rest = sound;
    const whole = Math.floor(framesIn(sound.length) / 100);
    if (whole <= this.judged) return false;
    const { odds } = await gate(sound.subarray(0, whole * SECOND + WINDOW - HOP));
    for (const each of odds.data.slice(this.judged, whole)) {
      this.sum += each;
      if (this.sum >= ENOUGH_FOR) return true;
      this.other ||= this.sum <= -ENOUGH_AGAINST;
      if (this.other) this.sum = Math.max(0, this.sum);
    }
    this.rest = sound.slice((whole - 1) * SECOND);
    this.judged = 1;
    return false;
  }
}

/**
 * What the voice detector keeps of a recording.
 * @param {Float32Array} samples
 * @param {WebAssembly.Exports} detector
 * @param {Gate} gate
 * @returns {Promise<Uint8Array>} of each frame: is it voiced?
 */
export async function detected(samples, detector, gate) {
  const kept = new Uint8Array(Math.floor(samples.length / FRAME));
  const isSpeech = async (unit) => {
    const marks = new Uint8Array(Math.floor(unit.length / FRAME));
    find(unit, [0, unit.length], 1, detector, marks);
    const voiced = joined(unit, marks);
    if (!isSome(voiced)) return false;
    const said = await gate(voiced);
    return said.speech.data.includes(1) && said.speech_probability.data[0] >= 0.5;
  };
  const evidence = new Evidence();
  for (let start = 0; start < samples.length; ) {
    const { gain, length } = await stretchOf(samples.subarray(start), isSpeech);
    const end = start + length;
    find(samples, [start, end], gain, detector, kept);
    const voiced = () => joined(samples.subarray(start, end), kept.subarray(start / FRAME, end / FRAME));
    if (end < samples.length && (await evidence.after(voiced(), gate))) {
      // The gain stays.
      find(samples, [start, samples.length], gain, detector, kept);
      break;
    }
    start = end;
  }
  return kept;
}
