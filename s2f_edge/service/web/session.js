/**
 * What the person has given and got so far. It lives in this object alone and is gone when the
 * page is closed.
 */

import { t } from "./i18n.js";

/**
 * @typedef {object} Clip
 * @property {Blob} blob
 * @property {string} name of the file
 * @property {number | null} seconds null where the browser cannot tell
 * @property {boolean} recorded made on this page, and so nowhere else
 * @property {boolean} sent the server has made a face for it
 *
 * @typedef {object} Answer
 * @property {Clip} clip
 * @property {Record<string, any>} facts as the server gave them
 * @property {{blob: Blob, url: string, look?: object}[]} faces a look is what the device moves
 * @property {Promise<void>} [rest] when the faces that the device still draws are among them
 * @property {number} skipped how many faces of the server's answer come before these
 * @property {number} chosen index of the face that is shown large
 * @property {Date} made
 */

const KEPT_ANSWERS = 8;

export const session = {
  /** @type {Clip | null} */
  clip: null,
  /** auto, male or female */
  gender: "auto",
  /** The server has refused the access key, or the lack of one. */
  keyRefused: false,
  /** @type {Map<number, Answer>} */
  answers: new Map(),
};

let count = 0;

/**
 * Keeps an answer so that going back shows it again; the oldest is dropped.
 * @param {Answer} answer
 * @returns {number} its number
 */
export function keepAnswer(answer) {
  count += 1;
  session.answers.set(count, answer);
  if (session.answers.size > KEPT_ANSWERS) {
    const [oldest, dropped] = session.answers.entries().next().value;
    for (const face of dropped.faces) URL.revokeObjectURL(face.url);
    session.answers.delete(oldest);
  }
  return count;
}

/** What a clip is called on the page. @param {Clip} clip */
export const titleOf = (clip) => (clip.recorded ? t("record.name") : clip.name);

/** Whether closing the page now would lose a recording that no face was made for. */
export const wouldLose = () => Boolean(session.clip?.recorded && !session.clip.sent);
