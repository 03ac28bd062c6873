// The output of a workload, as it is written. Each piece says where it is in all that was written, so that what comes
// twice after the stream was cut off is shown once, and what is no longer kept is told.

import { instances } from "./live.js";

const MOST_LINES = 5000;
// Colours and movements of the cursor, which a page does not show.
const CONTROLS = /\u001b\[[0-9;?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[\u0000-\u0008\u000b-\u001f\u007f]/g;

export function output(live) {
  const form = document.getElementById("logs-form");
  const shown = document.getElementById("output");
  const pause = document.getElementById("logs-pause");
  const workload = document.getElementById("logs").dataset.workload;
  let streams = new Map();
  let held = [];
  let paused = false;
  let fresh = [];
  let waiting = 0;

  function append(texts) {
    // Together once per picture: what is shown is laid out anew each time.
    fresh = [...fresh, ...texts].slice(-MOST_LINES);
    waiting ||= requestAnimationFrame(draw);
  }

  function draw() {
    const texts = fresh;
    waiting = 0;
    fresh = [];
    const atEnd = shown.scrollHeight - shown.scrollTop - shown.clientHeight < 40;
    const fragment = document.createDocumentFragment();
    for (const [text, tone] of texts) {
      const line = document.createElement("span");
      line.textContent = text;
      if (tone) line.className = tone;
      fragment.append(line);
    }
    shown.append(fragment);
    while (shown.childElementCount > MOST_LINES) shown.firstChild.remove();
    if (atEnd) shown.scrollTop = shown.scrollHeight;
  }

  function write(texts) {
    if (paused) held = [...held, ...texts].slice(-MOST_LINES);
    else append(texts);
  }

  function piece(record) {
    const key = `${record.instance} ${record.container} ${record.attempt} ${record.stream}`;
    if (!streams.has(key)) streams.set(key, { next: null, rest: "", decoder: new TextDecoder() });
    const stream = streams.get(key);
    let bytes = Uint8Array.from(atob(record.data), (character) => character.charCodeAt(0));
    const first = stream.next === null;
    const overlap = first ? 0 : Math.max(0, stream.next - record.offset);
    if (!first && overlap >= bytes.length && bytes.length) return;
    bytes = bytes.subarray(overlap);
    const lost = first ? 0 : record.offset - stream.next;
    const texts = [];
    if (lost > 0) texts.push([`${lost} bytes of ${record.instance} are no longer kept`, "gap"]);
    stream.next = Math.max(stream.next ?? 0, record.offset + overlap + bytes.length);
    const lines = (stream.rest + stream.decoder.decode(bytes, { stream: true })).split("\n");
    stream.rest = lines.pop();
    if (stream.rest.length > 65536) {
      lines.push(stream.rest);
      stream.rest = "";
    }
    for (const line of lines) {
      texts.push([`${record.instance} ${record.container} | ${line.replace(CONTROLS, "")}`, record.stream === "stderr" ? "stderr" : ""]);
    }
    if (texts.length) write(texts);
  }

  instances(form.elements.instance, true);
  function clear() {
    fresh = [];
    held = [];
    shown.replaceChildren();
  }

  function begin() {
    clear();
    streams = new Map();
    const chosen = new FormData(form);
    const namespace = workload.split("/")[0];
    const parameters = { output: chosen.get("instance") ? `${namespace}/${chosen.get("instance")}` : workload };
    if (chosen.get("container")) parameters.container = chosen.get("container");
    live.with(parameters, {
      output: piece,
      "output-end": () => write([["the output has come to its end", "gap"]]),
      "output-failed": (problem) => write([[problem.text, "gap"]]),
    });
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    begin();
  });
  form.addEventListener("change", begin);
  begin();
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    if (!paused) {
      append(held);
      held = [];
    }
  });
  document.getElementById("logs-clear").addEventListener("click", clear);
}
