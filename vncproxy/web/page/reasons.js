/**
 * Plain words for every reason why there is no console, and whether trying again can help: `retry` where
 * it has worked before, `wait` also where it has not, and `final` where this link can never work.
 */

const NEW_LINK = "Open the console again to get a new link.";

/** What each WebSocket close code means; 4000 + N is the gateway's refusal with HTTP status N. */
const BY_CODE = {
  1000: { headline: "The console was closed", reason: "The machine closed the console." },
  1001: { headline: "The gateway is being restarted", reason: "", retry: true },
  1006: { headline: "The connection was lost", reason: "", retry: true },
  1009: { headline: "Too much data", reason: "What was sent to the machine was too large.", retry: true },
  1011: { headline: "The gateway has a fault", reason: "" },
  4400: { headline: "The gateway did not understand", reason: "" },
  4401: { headline: "This link does not work any more", reason: NEW_LINK, final: true },
  4403: { headline: "Not allowed", reason: "This link may not open this console.", final: true },
  4404: { headline: "This link does not work any more", reason: NEW_LINK, final: true },
  4408: { headline: "Closed after a time without use", reason: "" },
  4440: { headline: "The console's time is over", reason: "" },
  4444: { headline: "Closed because nothing changed", reason: "" },
  4409: { headline: "The session was ended", reason: "An administrator ended it." },
  4429: { headline: "Too many at once", reason: "Close a console, or wait a while." },
  4502: { headline: "The console can't be opened", reason: "Is the machine running?" },
  4503: { headline: "Not now", reason: "", wait: true },
  4504: { headline: "The machine's console does not answer", reason: "Is the machine running?" },
};

/** Return the words for a WebSocket that was open, and then closed; `refusal` is what RFB said, if it did. */
export function wordsForClose(code, reason, refusal = null) {
  const unknown = refusal === null
    ? { headline: "The connection has ended", reason: "", retry: code < 4000 }
    : { headline: "There is no console to show", reason: "The machine refused." };
  const known = refusal !== null && code < 4000 ? unknown : BY_CODE[code] ?? unknown;
  return { ...known, reason: refusal || reason || known.reason };
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
  const verdict = await answer.json().catch(() => null);
  if (answer.ok) {
    const reason = "The link is good, but something between here and the gateway stops WebSockets.";
    return { headline: "The connection was not let through", reason, retry: true };
  }
  if (!verdict?.code) { // a balancer's answer, which says nothing about the link
    const reason = `Something before it answered with HTTP status ${answer.status}.`;
    return { headline: "The gateway can't be reached", reason, retry: true };
  }
  const words = wordsForClose(4000 + answer.status, verdict.message);
  return { ...words, hint: verdict.request_id ?? "" };
}

export const NO_LINK = {
  headline: "No console was chosen",
  reason: "Open one from your dashboard, or with `vncproxy token create`.",
};

export const SEVERAL_TOKENS = {
  headline: "This link names two consoles",
  reason: `Its tokens differ, so nobody can say which one was meant. ${NEW_LINK}`,
};

export const NO_NOVNC = {
  headline: "There is no noVNC that this page can use",
  reason: "The gateway's administrator has to install noVNC 1.0 or newer, and name the directory that has its "
    + "core/ in [DEFAULT] web; `vncproxy check` says more.",
};

export const NOVNC_FAILED = {
  headline: "noVNC failed",
  reason: "This page is made for noVNC 1.0 to 1.7; the gateway's log and `vncproxy check` say which is installed.",
};

export const NO_XTERM = {
  headline: "xterm.js is missing",
  reason: "The gateway's administrator has to install @xterm/xterm and name its directory in [vncproxy] xterm.",
};
