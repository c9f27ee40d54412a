/** What the page asks the server for. An answer is kept in the browser until the server has it. */

import { readSetting, writeSetting } from "./storage.js";

const AGAIN_MS = 3000;

let id = ""; // of the study

/** The server said no: `status` is that of HTTP, 0 where it did not answer. */
export class Refused extends Error {
  constructor(status) {
    super(`status ${status}`);
    this.status = status;
  }
}

async function ask(method, path, body) {
  const headers = { "Study-Key": readKey() ?? "" };
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Refused(0);
  }
  if (!response.ok) throw new Refused(response.status);
  return response.status === 204 ? null : response.json();
}

/** Title, consent and length of the study. */
export async function readStudy() {
  const study = await ask("GET", "api/study");
  id = study.id;
  return study;
}

export const readKey = () => readSetting(`study.${id}`);
const pending = () => JSON.parse(readSetting(`study.${id}.pending`) ?? "null");
const keepPending = (answer) => writeSetting(`study.${id}.pending`, answer && JSON.stringify(answer));

export async function begin(language) {
  const { key } = await ask("POST", "api/people", { language });
  writeSetting(`study.${id}`, key);
  return next();
}

/** What is asked next; an answer that a closed tab left behind is sent before. */
export async function next() {
  const left = pending();
  if (left) {
    try {
      return await post(left);
    } catch (problem) {
      if (problem.status !== 422) throw problem;
      keepPending(null);
    }
  }
  return ask("GET", "api/next");
}

/**
 * Sends an answer, as often as it takes, and returns what is asked next.
 * @param {{place: number, given: unknown, ms: number, plays: number}} answer
 * @param {(waits: boolean) => void} waiting told when the server does not answer, and when it does again
 */
export async function sendAnswer(answer, waiting) {
  keepPending(answer);
  for (;;) {
    try {
      const following = await post(answer);
      waiting(false);
      return following;
    } catch (problem) {
      if (problem.status === 401 || problem.status === 422) throw problem;
      waiting(true);
      await new Promise((again) => setTimeout(again, AGAIN_MS));
    }
  }
}

async function post(answer) {
  const following = await ask("POST", "api/answers", answer);
  keepPending(null);
  return following;
}

/** Deletes all answers of this person, here and on the server. */
export async function withdraw() {
  await ask("DELETE", "api/answers");
  forgetKey();
}

export function forgetKey() {
  keepPending(null);
  writeSetting(`study.${id}`, null);
}
