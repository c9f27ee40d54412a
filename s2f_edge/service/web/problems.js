/** What a problem is called, what the person can do, and which buttons lead there. */

import { knownInfo } from "./api.js";
import { duration, has, megabytes, t } from "./i18n.js";

/** Buttons by code, the most useful first. */
const ACTIONS = {
  "no-microphone": ["record", "upload"],
  "permission-denied": ["record", "upload"],
  "microphone-busy": ["record", "upload"],
  "no-sound": ["record", "upload"],
  insecure: ["upload"],
  unsupported: ["upload"],
  "empty-file": ["upload", "record"],
  "unreadable-file": ["upload", "record"],
  "unreadable-audio": ["upload", "record"],
  "missing-decoder": ["upload", "record"],
  "invalid-samples": ["upload", "record"],
  "decoder-failed": ["upload", "record"],
  "too-large": ["upload", "record"],
  "too-long": ["upload", "record"],
  "not-speech": ["record", "upload"],
  "too-little-speech": ["record", "upload"],
  "too-many-requests": ["retry"],
  busy: ["retry"],
  timeout: ["retry"],
  network: ["retry"],
  offline: ["retry"],
  "device-unsupported": ["server"],
  "device-memory": ["retry", "server"],
  "device-download": ["retry", "server"],
  "device-failed": ["retry", "server"],
  internal: ["retry"],
};

// These are no words for people, but whoever runs the server can find the request by its id.
const FAULTS = new Set(["internal", "timeout"]);
// Nor are these, but they help whoever looks into it.
const TOLD = new Set(["device-failed"]);

/**
 * @param {import("./api.js").Problem} problem
 * @returns {{title: string, text: string, actions: string[], detail: string, requestId: string}}
 */
export function describe(problem) {
  const code = problem.code in ACTIONS ? problem.code : "internal";
  const reason = `${code}.${problem.values.reason}`;
  const key = has(`problem.${reason}.title`) ? reason : code;
  return {
    title: t(`problem.${key}.title`),
    text: t(`problem.${key}.text`, values(problem)),
    actions: ACTIONS[code],
    // An error that the page has no words for is told in the service's.
    detail: code !== problem.code || TOLD.has(code) ? problem.detail : "",
    requestId: FAULTS.has(code) ? problem.requestId : "",
  };
}

function values({ values: given }) {
  const limits = knownInfo()?.limits;
  return {
    found: duration(given.found_s ?? 0),
    needed: duration(given.needed_s ?? limits?.min_speech_seconds ?? 1),
    bytes: limits ? megabytes(limits.bytes) : "",
    seconds: limits ? duration(limits.seconds) : "",
  };
}
