/** Makes faces on the device, beside the page, so that the page goes on answering. */

import { RATE, Resampler } from "../resampler.js";
import { addressOf, assets, Missing } from "./assets.js";
import { hearingGain, voicedOf } from "./hearing.js";
import { enlarged, marked, patternOf, png } from "./pixels.js";
import { isEnough, isSome, lookedAt, measure, refusalOf, verdictOf, warningsOf } from "./quality.js";

const SIDE = 512; // of the pictures
// A steeper filter than that of the recorder, as near to the server's as need be.
const CROSSINGS = 64;
const BAND = 0.956;

let ready = null; // {ort, session, detector, manifest, marks}

self.onmessage = async ({ data: { id, task, ...given } }) => {
  const say = (message) => self.postMessage({ id, ...message });
  try {
    if (task === "load") {
      ready ??= await load(given.manifest, given.base, (loaded, total) => say({ loaded, total }));
      say({ done: {} });
    } else {
      say({ done: await faces(given) });
    }
  } catch (error) {
    say({ problem: { code: error.code ?? codeOf(error), values: error.values ?? {}, detail: String(error) } });
  }
};

/** A fault of the machinery, in the page's words. */
function codeOf(error) {
  return /memory|alloc|too large|out of bounds/i.test(String(error)) ? "device-memory" : "device-failed";
}

async function load(manifest, base, progress) {
  const got = await assets(manifest, base, [manifest.model, manifest.marks.file], progress);
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
  // Threads share memory, which browsers allow to isolated pages alone.
  wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  const session = await ort.InferenceSession.create(new Uint8Array(got[manifest.model]), {
    executionProviders: ["wasm"],
    logSeverityLevel: 3,
  });
  const compiled = await WebAssembly.instantiate(await (await fetch("detector.wasm")).arrayBuffer(), {});
  return { ort, session, detector: compiled.instance.exports, manifest, marks: got[manifest.marks.file] };
}

async function run(waveform, generator, rows) {
  const { ort, session } = ready;
  const noise = Float32Array.from(rows.flat());
  const found = await session.run({
    waveform: new ort.Tensor("float32", waveform, [waveform.length]),
    generator: new ort.Tensor("int32", Int32Array.of(generator), [1]),
    noise: new ort.Tensor("float32", noise, [rows.length, rows[0].length]),
  });
  return Object.fromEntries(Object.entries(found).map(([name, tensor]) => [name, tensor]));
}

/** How many normal numbers a candidate takes; folders of earlier versions do not say it. */
const noiseSize = () => ready.manifest.noise_size ?? ready.manifest.embedding_size;

/** Normally distributed numbers, by Box and Muller. */
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

/** What the gate says of a sound, or null where there is none. */
async function judged(sound) {
  if (!sound) return null;
  const { speech_probability: speech, sounds } = await run(sound, 1, [new Array(noiseSize()).fill(0)]);
  return verdictOf({ speech_probability: speech.data[0], sounds: [...sounds.data] }, ready.manifest.sounds);
}

/** Faces and facts, in the form of the service's answer. */
async function faces({ samples: given, rate, gender, count, others }) {
  const { manifest, detector } = ready;
  const timings = {};
  let since = performance.now();
  const lap = (stage) => {
    const now = performance.now();
    timings[stage] = now - since;
    since = now;
  };
  const samples = rate === RATE ? given : resampled(given, rate);
  lap("resample");
  const voiced = voicedOf(samples, hearingGain(samples), detector);
  lap("vad");

  const size = noiseSize();
  const rows = Array.from({ length: count }, (_, i) =>
    Array.from({ length: size }, () => (i === 0 && !others ? 0 : normal())),
  );
  const asked = gender === "auto" ? 0 : manifest.generators[gender];
  const made = isSome(voiced) ? await run(voiced, asked, rows) : null;
  lap("model");
  const verdicts = [];
  if (made) {
    verdicts.push(
      verdictOf({ speech_probability: made.speech_probability.data[0], sounds: [...made.sounds.data] }, manifest.sounds),
    );
  }
  // Less than a second is thin ground, so the recording itself is looked at too.
  if (!isEnough(voiced)) verdicts.push(await judged(lookedAt(samples)));
  const best = verdicts.filter(Boolean).sort((a, b) => b.probability - a.probability)[0] ?? null;
  const found = measure(samples, voiced, best);
  const refusal = refusalOf(found, manifest.least_speech_seconds);
  if (refusal) throw Object.assign(new Error(refusal.code), refusal);
  lap("quality");

  const generator = Object.keys(manifest.generators).find(
    (name) => manifest.generators[name] === made.generator_used.data[0],
  );
  const facts = factsOf(found, made, generator, gender);
  const files = await pictures(made.faces, generator);
  lap("pictures");
  return { facts: { ...facts, timings_ms: timings }, pictures: files };
}

function factsOf(found, made, generator, asked) {
  const { manifest } = ready;
  const male = made.male_probability?.data[0] ?? null;
  const sure = male !== null && Math.max(male, 1 - male) >= manifest.sure_of_gender;
  const gender = sure ? (male > 0.5 ? "male" : "female") : "unsure";
  const codes = warningsOf(found);
  if (made.surprise && made.surprise.data[0] > manifest.strange_surprise) codes.push("unusual-voice");
  if (asked === "auto" && generator !== gender) {
    codes.push(male === null ? "no-gender" : sure ? "no-generator" : "unsure-gender");
  }
  return {
    on_device: true,
    speech_seconds: found.speech,
    gender,
    male_probability: male,
    generator,
    asked_gender: asked,
    warnings: codes.map((code) => ({ code, message: code })),
  };
}

/** PNGs of faces, with all marks that a browser can make. */
async function pictures(faces, generator) {
  const { manifest, marks } = ready;
  const [count, side, , channels] = faces.dims;
  const pattern = patternOf(marks, manifest.marks, generator);
  const made = [];
  for (let i = 0; i < count; i++) {
    const face = faces.data.subarray(i * side * side * channels, (i + 1) * side * side * channels);
    made.push(await png(marked(enlarged(face, side, SIDE), pattern), SIDE, manifest.texts[generator]));
  }
  return made;
}

function resampled(samples, rate) {
  const resampler = new Resampler(rate, CROSSINGS, BAND);
  const [body, rest] = [resampler.floats(samples), resampler.floats(new Float32Array(resampler.half))];
  const whole = new Float32Array(Math.round((samples.length * RATE) / rate));
  whole.set(body.slice(0, whole.length));
  whole.set(rest.slice(0, whole.length - Math.min(whole.length, body.length)), Math.min(whole.length, body.length));
  return whole;
}
