/** onnxruntime-web in a worker. */

import { addressOf, Missing } from "./assets.js";

const MOST_THREADS = 4;

/** How many threads may run: they share memory, which browsers allow to isolated pages alone. */
export const threadsHere = () => (self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1);

/** @param {Record<string, any>} manifest @param {string} base address of the folder @param {number} threads */
export async function runtime(manifest, base, threads) {
  const ort = await import(addressOf(manifest, "ort.wasm.min.mjs", base)).catch((error) => {
    throw new Missing("device-download", String(error));
  });
  const { wasm } = ort.env;
  const glue = "ort-wasm-simd-threaded";
  // By its address, not as bytes: then the browser keeps the compiled code, and a later start is a second faster.
  wasm.wasmPaths = {
    mjs: addressOf(manifest, `${glue}.mjs`, base),
    wasm: addressOf(manifest, `${glue}.wasm`, base),
  };
  wasm.numThreads = threads;
  return ort;
}

/** @param {any} ort @param {ArrayBuffer} file */
export const sessionOf = (ort, file) =>
  ort.InferenceSession.create(new Uint8Array(file), { executionProviders: ["wasm"], logSeverityLevel: 3 });

/** float32 tensor. */
export const floats = (ort, data, dims) => new ort.Tensor("float32", data, dims);

/** A drawn face, float32 (1, 3, side, side) in [-1, 1], to pixels of so many channels; a fourth one is opaque. */
export function pixelsOf(face, channels) {
  const plane = face.dims[2] * face.dims[3];
  const pixels = new Uint8ClampedArray(plane * channels).fill(255); // it rounds, and halves to the even number
  for (let c = 0; c < 3; c++) {
    const from = face.data.subarray(c * plane, (c + 1) * plane);
    for (let i = 0; i < plane; i++) pixels[i * channels + c] = from[i] * 127.5 + 127.5;
  }
  return pixels;
}

/** A fault of the machinery, in the page's words. */
export function problemOf(error) {
  const memory = /memory|alloc|too large|out of bounds/i.test(String(error));
  const code = error.code ?? (memory ? "device-memory" : "device-failed");
  return { code, values: error.values ?? {}, detail: String(error) };
}
