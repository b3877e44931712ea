/** What the page's URL asks for: noVNC's parameters, in the query or in the fragment. */

const FALSE = new Set(["0", "false", "no", "off"]);

import { NO_LINK, SEVERAL_TOKENS } from "./reasons.js";

/** Return the page's settings; a parameter in the fragment wins over one in the query. */
export function readSettings(location) {
  const parameters = new URLSearchParams(location.search);
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    parameters.set(name, value);
  }
  const several = tokensIn(location).size > 1;
  const flag = (name, normally) =>
    parameters.has(name) ? !FALSE.has(parameters.get(name).toLowerCase()) : normally;
  return {
    url: several ? null : socketUrl(parameters, location.href),
    whyNoUrl: several ? SEVERAL_TOKENS : NO_LINK,
    viewOnly: flag("view_only", false),
    resize: parameters.get("resize") ?? (flag("scale", true) ? "scale" : "off"),
    reconnect: flag("reconnect", true),
    delayMs: Math.max(500, Number(parameters.get("reconnect_delay")) || 2000),
    shared: flag("shared", true),
    title: parameters.get("title") ?? "",
  };
}

/** Return where the console's WebSocket is, always on the page's own host; null without a token. */
function socketUrl(parameters, page) {
  const url = urlOf(parameters.get("path") || "websockify", page);
  if (url?.origin !== new URL(page).origin) return null;
  if (!url.searchParams.has("token") && parameters.has("token")) {
    url.searchParams.set("token", parameters.get("token"));
  }
  url.hash = "";
  return url.searchParams.has("token") || document.cookie.includes("token=") ? url : null;
}

/** Return the different tokens that the page's URL names, wherever they stand. */
function tokensIn(location) {
  const found = new Set();
  for (const parameters of [location.search, location.hash.slice(1)].map((text) => new URLSearchParams(text))) {
    const inPaths = parameters.getAll("path").map((path) => urlOf(path, location.href)?.searchParams);
    for (const query of [parameters, ...inPaths]) query?.getAll("token").forEach((token) => found.add(token));
  }
  found.delete("");
  return found;
}

function urlOf(path, page) {
  try {
    return new URL(path, page);
  } catch {
    return null;
  }
}
