/**
 * Waveform to speech, as the server does it (s2f_edge/hearing/vad.py): the gain with which the detector
 * hears, and WebRTC's detector with the collector of two frames around it. All at 16 kHz.
 */

import { RATE } from "../resampler.js";

const FRAME = RATE / 50; // 20 ms
const PCM_SCALE = 32768;
const MODE = 2; // how strict the detector is

const QUIET_DBFS = -40;
const HEARING_DBFS = -26;
const MAX_GAIN_DB = 50;
const DEAD_DBFS = -90;
const UNIT = 10 * RATE;
const MOST_UNITS = 6;

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

/** The gain for a whole recording. @param {Float32Array} samples */
export function hearingGain(samples) {
  let units = 0;
  while (samples.length >= (units + 1) * UNIT) {
    if (levelOf(samples.subarray(units * UNIT, (units + 1) * UNIT)) >= QUIET_DBFS) return 1;
    units += 1;
    if (units === MOST_UNITS) return gainOf(samples.subarray(0, MOST_UNITS * UNIT));
  }
  return levelOf(samples.subarray(units * UNIT)) >= QUIET_DBFS ? 1 : gainOf(samples);
}

/** To the nearest whole number, halves to the even one. */
function nearest(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/**
 * The voiced samples, joined.
 * @param {Float32Array} samples
 * @param {number} gain for the detector; what is given back is as it came
 * @param {WebAssembly.Exports} detector of detector.wasm
 * @returns {Float32Array}
 */
export function voicedOf(samples, gain, detector) {
  if (detector.start(MODE) !== 0) throw new Error("The voice detector does not start.");
  const heard = new Int16Array(detector.memory.buffer, detector.frame(), FRAME);
  const scale = Math.fround(gain * PCM_SCALE);
  const count = Math.max(0, Math.floor((samples.length - 1) / FRAME));
  const voiced = new Float32Array(count * FRAME);
  let kept = 0;
  const keep = (frame) => {
    voiced.set(frame.samples, kept);
    kept += FRAME;
  };
  let ring = []; // of at most two frames
  let open = false;
  for (let i = 0; i < count; i++) {
    const piece = samples.subarray(i * FRAME, (i + 1) * FRAME);
    const pcm = Int16Array.from(piece, (value) =>
      nearest(Math.min(32767, Math.max(-32768, Math.fround(value * scale)))),
    );
    const frame = { samples: piece, pcm };
    ring = [...ring.slice(-1), frame];
    let speech = 0;
    for (const each of ring) {
      heard.set(each.pcm);
      speech += detector.hear() === 1 ? 1 : 0;
    }
    if (open) {
      keep(frame);
      // A segment ends, and begins, where the whole ring agrees.
      if (ring.length - speech === 2) {
        open = false;
        ring = [];
      }
    } else if (speech === 2) {
      open = true;
      ring.forEach(keep);
      ring = [];
    }
  }
  return voiced.slice(0, kept);
}
