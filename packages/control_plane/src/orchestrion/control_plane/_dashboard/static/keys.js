// What a program at a terminal is sent for a key, as an xterm sends it.

const LETTERED = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F" };
const NUMBERED = { Insert: 2, Delete: 3, PageUp: 5, PageDown: 6 };
const FUNCTIONS = { F1: "OP", F2: "OQ", F3: "OR", F4: "OS", F5: 15, F6: 17, F7: 18, F8: 19, F9: 20, F10: 21, F11: 23, F12: 24 };
const PLAIN = { Enter: "\r", Backspace: "\u007f", Tab: "\t", Escape: "\u001b" };
const CONTROLLED = { " ": "\0", "@": "\0", 2: "\0", "[": "\u001b", "\\": "\u001c", "]": "\u001d", "^": "\u001e", 6: "\u001e", _: "\u001f", "/": "\u001f", "?": "\u007f" };

/**
 * Returns what is sent for a key that is pressed; null where that is the browser's: letters, which come as text, what
 * copies and pastes, and the keys F1 to F12 as long as no program has the whole screen.
 */
export function typed(event, screen) {
  const { key, ctrlKey, altKey, shiftKey, metaKey } = event;
  if (metaKey || (shiftKey && (key === "Insert" || key === "PageUp" || key === "PageDown"))) return null;
  const modifiers = 1 + (shiftKey ? 1 : 0) + (altKey ? 2 : 0) + (ctrlKey ? 4 : 0);
  if (key in LETTERED) {
    if (modifiers > 1) return `\u001b[1;${modifiers}${LETTERED[key]}`;
    return `\u001b${screen.applicationKeys ? "O" : "["}${LETTERED[key]}`;
  }
  if (key in NUMBERED) return `\u001b[${NUMBERED[key]}${modifiers > 1 ? `;${modifiers}` : ""}~`;
  if (key in FUNCTIONS) {
    if (!screen.alternate) return null;
    const code = FUNCTIONS[key];
    return typeof code === "string" ? `\u001b${code}` : `\u001b[${code}${modifiers > 1 ? `;${modifiers}` : ""}~`;
  }
  if (key === "Tab" && shiftKey) return "\u001b[Z";
  if (key in PLAIN) return (altKey ? "\u001b" : "") + PLAIN[key];
  if ([...key].length !== 1 || event.getModifierState?.("AltGraph")) return null;
  if (ctrlKey) {
    if (shiftKey && /[CV]/i.test(key)) return null;
    if (/v/i.test(key)) return null;
    const code = /[a-z]/i.test(key) ? String.fromCharCode(key.toUpperCase().charCodeAt(0) & 0x1f) : CONTROLLED[key];
    return code === undefined ? null : (altKey ? "\u001b" : "") + code;
  }
  return altKey ? `\u001b${key}` : null;
}

/** Returns what is sent for a text that is pasted: nothing in it is taken for a key, and none of it for its end. */
export function pasted(text, screen) {
  const plain = text.replace(/\r\n?|\n/g, "\r").replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g, "");
  return screen.bracketedPaste ? `\u001b[200~${plain}\u001b[201~` : plain;
}
