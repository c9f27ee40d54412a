/** Samples to a wav file: mono, 16 bit, 16 kHz. Every server can read it without extra decoders. */

import { RATE } from "./resampler.js";

const HEADER_BYTES = 44;

/**
 * @param {Int16Array[]} parts
 * @returns {Blob}
 */
export function wavBlob(parts) {
  const bytes = 2 * parts.reduce((sum, part) => sum + part.length, 0);
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  const text = (at, letters) => [...letters].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, HEADER_BYTES - 8 + bytes, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true); // bytes of this chunk
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // channels
  header.setUint32(24, RATE, true);
  header.setUint32(28, 2 * RATE, true); // bytes per second
  header.setUint16(32, 2, true); // bytes per frame
  header.setUint16(34, 16, true); // bits
  text(36, "data");
  header.setUint32(40, bytes, true);
  // Typed arrays are little-endian, as wav is, on every machine that runs a browser.
  return new Blob([header, ...parts], { type: "audio/wav" });
}
