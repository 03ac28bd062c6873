// A command in a container: at a terminal, or where the runtime has none, by lines that go in and what it writes.

import { instances } from "./live.js";
import { proof } from "./proof.js";
import { tty } from "./tty.js";

const MOST = 200000;

function styled() {
  return new Promise((done) => {
    const href = new URL("./terminal.css", import.meta.url).href;
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
    link.addEventListener("load", done);
    link.addEventListener("error", done); // without it a terminal looks poorer, and is one all the same
    document.head.append(link);
  });
}

export async function terminal() {
  const section = document.getElementById("terminal");
  const form = document.getElementById("terminal-form");
  const first = document.getElementById("terminal-first");
  const said = document.getElementById("terminal-said");
  const shown = document.getElementById("terminal-output");
  const line = document.getElementById("terminal-input-form");
  const input = document.getElementById("terminal-input");
  const end = document.getElementById("terminal-end");
  const encoder = new TextEncoder();
  let socket = null;
  let ready = false;
  let length = 0;

  function write(text, tone) {
    const piece = document.createElement("span");
    piece.textContent = text;
    if (tone) piece.className = tone;
    shown.append(piece);
    length += text.length;
    while (length > MOST && shown.childElementCount > 1) {
      length -= shown.firstChild.textContent.length;
      shown.firstChild.remove();
    }
    shown.scrollTop = shown.scrollHeight;
  }

  const pipes = {
    show() {
      shown.hidden = line.hidden = false;
      shown.replaceChildren();
      length = 0;
    },
    hide() {
      shown.hidden = line.hidden = true;
    },
    begin() {
      input.disabled = false;
      input.focus();
    },
    write: (text, mark) => write(text, mark === 2 ? "stderr" : ""),
    afterwards: (then) => then(),
    end() {
      input.disabled = true;
    },
  };

  const screen = tty({
    send: (bytes) => ready && socket.send(bytes),
    resize: (size) => ready && socket.send(JSON.stringify({ resize: size })),
    leave: () => end.focus(),
  });

  function run(chosen, view) {
    socket?.close();
    first.hidden = true;
    for (const each of [pipes, screen]) if (each !== view) each.hide();
    said.textContent = "";
    const size = view.show();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const path = [section.dataset.namespace, chosen.get("instance")].map(encodeURIComponent).join("/");
    // A websocket can be given no header, but names of protocols.
    const protocols = ["orchestrion.terminal", `orchestrion.proof.${proof()}`];
    const mine = new WebSocket(`${scheme}://${location.host}/ui/terminal/${path}`, protocols);
    const decoders = { 1: new TextDecoder(), 2: new TextDecoder() };
    let opened = false;
    let told = false;
    mine.binaryType = "arraybuffer";
    socket = mine;
    ready = false;

    function over(words) {
      ready = false;
      if (told) return;
      told = true;
      view.afterwards(() => {
        said.textContent = words;
        const inside = section.contains(document.activeElement);
        view.end();
        end.disabled = true;
        // What had the focus takes none any longer.
        if (inside && !section.contains(document.activeElement)) form.querySelector("button").focus();
      });
    }

    mine.addEventListener("open", () => {
      opened = true;
      const container = chosen.get("container") || null;
      mine.send(JSON.stringify({ command: chosen.get("command"), container, terminal: size }));
    });
    mine.addEventListener("message", (message) => {
      if (mine !== socket) return;
      if (typeof message.data !== "string") {
        const bytes = new Uint8Array(message.data);
        view.write(decoders[bytes[0]].decode(bytes.subarray(1), { stream: true }), bytes[0]);
        return;
      }
      const news = JSON.parse(message.data);
      if (news.started) {
        ready = true;
        end.disabled = false;
        said.textContent = "connected";
        view.begin();
      } else if (news.error && news.error.code === "unsupported" && view === screen && !ready) {
        run(chosen, pipes);
      } else if (news.error) {
        over(news.error.detail || news.error.message);
      } else if (news.exit) {
        over(`ended with ${news.exit.signal ? `signal ${news.exit.signal}` : `code ${news.exit.code}`}`);
      }
    });
    mine.addEventListener("close", () => {
      if (mine !== socket) return;
      over(opened ? "disconnected" : "refused: sign out and in again, if you may run commands here");
      socket = null;
    });
  }

  instances(form.elements.instance, false);
  const styles = styled();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const chosen = new FormData(form);
    await styles; // by which it is known how large a character is
    run(chosen, screen);
  });
  line.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!ready) return;
    write(`${input.value}\n`, "typed");
    socket.send(encoder.encode(`${input.value}\n`));
    input.value = "";
  });
  end.addEventListener("click", () => socket?.close());
}
