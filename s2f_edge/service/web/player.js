/** A small player: a button, a slider and the time. Its elements come from a template in index.html. */

import { $ } from "./dom.js";
import { clock, t } from "./i18n.js";

export class Player {
  /** @param {HTMLElement} place an empty element */
  constructor(place) {
    place.append($("#player").content.cloneNode(true));
    this.place = place;
    this.audio = new Audio();
    this.url = "";
    this.seconds = null;
    this.button = $("button", place);
    this.slider = $("input", place);
    this.button.addEventListener("click", () => this.toggle());
    this.slider.addEventListener("input", () => {
      this.audio.currentTime = Number(this.slider.value);
      this.render();
    });
    for (const event of ["timeupdate", "play", "pause", "ended", "loadedmetadata"]) {
      this.audio.addEventListener(event, () => this.render());
    }
    this.audio.addEventListener("error", () => this.usable(false));
  }

  /** @param {import("./session.js").Clip} clip */
  load(clip) {
    this.unload();
    this.url = URL.createObjectURL(clip.blob);
    this.seconds = clip.seconds;
    this.audio.src = this.url;
    this.usable(true);
    this.render();
  }

  /** Stops, and lets the sound go. */
  unload() {
    this.audio.pause();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = "";
  }

  toggle() {
    if (this.audio.paused) this.audio.play().catch(() => this.usable(false));
    else this.audio.pause();
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
