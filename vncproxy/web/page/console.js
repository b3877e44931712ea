/** The console page: one noVNC session, its toolbar, and words for whatever goes wrong. */

import { setUpClipboard } from "./clipboard.js";
import { releaseHeldKeys, setUpKeys, setUpTouchKeyboard } from "./keys.js";
import { beginSession, loadNoVnc } from "./novnc.js";
import { Retries, showState } from "./overlay.js";
import { NOVNC_FAILED, NO_NOVNC, wordsForClose, wordsForFailedOpening } from "./reasons.js";
import { readSettings } from "./settings.js";
import { readLimits, watchTime } from "./time_limits.js";
import { setUpTyping } from "./typing.js";

const PROTOCOL = { "http:": "ws:", "https:": "wss:" };
const LONGEST_NAME = 80;

const settings = readSettings(window.location);
const limits = readLimits();
const element = (id) => document.getElementById(id);
let RFB = null;
let rfb = null;
let current = null; // the attempt to which rfb belongs
let viewOnly = settings.viewOnly;
let scaled = settings.resize !== "off";

/** Say how things stand, and let the toolbar do what can be done then. */
function show(state, words, canReconnect = false) {
  showState(state, words, canReconnect);
  element("credentials").hidden = true;
  for (const id of ["ctrl-alt-del", "keys-button", "clipboard-button", "touch-keyboard"]) {
    element(id).disabled = state !== "connected" || viewOnly;
  }
}

/** Let noVNC open the console's WebSocket, and speak RFB over it. */
function connect() {
  show("connecting", retries.begin());
  const url = new URL(settings.url);
  url.protocol = PROTOCOL[url.protocol];
  const attempt = { opened: false, connected: false, refusal: null, socket: null };
  current = attempt;
  try {
    rfb = beginSession(RFB, element("screen"), url, { shared: settings.shared }, (socket) => heard(attempt, socket));
  } catch (error) {
    show("failed", { ...NOVNC_FAILED, hint: String(error) }, true);
    return;
  }
  rfb.background = "transparent";
  applyView();
  rfb.addEventListener("connect", () => connected(attempt));
  rfb.addEventListener("disconnect", () => { if (!attempt.socket) show("failed", NOVNC_FAILED, true); });
  rfb.addEventListener("securityfailure", (event) => { attempt.refusal = event.detail.reason || ""; });
  rfb.addEventListener("credentialsrequired", (event) => askForCredentials(event.detail.types));
  rfb.addEventListener("clipboard", (event) => clipboard.received(event.detail.text));
  rfb.addEventListener("desktopname", (event) => setName(event.detail.name));
}

/** The session has its WebSocket. */
function heard(attempt, socket) {
  attempt.socket = socket;
  socket.addEventListener("open", () => { attempt.opened = true; });
  socket.addEventListener("close", (event) => closed(attempt, event));
  limits.then((known) => known && watchTime(socket, known, warn));
}

/** Begin anew, whatever state the session is in. */
function connectAgain() {
  rfb.disconnect();
  connect();
}

/** Show a line above the screen, or, without words, none. */
function warn(words) {
  if (element("warning").textContent !== words) element("warning").textContent = words;
  element("warning").hidden = !words;
}

/** The first picture is about to come. */
function connected(attempt) {
  attempt.connected = true;
  retries.succeeded();
  show("connected", { headline: "" });
  rfb.focus();
}

/** The WebSocket has closed: say why, and try again where that can help. */
async function closed(attempt, event) {
  if (attempt !== current) return; // another is in its place
  rfb = null;
  releaseHeldKeys(null);
  const words = attempt.opened
    ? wordsForClose(event.code, event.reason, attempt.refusal)
    : await wordsForFailedOpening(settings.url);
  retries.failed(words, attempt.connected);
}

/** Ask for what the console demands; a gateway normally answers that itself. */
function askForCredentials(types) {
  show("connecting", { headline: "The machine's console asks who you are" });
  for (const name of ["username", "password"]) element(`${name}-label`).hidden = !types.includes(name);
  element("credentials").hidden = false;
}

function setName(name) {
  const shown = (settings.title || name || "Console").slice(0, LONGEST_NAME);
  document.title = shown;
  element("name").textContent = shown;
}

/** Put the switches' positions into effect. */
function applyView() {
  element("view-only").setAttribute("aria-pressed", String(viewOnly));
  element("badge").hidden = !viewOnly;
  element("scale").setAttribute("aria-pressed", String(scaled));
  if (!rfb) return;
  rfb.viewOnly = viewOnly;
  rfb.scaleViewport = scaled;
  rfb.clipViewport = !scaled;
  rfb.dragViewport = !scaled && viewOnly;
  rfb.resizeSession = scaled && settings.resize === "remote";
}

function setUpMenus() {
  const menus = [["keys-button", "keys-panel"], ["clipboard-button", "clipboard-panel"]];
  const open = (chosen) => {
    for (const [button, panel] of menus) {
      const shown = panel === chosen && element(panel).hidden;
      element(panel).hidden = !shown;
      element(button).setAttribute("aria-expanded", String(shown));
    }
  };
  for (const [button, panel] of menus) element(button).addEventListener("click", () => open(panel));
  element("screen").addEventListener("pointerdown", () => open(null), true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.closest?.("#toolbar")) open(null);
  });
}

function setUpToolbar() {
  element("view-only").addEventListener("click", () => {
    stopTyping(); // and let go of what is held, while keys can still be sent
    releaseHeldKeys(rfb);
    viewOnly = !viewOnly;
    applyView();
    if (rfb) show(document.documentElement.dataset.state, { headline: element("headline").textContent });
  });
  element("scale").addEventListener("click", () => { scaled = !scaled; applyView(); });
  element("full-screen").addEventListener("click", () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen();
  });
  document.addEventListener("fullscreenchange", () => {
    element("full-screen").setAttribute("aria-pressed", String(Boolean(document.fullscreenElement)));
  });
  element("reconnect").addEventListener("click", connect);
  element("credentials").addEventListener("submit", (event) => {
    event.preventDefault();
    rfb?.sendCredentials({ username: element("username").value, password: element("password").value });
    element("password").value = "";
    show("connecting", { headline: "Connecting…" });
  });
}

const retries = new Retries(settings, connect, show);
const session = () => (viewOnly ? null : rfb);
const clipboard = setUpClipboard(session, connectAgain);
const { typeText, stopTyping } = setUpTyping(session);
setUpKeys(session);
setUpTouchKeyboard(typeText);
setUpMenus();
setUpToolbar();
setName("");
applyView();
if (settings.url === null) show("failed", settings.whyNoUrl);
else {
  RFB = await loadNoVnc();
  if (RFB) connect();
  else show("failed", NO_NOVNC);
}
