/** Sound of any rate to 16 kHz, as it comes: a windowed sinc, one set of weights per phase. */

export const RATE = 16_000;

const ZERO_CROSSINGS = 24; // of the sinc on each side; more makes the band's edge steeper
const BAND = 0.92; // of half the lower rate is kept

export class Resampler {
  /**
   * @param {number} rate of the sound that comes, in Hz
   * @param {number} [crossings]
   * @param {number} [share] of half the lower rate that is kept
   */
  constructor(rate, crossings = ZERO_CROSSINGS, share = BAND) {
    const whole = Math.round(rate);
    const common = divisor(whole, RATE);
    this.phases = RATE / common;
    this.step = whole / common; // in phases, from one output sample to the next
    const band = share * Math.min(1, RATE / whole);
    this.half = Math.ceil(crossings / band);
    this.weights = Array.from({ length: this.phases }, (_, phase) => weights(phase / this.phases, this.half, band));
    this.waiting = new Float32Array(this.half - 1); // what is still needed of the sound so far
    this.at = this.half - 1; // the next output sample is `phase` behind this one of them
    this.phase = 0;
  }

  /**
   * Takes the next samples and gives those that are ready.
   * @param {Float32Array} samples
   * @returns {Int16Array} at 16 kHz
   */
  push(samples) {
    return Int16Array.from(this.floats(samples), (value) => Math.round(Math.max(-1, Math.min(1, value)) * 32767));
  }

  /** The same as numbers that may go beyond 1. @param {Float32Array} samples @returns {number[]} */
  floats(samples) {
    const sound = new Float32Array(this.waiting.length + samples.length);
    sound.set(this.waiting);
    sound.set(samples, this.waiting.length);
    const out = [];
    while (this.at + this.half < sound.length) {
      const taps = this.weights[this.phase];
      const first = this.at - this.half + 1;
      let sum = 0;
      for (let i = 0; i < taps.length; i++) sum += taps[i] * sound[first + i];
      out.push(sum);
      this.phase += this.step;
      this.at += Math.floor(this.phase / this.phases);
      this.phase %= this.phases;
    }
    const used = Math.min(this.at - this.half + 1, sound.length);
    this.waiting = sound.slice(used);
    this.at -= used;
    return out;
  }

  /** What is left when the sound has ended. */
  finish() {
    return this.push(new Float32Array(this.half));
  }
}

/** Weights of the samples around a place that is `behind` (0 to 1) the sample in the middle. */
function weights(behind, half, band) {
  const found = Float32Array.from({ length: 2 * half }, (_, i) => {
    const distance = i - (half - 1) - behind;
    const angle = Math.PI * distance * band;
    const window = 0.42 + 0.5 * Math.cos((Math.PI * distance) / half) + 0.08 * Math.cos((2 * Math.PI * distance) / half);
    return (angle === 0 ? 1 : Math.sin(angle) / angle) * window;
  });
  const total = found.reduce((sum, weight) => sum + weight, 0);
  return found.map((weight) => weight / total);
}

function divisor(a, b) {
  return b === 0 ? a : divisor(b, a % b);
}
