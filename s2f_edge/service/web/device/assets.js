/** The files that the device needs: from its cache, or downloaded once, with their hashes checked. */

export const CACHE = "s2f-device";

/**
 * Of the hash it once had 16 digits; what is kept under those lacks the header without which no thread starts from it.
 * @param {Record<string, any>} manifest @param {string} name @param {string} base address of the folder
 */
export const addressOf = (manifest, name, base) => `${base}${name}?v=${manifest.files[name].sha256.slice(0, 20)}`;

/** Names of the files that make faces speak. */
export const talkFiles = ({ talk }) => (talk ? [talk.animator, talk.motion] : []);

/** Names of those that make faces. */
export const faceFiles = (manifest) => Object.keys(manifest.files).filter((name) => !talkFiles(manifest).includes(name));

/** Why a file is not there; `code` is the page's. */
export class Missing extends Error {
  constructor(code, detail) {
    super(detail);
    this.code = code;
  }
}

const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// Pages without https have neither a cache nor hashes.
const opened = () => (self.caches ? caches.open(CACHE) : Promise.resolve(null));

/** Whether all files that make faces lie on the device. */
export async function isKept(manifest, base) {
  const cache = await opened();
  if (!cache) return false;
  const found = await Promise.all(faceFiles(manifest).map((name) => cache.match(addressOf(manifest, name, base))));
  return found.every(Boolean);
}

/**
 * Sees to it that files of a manifest are on the device, and gives some of them.
 * @param {Record<string, any>} manifest
 * @param {string} base
 * @param {string[]} names of the files
 * @param {string[]} wanted names of the files that are given; the others are fetched by their address, from the cache
 * @param {(loaded: number, total: number) => void} progress in bytes as they are sent; called only while something
 *   is downloaded
 * @returns {Promise<Record<string, ArrayBuffer>>}
 * @throws {Missing}
 */
export async function assets(manifest, base, names, wanted, progress) {
  const cache = await opened();
  const total = names.reduce((sum, name) => sum + manifest.files[name].sent, 0);
  const got = {};
  let loaded = 0;
  for (const name of names) {
    const { bytes, sent, sha256 } = manifest.files[name];
    const address = addressOf(manifest, name, base);
    const kept = await cache?.match(address);
    if (kept) {
      if (wanted.includes(name)) got[name] = await kept.arrayBuffer();
      loaded += sent;
      continue;
    }
    const answer = await downloaded(address, bytes, (count) => progress(loaded + (sent * count) / bytes, total));
    if (self.crypto?.subtle && hex(await crypto.subtle.digest("SHA-256", answer.data)) !== sha256) {
      throw new Missing("device-download", `${name} is damaged`);
    }
    if (wanted.includes(name)) got[name] = answer.data;
    loaded += sent;
    // A full disk is no reason to stop: it is downloaded again next time.
    await cache?.put(address, new Response(answer.data, { headers: answer.headers })).catch(() => {});
  }
  if (cache) await tidy(cache, manifest, base);
  return got;
}

async function downloaded(address, bytes, progress) {
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const data = new Uint8Array(bytes);
    let at = 0;
    for (const reader = answer.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      data.set(value, at); // throws where there is more than there should be
      at += value.length;
      progress(at);
    }
    if (at !== bytes) throw new Error(`${at} of ${bytes} bytes`);
    const headers = new Headers(answer.headers);
    for (const name of ["Content-Encoding", "Content-Length"]) headers.delete(name); // it is unpacked now
    return { data: data.buffer, headers };
  } catch (error) {
    throw new Missing(error instanceof RangeError ? "device-memory" : "device-download", String(error));
  }
}

/** Keeps the manifest, by which the page knows offline what there is, and drops files of older ones. */
async function tidy(cache, manifest, base) {
  const text = new Response(JSON.stringify(manifest), { headers: { "Content-Type": "application/json" } });
  const own = new Set(Object.keys(manifest.files).map((name) => addressOf(manifest, name, base)));
  own.add(`${base}manifest.json`);
  await cache.put(`${base}manifest.json`, text).catch(() => {});
  for (const request of await cache.keys()) if (!own.has(request.url)) await cache.delete(request);
}
