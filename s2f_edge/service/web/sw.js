/**
 * Keeps the page itself, and nothing else, so that it opens offline: no sound, no face, nothing
 * below /v1. What is online is always newer, so the network comes first.
 */

const CACHE = "s2f-page";
const PAGE = [
  "./",
  "app.js",
  "api.js",
  "choose.js",
  "dark.css",
  "dom.js",
  "files.js",
  "genders.js",
  "home.js",
  "i18n.js",
  "icons/icon-192.png",
  "icons/icon.svg",
  "live-face.js",
  "live.js",
  "manifest.webmanifest",
  "pcm-worklet.js",
  "pictures.js",
  "player.js",
  "problem.js",
  "problems.js",
  "record.js",
  "recorder.js",
  "resampler.js",
  "result.js",
  "screens.js",
  "sending.js",
  "session.js",
  "storage.js",
  "strings.ar.js",
  "strings.en.js",
  "style.css",
  "theme.js",
  "wav.js",
  "waveform.js",
];
const SLOW_MS = 4000;
const KEPT = new Set(PAGE.map((path) => new URL(path, self.registration.scope).href));

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(fill());
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  address.search = address.hash = "";
  if (event.request.method === "GET" && KEPT.has(address.href)) {
    event.respondWith(newest(event.request, address.href));
  }
});

async function fill() {
  const cache = await caches.open(CACHE);
  await cache.addAll([...KEPT].map((address) => new Request(address, { cache: "reload" })));
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
