/** Typing text as keys, for machines that share no clipboard: as fast as machines take it. */

import { charactersOf, keyEvents, namesOfUntypable, needsShift, shift } from "./keystrokes.js";

/**
 * Time for each key's going down or up. QEMU gives its machine one in 10 ms, holds 340 of them, and loses
 * what comes then without a word. So does the machine's keyboard, which holds 16 bytes for a guest that is
 * busy: at half QEMU's pace, those of 200 ms.
 */
const EVENT_MS = 20;
/** What a tab in the background, whose timers ring once a second, may send at once. */
const MOST_AT_ONCE = 50;
/** What is typed faster than one can read shows no progress. */
const SHORT = 20;
const MOST_NAMES = 12;

const element = (id) => document.getElementById(id);

/** Types texts one behind the other; `session` returns the live RFB object, or null. */
class Typist {
  #session;
  #changed;
  #waiting = []; // characters
  #shiftedOn = null; // the session in which Shift is held
  #running = false;

  constructor(session, changed) {
    this.#session = session;
    this.#changed = changed;
    this.total = 0;
  }

  get typed() {
    return this.total - this.#waiting.length;
  }

  type(text) {
    if (!this.#session()) return;
    const characters = charactersOf(text);
    this.#waiting = this.#waiting.concat(characters);
    this.total += characters.length;
    if (!this.#running) this.#run();
  }

  /** Type no more, and let go of Shift. */
  stop() {
    this.total = this.typed;
    this.#waiting = [];
    this.#letGo();
  }

  async #run() {
    this.#running = true;
    const rfb = this.#session();
    let due = performance.now();
    this.#changed(this);
    while (this.#waiting.length) {
      const now = performance.now();
      due = Math.max(due, now - (document.hidden ? MOST_AT_ONCE : 1) * EVENT_MS);
      while (due <= now && this.#waiting.length) {
        if (this.#session() === rfb) due += EVENT_MS * this.#sendNext(rfb);
        else this.stop();
      }
      this.#changed(this);
      await new Promise((resolve) => { setTimeout(resolve, due - now); });
    }
    this.#letGo();
    this.#running = false;
    this.total = 0;
    this.#changed(this);
  }

  /** Type a character; return how many events that took. */
  #sendNext(rfb) {
    const character = this.#waiting.shift();
    const events = keyEvents(character);
    if (needsShift(character) !== (this.#shiftedOn !== null)) {
      events.unshift(shift(needsShift(character)));
      this.#shiftedOn = needsShift(character) ? rfb : null;
    }
    for (const event of events) rfb.sendKey(...event);
    return events.length;
  }

  #letGo() {
    this.#shiftedOn?.sendKey(...shift(false));
    this.#shiftedOn = null;
  }
}

/** Wire what types, and what shows its progress; return what types a text, and what stops that. */
export function setUpTyping(session) {
  const typist = new Typist(session, showProgress);
  const hint = element("typing-hint");
  const anyway = element("type-anyway");
  let named = ""; // the text whose untypable characters the user has read
  const start = (text) => {
    hint.textContent = "";
    anyway.hidden = true;
    typist.type(text);
  };
  element("type-text").addEventListener("click", () => {
    const text = element("clipboard-text").value;
    const names = namesOfUntypable(text);
    if (!names.length) start(text);
    else {
      named = text;
      hint.textContent = `Nothing was typed. On no key of a US keyboard: ${listed(names)}. Most machines lose them.`;
      anyway.hidden = false;
    }
  });
  anyway.addEventListener("click", () => start(named));
  element("clipboard-text").addEventListener("input", () => {
    hint.textContent = "";
    anyway.hidden = true;
  });
  element("typing-stop").addEventListener("click", () => {
    hint.textContent = `Stopped after ${counted(typist)} characters.`;
    typist.stop();
  });
  return { typeText: (text) => typist.type(text), stopTyping: () => typist.stop() };
}

function showProgress(typist) {
  element("typing").hidden = typist.total <= SHORT;
  element("typing-count").textContent = counted(typist);
  element("typing-progress").max = typist.total || 1;
  element("typing-progress").value = typist.typed;
}

function counted({ typed, total }) {
  return `${typed.toLocaleString("en")} of ${total.toLocaleString("en")}`;
}

function listed(names) {
  const more = names.length - MOST_NAMES;
  return names.slice(0, MOST_NAMES).join(" ") + (more > 0 ? ` and ${more} more` : "");
}
