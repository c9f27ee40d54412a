/** The part of the record screen that shows a face while someone speaks, if they want it. */

import { $ } from "./dom.js";
import { isWanted } from "./device.js";
import { t } from "./i18n.js";
import { canStream, openStream } from "./live.js";
import { blobOf } from "./pictures.js";

export class LiveFace {
  constructor() {
    this.stream = null;
    this.url = "";
    this.lost = false;
    this.shown = false;
  }

  /** Opens the stream if it is wanted. */
  start() {
    this.hide();
    if (!$("#live-on").checked || !canStream() || isWanted()) return;
    this.shown = true;
    this.stream = openStream({ face: (picture) => this.show(picture), lost: () => this.lose() });
  }

  send(samples) {
    this.stream?.send(samples);
  }

  /** The sound has ended; a last face may still come. */
  end() {
    this.stream?.end();
    this.stream = null;
  }

  /** Ends, and takes the face away. */
  hide() {
    this.end();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = "";
    this.lost = false;
    this.shown = false;
  }

  show(picture) {
    if (!this.shown) return;
    const before = this.url;
    this.url = URL.createObjectURL(blobOf(picture));
    $("#live-face").src = this.url;
    if (before) URL.revokeObjectURL(before);
    this.renderFace();
  }

  lose() {
    this.stream = null;
    this.lost = true;
    this.renderFace();
  }

  /** @param {boolean} choosable whether the switch is shown */
  render(choosable) {
    // Who wants the sound to stay here is not asked to send it.
    $("#live-choice").hidden = !choosable || !canStream() || isWanted();
    this.renderFace();
  }

  renderFace() {
    $("#live").hidden = !this.shown;
    $("#live-face").hidden = !this.url;
    $("#live-face").alt = t("live.alt");
    $("#live-waiting").hidden = Boolean(this.url) && !this.lost;
    $("#live-waiting").textContent = t(this.lost ? "live.lost" : "live.waiting");
  }
}
