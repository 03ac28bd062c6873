// Keeps a page up to date over one stream of events, and goes on where it was when that is cut off.

import { messages } from "./messages.js";
import { proof } from "./proof.js";

const LEAST_MS = 400;
const MOST_MS = 5000;
const FRESH_MS = 5000;
const AGES_MS = 10000;

const main = document.getElementById("content");
const badge = document.getElementById("live");

const AGAIN_MS = 1000;
const SAID_MS = 8000;
const SAYING = "orchestrion-said";

let since = main.dataset.revision;
let busy = false;
let gone = false;
let again = false;
let saying = null;
let refreshed = performance.now();

/** Says something in the box that goes away again by itself, or when it is clicked. */
export function say(text) {
  const box = document.getElementById("said");
  clearTimeout(saying);
  box.textContent = text;
  box.onclick = () => (box.textContent = "");
  saying = setTimeout(box.onclick, SAID_MS);
}

/** Goes to another page, and says something there. */
export function sayAt(place, text) {
  try {
    sessionStorage.setItem(SAYING, text);
  } catch {
    // Nothing may be kept: then the page itself has to tell it.
  }
  location.assign(place);
}

/** Says what the page before has left to be said on this one. */
export function sayLeft() {
  try {
    const text = sessionStorage.getItem(SAYING);
    sessionStorage.removeItem(SAYING);
    if (text) say(text);
  } catch {
    // Nothing may be kept, so nothing was.
  }
}

function show(tone, text) {
  badge.className = `badge ${tone}`;
  badge.textContent = text;
}

/** Whether a page that is about `tokens` shows what has changed; `*` is all of a kind. */
export function concerns(tokens, changes) {
  return tokens.some((token) => {
    const [kind, wanted] = token.split("=");
    const names = changes[kind];
    if (!names) return false;
    if (!wanted) return true;
    return names.some((name) => name === "*" || name === wanted || (wanted.endsWith(".") && name.startsWith(wanted)));
  });
}

/** Says that what the page is about was removed: nothing of it is left to be looked at, or to be asked for. */
function sayGone() {
  const title = document.createElement("h1");
  title.textContent = document.title.split(" · ")[0];
  const text = document.createElement("p");
  text.setAttribute("role", "alert");
  text.textContent = "It was removed.";
  const link = document.createElement("a");
  link.href = "/ui/workloads";
  link.textContent = "To the workloads";
  const way = document.createElement("p");
  way.append(link);
  document.getElementById("content").replaceChildren(title, text, way);
  for (const still of document.querySelectorAll(".still")) still.hidden = true;
  show("off", "removed");
}

async function refresh() {
  if (gone) return;
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  const began = performance.now();
  try {
    await htmx.ajax("GET", location.pathname + location.search, { target: "#content", swap: "innerMorph" });
    if (gone) sayGone();
    document.dispatchEvent(new CustomEvent(gone ? "gone" : "refreshed"));
  } finally {
    refreshed = performance.now();
    const took = refreshed - began;
    setTimeout(
      () => {
        busy = false;
        if (again) {
          again = false;
          refresh();
        }
      },
      Math.min(MOST_MS, Math.max(LEAST_MS, 4 * took)),
    );
  }
}

/** On pages that show what changes all the time, which no event tells of. */
function freshen() {
  if (main.dataset.fresh !== undefined && !document.hidden && performance.now() - refreshed >= FRESH_MS) refresh();
}

function relogin() {
  location.reload();
}

/** Follows what happens; returns what opens the stream anew, with output besides, or nothing on pages that show nothing. */
export function follow() {
  if (!badge || main.dataset.live === undefined) return null;
  const tokens = main.dataset.live.split(" ").filter(Boolean);
  const listeners = new Map([
    ["begun", () => show("good", "live")],
    ["changed", (changes) => (concerns(tokens, changes) ? refresh() : freshen())],
    ["everything", refresh],
    [
      "beat",
      () => {
        freshen();
        document.dispatchEvent(new CustomEvent("beat"));
      },
    ],
    ["over", relogin],
  ]);
  let current = new AbortController();
  let extra = {};
  let waiting = null;

  function open() {
    clearTimeout(waiting);
    current.abort();
    if (gone) return;
    current = new AbortController();
    read(current.signal);
  }

  async function read(signal) {
    try {
      const headers = { Accept: "text/event-stream", "X-Session-Proof": proof() };
      const query = new URLSearchParams({ since, ...extra });
      const answer = await fetch(`/ui/live?${query}`, { headers, signal, cache: "no-store" });
      if (answer.ok) {
        await messages(answer.body, (name, data, id) => {
          if (signal.aborted) return;
          if (id) since = id;
          try {
            listeners.get(name)?.(data);
          } catch (error) {
            reportError(error); // the fault of one reaction ends no stream
          }
        });
      } else {
        refused(answer.status);
      }
    } catch {
      // The server is away, and is asked again; or another stream has taken this one's place.
    }
    if (signal.aborted) return;
    show("busy", "reconnecting");
    waiting = setTimeout(open, AGAIN_MS);
  }

  function refused(status) {
    if (status !== 401 && status !== 403) return;
    if (extra.output) {
      extra = {};
      listeners.get("output-failed")({ text: "refused: sign out and in again, if you may see output here" });
    } else if (status === 401) {
      relogin();
    }
  }

  document.body.addEventListener("htmx:after:request", (event) => {
    const status = event.detail.ctx?.response?.status;
    if (status === 401) relogin();
    gone ||= status === 404;
  });
  document.addEventListener("gone", () => {
    current.abort();
    clearTimeout(waiting);
  });
  open();
  return {
    /** Opens the stream with output besides; `reactions` are by the names of its events. */
    with(parameters, reactions) {
      extra = parameters;
      for (const [name, react] of Object.entries(reactions)) listeners.set(name, react);
      open();
    },
  };
}

/** Keeps the choices of a list as the rows of instances on the page are; what was chosen stays. */
export function instances(select, all) {
  const update = () => {
    const rows = document.querySelectorAll(all ? "#content tr[id]" : "#content tr[id]:not(.ended)");
    const wanted = [...rows].map((row) => row.id);
    const options = [...select.options].filter((option) => option.value);
    if (wanted.join() === options.map((option) => option.value).join()) return;
    const chosen = select.value;
    for (const option of options) option.remove();
    for (const name of wanted) select.add(new Option(name, name, false, name === chosen));
  };
  document.addEventListener("refreshed", update);
}

const UNITS = [
  ["d", 86400],
  ["h", 3600],
  ["min", 60],
];

function words(seconds) {
  for (const [unit, length] of UNITS) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return `${Math.max(0, Math.floor(seconds))} s`;
}

function until(seconds) {
  return seconds > 0 ? `in ${words(seconds)}` : "now";
}

/** Lets ages grow, and what is to come draw near, while nothing else happens. */
export function ages() {
  setInterval(() => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
      time.textContent = time.className === "until" ? until(-seconds) : words(seconds);
    }
  }, AGES_MS);
}
