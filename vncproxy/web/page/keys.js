/** Sending keys that a browser keeps to itself, and those of an on-screen keyboard. */

const HELD = [["Ctrl", 0xffe3, "ControlLeft"], ["Alt", 0xffe9, "AltLeft"], ["Super", 0xffeb, "MetaLeft"]];
const SINGLE = [
  ["Esc", 0xff1b, "Escape"],
  ["Tab", 0xff09, "Tab"],
  ["Enter", 0xff0d, "Enter"],
  ["Del", 0xffff, "Delete"],
  ["Print", 0xff61, "PrintScreen"],
  ["Ctrl+C", 0x63, "KeyC", ["Ctrl"]],
  ["Alt+F4", 0xffc1, "F4", ["Alt"]],
  ["Alt+Tab", 0xff09, "Tab", ["Alt"]],
];
const byName = Object.fromEntries(HELD.map(([name, ...key]) => [name, key]));

/** Fill the keys menu; `session` returns the live RFB object, or null. */
export function setUpKeys(session) {
  const held = document.getElementById("held-keys");
  for (const [name, keysym, code] of HELD) {
    const button = addButton(held, name, () => {
      const down = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(down));
      session()?.sendKey(keysym, code, down);
    });
    button.setAttribute("aria-pressed", "false");
  }
  const single = document.getElementById("single-keys");
  for (const [name, keysym, code, modifiers] of SINGLE) {
    addButton(single, name, () => press(session(), keysym, code, modifiers));
  }
  const functions = document.getElementById("function-keys");
  for (let number = 1; number <= 12; number++) {
    const keysym = 0xffbe + number - 1;
    addButton(functions, `F${number}`, () => press(session(), keysym, `F${number}`, ["Ctrl", "Alt"]));
  }
  document.getElementById("ctrl-alt-del").addEventListener("click", () => session()?.sendCtrlAltDel());
}

/** Let go of the keys that the menu holds down. */
export function releaseHeldKeys(rfb) {
  for (const button of document.getElementById("held-keys").children) {
    const [keysym, code] = byName[button.textContent];
    if (button.getAttribute("aria-pressed") === "true") rfb?.sendKey(keysym, code, false);
    button.setAttribute("aria-pressed", "false");
  }
}

/** Let a hidden text area take what an on-screen keyboard types. */
export function setUpTouchKeyboard(typeText) {
  const input = document.getElementById("touch-input");
  const button = document.getElementById("touch-keyboard");
  button.hidden = !matchMedia("(pointer: coarse)").matches;
  button.addEventListener("click", () => input.focus());
  input.addEventListener("beforeinput", (event) => {
    if (event.isComposing) return;
    event.preventDefault();
    if (event.inputType.startsWith("deleteContent")) typeText("\b");
    else if (event.inputType === "insertLineBreak") typeText("\n");
    else if (event.data) typeText(event.data);
  });
  input.addEventListener("compositionend", (event) => {
    typeText(event.data);
    input.value = "";
  });
}

function press(rfb, keysym, code, modifiers = []) {
  if (!rfb) return;
  for (const name of modifiers) rfb.sendKey(...byName[name], true);
  rfb.sendKey(keysym, code);
  for (const name of [...modifiers].reverse()) rfb.sendKey(...byName[name], false);
}

function addButton(parent, name, action) {
  const button = document.createElement("button");
  button.textContent = name;
  button.addEventListener("click", action);
  parent.append(button);
  return button;
}
