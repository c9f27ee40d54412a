/** The microphone: samples at 16 kHz and levels as they come, and a wav file at the end. */

import { Problem } from "./api.js";
import { RATE, Resampler } from "./resampler.js";
import { wavBlob } from "./wav.js";

// Browsers' noise reduction takes some of the voice too; a level that is kept even does no harm.
const SOUND = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true };
const DEAF_MS = 4000; // a microphone that gives nothing for so long is gone
const LAST_BLOCK_MS = 300;

const DENIED = new Set(["NotAllowedError", "SecurityError"]);
const MISSING = new Set(["NotFoundError", "OverconstrainedError", "DevicesNotFoundError"]);

/**
 * @typedef {object} Listener
 * @property {(block: {level: number, peak: number, samples: Int16Array, seconds: number}) => void} heard
 *   level and peak from 0 to 1; seconds since the beginning
 * @property {() => void} cutOff the microphone went away; stop() gives what came before
 *
 * @typedef {{stop: () => Promise<{blob: Blob, seconds: number}>}} Recorder
 */

/**
 * Begins to record. Call it from a press on a button: browsers want one.
 * @param {Listener} listener
 * @returns {Promise<Recorder>}
 * @throws {Problem}
 */
export async function startRecording(listener) {
  if (!window.isSecureContext) throw new Problem("insecure");
  if (!navigator.mediaDevices || !window.AudioWorkletNode) throw new Problem("unsupported");
  const context = new AudioContext(); // before any wait, or iOS holds it back
  let stream = null;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: SOUND });
    await context.audioWorklet.addModule("pcm-worklet.js");
    await context.resume();
  } catch (error) {
    release(context, stream);
    throw new Problem(codeOf(error));
  }
  return record(context, stream, listener);
}

function codeOf(error) {
  if (DENIED.has(error.name)) return "permission-denied";
  if (MISSING.has(error.name)) return "no-microphone";
  return "microphone-busy";
}

/** @returns {Recorder} */
function record(context, stream, listener) {
  const resampler = new Resampler(context.sampleRate);
  const parts = [];
  let length = 0;
  let stopped = false;
  let lastBlock = () => {};

  const keep = (samples) => {
    parts.push(samples);
    length += samples.length;
  };
  const cutOff = () => {
    if (!stopped) listener.cutOff();
  };
  let alarm = setTimeout(cutOff, DEAF_MS);

  const source = context.createMediaStreamSource(stream);
  const node = new AudioWorkletNode(context, "pcm", { numberOfInputs: 1, numberOfOutputs: 1 });
  node.port.onmessage = ({ data }) => {
    const samples = resampler.push(data.samples);
    keep(samples);
    if (data.last) {
      lastBlock();
    } else if (!stopped) {
      clearTimeout(alarm);
      alarm = setTimeout(cutOff, DEAF_MS);
      listener.heard({ ...levels(data.samples), samples, seconds: length / RATE });
    }
  };
  // A node that leads nowhere is not run by every browser; it gives silence, so nothing is heard.
  source.connect(node).connect(context.destination);
  stream.getAudioTracks()[0].addEventListener("ended", cutOff);
  context.addEventListener("statechange", () => {
    if (context.state !== "running") cutOff(); // iOS: a call, or another app took the sound
  });

  return {
    async stop() {
      stopped = true;
      clearTimeout(alarm);
      await new Promise((resolve) => {
        lastBlock = resolve;
        setTimeout(resolve, LAST_BLOCK_MS); // an audio thread that stands still does not answer
        node.port.postMessage("last");
      });
      release(context, stream);
      keep(resampler.finish());
      return { blob: wavBlob(parts), seconds: length / RATE };
    },
  };
}

function levels(samples) {
  let squares = 0;
  let peak = 0;
  for (const sample of samples) {
    squares += sample * sample;
    peak = Math.max(peak, Math.abs(sample));
  }
  return { level: Math.sqrt(squares / samples.length), peak };
}

function release(context, stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
  context.close();
}
