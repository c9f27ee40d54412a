/** The screen before sending: the sound, the gender of the face, and the access key where one is needed. */

import { knownInfo, serviceInfo } from "./api.js";
import { isWanted, look } from "./device.js";
import { renderDeviceChoice, startDeviceChoice } from "./device-choice.js";
import { $ } from "./dom.js";
import { genderOf, showGender } from "./genders.js";
import { duration, t } from "./i18n.js";
import { Player } from "./player.js";
import { currentScreen, define, renderScreen } from "./screens.js";
import { send } from "./sending.js";
import { session, titleOf } from "./session.js";
import { readKey, writeKey } from "./storage.js";

let player;
let keyMissing = false;

export function startChoose() {
  player = new Player($("#clip-player"));
  const form = $("#choose-form");
  form.addEventListener("change", () => {
    session.gender = genderOf(form);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  startDeviceChoice(() => currentScreen() === "choose" && renderScreen());
  define("choose", { enter, leave: () => player.unload(), render, possible: () => session.clip !== null, focus });
}

function enter() {
  keyMissing = false;
  player.load(session.clip);
  showGender($("#choose-form"), session.gender);
  $("#key").value = readKey();
  Promise.all([serviceInfo(), look()]).then(() => {
    if (currentScreen() !== "choose") return;
    showGender($("#choose-form"), session.gender);
    renderScreen();
  });
}

const wantsKey = () => !isWanted() && (Boolean(knownInfo()?.key_needed) || session.keyRefused);
const focus = () => (session.keyRefused ? $("#key") : null);

function submit() {
  if (wantsKey()) {
    writeKey($("#key").value.trim());
    keyMissing = !readKey();
    session.keyRefused = session.keyRefused && keyMissing;
    if (keyMissing) {
      render();
      $("#key").focus();
      return;
    }
  }
  send({ clip: session.clip, gender: session.gender, here: isWanted() });
}

function render() {
  const { seconds } = session.clip;
  $("#clip-name").textContent = titleOf(session.clip);
  $("#clip-length").textContent = seconds === null ? "" : duration(seconds);
  renderDeviceChoice();
  $("#key-block").hidden = !wantsKey();
  const wrong = keyMissing || session.keyRefused;
  $("#key").setAttribute("aria-invalid", String(wrong));
  $("#key-error").textContent = wrong ? t(keyMissing || !readKey() ? "choose.key.missing" : "choose.key.wrong") : "";
  player.render();
}
