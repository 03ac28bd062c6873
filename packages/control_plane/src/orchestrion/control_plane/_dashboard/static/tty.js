// A terminal on the page: draws a screen, and tells what is typed and how large it is.

import { pasted, typed } from "./keys.js";
import { Screen } from "./screen.js";

const MOST_PAST = 2000;
const MOST_CELLS = 500;
const MOST_DRAWN = 100;
const SETTLED_MS = 100;
// So much of each frame may go into taking what was written, and so much at once where more has come than is to wait:
// then who writes is slowed down, since messages are taken one after the other.
const SLICE_MS = 8;
const LONGEST_MS = 50;
const MOST_WAITING = 1 << 20;
// Characters between two looks at the clock.
const PIECE = 64;
// So that a touch keyboard has something to delete, which is how it tells of the key.
const KEPT = "\u200b";

/** The colours from 16 on, of which only those get a rule that are shown. */
class Colours {
  constructor() {
    this.sheet = new CSSStyleSheet();
    this.known = new Set();
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.sheet];
  }

  need(style) {
    for (const [name, side, digits] of style.matchAll(/\bt-([fb])(\d+)\b/g)) {
      const number = Number(digits);
      if (number < 16 || this.known.has(name)) continue;
      this.known.add(name);
      const property = side === "f" ? "color" : "background-color";
      this.sheet.insertRule(`.${name} { ${property}: rgb(${rgb(number).join(" ")}); }`);
    }
  }
}

function rgb(number) {
  if (number >= 232) return [0, 0, 0].fill(8 + 10 * (number - 232));
  const part = (step) => (step ? 55 + 40 * step : 0);
  const place = number - 16;
  return [Math.floor(place / 36), Math.floor(place / 6) % 6, place % 6].map(part);
}

/** Shows a terminal in the page's place for it; `reactions` are `send` for bytes, `resize` for a size, and `leave`. */
export function tty(reactions) {
  const frame = document.getElementById("terminal-frame");
  const view = document.getElementById("terminal-view");
  const past = document.getElementById("terminal-past");
  const shown = document.getElementById("terminal-screen");
  const keys = document.getElementById("terminal-keys");
  const buttons = document.getElementById("terminal-buttons");
  const encoder = new TextEncoder();
  const colours = new Colours();
  let screen = new Screen(24, 80);
  let drawn = [];
  let open = false;
  let waiting = 0;
  let settling = 0;
  let texts = [];
  let taken = 0;
  let left = 0;
  let scrolled = [];
  let whenShown = null;

  function size() {
    const probe = document.createElement("span");
    probe.textContent = "0".repeat(20);
    const row = document.createElement("div");
    row.append(probe);
    shown.append(row);
    const box = probe.getBoundingClientRect();
    const height = row.getBoundingClientRect().height;
    row.remove();
    const style = getComputedStyle(view);
    const width = view.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const inside = view.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    const fit = (whole, one) => Math.max(2, Math.min(MOST_CELLS, Math.floor(whole / one) || 2));
    return { rows: fit(inside, height), columns: fit(width, box.width / 20) };
  }

  function paint(row, line, cursor) {
    row.replaceChildren(
      ...line.pieces(cursor).map(({ text, style }) => {
        if (!style) return document.createTextNode(text);
        colours.need(style);
        const piece = document.createElement("span");
        piece.className = style;
        piece.textContent = text;
        return piece;
      }),
    );
    line.changed = false;
  }

  /** Takes what was written, in its order, for so long. */
  function take(milliseconds) {
    const until = performance.now() + milliseconds;
    while (texts.length && performance.now() < until) {
      const [text] = texts;
      let to = Math.min(text.length, taken + PIECE);
      // A character of two halves is not parted.
      if (to < text.length && text.codePointAt(to - 1) > 0xffff) to += 1;
      screen.write(text.slice(taken, to));
      left -= to - taken;
      taken = to;
      if (taken === text.length) {
        texts.shift();
        taken = 0;
      }
    }
  }

  function forget() {
    texts = [];
    scrolled = [];
    taken = left = 0;
    whenShown = null;
  }

  function draw() {
    waiting = 0;
    take(SLICE_MS);
    const atEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 20;
    const { lines, forgotten } = screen.taken();
    if (forgotten || scrolled.length + lines.length > MOST_PAST) {
      past.replaceChildren();
      scrolled = forgotten ? [] : scrolled;
    }
    scrolled = scrolled.concat(lines).slice(-MOST_PAST);
    past.hidden = screen.alternate;
    // Of what was, little is drawn at once, and nothing that may be gone before anybody sees it.
    past.append(
      ...(texts.length ? [] : scrolled.splice(0, MOST_DRAWN)).map((line) => {
        const row = document.createElement("div");
        paint(row, line, -1);
        return row;
      }),
    );
    while (past.childElementCount > MOST_PAST) past.firstChild.remove();
    while (shown.childElementCount > screen.rows) shown.lastChild.remove();
    while (shown.childElementCount < screen.rows) shown.append(document.createElement("div"));
    const rows = shown.children;
    screen.lines.forEach((line, index) => {
      const cursor = open && screen.cursorShown && index === screen.row ? screen.column : -1;
      const last = drawn[index];
      if (!line.changed && last?.line === line && last.cursor === cursor) return;
      paint(rows[index], line, cursor);
      drawn[index] = { line, cursor };
    });
    drawn.length = screen.rows;
    if (atEnd) view.scrollTop = view.scrollHeight;
    if (texts.length || scrolled.length) {
      soon();
    } else if (whenShown) {
      const then = whenShown;
      whenShown = null;
      then();
    }
  }

  function soon() {
    waiting ||= requestAnimationFrame(draw);
  }

  function send(text) {
    if (!open || !text) return;
    view.scrollTop = view.scrollHeight;
    reactions.send(encoder.encode(text));
  }

  function fitted() {
    settling = 0;
    if (!open) return;
    const wanted = size();
    if (wanted.rows === screen.rows && wanted.columns === screen.columns) return;
    screen.resize(wanted.rows, wanted.columns);
    soon();
    reactions.resize(wanted);
  }

  function emptied() {
    keys.value = KEPT;
    keys.setSelectionRange(KEPT.length, KEPT.length);
  }

  new ResizeObserver(() => {
    clearTimeout(settling);
    settling = setTimeout(fitted, SETTLED_MS);
  }).observe(view);

  keys.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.ctrlKey && event.shiftKey && event.key.toUpperCase() === "X") {
      event.preventDefault();
      reactions.leave();
      return;
    }
    const page = event.shiftKey && { PageUp: -1, PageDown: 1 }[event.key];
    if (page) {
      event.preventDefault();
      view.scrollBy({ top: page * view.clientHeight * 0.9 });
      return;
    }
    const text = typed(event, screen);
    if (text === null) return;
    event.preventDefault();
    send(text);
  });
  keys.addEventListener("input", (event) => {
    if (event.isComposing) return;
    const text = keys.value;
    if (text === "") send("\u007f");
    else send(text.replaceAll(KEPT, "").replaceAll("\n", "\r"));
    emptied();
  });
  keys.addEventListener("compositionend", () => {
    send(keys.value.replaceAll(KEPT, ""));
    emptied();
  });
  keys.addEventListener("paste", (event) => {
    event.preventDefault();
    send(pasted(event.clipboardData.getData("text/plain"), screen));
  });
  view.addEventListener("click", () => {
    // What was selected is to be copied; typing goes on with the next click.
    if (open && getSelection().isCollapsed) keys.focus({ preventScroll: true });
  });
  buttons.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    send(typed({ key: button.dataset.key, ctrlKey: "ctrl" in button.dataset }, screen));
    keys.focus({ preventScroll: true });
  });

  return {
    /** Makes room for a new screen; returns how large it is. */
    show() {
      forget();
      frame.hidden = false;
      past.replaceChildren();
      drawn = [];
      const wanted = size();
      screen = new Screen(wanted.rows, wanted.columns);
      soon();
      return wanted;
    },
    hide() {
      forget();
      frame.hidden = true;
    },
    begin() {
      open = true;
      keys.disabled = false;
      for (const button of buttons.children) button.disabled = false;
      emptied();
      keys.focus({ preventScroll: true });
      fitted();
      soon();
    },
    write(text) {
      if (!text) return;
      texts.push(text);
      left += text.length;
      if (left > MOST_WAITING) take(LONGEST_MS);
      soon();
    },
    /** Calls a function once all that was written is shown; never, where the screen is made anew or hidden before. */
    afterwards(then) {
      whenShown = then;
      soon();
    },
    end() {
      open = false;
      keys.disabled = true;
      for (const button of buttons.children) button.disabled = true;
      soon();
    },
  };
}
