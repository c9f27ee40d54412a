/** Talks to the service. Addresses are relative, so that the page also works below a path. */

import { readKey } from "./storage.js";

// Without any sign of life for so long, a request is given up.
const STALLED_UPLOAD_MS = 60_000;
const SLOW_ANSWER_MS = 150_000;

/** Why something did not work; `code` is the service's, or one of this page's own. */
export class Problem extends Error {
  /**
   * @param {string} code
   * @param {object} [facts]
   * @param {string} [facts.detail] the service's own words
   * @param {string} [facts.requestId]
   * @param {number} [facts.retryAfter] seconds
   * @param {Record<string, any>} [facts.values] further fields of the answer
   */
  constructor(code, { detail = "", requestId = "", retryAfter = 0, values = {} } = {}) {
    super(detail || code);
    Object.assign(this, { code, detail, requestId, retryAfter, values });
  }
}

let known = null;

/**
 * What the service offers, or null as long as it cannot be reached. Asked until it answers.
 * @returns {Promise<Record<string, any> | null>}
 */
export async function serviceInfo() {
  if (known) return known;
  try {
    const answer = await fetch("v1/info", { headers: authorization(), signal: AbortSignal.timeout(10_000) });
    if (answer.ok) known = await answer.json();
  } catch {
    // Unreachable: whoever needs more than null will meet the same problem, and says so.
  }
  return known;
}

/** What the service offers, if it has answered already. */
export const knownInfo = () => known;

function authorization() {
  const key = readKey();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/**
 * Asks for faces.
 * @param {{blob: Blob, name: string}} clip
 * @param {Record<string, string | number>} options fields of the form
 * @param {object} on
 * @param {(share: number) => void} on.progress of the upload, 0 to 1
 * @param {AbortSignal} on.signal
 * @returns {Promise<Record<string, any>>} the service's JSON
 */
export function requestFaces(clip, options, { progress, signal }) {
  const form = formOf(clip, options);
  return new Promise((resolve, reject) => {
    // fetch cannot tell how far an upload is.
    const request = new XMLHttpRequest();
    let timer = 0;
    const wait = (ms) => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        request.abort();
        reject(new Problem("timeout"));
      }, ms);
    };
    request.open("POST", "v1/face");
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      wait(STALLED_UPLOAD_MS);
      if (event.lengthComputable) progress(event.loaded / event.total);
    };
    request.upload.onload = () => {
      wait(SLOW_ANSWER_MS);
      progress(1);
    };
    request.onload = () => {
      const body = parsed(request.responseText);
      if (request.status === 200 && body?.pictures?.length) resolve(body);
      else reject(refusal(request.status, (name) => request.getResponseHeader(name), body));
    };
    request.onerror = () => reject(new Problem(navigator.onLine ? "network" : "offline"));
    request.onloadend = () => clearTimeout(timer);
    signal.addEventListener("abort", () => request.abort(), { once: true });
    wait(STALLED_UPLOAD_MS);
    request.send(form);
  });
}

/**
 * Asks for a video in which a face says the recording; it comes while it is made.
 * @param {{blob: Blob, name: string}} clip
 * @param {Record<string, string | number>} options fields of the form
 * @param {AbortSignal} signal
 * @returns {Promise<ReadableStreamDefaultReader<Uint8Array>>}
 * @throws {Problem}
 */
export async function requestVideo(clip, options, signal) {
  const wish = { method: "POST", headers: authorization(), body: formOf(clip, options), signal };
  const answer = await fetch("v1/talk", wish).catch(() => {
    throw new Problem(signal.aborted ? "cancelled" : navigator.onLine ? "network" : "offline");
  });
  if (answer.ok) return answer.body.getReader();
  throw refusal(answer.status, (name) => answer.headers.get(name), parsed(await answer.text().catch(() => "")));
}

function formOf(clip, options) {
  const form = new FormData();
  for (const [name, value] of Object.entries(options)) form.append(name, String(value));
  form.append("file", clip.blob, clip.name);
  return form;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// What an answer means that a proxy gave in place of the service.
const BY_STATUS = { 401: "unauthorised", 413: "too-large", 429: "too-many-requests", 502: "busy", 503: "busy", 504: "timeout" };

function refusal(status, header, body) {
  const seconds = Number(header("Retry-After"));
  return new Problem(body?.code ?? BY_STATUS[status] ?? "internal", {
    detail: body?.detail,
    requestId: body?.request_id ?? header("Request-Id") ?? "",
    retryAfter: Number.isFinite(seconds) ? seconds : 0,
    values: body ?? {},
  });
}
