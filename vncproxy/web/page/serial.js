/** The terminal page: xterm.js on the console's WebSocket, and words for whatever goes wrong. */

import { NO_XTERM, wordsForClose, wordsForFailedOpening } from "./reasons.js";
import { readSettings } from "./settings.js";

const PROTOCOL = { "http:": "ws:", "https:": "wss:" };
// A serial line does not tell the machine how large the window is; programs take this for granted.
const SIZE = { cols: 80, rows: 24 };
const LONGEST_DELAY_MS = 30_000;
const MOST_RETRIES = 12;

const settings = readSettings(window.location);
const element = (id) => document.getElementById(id);
const encoder = new TextEncoder();
let socket = null;
let retries = 0;
let timer = null;

/** Say how things stand, and offer to try again. */
function show(state, { headline, reason = "", hint = "" }, canReconnect = false) {
  document.documentElement.dataset.state = state;
  element("headline").textContent = headline;
  element("reason").textContent = reason;
  element("hint").textContent = hint;
  element("reconnect").hidden = !canReconnect;
}

function connect() {
  clearTimeout(timer);
  show("connecting", { headline: retries ? "Reconnecting…" : "Connecting…" });
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
  show("connected", { headline: "" });
  terminal.focus();
}

function received(data) {
  retries = 0;
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
  const worthTrying = words.retry && settings.reconnect && (attempt.opened || retries > 0);
  if (worthTrying && retries < MOST_RETRIES) {
    const delayMs = Math.min(LONGEST_DELAY_MS, settings.delayMs * 1.5 ** retries);
    retries += 1;
    show("reconnecting", { ...words, hint: "Trying again…" }, true);
    timer = setTimeout(connect, delayMs);
  } else show(attempt.opened ? "disconnected" : "failed", words, true);
}

function send(bytes) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(bytes);
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
if (terminal === null) show("failed", NO_XTERM);
else {
  fit();
  window.addEventListener("resize", fit);
  if (settings.url === null) show("failed", settings.whyNoUrl);
  else connect();
}
