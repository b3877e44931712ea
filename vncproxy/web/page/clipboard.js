/** The clipboard, both ways: by the panel always, by the browser's own where it is allowed. */

/** Wire the clipboard panel; `session` returns the live RFB object, or null. */
export function setUpClipboard(session, typeText) {
  const text = document.getElementById("clipboard-text");
  let known = "";
  const send = (value) => {
    if (value === known) return;
    known = value;
    session()?.clipboardPasteFrom(value);
  };
  text.addEventListener("input", () => send(text.value));
  document.getElementById("type-text").addEventListener("click", () => typeText(session(), text.value));

  // Coming back to the page: what was copied elsewhere can be pasted in the machine.
  window.addEventListener("focus", async () => {
    const value = await readBrowsersClipboard();
    if (value) {
      text.value = value;
      send(value);
    }
  });

  return {
    /** Take what was copied in the machine. */
    received(value) {
      known = value;
      text.value = value;
      navigator.clipboard?.writeText(value).catch(() => {}); // not allowed: the panel has it
    },
  };
}

/** Return the browser's clipboard, where reading needs no question to the user; else "". */
async function readBrowsersClipboard() {
  try {
    const { state } = await navigator.permissions.query({ name: "clipboard-read" });
    return state === "granted" ? await navigator.clipboard.readText() : "";
  } catch {
    return ""; // not a secure context, or a browser without this permission
  }
}
