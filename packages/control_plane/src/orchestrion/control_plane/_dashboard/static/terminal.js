// A command in a container: lines go in, and what it writes comes out.

import { instances } from "./live.js";
import { proof } from "./proof.js";

const MOST = 200000;

export function terminal() {
  const section = document.getElementById("terminal");
  const form = document.getElementById("terminal-form");
  const shown = document.getElementById("terminal-output");
  const input = document.getElementById("terminal-input");
  const end = document.getElementById("terminal-end");
  let socket = null;

  function write(text, tone) {
    const piece = document.createElement("span");
    piece.textContent = text;
    if (tone) piece.className = tone;
    shown.append(piece);
    while (shown.textContent.length > MOST) shown.firstChild.remove();
    shown.scrollTop = shown.scrollHeight;
  }

  function over() {
    socket = null;
    input.disabled = true;
    end.disabled = true;
  }

  instances(form.elements.instance, false);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    socket?.close();
    shown.replaceChildren();
    const chosen = new FormData(form);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const path = [section.dataset.namespace, chosen.get("instance")].map(encodeURIComponent).join("/");
    // A websocket can be given no header, but names of protocols.
    const protocols = ["orchestrion.terminal", `orchestrion.proof.${proof()}`];
    const mine = new WebSocket(`${scheme}://${location.host}/ui/terminal/${path}`, protocols);
    let opened = false;
    const decoders = { 1: new TextDecoder(), 2: new TextDecoder() };
    mine.binaryType = "arraybuffer";
    socket = mine;
    mine.addEventListener("open", () => {
      opened = true;
      mine.send(JSON.stringify({ command: chosen.get("command"), container: chosen.get("container") || null }));
    });
    mine.addEventListener("message", (message) => {
      if (mine !== socket) return;
      if (typeof message.data !== "string") {
        const bytes = new Uint8Array(message.data);
        write(decoders[bytes[0]].decode(bytes.subarray(1), { stream: true }), bytes[0] === 2 ? "stderr" : "");
        return;
      }
      const told = JSON.parse(message.data);
      if (told.started) {
        input.disabled = false;
        end.disabled = false;
        input.focus();
      } else if (told.error) {
        write(`\n${told.error.detail || told.error.message}\n`, "gap");
      } else if (told.exit) {
        const how = told.exit.signal ? `signal ${told.exit.signal}` : `code ${told.exit.code}`;
        write(`\nended with ${how}\n`, "gap");
      }
    });
    mine.addEventListener("close", () => {
      if (mine !== socket) return;
      write(opened ? "\ndisconnected\n" : "\nrefused: sign out and in again, if you may run commands here\n", "gap");
      over();
    });
  });
  document.getElementById("terminal-input-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!socket) return;
    write(`${input.value}\n`, "typed");
    socket.send(new TextEncoder().encode(`${input.value}\n`));
    input.value = "";
  });
  end.addEventListener("click", () => socket?.close());
}
