// Who has signed in on the dashboard is let in by that here too; a change counts with the session's word alone.
async function sessionWord() {
  try {
    const answer = await fetch("/ui/session", { headers: { Accept: "application/json" } });
    return (await answer.json()).csrf;
  } catch {
    return ""; // nobody has, and what is tried out needs a token
  }
}

window.addEventListener("load", async () => {
  const word = await sessionWord();
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#api",
    deepLinking: true,
    persistAuthorization: false,
    validatorUrl: null,
    requestInterceptor(request) {
      if (word && new URL(request.url, location.href).origin === location.origin) {
        request.headers["X-CSRF-Token"] = word;
      }
      return request;
    },
  });
});
