/** A sound file to samples, in the browser: mono, at the file's own rate, so that it is resampled by us alone. */

import { Problem } from "./api.js";

const USUAL_RATE = 48_000; // what most files have that do not tell, such as those of Opus
const LEAST_RATE = 8000; // what browsers decode to at least
const MOST_RATE = 96_000;

/**
 * @param {Blob} blob
 * @returns {Promise<{samples: Float32Array, rate: number}>}
 * @throws {Problem} unreadable-audio
 */
export async function decoded(blob) {
  const bytes = await blob.arrayBuffer();
  const rate = Math.min(MOST_RATE, Math.max(LEAST_RATE, rateOf(new DataView(bytes)) ?? USUAL_RATE));
  try {
    const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
    return { samples: mono(sound), rate };
  } catch (error) {
    throw new Problem("unreadable-audio", { detail: String(error) });
  }
}

function mono(sound) {
  const channels = Array.from({ length: sound.numberOfChannels }, (_, i) => sound.getChannelData(i));
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
}

/** The rate that a file's first bytes tell, or null. @param {DataView} view */
function rateOf(view) {
  if (view.byteLength < 64) return null;
  const letters = (at, count) => String.fromCharCode(...new Uint8Array(view.buffer, at, count));
  if (letters(0, 4) === "RIFF") {
    for (let at = 12; at + 16 <= view.byteLength; at += 8 + view.getUint32(at + 4, true)) {
      if (letters(at, 4) === "fmt ") return view.getUint32(at + 12, true);
    }
    return null;
  }
  if (letters(0, 4) === "fLaC") return view.getUint32(18) >>> 12;
  if (letters(0, 4) === "OggS" && letters(29, 6) === "vorbis") return view.getUint32(40, true);
  return rateOfMp3(view, letters(0, 3) === "ID3" ? 10 + tagLength(view) : 0);
}

/** The length of an ID3 tag: four bytes of seven bits. */
const tagLength = (view) => [6, 7, 8, 9].reduce((sum, at) => sum * 128 + (view.getUint8(at) & 127), 0);

function rateOfMp3(view, at) {
  if (at + 4 > view.byteLength || view.getUint16(at) >>> 5 !== 0x7ff || ((view.getUint8(at + 1) >>> 1) & 3) !== 1) return null;
  const version = (view.getUint8(at + 1) >>> 3) & 3; // 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5
  const index = (view.getUint8(at + 2) >>> 2) & 3;
  return index === 3 || version === 1 ? null : [44_100, 48_000, 32_000][index] >>> { 3: 0, 2: 1, 0: 2 }[version];
}
