/** Makes faces on the device, beside the page, so that the page goes on answering. */

import { RATE, Resampler } from "../resampler.js";
import { assets, faceFiles, talkFiles } from "./assets.js";
import { detected, isEnough, isSome, joined } from "./hearing.js";
import { enlarged, IN_VIDEO, levelsOf, marked, patternOf, png } from "./pixels.js";
import { lookedAt, measure, refusalOf, verdictOf, warningsOf } from "./quality.js";
import { floats, pixelsOf, problemOf, runtime, sessionOf, threadsHere } from "./runtime.js";

const SIDE = 512; // of the pictures
// A steeper filter than that of the recorder, as near to the server's as need be.
const CROSSINGS = 64;
const BAND = 0.956;

let ready = null; // {ort, session, renderer, detector, manifest, base, marks}
let loading = null;
let speaking = null; // {motion, animator}, once a face is to speak
let drawRest = async () => []; // draws the faces of the last answer after its first

const patterns = new Map(); // by generator and side

const TASKS = { faces, rest: () => drawRest(), animator: async () => (await speech()).animator, still, motion };

self.onmessage = async ({ data: { id, task, ...given } }) => {
  const say = (message) => self.postMessage({ id, ...message });
  try {
    if (task === "load") {
      loading ??= load(given.manifest, given.base, (loaded, total) => say({ loaded, total }));
      ready = await loading.catch((error) => {
        loading = null;
        throw error;
      });
      say({ done: {} });
    } else {
      say({ done: await TASKS[task](given) });
    }
  } catch (error) {
    say({ problem: problemOf(error) });
  }
};

async function load(manifest, base, progress) {
  const names = [manifest.model, manifest.renderer];
  const wanted = [...names, manifest.marks.file].filter(Boolean);
  const got = await assets(manifest, base, faceFiles(manifest), wanted, progress);
  const ort = await runtime(manifest, base, threadsHere());
  const [session, renderer] = await Promise.all(names.map((name) => (name ? sessionOf(ort, got[name]) : null)));
  const compiled = await WebAssembly.instantiate(await (await fetch("detector.wasm")).arrayBuffer(), {});
  const detector = compiled.instance.exports;
  return { ort, session, renderer, detector, manifest, base, marks: got[manifest.marks.file] };
}

/** The networks that make faces speak: downloaded when a face is to. */
function speech() {
  speaking ??= loadSpeech().catch((error) => {
    speaking = null;
    throw error;
  });
  return speaking;
}

async function loadSpeech() {
  const { manifest, base, ort } = ready;
  const names = talkFiles(manifest);
  const got = await assets(manifest, base, names, names, () => {});
  return { animator: got[manifest.talk.animator], motion: await sessionOf(ort, got[manifest.talk.motion]) };
}

async function run(waveform, generator, rows) {
  const { ort, session } = ready;
  return session.run({
    waveform: floats(ort, waveform, [waveform.length]),
    generator: new ort.Tensor("int32", Int32Array.of(generator), [1]),
    noise: floats(ort, Float32Array.from(rows.flat()), [rows.length, ready.manifest.noise_size]),
  });
}

/** What the model says of a sound, without a face. */
const judged = (sound) => run(sound, 1, []);

/** Normally distributed numbers, by Box and Muller. */
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

/** The first face, and facts in the form of the service's answer; `drawRest` then draws the other faces. */
async function faces({ samples: given, rate, gender, count, others }) {
  const { manifest, detector } = ready;
  const timings = {};
  let since = performance.now();
  const lap = (stage) => {
    const now = performance.now();
    timings[stage] = now - since;
    since = now;
  };
  const samples = atOurRate(given, rate);
  lap("resample");
  const kept = await detected(samples, detector, judged);
  const voiced = joined(samples, kept);
  lap("vad");

  const size = manifest.noise_size;
  const rows = Array.from({ length: count }, (_, i) =>
    Array.from({ length: size }, () => (i === 0 && !others ? 0 : normal())),
  );
  const asked = gender === "auto" ? 0 : manifest.generators[gender];
  const made = isSome(voiced) ? await run(voiced, asked, rows) : null;
  lap("model");
  const said = [made ? [made] : [], []];
  // Less than a second is thin ground, so the recording itself is looked at too.
  if (!isEnough(voiced)) for (const piece of lookedAt(samples)) said[1].push(await judged(piece));
  const verdicts = said.filter((each) => each.length).map((each) => verdictOf(each, manifest.sounds));
  const best = verdicts.sort((a, b) => b.probability - a.probability)[0] ?? null;
  const found = measure(samples, kept, made?.speech.data ?? [], best);
  const refusal = refusalOf(found, manifest.least_speech_seconds);
  if (refusal) throw Object.assign(new Error(refusal.code), refusal);
  lap("quality");

  const generator = Object.keys(manifest.generators).find(
    (name) => manifest.generators[name] === made.generator_used.data[0],
  );
  const facts = factsOf(found, made, generator, gender);
  const looks = looksOf(made, count);
  const draw = async (part) => {
    const drawn = looks ? await drawnOf(part) : part;
    lap("renderer");
    const blob = await picture(drawn, generator);
    lap("pictures");
    return { blob, look: looks && manifest.talk ? { look: part, drawn } : null };
  };
  const [first, ...left] = looks ?? piecesOf(made.faces, count);
  drawRest = async () => {
    const drawn = [];
    for (const part of left) drawn.push(await draw(part));
    return drawn;
  };
  return { faces: [await draw(first)], facts: { ...facts, timings_ms: timings } };
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
    threads: threadsHere(),
    speech_seconds: found.speech,
    level_dbfs: found.level,
    snr_db: found.snr,
    gender,
    male_probability: male,
    generator,
    asked_gender: asked,
    warnings: codes.map((code) => ({ code, message: code })),
  };
}

/** One part of a tensor for each face, as a tensor of one. */
function piecesOf(tensor, count) {
  const dims = [1, ...tensor.dims.slice(1)];
  const size = tensor.data.length / count;
  return Array.from({ length: count }, (_, i) => ({ data: tensor.data.slice(i * size, (i + 1) * size), dims }));
}

/** What the renderer takes for each face; null where the model makes pictures at once. */
function looksOf(made, count) {
  if (!ready.renderer) return null;
  const [inner, outer, shape] = [made.inner, made.outer, made.shape].map((tensor) => piecesOf(tensor, count));
  return inner.map((_, i) => ({ inner: inner[i], outer: outer[i], shape: shape[i] }));
}

/** The picture of a look: RGB, with its dimensions. */
async function drawnOf(look) {
  const { face } = await rendered(look);
  return { data: pixelsOf(face, 3), dims: [1, face.dims[2], face.dims[3], 3] };
}

function rendered(look) {
  const tensors = Object.entries(look).map(([name, { data, dims }]) => [name, floats(ready.ort, data, dims)]);
  return ready.renderer.run(Object.fromEntries(tensors));
}

/** The PNG of a face, with all marks that a browser can make. */
const picture = ({ data, dims }, generator) =>
  png(marked(enlarged(data, dims[1], SIDE), pattern(generator, SIDE)), SIDE, ready.manifest.texts[generator]);

/** The pattern of a generator's mark. */
function pattern(generator, side) {
  const key = `${generator} ${side}`;
  if (!patterns.has(key)) patterns.set(key, patternOf(ready.marks, ready.manifest.marks, generator, side));
  return patterns.get(key);
}

/**
 * What a face needs to speak: the sound at our rate, and the face on the mean shape, from which all frames are made.
 * The watermark of all frames is that of the first one.
 */
async function still({ samples, rate, look: { look, drawn }, generator }) {
  const { manifest } = ready;
  const mean = { data: Float32Array.from(manifest.talk.mean_shape.flat()), dims: look.shape.dims };
  const { face: texture } = await rendered({ ...look, shape: mean });
  const levels = levelsOf(drawn.data, pattern(generator, drawn.dims[1]), IN_VIDEO);
  return { waveform: atOurRate(samples, rate), texture: { data: texture.data, dims: texture.dims }, shape: look.shape, levels };
}

/** How the points of a face move, for a piece of sound: see export/motion_file.py. */
async function motion({ waveform, at, frames }) {
  const { ort } = ready;
  const whole = (number) => new ort.Tensor("int64", BigInt64Array.of(BigInt(number)), [1]);
  const given = { waveform: floats(ort, waveform, [waveform.length]), at: whole(at), frames: whole(frames) };
  return (await (await speech()).motion.run(given)).offsets.data;
}

const atOurRate = (samples, rate) => (rate === RATE ? samples : resampled(samples, rate));

function resampled(samples, rate) {
  const resampler = new Resampler(rate, CROSSINGS, BAND);
  const [body, rest] = [resampler.floats(samples), resampler.floats(new Float32Array(resampler.half))];
  const whole = new Float32Array(Math.round((samples.length * RATE) / rate));
  whole.set(body.slice(0, whole.length));
  whole.set(rest.slice(0, whole.length - Math.min(whole.length, body.length)), Math.min(whole.length, body.length));
  return whole;
}
