// Forms that ask the API for a change, with the session's proof that only pages of this origin have.

import { say, sayAt, sayLeft } from "./live.js";
import { again, forget, proof } from "./proof.js";

const UNANSWERED =
  "The server did not answer, so it is not known whether that was done. Once this page is live again, look whether it was, and if not, do it again.";

export async function call(method, path, body) {
  const headers = { "X-Session-Proof": proof() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    // What browsers say of it differs from one to another, and tells nobody what to do.
    throw new Error(UNANSWERED);
  }
  if (answer.ok) return;
  if (answer.status === 401) again();
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // What is no document of ours has a status all the same.
  }
  throw new Error(problem.detail || problem.message || `the server answered ${answer.status}`);
}

function content(form) {
  if (form.dataset.body) return JSON.parse(form.dataset.body);
  const given = {};
  for (const input of form.querySelectorAll("input[name], select[name]")) {
    // A number that was left out is left out: the API has a default for it.
    if (input.type !== "number") given[input.name] = input.value;
    else if (input.value !== "") given[input.name] = input.valueAsNumber * Number(input.dataset.times ?? 1);
  }
  return Object.keys(given).length ? given : undefined;
}

export function calls() {
  sayLeft();
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.dataset.call) return;
    event.preventDefault();
    if (form.dataset.confirm && !confirm(form.dataset.confirm)) return;
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      await call(form.dataset.call, form.getAttribute("action"), content(form));
      if (form.dataset.then) sayAt(form.dataset.then, form.dataset.done);
      else say(form.dataset.done);
    } catch (error) {
      say(error.message);
    } finally {
      button.disabled = false;
    }
  });
  document.getElementById("logout")?.addEventListener("click", async () => {
    try {
      await call("POST", "/ui/logout");
      forget();
      location.assign("/ui/login");
    } catch (error) {
      say(error.message);
    }
  });
}
