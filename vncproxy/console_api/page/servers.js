/** The page of servers: who is signed in sees their servers, and opens consoles. */

const KEPT_AS = "vncproxy-token";
const AGAIN_MS = 15_000;
const MICROVERSION = "compute 2.6";
/** What is tried, in this order, when just a console is asked for. */
const KINDS = [
  { protocol: "vnc", type: "novnc" },
  { protocol: "spice", type: "spice-html5" },
  { protocol: "serial", type: "serial" },
];
const KIND_WORDS = { vnc: "Screen (VNC)", spice: "Screen (SPICE)", serial: "Serial console" };
const WORDS = {
  ACTIVE: "Running",
  PAUSED: "Paused",
  SUSPENDED: "Suspended",
  SHUTOFF: "Off",
  ERROR: "Error",
  UNKNOWN: "Unknown",
};

const element = (id) => document.getElementById(id);
let servers = [];

/** An answer of the API that is none of the good ones. */
class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Ask the API; return the JSON that it answers. */
async function ask(path, body) {
  const headers = { Accept: "application/json", "OpenStack-API-Version": MICROVERSION };
  const token = sessionStorage.getItem(KEPT_AS);
  if (token) headers.Authorization = `Bearer ${token}`;
  const request = { headers, cache: "no-store", credentials: "same-origin" };
  if (body) {
    headers["Content-Type"] = "application/json";
    Object.assign(request, { method: "POST", body: JSON.stringify(body) });
  }
  let answer;
  try {
    answer = await fetch(`v2.1/${path}`, request);
  } catch {
    throw new Refusal(0, "The gateway can't be reached. Check the network.");
  }
  const json = await answer.json().catch(() => ({}));
  if (answer.ok) return json;
  const [fault] = Object.values(json);
  throw new Refusal(answer.status, fault?.message ?? `The gateway answered ${answer.status}.`);
}

/** Get the list anew, and show it, or what keeps us from it. */
async function refresh() {
  element("refresh").disabled = true;
  try {
    const listing = await ask("servers/detail");
    servers = listing.servers;
    show("list");
    notice(unreachable(listing.vncproxy));
    showServers();
  } catch (error) {
    if (error.status === 401) askWho();
    else notice(error.message);
  }
  element("refresh").disabled = false;
}

function show(state) {
  document.documentElement.dataset.state = state;
  element("sign-in").hidden = state !== "sign-in";
  element("servers").hidden = element("filter").hidden = element("refresh").hidden = state !== "list";
  element("sign-out").hidden = state !== "list" || !sessionStorage.getItem(KEPT_AS);
  if (state !== "list") element("nothing").hidden = true;
}

/** Ask for the token; say so, if the one that we had is not good. */
function askWho() {
  const had = sessionStorage.getItem(KEPT_AS);
  sessionStorage.removeItem(KEPT_AS);
  servers = [];
  element("servers").replaceChildren();
  notice("");
  show("sign-in");
  element("sign-in-fault").textContent = had ? "This token is not known here." : "";
  element("token").focus();
}

function notice(text) {
  element("notice").textContent = text;
  element("notice").hidden = !text;
}

function unreachable(faults) {
  if (!faults) return "";
  const named = faults.hosts.map(({ host, reason }) => `${host}: ${reason}`).join("; ");
  const count = faults.unreachable === 1 ? "One host does" : `${faults.unreachable} hosts do`;
  return `${count} not answer now, so servers may be missing. ${named}`;
}

function showServers() {
  const wanted = element("filter").value.trim().toLowerCase();
  const fitting = servers.filter(({ name, id }) => `${name} ${id}`.toLowerCase().includes(wanted));
  const shown = new Map([...element("servers").children].map((row) => [row.dataset.id, row]));
  element("servers").replaceChildren(...fitting.map((server) => fill(shown.get(server.id) ?? newRow(), server)));
  element("nothing").hidden = fitting.length > 0;
  element("nothing").textContent = servers.length
    ? "No server has that in its name."
    : "There are no servers that you may open.";
}

function newRow() {
  const row = element("server").content.firstElementChild.cloneNode(true);
  row.querySelector(".open").addEventListener("click", () => open(row, KINDS));
  row.querySelector(".choose").addEventListener("click", () => choose(row));
  return row;
}

function fill(row, server) {
  const host = server["OS-EXT-SRV-ATTR:host"];
  row.dataset.id = server.id;
  row.dataset.status = server.status;
  row.querySelector(".name").textContent = server.name;
  row.querySelector(".more").textContent = host ? `${host} · ${server.id}` : server.id;
  row.querySelector(".status").textContent = WORDS[server.status] ?? server.status;
  const [first, others] = row.querySelectorAll(".open, .choose");
  first.setAttribute("aria-label", `Open console of ${server.name}`);
  others.setAttribute("aria-label", `Choose a console of ${server.name}`);
  first.disabled = others.disabled = server.status === "SHUTOFF";
  if (others.disabled) showChoice(row, []);
  return row;
}

/** Show which consoles a server has, or hide them again. */
async function choose(row) {
  if (!row.querySelector(".consoles").hidden) {
    showChoice(row, []);
    return;
  }
  const fault = row.querySelector(".fault");
  fault.textContent = "";
  try {
    const path = `servers/${encodeURIComponent(row.dataset.id)}/remote-consoles`;
    const { remote_consoles: kinds } = await ask(path);
    if (!kinds.length) fault.textContent = "This server has no console that can be opened here.";
    showChoice(row, kinds);
  } catch (error) {
    if (error.status === 401) askWho();
    else fault.textContent = error.message;
  }
}

function showChoice(row, kinds) {
  const consoles = row.querySelector(".consoles");
  consoles.hidden = !kinds.length;
  row.querySelector(".choose").setAttribute("aria-expanded", String(!consoles.hidden));
  consoles.replaceChildren(...kinds.map((kind) => {
    const button = document.createElement("button");
    button.textContent = KIND_WORDS[kind.protocol] ?? kind.type;
    button.addEventListener("click", () => open(row, [kind]));
    return button;
  }));
}

/** Open a server's console, the first of these kinds that it has, in a tab of its own. */
async function open(row, kinds) {
  const fault = row.querySelector(".fault");
  fault.textContent = "";
  const tab = window.open("about:blank", "_blank"); // now, or browsers take it for a pop-up
  try {
    const url = await consoleUrl(row.dataset.id, kinds);
    if (!tab) throw new Error("Your browser keeps the console's tab from opening. Allow pop-ups here.");
    tab.opener = null;
    tab.location.replace(titled(url, row.querySelector(".name").textContent));
  } catch (error) {
    tab?.close();
    if (error.status === 401) askWho();
    else fault.textContent = error.message;
  }
}

/** Let the console's page have the server's name as its title; a fragment is sent nowhere. */
function titled(url, title) {
  const page = new URL(url);
  page.hash = new URLSearchParams({ title });
  return page;
}

async function consoleUrl(server, kinds) {
  let first = null;
  for (const { protocol, type } of kinds) {
    try {
      const { remote_console: console } = await ask(
        `servers/${encodeURIComponent(server)}/remote-consoles`, { remote_console: { protocol, type } });
      if (/^https?:/.test(console.url)) return console.url;
      throw new Refusal(0, "This console has no page; open it with `openstack console url show`.");
    } catch (error) {
      first ??= error;
      if (error.status !== 400) throw error; // 400: there is no console of this kind
    }
  }
  throw first;
}

element("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEPT_AS, element("token").value.trim());
  element("token").value = "";
  refresh();
});
element("sign-out").addEventListener("click", () => {
  sessionStorage.removeItem(KEPT_AS);
  askWho();
});
element("refresh").addEventListener("click", refresh);
element("filter").addEventListener("input", showServers);
setInterval(() => {
  if (!document.hidden && document.documentElement.dataset.state === "list") refresh();
}, AGAIN_MS);
refresh();
