/** Plain words for every reason why there is no console, and whether trying again can help. */

const NEW_LINK = "Open the console again to get a new link.";

/** What each WebSocket close code means; 4000 + N is the gateway's refusal with HTTP status N. */
const BY_CODE = {
  1000: { headline: "The console was closed", reason: "The machine closed the console.", retry: false },
  1001: { headline: "The gateway is being restarted", reason: "", retry: true },
  1006: { headline: "The connection was lost", reason: "", retry: true },
  1009: { headline: "Too much data", reason: "What was sent to the machine was too large.", retry: true },
  1011: { headline: "The gateway has a fault", reason: "", retry: false },
  4400: { headline: "The gateway did not understand", reason: "", retry: false },
  4401: { headline: "This link does not work any more", reason: NEW_LINK, retry: false },
  4403: { headline: "Not allowed", reason: "This link may not open this console.", retry: false },
  4404: { headline: "This link does not work any more", reason: NEW_LINK, retry: false },
  4408: { headline: "Closed after a time without use", reason: "", retry: false },
  4440: { headline: "The console's time is over", reason: "", retry: false },
  4444: { headline: "Closed because nothing changed", reason: "", retry: false },
  4409: { headline: "The session was ended", reason: "An administrator ended it.", retry: false },
  4429: { headline: "Too many at once", reason: "Close a console, or wait a while.", retry: false },
  4502: { headline: "The machine's console is not there", reason: "Is the machine running?", retry: false },
  4503: { headline: "The gateway is busy", reason: "", retry: true },
  4504: { headline: "The machine's console does not answer", reason: "Is the machine running?", retry: false },
};

/** Return the words for a WebSocket that was open, and then closed. */
export function wordsForClose(code, reason) {
  const known = BY_CODE[code] ?? { headline: "The connection has ended", reason: "", retry: code < 4000 };
  return { ...known, reason: reason || known.reason };
}

/** Return the words for a refusal that came as an RFB security failure. */
export function wordsForRefusal(reason) {
  return { headline: "There is no console to show", reason: reason || "The machine refused.", retry: false };
}

/** Ask the gateway why a WebSocket could not be opened, and return its words. */
export async function wordsForFailedOpening(url) {
  let answer;
  try {
    const headers = { Accept: "application/json", "X-Console-Origin": window.location.origin };
    answer = await fetch(url, { headers, cache: "no-store", credentials: "same-origin" });
  } catch {
    return { headline: "The gateway can't be reached", reason: "Check the network.", retry: true };
  }
  const verdict = await answer.json().catch(() => ({}));
  if (answer.ok) {
    const reason = "The link is good, but something between here and the gateway stops WebSockets.";
    return { headline: "The connection was not let through", reason, retry: true };
  }
  const words = wordsForClose(4000 + answer.status, verdict.message);
  return { ...words, hint: verdict.request_id ?? "" };
}

export const NO_LINK = {
  headline: "No console was chosen",
  reason: "Open one from your dashboard, or with `vncproxy token create`.",
  retry: false,
};

export const SEVERAL_TOKENS = {
  headline: "This link names two consoles",
  reason: `Its tokens differ, so nobody can say which one was meant. ${NEW_LINK}`,
  retry: false,
};

export const NO_NOVNC = {
  headline: "noVNC is missing",
  reason: "The gateway's administrator has to install noVNC and name its directory in [DEFAULT] web.",
  retry: false,
};

export const NO_XTERM = {
  headline: "xterm.js is missing",
  reason: "The gateway's administrator has to install @xterm/xterm and name its directory in [vncproxy] xterm.",
  retry: false,
};
