/** Faces while someone speaks: sound goes out over a WebSocket, faces come back. */

import { knownInfo } from "./api.js";
import { RATE } from "./resampler.js";
import { readKey } from "./storage.js";

const SIZE = 256;
const MOST_WAITING_BYTES = 8 * RATE; // 4 s: a connection slower than the sound would fall ever further behind

/** Whether the service offers it, and has the access key if it needs one. */
export const canStream = () => Boolean(knownInfo()?.stream && (!knownInfo().key_needed || readKey()));

/**
 * @param {object} on
 * @param {(picture: {media_type: string, base64: string}) => void} on.face
 * @param {() => void} on.lost the connection ended before it was to
 * @returns {{send: (samples: Int16Array) => void, end: () => void}}
 */
export function openStream({ face, lost }) {
  const address = new URL("v1/stream", document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  const early = []; // samples from before the connection stood
  let ended = false;

  socket.onopen = () => {
    const wanted = { encoding: "pcm16", sample_rate: RATE, gender: "auto", size: SIZE, format: "webp" };
    const key = readKey(); // here, since a browser's WebSocket cannot send it as a header
    socket.send(JSON.stringify(key ? { ...wanted, key } : wanted));
    for (const samples of early.splice(0)) socket.send(samples);
    if (ended) sayEnd();
  };
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "face") face(message.picture);
  };
  socket.onclose = () => {
    if (!ended) lost();
  };
  const sayEnd = () => socket.send(JSON.stringify({ type: "end" }));

  return {
    send(samples) {
      if (socket.readyState === WebSocket.CONNECTING) early.push(samples);
      else if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount < MOST_WAITING_BYTES) socket.send(samples);
    },
    end() {
      ended = true;
      if (socket.readyState === WebSocket.OPEN) sayEnd();
    },
  };
}
