/** Draws the frames of a face that speaks, beside the page and beside the worker that makes faces. */

import { floats, pixelsOf, problemOf, runtime, sessionOf } from "./runtime.js";

let ort = null;
let session = null;
let face = null; // {texture, shape, levels}

self.onmessage = async ({ data: { task, ...given } }) => {
  try {
    if (task === "load") {
      ort ??= await runtime(given.manifest, given.base, 1); // there are as many of these workers as are of use
      session ??= await sessionOf(ort, given.animator);
      self.postMessage({ done: {} });
    } else if (task === "take") {
      face = { levels: given.levels, texture: tensor(given.texture), shape: tensor(given.shape) };
      self.postMessage({ done: {} });
    } else {
      const pixels = await frame(given.offsets, given.pose);
      self.postMessage({ done: pixels }, [pixels.buffer]);
    }
  } catch (error) {
    self.postMessage({ problem: problemOf(error) });
  }
};

const tensor = ({ data, dims }) => floats(ort, data, dims);

/** RGBA of a frame, with the watermark. */
async function frame(offsets, pose) {
  const { texture, shape, levels } = face;
  const given = { offsets: floats(ort, offsets, [1, offsets.length / 2, 2]), pose: floats(ort, pose, [1, pose.length]) };
  const pixels = pixelsOf((await session.run({ texture, shape, ...given })).face, 4);
  for (let i = 0; i < levels.length; i++) {
    for (let at = 4 * i; at < 4 * i + 3; at++) pixels[at] += levels[i];
  }
  return pixels;
}
