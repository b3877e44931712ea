/** How things stand, in words over the screen; and when to try again. */

const LONGEST_DELAY_MS = 30_000;
const MOST_RETRIES = 12;

const element = (id) => document.getElementById(id);

/** Say how things stand, and offer to try again. */
export function showState(state, { headline, reason = "", hint = "" }, canReconnect = false) {
  document.documentElement.dataset.state = state;
  element("headline").textContent = headline;
  element("reason").textContent = reason;
  element("hint").textContent = hint;
  element("reconnect").hidden = !canReconnect;
}

/** Tries again where that can help, by the page's settings; `connect` and `show` are the page's. */
export class Retries {
  #settings;
  #connect;
  #show;
  #timer = null;
  #count = 0;

  constructor(settings, connect, show) {
    this.#settings = settings;
    this.#connect = connect;
    this.#show = show;
  }

  /** Return the words while connecting. */
  begin() {
    clearTimeout(this.#timer);
    return { headline: this.#count ? "Reconnecting…" : "Connecting…" };
  }

  /** Take note that the console works: what fails now fails for the first time. */
  succeeded() {
    this.#count = 0;
  }

  /** Show why there is no console, `worked` if there was one; try again where that can help. */
  failed(words, worked) {
    const canHelp = words.wait || (words.retry && (worked || this.#count > 0));
    if (canHelp && this.#settings.reconnect && this.#count < MOST_RETRIES) this.#later(words);
    else this.#show(worked ? "disconnected" : "failed", words, !words.final);
  }

  /** Count down to the next try; each waits longer, and not all pages at the same moment. */
  #later(words) {
    const delayMs = this.#settings.delayMs * 1.5 ** this.#count * (0.8 + 0.4 * Math.random());
    this.#count += 1;
    const until = Date.now() + Math.min(LONGEST_DELAY_MS, delayMs);
    this.#show("reconnecting", words, true);
    const tick = () => {
      const seconds = Math.ceil((until - Date.now()) / 1000);
      if (seconds <= 0) this.#connect();
      else {
        element("hint").textContent = `Trying again in ${seconds} s.`;
        this.#timer = setTimeout(tick, 500);
      }
    };
    tick();
  }
}
