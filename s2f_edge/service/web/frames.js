/**
 * A face that speaks, on a canvas: frames are made ahead of the sound, each is shown when its time has come, and what
 * would be late is left out.
 */

import { Gestures, POSE_SIZE } from "./device/gestures.js";

export const FPS = 25;
const POINTS = 136; // numbers of a row of offsets
const AHEAD = 12; // frames that are made before their time
const [FIRST, PIECE] = [25, 125]; // frames of motion that are asked for at once: few for a quick start
const HEARD_AHEAD = 250;
const RATE = 16_000;
const HOP = 160;
const PER_FRAME = 4;
const WINDOW = 400;

/** Where the face is moved: offsets and poses of each frame, as far as they are known. */
export class Motion {
  /**
   * @param {Float32Array} waveform at 16 kHz
   * @param {{before: number, after: number}} reach in frames of 10 ms
   * @param {number} gain that brings the speech to the level which motion was learnt from
   * @param {(piece: {waveform: Float32Array, at: number, frames: number}) => Promise<Float32Array>} ask
   * @param {number} seed of the gestures
   */
  constructor(waveform, reach, gain, ask, seed) {
    Object.assign(this, { waveform, reach, gain, ask });
    this.count = Math.max(1, Math.ceil((waveform.length * FPS) / RATE));
    this.offsets = new Float32Array(this.count * POINTS);
    this.poses = new Float32Array(this.count * POSE_SIZE);
    this.known = 0;
    this.gestures = new Gestures({ seed, fps: FPS });
    this.hearing = null;
  }

  /** Sees to it that frames are known some way beyond one; asks for one piece at a time. */
  hear(frame) {
    if (this.hearing || this.known >= this.count || this.known > frame + HEARD_AHEAD) return this.hearing;
    this.hearing = this.piece().finally(() => {
      this.hearing = null;
    });
    return this.hearing;
  }

  async piece() {
    const from = this.known;
    const frames = Math.min(this.count - from, from ? PIECE : FIRST);
    const first = Math.max(0, from * PER_FRAME - this.reach.before);
    const last = (from + frames) * PER_FRAME + this.reach.after;
    const waveform = this.waveform.slice(first * HOP, last * HOP + WINDOW - HOP).map((value) => value * this.gain);
    const rows = await this.ask({ waveform, at: from * PER_FRAME - first, frames });
    for (let i = 0; i < frames; i++) {
      const row = rows.subarray(i * POINTS, (i + 1) * POINTS);
      this.poses.set(this.gestures.next(row), (from + i) * POSE_SIZE);
    }
    this.offsets.set(rows, from * POINTS);
    this.known += frames;
  }

  /** Offsets and pose of a frame that is known. */
  at(frame) {
    return {
      offsets: this.offsets.slice(frame * POINTS, (frame + 1) * POINTS),
      pose: this.poses.slice(frame * POSE_SIZE, (frame + 1) * POSE_SIZE),
    };
  }
}

/** Draws frames of a motion as the time of a clock comes. */
export class Show {
  /**
   * @param {Motion} motion
   * @param {import("./frame-workers.js").FrameWorkers} workers
   * @param {HTMLCanvasElement} canvas
   * @param {() => number} seconds the clock
   */
  constructor(motion, workers, canvas, seconds) {
    Object.assign(this, { motion, workers, canvas, seconds });
    this.context = canvas.getContext("2d");
    this.ready = new Map();
    this.next = 0;
    this.drawn = -1;
    this.running = false;
    this.turn = 0; // frames of before a leap are not shown after it
    this.counts = { shown: 0, late: 0 };
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.next = this.due();
    const draw = () => {
      if (!this.running) return;
      this.step();
      requestAnimationFrame(draw);
    };
    draw();
  }

  stop() {
    this.running = false;
  }

  /** The clock has leapt. */
  leap() {
    this.turn += 1;
    this.ready.clear();
    this.next = this.due();
    this.drawn = -1;
    this.step();
  }

  due() {
    return Math.min(this.motion.count - 1, Math.max(0, Math.floor(this.seconds() * FPS)));
  }

  /** Shows what is due, and has more made. */
  step() {
    const due = this.due();
    for (const [frame, pixels] of [...this.ready].sort(([a], [b]) => b - a)) {
      if (frame > due) continue;
      if (frame > this.drawn) this.put(frame, pixels, due);
      this.ready.delete(frame);
    }
    this.motion.hear(due)?.catch(() => this.stop());
    if (this.next < due) this.next = due + 1;
    while (this.workers.idle && this.next <= due + AHEAD && this.next < this.motion.known) {
      this.make(this.next, this.turn);
      this.next += 1;
    }
  }

  async make(frame, turn) {
    const pixels = await this.workers.frame(this.motion.at(frame)).catch(() => null);
    if (turn !== this.turn) return;
    if (!pixels) this.stop();
    else this.ready.set(frame, pixels);
    if (this.running) this.step();
  }

  put(frame, pixels, due) {
    const side = Math.sqrt(pixels.length / 4);
    this.context.putImageData(new ImageData(pixels, side, side), 0, 0);
    this.counts.late += Math.max(0, due - frame);
    this.counts.shown += 1;
    this.drawn = frame;
    Object.assign(this.canvas.dataset, { frame, ...this.counts });
  }
}
