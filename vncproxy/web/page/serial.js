/** The terminal page: xterm.js on the console's WebSocket, and words for whatever goes wrong. */

import { Retries, showState } from "./overlay.js";
import { NO_XTERM, wordsForClose, wordsForFailedOpening } from "./reasons.js";
import { readSettings } from "./settings.js";

const PROTOCOL = { "http:": "ws:", "https:": "wss:" };
// A serial line does not tell the machine how large the window is; programs take this for granted.
const SIZE = { cols: 80, rows: 24 };
// The gateway takes no message above 1 MiB; a text that is pasted may be longer.
const MESSAGE_BYTES = 1 << 16;

const settings = readSettings(window.location);
const element = (id) => document.getElementById(id);
const encoder = new TextEncoder();
let socket = null;
const retries = new Retries(settings, connect, showState);

function connect() {
  showState("connecting", retries.begin());
  const url = new URL(settings.url);
  url.protocol = PROTOCOL[url.protocol];
  const attempt = { opened: false };
  socket = new WebSocket(url, "binary");
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", () => opened(attempt));
  socket.addEventListener("message", (event) => received(event.data));
  socket.addEventListener("close", (event) => closed(attempt, event));
}

function opened(attempt) {
  attempt.opened = true;
  element("wake").hidden = false;
  showState("connected", { headline: "" });
  terminal.focus();
}

function received(data) {
  retries.succeeded();
  element("wake").hidden = true;
  terminal.write(new Uint8Array(data));
}

/** The WebSocket has closed: say why, and try again where that can help. */
async function closed(attempt, event) {
  socket = null;
  element("wake").hidden = true;
  const words = attempt.opened
    ? wordsForClose(event.code, event.reason)
    : await wordsForFailedOpening(settings.url);
  retries.failed(words, attempt.opened);
}

function send(bytes) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  for (let at = 0; at < bytes.length; at += MESSAGE_BYTES) socket.send(bytes.subarray(at, at + MESSAGE_BYTES));
}

/** Make the letters as large as the window allows. */
function fit() {
  const { clientWidth, clientHeight } = element("screen");
  const size = Math.min(clientWidth / (SIZE.cols * 0.63), clientHeight / (SIZE.rows * 1.25));
  terminal.options.fontSize = Math.min(22, Math.max(8, Math.floor(size)));
}

function makeTerminal() {
  const made = new window.Terminal({ ...SIZE, scrollback: 10_000, cursorBlink: true });
  made.open(element("screen"));
  made.onData((text) => send(encoder.encode(text)));
  made.onBinary((text) => send(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
  return made;
}

document.title = settings.title || "Serial console";
element("name").textContent = document.title;
element("reconnect").addEventListener("click", connect);
const terminal = window.Terminal ? makeTerminal() : null;
if (terminal === null) showState("failed", NO_XTERM);
else {
  fit();
  window.addEventListener("resize", fit);
  if (settings.url === null) showState("failed", settings.whyNoUrl);
  else connect();
}
