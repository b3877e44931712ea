/**
 * noVNC, from 1.0 on, in one way: each of its versions opens a WebSocket by its URL, and only newer ones
 * take one that is open. The page needs to hear it all the same: its Close says why a console ended.
 */

let heard = () => {};

// No subclass: noVNC 1.3 and newer look for a socket's methods in the prototype next to it.
window.WebSocket = new Proxy(WebSocket, {
  construct(real, given) {
    const socket = new real(...given);
    heard(socket);
    return socket;
  },
});

/** Return noVNC's class, or null where there is none that can be used. */
export async function loadNoVnc() {
  return import("../core/rfb.js").then((module) => module.default ?? null).catch(() => null);
}

/** Begin a session; `hear` is called with its WebSocket as soon as that is there. */
export function beginSession(RFB, screen, url, options, hear) {
  heard = hear;
  return new RFB(screen, String(url), options);
}
