/**
 * What a face does while it speaks that the sound does not say: blinks, head and brows, as s2f_edge/talk/gestures.py
 * has it. The same seed gives the same gestures there and here.
 */

export const POSE_SIZE = 8; // yaw, pitch, roll, right, down, lids, brows, speaking

const BEGIN_S = 0.2; // from the still face to one that speaks
const [CLOSE_S, CLOSED_S, OPEN_S] = [0.08, 0.04, 0.16]; // of a blink
const BETWEEN_S = [2, 6];
const SWAY = [0.012, 0.009, 0.022, 0.006, 0.004];
const WAVES = [0.11, 0.47]; // Hz
const NOD = 0.01;
const RAISE = 1;
const [STRESS_S, USUAL_S, ACTIVE_S] = [0.12, 1.2, 0.6]; // over which openings of the mouth are averaged
const STRESSED = 0.06; // opening over the usual that counts as full stress
const OPEN = 0.02;
const [UPPER, LOWER] = [62 * 2 + 1, 66 * 2 + 1]; // heights of the inner lips in a row of offsets

/** Numbers from 0 to 1 (mulberry32). */
function uniformNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function smooth(x) {
  const inside = Math.min(1, Math.max(0, x));
  return inside * inside * (3 - 2 * inside);
}

export class Gestures {
  /** @param {{seed?: number, head?: number, blink?: number, brows?: number, fps?: number}} [wish] */
  constructor({ seed = 0, head = 1, blink = 1, brows = 1, fps = 25 } = {}) {
    Object.assign(this, { head, blink, brows, fps });
    this.random = uniformNumbers(seed);
    this.waves = SWAY.map(() => Array.from({ length: 3 }, () => this.wave()));
    this.frame = this.fast = this.usual = this.active = 0;
    this.nextBlink = this.between() / 2;
  }

  /**
   * The pose of the next frame.
   * @param {ArrayLike<number>} offsets 68 points, x and y
   * @returns {Float32Array}
   */
  next(offsets) {
    const t = this.frame / this.fps;
    this.frame += 1;
    const opening = Math.max(0, offsets[LOWER] - offsets[UPPER]);
    this.fast += (opening - this.fast) * this.share(STRESS_S);
    this.usual += (opening - this.usual) * this.share(USUAL_S);
    this.active += (Number(opening > OPEN) - this.active) * this.share(ACTIVE_S);
    const stress = Math.min(1, Math.max(0, (this.fast - this.usual) / STRESSED));
    const begun = smooth(t);
    const sway = this.head * begun * (0.4 + 0.6 * this.active);
    const pose = SWAY.map((far, i) => {
      const moved = this.waves[i].reduce((sum, [speed, phase]) => sum + Math.sin(speed * t + phase) - Math.sin(phase), 0);
      return (sway * far * moved) / 3;
    });
    pose[1] += this.head * begun * NOD * stress;
    return Float32Array.of(...pose, this.lids(t), this.brows * begun * RAISE * stress, smooth(t / BEGIN_S));
  }

  /** Radians in a second, and the phase. */
  wave() {
    const [slow, fast] = WAVES;
    return [2 * Math.PI * (slow + (fast - slow) * this.random()), 2 * Math.PI * this.random()];
  }

  lids(t) {
    const since = t - this.nextBlink;
    if (!this.blink || since < 0) return 0;
    if (since < CLOSE_S) return smooth(since / CLOSE_S);
    if (since < CLOSE_S + CLOSED_S) return 1;
    if (since < CLOSE_S + CLOSED_S + OPEN_S) return 1 - smooth((since - CLOSE_S - CLOSED_S) / OPEN_S);
    this.nextBlink += this.between();
    return 0;
  }

  /** Seconds from one blink to the next. */
  between() {
    const [low, high] = BETWEEN_S;
    return (low + (high - low) * this.random() ** 1.6) / Math.max(this.blink, 1e-9);
  }

  share(seconds) {
    return 1 - Math.exp(-1 / (seconds * this.fps));
  }
}
