/**
 * Faces made on the device: whether that can be, and the worker that does it. The sound goes into
 * the worker and nowhere else.
 */

import { knownInfo, Problem, serviceInfo } from "./api.js";
import { decoded } from "./decode.js";
import { faceFiles, isKept } from "./device/assets.js";
import { readSetting, writeSetting } from "./storage.js";

const BASE = new URL("on-device/", document.baseURI).href;
// The smallest WebAssembly module with an instruction on vectors, which browsers before 2021 (Safari: 2023) refuse.
const VECTORS = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

/** @type {Record<string, any> | null} */
let manifest = null;
let kept = false;
let worker = null;
let count = 0;

/** Whether the service offers it: known once `look` has ended. */
export const isOffered = () => manifest !== null;

/** Whether the files that make faces are already here. */
export const isDownloaded = () => kept;

/** Whether the person wants it, and it can be had. */
export const isWanted = () => isOffered() && readSetting("device") === "on";
export const want = (on) => writeSetting("device", on ? "on" : null);

/** What would be downloaded for faces, in bytes. */
export const downloadBytes = () => faceFiles(manifest).reduce((sum, name) => sum + manifest.files[name].sent, 0);

/** Asks whether the service offers it; offline, what was downloaded tells. */
export async function look() {
  const info = await serviceInfo();
  if (manifest || (info && !info.on_device)) return;
  try {
    const answer = await fetch(`${BASE}manifest.json`);
    if (answer.ok) manifest = await answer.json();
  } catch {
    // Offline and not downloaded.
  }
  if (manifest) kept = await isKept(manifest, BASE);
}

/** Whether the generators that the device has include one; null where the device is not in use. */
export const deviceGenerators = () => (manifest && !knownInfo() ? Object.keys(manifest.generators) : null);

function supported() {
  return (
    typeof WebAssembly === "object" &&
    WebAssembly.validate(Uint8Array.from(VECTORS)) &&
    "CompressionStream" in window &&
    "OfflineAudioContext" in window
  );
}

/**
 * Makes faces here.
 * @param {Blob} blob
 * @param {{gender: string, count: number, others: boolean}} wish
 * @param {object} on
 * @param {(share: number, loaded: number, total: number) => void} on.progress of the download
 * @param {AbortSignal} on.signal
 * @param {() => void} [on.loaded] called when all is there and faces are begun
 * @typedef {{blob: Blob, look: object | null}} Face a look is what `speech` makes it speak from, where the pack can
 * @returns {Promise<{facts: Record<string, any>, faces: Face[], rest: Promise<Face[]>}>} the first face as soon as it
 *   is there, and then the others
 * @throws {Problem}
 */
export async function facesHere(blob, wish, { progress, signal, loaded = () => {} }) {
  if (!supported()) throw new Problem("device-unsupported");
  const sound = await decoded(blob);
  await ask({ task: "load", manifest, base: BASE }, signal, progress);
  kept = await isKept(manifest, BASE);
  progress(1, 0, 0);
  loaded();
  const made = await ask({ task: "faces", ...wish, ...sound }, signal, progress);
  return { ...made, rest: ask({ task: "rest" }, new AbortController().signal, () => {}) };
}

/** What makes faces speak here: tasks of the worker, and what its other workers need. */
export const speech = {
  /** Whether the files that the device has include it. */
  can: () => Boolean(manifest?.talk),
  about: () => manifest.talk,
  animator: async () => ({ manifest, base: BASE, animator: await asked("animator") }),
  still: async (blob, look, generator) => asked("still", { ...(await decoded(blob)), look, generator }),
  motion: (piece) => asked("motion", piece),
};

/** A task for which the worker may have to be loaded once more, where the last one was cancelled. */
async function asked(task, given = {}) {
  const { signal } = new AbortController();
  await ask({ task: "load", manifest, base: BASE }, signal, () => {});
  return ask({ task, ...given }, signal, () => {});
}

/** One task of the worker. To cancel it is to end the worker. */
function ask(task, signal, progress) {
  worker ??= new Worker(new URL("device/worker.js", document.baseURI), { type: "module" });
  const mine = worker;
  count += 1;
  const id = count;
  return new Promise((resolve, reject) => {
    const done = new AbortController();
    const fail = (problem, ended) => {
      done.abort();
      if (ended) mine.terminate();
      if (ended && worker === mine) worker = null;
      reject(problem);
    };
    const listen = (target, event, hear) => target.addEventListener(event, hear, { signal: done.signal });
    listen(mine, "message", ({ data }) => {
      if (data.id !== id) return;
      if (data.total) {
        progress(data.loaded / data.total, data.loaded, data.total);
      } else if (data.done) {
        done.abort();
        resolve(data.done);
      } else {
        // What has run out of memory has to begin anew. A download may fail beside faces that are being made.
        const ends = ["device-memory", "device-failed"].includes(data.problem.code);
        fail(new Problem(data.problem.code, data.problem), ends);
      }
    });
    listen(mine, "error", (event) => fail(new Problem("device-failed", { detail: event.message ?? "" }), true));
    listen(signal, "abort", () => fail(new Problem("cancelled"), true));
    if (signal.aborted) fail(new Problem("cancelled"), true);
    else mine.postMessage({ id, ...task });
  });
}
