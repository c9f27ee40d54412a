/** A small player: a button, a slider and the time. Its elements come from a template in index.html. */

import { $ } from "./dom.js";
import { clock, t } from "./i18n.js";

const EVENTS = ["timeupdate", "play", "pause", "ended", "loadedmetadata", "durationchange"];

export class Player {
  /**
   * @param {HTMLElement} place an empty element
   * @param {() => Promise<void> | void} [before] what is done before it plays
   */
  constructor(place, before = () => {}) {
    place.append($("#player").content.cloneNode(true));
    this.place = place;
    this.before = before;
    this.sound = new Audio();
    this.url = "";
    this.seconds = null;
    this.button = $("button", place);
    this.slider = $("input", place);
    this.button.addEventListener("click", () => this.toggle());
    this.slider.addEventListener("input", () => {
      this.audio.currentTime = Number(this.slider.value);
      this.render();
    });
    this.heard = () => this.render();
    this.failed = () => this.usable(false);
    this.use(this.sound);
  }

  /** Plays this sound, or video, from now on; what played until then stops. @param {HTMLMediaElement} media */
  use(media) {
    if (this.audio === media) return;
    this.audio?.pause();
    for (const event of EVENTS) {
      this.audio?.removeEventListener(event, this.heard);
      media.addEventListener(event, this.heard);
    }
    this.audio?.removeEventListener("error", this.failed);
    media.addEventListener("error", this.failed);
    this.audio = media;
    this.render();
  }

  /** @param {import("./session.js").Clip} clip */
  load(clip) {
    this.unload();
    this.url = URL.createObjectURL(clip.blob);
    this.seconds = clip.seconds;
    this.sound.src = this.url;
    this.usable(true);
    this.render();
  }

  /** Stops, and lets the sound go. */
  unload() {
    this.use(this.sound);
    this.sound.pause();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = "";
  }

  async toggle() {
    if (!this.audio.paused) {
      this.audio.pause();
      return;
    }
    await this.before();
    // Where preparing has taken long, some browsers want to be asked once more; where it failed, there is nothing to play.
    await this.audio.play().catch((error) => error.name === "NotSupportedError" && this.usable(false));
  }

  usable(can) {
    $("[data-controls]", this.place).hidden = !can;
    $("[data-cannot]", this.place).hidden = can || !this.url;
  }

  render() {
    const { audio, slider } = this;
    const length = Number.isFinite(audio.duration) ? audio.duration : (this.seconds ?? 0);
    slider.max = String(length);
    slider.value = String(audio.currentTime);
    slider.setAttribute("aria-valuetext", clock(audio.currentTime));
    this.button.setAttribute("aria-label", t(audio.paused ? "player.play" : "player.pause"));
    this.button.dataset.playing = String(!audio.paused);
    $("[data-time]", this.place).textContent = `${clock(audio.currentTime)} / ${clock(length)}`;
  }
}
