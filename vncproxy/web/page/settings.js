/** What the page's URL asks for: noVNC's parameters, in the query or in the fragment. */

const FALSE = new Set(["0", "false", "no", "off"]);

/** Return the page's settings; a parameter in the fragment wins over one in the query. */
export function readSettings(location) {
  const parameters = new URLSearchParams(location.search);
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    parameters.set(name, value);
  }
  const flag = (name, normally) =>
    parameters.has(name) ? !FALSE.has(parameters.get(name).toLowerCase()) : normally;
  return {
    url: socketUrl(parameters, location.href),
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
  const url = new URL(parameters.get("path") || "websockify", page);
  if (url.origin !== new URL(page).origin) return null;
  if (!url.searchParams.has("token") && parameters.has("token")) {
    url.searchParams.set("token", parameters.get("token"));
  }
  url.hash = "";
  return url.searchParams.has("token") || document.cookie.includes("token=") ? url : null;
}
