/** A face that speaks, made on this device: it moves on a canvas while the recording plays. */

import { Problem } from "./api.js";
import { speech } from "./device.js";
import { FrameWorkers } from "./frame-workers.js";
import { FPS, Motion, Show } from "./frames.js";

const SIDE = 256;
const TYPES = ["video/mp4;codecs=avc1.42E01F,mp4a.40.2", "video/webm;codecs=vp9,opus", "video/webm;codecs=vp8,opus"];
const BITS = 2_500_000; // a second, of the video: the watermark is to stay in it

/** What this browser can record, or undefined. */
const recordable = () => TYPES.find((type) => window.MediaRecorder?.isTypeSupported(type));

export const canSave = () => Boolean(recordable() && HTMLCanvasElement.prototype.captureStream);

// Kept for the next face, since they take a while to load.
let workers = null;

/** Begins to load them, so that the face speaks soon after it is there. */
export function loadWorkers() {
  workers ??= new FrameWorkers();
  const loading = workers.load(speech.animator);
  loading.catch(() => {}); // whoever needs them meets it
  return loading;
}

export function letWorkersGo() {
  workers?.close();
  workers = null;
}

function gainOf(level) {
  const { speech_dbfs: wanted, most_gain_db: most } = speech.about();
  return 10 ** (Math.min(Math.max(wanted - level, -most), most) / 20);
}

export class HereTalk {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLMediaElement} media which plays the recording
   * @param {import("./session.js").Clip} clip
   * @param {{look: object, generator: string, level: number, seed: number}} face level of the speech in dBFS
   * @param {(problem: Problem) => void} failed
   */
  constructor(canvas, media, clip, face, failed) {
    Object.assign(this, { canvas, media, clip, face, failed, made: null, show: null });
    this.canvas.width = this.canvas.height = SIDE;
    this.leap = () => this.show?.leap();
  }

  /** Loads what is needed, and makes the first frames. */
  prepare() {
    this.made ??= this.make().catch((problem) => {
      this.made = null;
      this.failed(problem);
    });
    return this.made;
  }

  async make() {
    const { look, generator, level, seed } = this.face;
    const loading = loadWorkers();
    const { waveform, ...still } = await speech.still(this.clip.blob, look, generator);
    this.motion = new Motion(waveform, speech.about(), gainOf(level), speech.motion, seed);
    await Promise.all([loading.then(() => workers.take(still)), this.motion.hear(0)]);
    if (this.ended) throw new Problem("cancelled");
    this.show = new Show(this.motion, workers, this.canvas, () => this.media.currentTime);
    this.media.addEventListener("seeking", this.leap);
    this.show.start();
  }

  /**
   * Records the video while it plays, unheard and unseen.
   * @param {(seconds: number) => void} left how long it will still take
   * @param {AbortSignal} signal
   * @returns {Promise<{blob: Blob, suffix: string}>}
   */
  async save(left, signal) {
    await this.prepare();
    if (!this.show) throw new Problem("device-failed");
    const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
    const sound = new AudioContext();
    const buffer = await sound.decodeAudioData(await this.clip.blob.arrayBuffer());
    const source = Object.assign(sound.createBufferSource(), { buffer });
    const heard = sound.createMediaStreamDestination();
    source.connect(heard);
    let began = Infinity;
    const seconds = () => Math.max(0, sound.currentTime - began);
    const show = new Show(this.motion, workers, canvas, seconds);
    this.show.stop(); // the workers are needed
    const type = recordable();
    const tracks = [...canvas.captureStream(FPS).getVideoTracks(), ...heard.stream.getAudioTracks()];
    const recorder = new MediaRecorder(new MediaStream(tracks), { mimeType: type, videoBitsPerSecond: BITS });
    const parts = [];
    recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
    const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
    const timer = setInterval(() => left(Math.max(0, buffer.duration - seconds())), 250);
    try {
      show.start();
      recorder.start();
      began = sound.currentTime;
      source.start();
      await new Promise((resolve) => {
        source.addEventListener("ended", resolve, { once: true });
        signal.addEventListener("abort", resolve, { once: true });
      });
      recorder.stop();
      await stopped;
    } finally {
      clearInterval(timer);
      show.stop();
      for (const track of tracks) track.stop();
      await sound.close();
      this.show.start();
      this.show.leap();
    }
    if (signal.aborted) throw new Problem("cancelled");
    return { blob: new Blob(parts, { type: type.split(";")[0] }), suffix: type.slice(6, type.indexOf(";")) };
  }

  end() {
    this.media.removeEventListener("seeking", this.leap);
    this.show?.stop();
    this.ended = true;
  }
}
