/** Draws sound as bars in a canvas: the newest of a recording that runs, or all of one that is done. */

const BAR = 3; // CSS pixels
const GAP = 3;
const FLOOR = 0.04; // of the height, so that silence is seen as a line of dots

export class Waveform {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.peaks = [];
    this.done = false;
    this.frame = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  clear() {
    this.peaks = [];
    this.done = false;
    this.draw();
  }

  /** Adds the loudest sample, 0 to 1, of the next stretch of sound. */
  push(peak) {
    this.peaks.push(peak);
    this.draw();
  }

  /** Shows the whole recording from now on. */
  finish() {
    this.done = true;
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }

  paint() {
    const { canvas } = this;
    const scale = window.devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return; // hidden
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.fillStyle = getComputedStyle(canvas).color;
    const count = Math.floor((width + GAP) / (BAR + GAP));
    const bars = this.done ? condensed(this.peaks, count) : newest(this.peaks, count);
    bars.forEach((peak, i) => {
      // The square root shows quiet speech too.
      const tall = Math.max(FLOOR, Math.sqrt(Math.min(1, peak))) * height;
      pen.beginPath();
      pen.roundRect(i * (BAR + GAP), (height - tall) / 2, BAR, tall, BAR / 2);
      pen.fill();
    });
  }
}

/** As many peaks as there are bars: the last ones, and silence before them. */
function newest(peaks, count) {
  const last = peaks.slice(-count);
  return [...new Array(count - last.length).fill(0), ...last];
}

/** As many peaks as there are bars: the loudest of each share. */
function condensed(peaks, count) {
  if (!peaks.length) return newest(peaks, count);
  return Array.from({ length: count }, (_, i) => {
    const from = Math.floor((i * peaks.length) / count);
    const to = Math.max(from + 1, Math.floor(((i + 1) * peaks.length) / count));
    return Math.max(...peaks.slice(from, to));
  });
}
