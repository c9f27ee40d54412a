/** A face that speaks, as a video that the server makes: it plays while it comes. */

import { Problem, requestVideo } from "./api.js";

// Safari on phones has the first one alone.
const Source = window.ManagedMediaSource ?? window.MediaSource;
const TYPES = { mp4: 'video/mp4; codecs="avc1.64001f,mp4a.40.2"', webm: 'video/webm; codecs="vp9,opus"' };

/** The best of the server's formats that this browser plays, or null. @param {string[]} offered */
export function playable(offered) {
  const video = document.createElement("video");
  return Object.keys(TYPES).find((name) => offered.includes(name) && video.canPlayType(TYPES[name])) ?? null;
}

export class SentTalk {
  /**
   * @param {HTMLVideoElement} video
   * @param {import("./session.js").Clip} clip
   * @param {Record<string, string | number>} options of POST /v1/talk, with a format
   * @param {(problem: Problem) => void} failed
   */
  constructor(video, clip, options, failed) {
    Object.assign(this, { video, clip, options, failed, media: video, url: "", file: null });
    this.cancel = new AbortController();
  }

  /** Begins; the video waits for what has not come yet. */
  prepare() {
    if (this.file) return;
    const type = TYPES[this.options.format];
    const source = Source?.isTypeSupported(type) ? new Source() : null;
    const open = source && new Promise((resolve) => source.addEventListener("sourceopen", resolve, { once: true }));
    this.video.disableRemotePlayback = true; // ManagedMediaSource wants it
    if (source) this.show(source);
    this.file = this.read(source, open, type);
    this.file.catch((problem) => this.cancel.signal.aborted || this.failed(problem));
    if (!source) return this.file.then((blob) => this.show(blob)).catch(() => {});
  }

  async read(source, open, type) {
    const reader = await requestVideo(this.clip, this.options, this.cancel.signal);
    await open;
    const buffer = source?.addSourceBuffer(type);
    const parts = [];
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        parts.push(value);
        if (buffer) await appended(buffer, value);
      }
      if (source?.readyState === "open") source.endOfStream();
    } catch (error) {
      throw new Problem("network", { detail: String(error) });
    }
    return new Blob(parts, { type: type.split(";")[0] });
  }

  show(source) {
    this.url = URL.createObjectURL(source);
    this.video.src = this.url;
  }

  async save() {
    this.prepare();
    return { blob: await this.file, suffix: this.options.format };
  }

  end() {
    this.cancel.abort();
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    if (this.url) URL.revokeObjectURL(this.url);
  }
}

function appended(buffer, bytes) {
  return new Promise((resolve, reject) => {
    buffer.addEventListener("updateend", resolve, { once: true });
    buffer.addEventListener("error", reject, { once: true });
    buffer.appendBuffer(bytes);
  });
}
