/**
 * Keeps the page itself, so that it opens offline: no sound, no face, nothing below /v1. What is
 * online is always newer, so the network comes first. Files with which the device makes faces are
 * put into a cache of their own by device/assets.js; their addresses tell their content.
 */

const CACHE = "s2f-page";
const DEVICE_CACHE = "s2f-device";
const DEVICE = new URL("on-device/", self.registration.scope).href;
const PAGE = `
  ./ app.js api.js choose.js dark.css decode.js device-choice.js device.js device/assets.js device/detector.wasm
  device/frames.js device/gestures.js device/hearing.js device/pixels.js device/quality.js device/runtime.js
  device/worker.js dom.js files.js frame-workers.js frames.js genders.js home.js i18n.js icons/icon-192.png
  icons/icon.svg live-face.js live.js manifest.webmanifest pcm-worklet.js pictures.js player.js problem.js
  problems.js record.js recorder.js resampler.js result.js screens.js sending.js session.js storage.js
  strings.ar.js strings.en.js style.css talk-here.js talk-sent.js talk.js theme.js wav.js waveform.js
`.trim().split(/\s+/);
const SLOW_MS = 4000;
const KEPT = new Set(PAGE.map((path) => new URL(path, self.registration.scope).href));

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(fill());
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  if (event.request.method === "GET" && address.href.startsWith(DEVICE)) {
    event.respondWith(ofDevice(event.request, address));
    return;
  }
  address.search = address.hash = "";
  if (event.request.method === "GET" && KEPT.has(address.href)) {
    event.respondWith(newest(event.request, address.href));
  }
});

async function fill() {
  const cache = await caches.open(CACHE);
  await cache.addAll([...KEPT].map((address) => new Request(address, { cache: "reload" })));
}

/** What the device has; of the manifest, the newest that there is. */
async function ofDevice(request, address) {
  const cache = await caches.open(DEVICE_CACHE);
  if (address.search) return (await cache.match(request.url)) ?? fetch(request);
  try {
    return await Promise.race([fetch(request), tooSlow()]);
  } catch (error) {
    const kept = await cache.match(address.href);
    if (kept) return kept;
    throw error;
  }
}

async function newest(request, address) {
  const cache = await caches.open(CACHE);
  try {
    const answer = await Promise.race([fetch(request), tooSlow()]);
    if (answer.ok) await cache.put(address, answer.clone());
    return answer;
  } catch (error) {
    const kept = await cache.match(address);
    if (kept) return kept;
    throw error;
  }
}

function tooSlow() {
  return new Promise((_, reject) => setTimeout(reject, SLOW_MS, new TypeError("The network is too slow.")));
}
