/** Warns before the gateway ends a session by the clock; it counts as the gateway counts. */

const UPDATE_REQUEST_BYTES = 10; // what noVNC sends by itself for each next picture

/** Return the gateway's limits in seconds, 0 for none; null where it tells none. */
export async function readLimits() {
  const answer = await fetch("console-limits", { cache: "no-store" }).catch(() => null);
  return answer?.ok ? answer.json().catch(() => null) : null;
}

/** Call `warn` each second with the words of a warning, or "". */
export function watchTime(socket, limits, warn) {
  const now = () => performance.now() / 1000;
  const opened = now();
  let input = opened;
  let output = opened;
  const send = socket.send.bind(socket);
  socket.send = (data) => {
    if ((data.byteLength ?? data.length) % UPDATE_REQUEST_BYTES) input = now();
    send(data);
  };
  socket.addEventListener("message", () => { output = now(); });
  const timer = setInterval(() => warn(warning(limits, now(), { opened, input, output })), 1000);
  socket.addEventListener("close", () => { clearInterval(timer); warn(""); });
}

/** Return the words for the end that is next, if it is near. */
function warning(limits, now, { opened, input, output }) {
  const ends = [
    [limits.session, opened, (s) => `The longest time for a console is over in ${s}.`],
    [limits.client_idle, input, (s) => `Nobody uses this console: it closes in ${s}. Press a key to keep it open.`],
    [limits.server_idle, output, (s) => `Nothing changes on this screen: it closes in ${s}.`],
  ];
  const next = ends
    .filter(([limit]) => limit)
    .map(([limit, since, words]) => ({ left: Math.max(0, Math.ceil(since + limit - now)), words }))
    .sort((one, other) => one.left - other.left)[0];
  return next && next.left <= limits.warning ? next.words(inWords(next.left)) : "";
}

function inWords(seconds) {
  return seconds > 90 ? `${Math.round(seconds / 60)} minutes` : `${seconds} s`;
}
