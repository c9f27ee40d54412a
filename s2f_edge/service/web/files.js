/** Takes sound files: from the picker, or dropped anywhere on the page. */

import { Problem, serviceInfo } from "./api.js";
import { $ } from "./dom.js";

const MEASURED_MS = 3000;

/** Opens the browser's file picker. */
export const pickFile = () => $("#file").click();

/**
 * Calls `take` for every file that is given.
 * @param {(file: File) => void} take
 * @param {() => boolean} open whether the page takes a file now
 */
export function startFiles(take, open) {
  const input = $("#file");
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = ""; // so that the same file can be chosen again
    if (file) take(file);
  });

  const showDrop = (shown) => document.body.classList.toggle("dropping", shown);
  window.addEventListener("dragover", (event) => {
    // Without this the browser would leave the page for the file.
    event.preventDefault();
    showDrop(open() && [...event.dataTransfer.types].includes("Files"));
  });
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) showDrop(false);
  });
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    showDrop(false);
    const [file] = event.dataTransfer.files;
    if (file && open()) take(file);
  });
}

/**
 * A clip of a file, once it is known to be worth sending.
 * @param {File} file
 * @returns {Promise<import("./session.js").Clip>}
 * @throws {Problem}
 */
export async function clipOf(file) {
  if (file.size === 0) throw new Problem("empty-file");
  const limits = (await serviceInfo())?.limits;
  if (limits && file.size > limits.bytes) throw new Problem("too-large");
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Problem("unreadable-file");
  }
  const seconds = await secondsOf(file);
  if (limits && seconds !== null && seconds > limits.seconds) throw new Problem("too-long");
  return { blob: file, name: file.name, seconds, recorded: false, sent: false };
}

/** How long a sound is, or null where the browser cannot tell. */
function secondsOf(file) {
  return new Promise((resolve) => {
    const audio = new Audio();
    const url = URL.createObjectURL(file);
    const done = (seconds) => {
      clearTimeout(timer);
      URL.revokeObjectURL(url);
      resolve(Number.isFinite(seconds) ? seconds : null);
    };
    const timer = setTimeout(() => done(null), MEASURED_MS);
    audio.preload = "metadata";
    audio.onloadedmetadata = () => done(audio.duration);
    audio.onerror = () => done(null);
    audio.src = url;
  });
}
