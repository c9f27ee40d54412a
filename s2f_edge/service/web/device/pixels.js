/** Pictures as the server makes them: resized, with the watermark, as PNG with what it says of its origin. */

/** Weights of a bicubic resize, as Pillow has them: [first source, weights] for each target. */
function weightsOf(from, to) {
  const scale = from / to;
  const wide = Math.max(1, scale);
  const support = 2 * wide;
  const cubic = (x) => {
    const d = Math.abs(x);
    if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
    return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
  };
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights = Array.from({ length: end - first }, (_, k) => cubic((first + k - centre + 0.5) / wide));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
}

/**
 * A field of some channels, resized to a square.
 * @param {ArrayLike<number>} field row by row
 * @param {number} from its side
 * @param {number} to
 * @param {number} channels
 * @param {(value: number) => number} [kept] how numbers are kept, after each of the two passes
 */
export function resized(field, from, to, channels, kept = (value) => value) {
  if (from === to) return Float32Array.from(field);
  const table = weightsOf(from, to);
  const across = new Float32Array(from * to * channels);
  for (let y = 0; y < from; y++) {
    for (let x = 0; x < to; x++) {
      const { first, weights } = table[x];
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * field[(y * from + first + k) * channels + c];
        across[(y * to + x) * channels + c] = kept(sum);
      }
    }
  }
  const out = new Float32Array(to * to * channels);
  const row = to * channels;
  for (let y = 0; y < to; y++) {
    const { first, weights } = table[y];
    for (let i = 0; i < row; i++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * across[(first + k) * row + i];
      out[y * row + i] = kept(sum);
    }
  }
  return out;
}

const toByte = (value) => Math.min(255, Math.max(0, Math.floor(value + 0.5)));

/** A face as a picture of that side: uint8 RGB. @param {Uint8Array} face */
export const enlarged = (face, from, to) => Uint8Array.from(resized(face, from, to, 3, toByte));

// ------------------------------------------------------------------------------ watermark

const FULL = 512; // the side for which marks.bin has the waves
const LEAST = 256; // of a face that is marked
const SMALL = 64;
export const IN_VIDEO = 1.1; // strength in what loses detail
const STRENGTH = 1.15;

/**
 * The pattern of one generator's mark on a face.
 * @param {ArrayBuffer} file marks.bin
 * @param {{generators: string[], waves: number}} about
 * @param {string} generator
 * @param {number} side of the face: 512 or 256
 */
export function patternOf(file, about, generator, side) {
  const count = about.waves;
  const places = new Int16Array(file, 0, 2 * count);
  const waves = new Float32Array(file.slice(4 * count), about.generators.indexOf(generator) * 8 * count, 2 * count);
  const cosine = Float64Array.from({ length: side }, (_, i) => Math.cos((2 * Math.PI * i) / side));
  const sine = Float64Array.from({ length: side }, (_, i) => Math.sin((2 * Math.PI * i) / side));
  // First the sums down each column of frequencies, then across.
  const columns = new Map();
  for (let i = 0; i < count; i++) {
    const [down, across] = [places[2 * i], places[2 * i + 1]];
    if (!columns.has(across)) columns.set(across, { real: new Float64Array(side), imaginary: new Float64Array(side) });
    const { real, imaginary } = columns.get(across);
    // Waves begin in the middle of the first pixel, which lies elsewhere where pixels are larger.
    const later = Math.PI * (down + across) * (1 / side - 1 / FULL);
    const [p, q] = [waves[2 * i], waves[2 * i + 1]];
    const a = p * Math.cos(later) - q * Math.sin(later);
    const b = p * Math.sin(later) + q * Math.cos(later);
    for (let y = 0; y < side; y++) {
      const turn = (((down * y) % side) + side) % side;
      real[y] += a * cosine[turn] - b * sine[turn];
      imaginary[y] += a * sine[turn] + b * cosine[turn];
    }
  }
  const pattern = new Float32Array(side * side);
  for (const [across, { real, imaginary }] of columns) {
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const turn = (across * x) % side;
        pattern[y * side + x] += real[y] * cosine[turn] - imaginary[y] * sine[turn];
      }
    }
  }
  return pattern;
}

/** Means over 3 x 3 places; at the edges, the outermost ones count again. */
function boxMean(field, side) {
  const near = (i) => Math.min(side - 1, Math.max(0, i));
  return Float32Array.from(field, (_, at) => {
    const [y, x] = [Math.floor(at / side), at % side];
    let sum = 0;
    for (let dy = -1; dy <= 1; dy++) {
      for (let dx = -1; dx <= 1; dx++) sum += field[near(y + dy) * side + near(x + dx)];
    }
    return sum / 9;
  });
}

/** The strength of the mark at each place of a picture, as s2f_edge/marks/watermark.py has it. */
function strengthOf(pixels, side) {
  const grey = new Float32Array(side * side);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = 0.299 * pixels[3 * i] + 0.587 * pixels[3 * i + 1] + 0.114 * pixels[3 * i + 2];
  }
  const small = resized(grey, side, SMALL, 1);
  const mean = boxMean(small, SMALL);
  const square = boxMean(
    small.map((value) => value * value),
    SMALL,
  );
  const strength = mean.map((level, i) => {
    const change = Math.sqrt(Math.max(square[i] - level * level, 0));
    const here = Math.min(STRENGTH + 0.05 * change, 1.25) * (0.6 + 0.4 * Math.min(level / 128, 1));
    return here * Math.min(1, Math.max(0.4, (262 - level) / 24));
  });
  const large = Math.max(0.6, (LEAST / side) ** 0.35);
  return resized(
    boxMean(strength, SMALL).map((value) => value * large),
    SMALL,
    side,
    1,
  );
}

/**
 * What the mark adds to each pixel of a face, and to all frames in which it moves.
 * @param {ArrayLike<number>} pixels RGB
 * @param {Float32Array} pattern of its side
 * @param {number} [times] the strength of a picture's
 * @returns {Int8Array}
 */
export function levelsOf(pixels, pattern, times = 1) {
  const strength = strengthOf(pixels, Math.sqrt(pattern.length));
  const levels = new Int8Array(pattern.length);
  for (let i = 0; i < levels.length; i++) levels[i] = Math.round(pattern[i] * strength[i] * times);
  return levels;
}

/** A picture with the mark in it. @param {Uint8Array} pixels @param {Float32Array} pattern */
export function marked(pixels, pattern) {
  const levels = levelsOf(pixels, pattern);
  const made = new Uint8ClampedArray(pixels.length);
  for (let i = 0, at = 0; i < levels.length; i++) {
    for (let c = 0; c < 3; c++, at++) made[at] = pixels[at] + levels[i];
  }
  return made;
}

// ------------------------------------------------------------------------------------ PNG

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let rest = n;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? 0xedb88320 ^ (rest >>> 1) : rest >>> 1;
  return rest;
});

function chunk(kind, content) {
  const body = new Uint8Array(4 + content.length);
  body.set([...kind].map((letter) => letter.charCodeAt(0)));
  body.set(content, 4);
  let crc = 0xffffffff;
  for (const byte of body) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  const whole = new Uint8Array(body.length + 8);
  const view = new DataView(whole.buffer);
  view.setUint32(0, content.length);
  whole.set(body, 4);
  view.setUint32(4 + body.length, (crc ^ 0xffffffff) >>> 0);
  return whole;
}

const bytesOf = (text) => new TextEncoder().encode(text);

/** Texts of a PNG: what is not plain ASCII, or long, goes into iTXt. */
function textChunk(keyword, text) {
  const plain = keyword === "Description" || keyword === "Software";
  return plain ? chunk("tEXt", bytesOf(`${keyword}\0${text}`)) : chunk("iTXt", bytesOf(`${keyword}\0\0\0\0\0${text}`));
}

/**
 * @param {Uint8Array} pixels RGB
 * @param {number} side
 * @param {Record<string, string>} texts by keyword
 * @returns {Promise<Blob>}
 */
export async function png(pixels, side, texts) {
  const header = new Uint8Array(13);
  new DataView(header.buffer).setUint32(0, side);
  new DataView(header.buffer).setUint32(4, side);
  header.set([8, 2], 8); // 8 bits, RGB
  const row = 3 * side;
  const rows = new Uint8Array(side * (row + 1));
  for (let y = 0; y < side; y++) {
    const at = y * (row + 1);
    rows[at] = y ? 2 : 0; // each line as the difference from the one above
    for (let i = 0; i < row; i++) rows[at + 1 + i] = pixels[y * row + i] - (y ? pixels[(y - 1) * row + i] : 0);
  }
  const packed = new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate")));
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10);
  const said = Object.entries(texts).map(([keyword, text]) => textChunk(keyword, text));
  const data = chunk("IDAT", new Uint8Array(await packed.arrayBuffer()));
  return new Blob([signature, chunk("IHDR", header), ...said, data, chunk("IEND", new Uint8Array(0))], {
    type: "image/png",
  });
}
