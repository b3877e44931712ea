/**
 * The clipboard: by the panel always, and by this computer's own where the user has switched that on.
 *
 * A link may open anybody's machine, so it neither hears what was copied here, nor replaces it, until
 * the user wants that for this one console.
 */

const NO_API = "This needs a page that came by HTTPS.";
// Xtigervnc takes no more; QEMU drops whoever sends it more than 1 MiB.
const LONGEST_BYTES = 256 * 1024;
const TOO_LONG = "This text is too long for the machine's clipboard: the machine does not have it.";
const NO_READING = "Your browser does not let this page read the clipboard: paste into the field above.";

/** Wire the clipboard panel; `session` returns the live RFB object, or null; `connectAgain` makes it anew. */
export function setUpClipboard(session, connectAgain) {
  const text = document.getElementById("clipboard-text");
  const sharing = document.getElementById("clipboard-sharing");
  const hint = document.getElementById("clipboard-hint");
  let known = "";
  const send = (value) => {
    const rfb = session();
    if (!rfb || value === known) return;
    known = value;
    hint.textContent = "";
    if (new Blob([value]).size > LONGEST_BYTES) hint.textContent = TOO_LONG;
    else {
      try {
        rfb.clipboardPasteFrom(value);
      } catch { // noVNC 1.0 takes 10 KB, and sends nothing any more after a longer text
        hint.textContent = TOO_LONG;
        connectAgain();
      }
    }
  };
  text.addEventListener("input", () => send(text.value));

  /** Send what was copied here; `mayAsk` is whether the browser may ask the user about that now. */
  const share = async (mayAsk) => {
    const rfb = session();
    if (!sharing.checked || !rfb) return;
    const value = await readClipboard(mayAsk);
    if (!sharing.checked || session() !== rfb) return; // they may have changed their mind meanwhile
    hint.textContent = value === null ? NO_READING : "";
    if (value) {
      text.value = value;
      send(value);
    }
  };
  const switched = () => {
    document.getElementById("clipboard-button").dataset.sharing = String(sharing.checked);
    hint.textContent = navigator.clipboard ? "" : NO_API;
    share(true);
  };
  sharing.checked = false; // a browser may have kept it over a reload
  sharing.disabled = !navigator.clipboard;
  sharing.addEventListener("change", switched);
  switched();
  // Coming back to the page: what was copied elsewhere can be pasted in the machine.
  window.addEventListener("focus", () => share(false));

  return {
    /** Take what was copied in the machine. */
    received(value) {
      known = value;
      text.value = value;
      if (sharing.checked) navigator.clipboard.writeText(value).catch(() => {}); // the panel has it
    },
  };
}

/** Return this computer's clipboard, "" where it has no text, or null where it may not be read. */
async function readClipboard(mayAsk) {
  try {
    if (!mayAsk && (await navigator.permissions.query({ name: "clipboard-read" })).state !== "granted") return null;
    return await navigator.clipboard.readText();
  } catch {
    return null; // the user said no, or a browser without this permission
  }
}
