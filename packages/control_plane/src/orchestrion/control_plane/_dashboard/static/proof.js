// The proof that goes with a session. Browsers give what is kept here to pages of this origin alone, its port included;
// a cookie they also show to whatever else listens on the host.

const KEY = "orchestrion-proof";

export function proof() {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return ""; // nothing may be kept: then this browser can look, and no more
  }
}

export function forget() {
  try {
    localStorage.removeItem(KEY);
  } catch {
    // Nothing may be kept, so nothing is.
  }
}

/** On the page that comes after signing in: keeps the proof, and goes on in place of that page. */
export function keep() {
  const link = document.getElementById("signed-in");
  if (!link) return;
  try {
    localStorage.setItem(KEY, link.dataset.proof);
  } catch {
    return; // the link leads on, to what can be looked at
  }
  location.replace(link.getAttribute("href"));
}

/** Leads to where one signs in, and from there back to this page. */
export function again() {
  location.assign(`/ui/login?${new URLSearchParams({ next: location.pathname + location.search })}`);
}
