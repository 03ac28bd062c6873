// What a program at a terminal has on its screen: text in, lines of cells out. It knows nothing of the page, asks for
// nothing and answers nothing, also where a program asks what the terminal is or where its cursor stands: an answer is
// typed into whatever reads next, and what is shown may come from anybody.

const TAB = 8;
const MOST_PARAMETERS = 256;
const MOST_MARKS = 8;
const MOST_PAST = 2000;

// Of East Asian scripts and pictures, which take two columns.
const WIDE =
  /[\u1100-\u115f\u231a\u231b\u23e9-\u23ec\u2e80-\u303e\u3041-\u4dbf\u4e00-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1faff}\u{20000}-\u{3fffd}]/u;
// Accents go onto the letter before; what turns the direction of writing or is not seen at all is left out.
const MARK = /[\p{Mn}\p{Me}]/u;
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u;
const LINES = { j: "┘", k: "┐", l: "┌", m: "└", n: "┼", q: "─", t: "├", u: "┤", v: "┴", w: "┬", x: "│", a: "▒", "`": "◆", f: "°", g: "±", o: "⎺", s: "⎽", y: "≤", z: "≥", "~": "·" };

const PLAIN = { front: null, back: null, bold: false, dim: false, italic: false, underline: false, reverse: false, hidden: false, strike: false };
const SWITCHES = { 1: ["bold", true], 2: ["dim", true], 3: ["italic", true], 4: ["underline", true], 7: ["reverse", true], 8: ["hidden", true], 9: ["strike", true], 21: ["underline", true], 23: ["italic", false], 24: ["underline", false], 27: ["reverse", false], 28: ["hidden", false], 29: ["strike", false] };

/** The names of the classes of a look; `t-fN` and `t-bN` are one of 256 colours, `t-fr` and `t-br` those of the screen, reversed. */
function classes(look) {
  let front = look.front === null ? "" : `t-f${look.front}`;
  let back = look.back === null ? "" : `t-b${look.back}`;
  if (look.reverse) {
    front = look.back === null ? "t-fr" : `t-f${look.back}`;
    back = look.front === null ? "t-br" : `t-b${look.front}`;
  }
  const names = [front, back];
  for (const name of ["bold", "dim", "italic", "underline", "hidden", "strike"]) if (look[name]) names.push(`t-${name}`);
  return names.filter(Boolean).join(" ");
}

/** The nearest of the 256 colours: of the cube of 6 times 6 times 6, or of the greys. */
export function nearest(red, green, blue) {
  const [r, g, b] = [red, green, blue].map((part) => Math.max(0, Math.min(255, part || 0)));
  if (r === g && g === b && r > 3 && r < 247) return 232 + Math.min(23, Math.max(0, Math.round((r - 8) / 10)));
  const step = (part) => (part < 48 ? 0 : part < 115 ? 1 : Math.floor((part - 35) / 40));
  return 16 + 36 * step(r) + 6 * step(g) + step(b);
}

class Line {
  constructor(columns, style) {
    this.texts = new Array(columns).fill(" ");
    this.styles = new Array(columns).fill(style);
    this.changed = true;
  }

  /** Sees to it that no character of two columns lies across the left edge of a column. */
  part(column) {
    if (this.texts[column] !== "") return;
    this.texts[column] = " ";
    if (column > 0) this.texts[column - 1] = " ";
  }

  clear(from, to, style) {
    this.part(from);
    this.part(to);
    this.texts.fill(" ", from, to);
    this.styles.fill(style, from, to);
    this.changed = true;
  }

  /** Moves what is between two columns by so many, to the right for a positive number; what leaves is gone. */
  shift(from, to, by, style) {
    const count = Math.min(Math.abs(by), to - from);
    this.part(from);
    this.part(to);
    if (by > 0) {
      this.part(to - count);
      this.texts.copyWithin(from + count, from, to - count);
      this.styles.copyWithin(from + count, from, to - count);
      this.clearCells(from, from + count, style);
    } else {
      this.part(from + count);
      this.texts.copyWithin(from, from + count, to);
      this.styles.copyWithin(from, from + count, to);
      this.clearCells(to - count, to, style);
    }
  }

  clearCells(from, to, style) {
    this.texts.fill(" ", from, to);
    this.styles.fill(style, from, to);
    this.changed = true;
  }

  isBlank() {
    for (const text of this.texts) if (text !== " ") return false;
    for (const style of this.styles) if (style) return false;
    return true;
  }

  widen(columns) {
    this.part(columns);
    while (this.texts.length < columns) {
      this.texts.push(" ");
      this.styles.push("");
    }
    this.texts.length = columns;
    this.styles.length = columns;
    this.changed = true;
  }

  /** Its text in pieces of the same look, without the blanks at its end; `cursor` is a column that is shown as one. */
  pieces(cursor = -1) {
    let end = this.texts.length;
    while (end > 0 && end - 1 !== cursor && this.texts[end - 1] === " " && !this.styles[end - 1]) end -= 1;
    const found = [];
    let last = null;
    for (let column = 0; column < end; column += 1) {
      const text = this.texts[column];
      if (text === "") continue;
      const wide = this.texts[column + 1] === "";
      const at = column === cursor || (wide && column + 1 === cursor);
      let style = this.styles[column];
      if (wide) style += " t-wide";
      if (at) style += " t-cursor";
      style = style.trim();
      if (last && last.style === style && !wide) last.text += text;
      else found.push((last = { text, style }));
    }
    return found;
  }

  toString() {
    return this.texts.join("").trimEnd();
  }
}

// A line with nothing in it that has scrolled off.
const NOTHING = new Line(0, "");

/**
 * A screen of so many rows and columns, each >= 2. What scrolls off its upper edge can be taken once; of more than
 * the latest 2000 lines it is left out.
 */
export class Screen {
  constructor(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    this.scrolled = [];
    this.forgotten = false;
    this.reset();
  }

  reset() {
    this.look = { ...PLAIN };
    this.style = "";
    this.erased = "";
    this.lines = Array.from({ length: this.rows }, () => new Line(this.columns, ""));
    this.other = null;
    this.row = 0;
    this.column = 0;
    this.pending = false;
    this.top = 0;
    this.bottom = this.rows - 1;
    this.saved = null;
    this.cursorShown = true;
    this.applicationKeys = false;
    this.bracketedPaste = false;
    this.wraps = true;
    this.inserts = false;
    this.fromTop = false;
    this.drawing = false;
    this.previous = "";
    this.state = this.ground;
    this.parameters = "";
  }

  /** Whether a program has the whole screen for itself. */
  get alternate() {
    return this.other !== null;
  }

  /** Takes the lines that have scrolled off since; `forgotten` is whether those before are to be gone. */
  taken() {
    const found = { lines: this.scrolled.slice(-MOST_PAST), forgotten: this.forgotten };
    this.scrolled = [];
    this.forgotten = false;
    return found;
  }

  write(text) {
    for (const character of text) this.state(character, character.codePointAt(0));
  }

  resize(rows, columns) {
    this.row -= this.fit(this.lines, this.row, rows, columns, !this.alternate);
    if (this.other) {
      const { lines, saved } = this.other;
      const gone = this.fit(lines, saved?.row ?? 0, rows, columns, true);
      if (saved) saved.row -= gone;
    }
    this.rows = rows;
    this.columns = columns;
    this.top = 0;
    this.bottom = rows - 1;
    this.column = Math.min(this.column, columns - 1);
    this.pending = false;
  }

  /** Gives lines another size, of which the one with the cursor stays; returns how many went at the upper edge. */
  fit(lines, row, rows, columns, kept) {
    const above = Math.max(0, row - rows + 1);
    const gone = lines.splice(0, above);
    if (kept) this.keep(gone);
    lines.length = Math.min(lines.length, rows);
    for (const line of lines) line.widen(columns);
    while (lines.length < rows) lines.push(new Line(columns, ""));
    return above;
  }

  keep(lines) {
    for (const line of lines) this.scrolled.push(line);
    // Twice as many now and then, since to shorten them for each line would take longer than all the rest.
    if (this.scrolled.length > 2 * MOST_PAST) this.scrolled = this.scrolled.slice(-MOST_PAST);
  }

  // The states: what the next character means.

  ground(character, code) {
    if (code < 0x20) this.control(code);
    else this.put(character, code);
  }

  escape(character, code) {
    this.state = this.ground;
    if (code < 0x20) {
      if (code !== 0x18 && code !== 0x1a) this.state = this.escape;
      this.control(code);
    } else if (character === "[") {
      this.parameters = "";
      this.state = this.sequence;
    } else if ("]PX^_".includes(character)) {
      this.state = this.string;
    } else if ("()*+-./%# ".includes(character)) {
      this.charset = character;
      this.state = this.designation;
    } else if (character === "7") {
      this.save();
    } else if (character === "8") {
      this.restore();
    } else if (character === "D") {
      this.down();
    } else if (character === "E") {
      this.column = 0;
      this.down();
    } else if (character === "M") {
      this.up();
    } else if (character === "c") {
      this.reset();
      this.forgotten = true;
      this.scrolled = [];
    }
  }

  designation(character, code) {
    this.state = this.ground;
    if (code < 0x20) this.control(code);
    else if (this.charset === "(") this.drawing = character === "0";
  }

  sequence(character, code) {
    if (code === 0x18 || code === 0x1a) {
      this.state = this.ground;
    } else if (code < 0x20) {
      this.control(code);
    } else if (code < 0x40) {
      if (this.parameters.length < MOST_PARAMETERS) this.parameters += character;
    } else {
      this.state = this.ground;
      if (code < 0x7f && this.parameters.length < MOST_PARAMETERS) this.command(character);
    }
  }

  // A title, a link, a picture: of no use here, and passed over to its end.
  string(_, code) {
    if (code === 0x07 || code === 0x18 || code === 0x1a || code === 0x9c) this.state = this.ground;
    else if (code === 0x1b) this.state = this.escape; // the end is an escape and a backslash, which says nothing itself
  }

  control(code) {
    if (code === 0x1b) this.state = this.escape;
    else if (code === 0x0d) this.move(this.row, 0);
    else if (code >= 0x0a && code <= 0x0c) this.down();
    else if (code === 0x08) this.move(this.row, this.column - 1);
    else if (code === 0x09) this.move(this.row, (Math.floor(this.column / TAB) + 1) * TAB);
  }

  put(character, code) {
    if (code > 0x7e) {
      if (MARK.test(character)) return this.mark(character);
      if (UNSEEN.test(character)) return undefined;
    }
    const text = this.drawing ? (LINES[character] ?? character) : character;
    const width = code > 0x10ff && WIDE.test(character) ? 2 : 1;
    if (this.wraps && (this.pending || this.column + width > this.columns)) {
      this.column = 0;
      this.down();
    }
    this.column = Math.min(this.column, this.columns - width);
    const line = this.lines[this.row];
    if (this.inserts) line.shift(this.column, this.columns, width, this.erased);
    line.part(this.column);
    line.part(this.column + width);
    line.texts[this.column] = text;
    line.styles[this.column] = this.style;
    if (width === 2) {
      line.texts[this.column + 1] = "";
      line.styles[this.column + 1] = this.style;
    }
    line.changed = true;
    this.previous = character;
    this.pending = this.column + width >= this.columns;
    this.column = Math.min(this.column + width, this.columns - 1);
    return undefined;
  }

  mark(character) {
    const line = this.lines[this.row];
    let column = this.pending ? this.column : this.column - 1;
    if (column > 0 && line.texts[column] === "") column -= 1;
    if (column < 0 || line.texts[column].length >= MOST_MARKS) return;
    line.texts[column] += character;
    line.changed = true;
  }

  // Movements.

  move(row, column) {
    this.row = Math.max(0, Math.min(this.rows - 1, row));
    this.column = Math.max(0, Math.min(this.columns - 1, column));
    this.pending = false;
  }

  to(row, column) {
    if (this.fromTop) this.move(Math.min(this.bottom, this.top + row), column);
    else this.move(row, column);
  }

  vertically(by) {
    const inside = this.row >= this.top && this.row <= this.bottom;
    const [least, most] = inside ? [this.top, this.bottom] : [0, this.rows - 1];
    this.move(Math.max(least, Math.min(most, this.row + by)), this.column);
  }

  down() {
    this.pending = false;
    if (this.row === this.bottom) this.scroll(this.top, 1);
    else if (this.row < this.rows - 1) this.row += 1;
  }

  up() {
    this.pending = false;
    if (this.row === this.top) this.scroll(this.top, -1);
    else if (this.row > 0) this.row -= 1;
  }

  /**
   * Scrolls what is from a row to the bottom of the region: up for a positive number of lines, and else down. What
   * leaves the screen at its upper edge is kept where that is wanted.
   */
  scroll(from, lines, kept = from === 0 && !this.alternate) {
    const count = Math.min(Math.abs(lines), this.bottom - from + 1);
    const gone = this.lines.splice(lines > 0 ? from : this.bottom - count + 1, count);
    // New lines are made only in the place of those that are kept: making them takes longer than all the rest.
    const fresh = gone.map((line) => {
      if (lines > 0 && kept && !line.isBlank()) return new Line(this.columns, this.erased);
      line.clear(0, this.columns, this.erased);
      return line;
    });
    if (lines > 0 && kept) this.keep(gone.map((line, index) => (line === fresh[index] ? NOTHING : line)));
    this.lines.splice(lines > 0 ? this.bottom - count + 1 : from, 0, ...fresh);
  }

  save() {
    const { row, column, look, drawing, fromTop } = this;
    this.saved = { row, column, look: { ...look }, drawing, fromTop };
  }

  restore() {
    const { row, column, look, drawing, fromTop } = this.saved ?? { row: 0, column: 0, look: PLAIN, drawing: false, fromTop: false };
    this.look = { ...look };
    this.dress();
    this.drawing = drawing;
    this.fromTop = fromTop;
    this.move(row, column);
  }

  // Commands: what comes after `ESC [`.

  command(final) {
    const kind = /^[<=>?]/.test(this.parameters) ? this.parameters[0] : "";
    const given = this.parameters.slice(kind.length);
    if (/[ -/]/.test(given)) {
      if (given === "!" && final === "p") this.soften();
      return;
    }
    if (kind === "?" && (final === "h" || final === "l")) {
      for (const each of given.split(";")) this.mode(Number(each), final === "h");
      return;
    }
    if (kind) return;
    if (final === "m") {
      this.dressed(given);
      return;
    }
    const [first, second] = given.split(";").map((each) => Number.parseInt(each, 10) || 0);
    this.edit(final, first, Math.max(1, Math.min(first, 65535)), second ?? 0);
  }

  edit(final, first, count, second) {
    const line = this.lines[this.row];
    const inside = this.row >= this.top && this.row <= this.bottom;
    switch (final) {
      case "A": return this.vertically(-count);
      case "B": case "e": return this.vertically(count);
      case "C": case "a": return this.move(this.row, this.column + count);
      case "D": return this.move(this.row, this.column - count);
      case "E": this.vertically(count); return this.move(this.row, 0);
      case "F": this.vertically(-count); return this.move(this.row, 0);
      case "G": case "`": return this.move(this.row, count - 1);
      case "d": return this.to(count - 1, this.column);
      case "H": case "f": return this.to(count - 1, Math.max(1, second) - 1);
      case "I": return this.move(this.row, (Math.floor(this.column / TAB) + count) * TAB);
      case "Z": return this.move(this.row, (Math.ceil(this.column / TAB) - count) * TAB);
      case "J": return this.eraseScreen(first);
      case "K": return this.eraseLine(first);
      case "X": return line.clear(this.column, Math.min(this.columns, this.column + count), this.erased);
      case "@": return line.shift(this.column, this.columns, count, this.erased);
      case "P": return line.shift(this.column, this.columns, -count, this.erased);
      case "L": return inside ? this.scroll(this.row, -count) : undefined;
      // Unlike what scrolls off, what is deleted has no place among what was.
      case "M": return inside ? this.scroll(this.row, count, false) : undefined;
      case "S": return this.scroll(this.top, count);
      case "T": return this.scroll(this.top, -count);
      case "b": return this.repeat(count);
      case "h": case "l": if (first === 4) this.inserts = final === "h"; return undefined;
      case "s": return this.save();
      case "u": return this.restore();
      case "r": return this.region(first, second);
      default: return undefined;
    }
  }

  repeat(count) {
    const character = this.previous;
    let left = character ? Math.min(count, this.rows * this.columns) : 0;
    while (left > 0) {
      this.put(character, character.codePointAt(0));
      left -= 1;
      // With the last column written, each further one goes onto the same place, or into the next line.
      if (this.pending && !this.wraps) return;
      if (!this.pending && this.lines[this.row].texts[this.column - 1] !== "") left -= this.fill(left);
    }
  }

  /** Writes what stands before the cursor again, so many times but not beyond the edge; returns how many times. */
  fill(times) {
    const { column, columns } = this;
    const line = this.lines[this.row];
    const to = Math.min(columns, column + times);
    if (to === column) return 0;
    if (this.inserts) line.shift(column, columns, to - column, this.erased);
    const text = this.drawing ? (LINES[this.previous] ?? this.previous) : this.previous;
    line.clear(column, to, this.style);
    line.texts.fill(text, column, to);
    this.pending = to === columns;
    this.column = Math.min(to, columns - 1);
    return to - column;
  }

  region(first, last) {
    const top = Math.max(1, first) - 1;
    const bottom = Math.min(last || this.rows, this.rows) - 1;
    if (top >= bottom) return;
    this.top = top;
    this.bottom = bottom;
    this.to(0, 0);
  }

  eraseLine(which) {
    const line = this.lines[this.row];
    this.pending = false;
    if (which === 0) line.clear(this.column, this.columns, this.erased);
    else if (which === 1) line.clear(0, this.column + 1, this.erased);
    else if (which === 2) line.clear(0, this.columns, this.erased);
  }

  eraseScreen(which) {
    if (which === 3) {
      this.scrolled = [];
      this.forgotten = true;
      return;
    }
    if (which > 3) return;
    if (which < 2) this.eraseLine(which);
    const [from, to] = [[this.row + 1, this.rows], [0, this.row], [0, this.rows]][which];
    for (let row = from; row < to; row += 1) this.lines[row].clear(0, this.columns, this.erased);
  }

  mode(number, on) {
    if (number === 1) this.applicationKeys = on;
    else if (number === 7) this.wraps = on;
    else if (number === 25) this.cursorShown = on;
    else if (number === 2004) this.bracketedPaste = on;
    else if (number === 1048) on ? this.save() : this.restore();
    else if (number === 47 || number === 1047 || number === 1049) this.swap(on, number === 1049);
    else if (number === 6) {
      this.fromTop = on;
      this.to(0, 0);
    }
  }

  swap(on, saving) {
    if (on === this.alternate) return;
    if (on) {
      if (saving) this.save();
      this.other = { lines: this.lines, saved: this.saved };
      this.lines = Array.from({ length: this.rows }, () => new Line(this.columns, this.erased));
    } else {
      this.lines = this.other.lines;
      this.saved = this.other.saved;
      this.other = null;
      if (saving) this.restore();
    }
    this.top = 0;
    this.bottom = this.rows - 1;
    for (const line of this.lines) line.changed = true;
  }

  soften() {
    this.look = { ...PLAIN };
    this.dress();
    Object.assign(this, { top: 0, bottom: this.rows - 1, saved: null, cursorShown: true, applicationKeys: false });
    Object.assign(this, { wraps: true, inserts: false, fromTop: false, drawing: false });
  }

  // Looks.

  dress() {
    this.style = classes(this.look);
    this.erased = this.look.back === null ? "" : `t-b${this.look.back}`;
  }

  dressed(given) {
    const parts = given.split(";");
    for (let at = 0; at < parts.length; at += 1) {
      const [part, ...sub] = parts[at].split(":").map((each) => Number.parseInt(each, 10) || 0);
      if (part === 38 || part === 48) {
        const rest = sub.length ? sub : parts.slice(at + 1).map((each) => Number.parseInt(each, 10) || 0);
        // With colons a place for a colour space may come before the three parts.
        const three = sub.length > 4 ? sub.slice(2, 5) : rest.slice(1, 4);
        let colour = null;
        if (rest[0] === 5) colour = Math.max(0, Math.min(255, rest[1] ?? 0));
        else if (rest[0] === 2) colour = nearest(...three);
        if (!sub.length) at += rest[0] === 5 ? 2 : rest[0] === 2 ? 4 : parts.length;
        if (colour !== null) this.look[part === 38 ? "front" : "back"] = colour;
      } else {
        this.wear(part, sub);
      }
    }
    this.dress();
  }

  wear(part, sub) {
    const look = this.look;
    if (part === 0) this.look = { ...PLAIN };
    else if (part === 4 && sub.length) look.underline = sub[0] !== 0;
    else if (SWITCHES[part]) look[SWITCHES[part][0]] = SWITCHES[part][1];
    else if (part === 22) look.bold = look.dim = false;
    else if (part >= 30 && part <= 37) look.front = part - 30;
    else if (part === 39) look.front = null;
    else if (part >= 40 && part <= 47) look.back = part - 40;
    else if (part === 49) look.back = null;
    else if (part >= 90 && part <= 97) look.front = part - 82;
    else if (part >= 100 && part <= 107) look.back = part - 92;
  }
}
