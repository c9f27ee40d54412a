/** Workers that draw frames: two where the device has cores for them, since one alone may be too slow. */

import { Problem } from "./api.js";

const MOST = 2;

export class FrameWorkers {
  constructor() {
    const count = Math.min(MOST, navigator.hardwareConcurrency || 1);
    this.workers = Array.from({ length: count }, () => new Task(new URL("device/frames.js", document.baseURI)));
  }

  /** Once. @param {() => Promise<{manifest: object, base: string, animator: ArrayBuffer}>} parts */
  load(parts) {
    this.loaded ??= parts()
      .then((given) => this.all({ task: "load", ...given }))
      .catch((problem) => {
        this.loaded = null;
        throw problem;
      });
    return this.loaded;
  }

  /** Whose frames come from now on. @param {{texture: object, shape: object, levels: Int8Array}} face */
  take(face) {
    return this.all({ task: "take", ...face });
  }

  all(task) {
    return Promise.all(this.workers.map((worker) => worker.ask(task)));
  }

  get idle() {
    return this.workers.some((worker) => !worker.busy);
  }

  /** RGBA of a frame; one of the workers must be idle. @param {{offsets: Float32Array, pose: Float32Array}} moved */
  frame(moved) {
    return this.workers.find((worker) => !worker.busy).ask({ task: "frame", ...moved });
  }

  close() {
    for (const worker of this.workers) worker.end();
  }
}

/** A worker that does one thing at a time. */
class Task {
  constructor(address) {
    this.worker = new Worker(address, { type: "module" });
    this.waiting = []; // in the order of the answers
    this.worker.onmessage = ({ data }) => this.waiting.shift()(data);
    this.worker.onerror = (event) => {
      for (const answer of this.waiting.splice(0)) answer({ problem: { code: "device-failed", detail: event.message ?? "" } });
    };
  }

  get busy() {
    return this.waiting.length > 0;
  }

  async ask(task) {
    const { done, problem } = await new Promise((resolve) => {
      this.waiting.push(resolve);
      this.worker.postMessage(task);
    });
    if (problem) throw new Problem(problem.code, problem);
    return done;
  }

  end() {
    this.worker.terminate();
  }
}
