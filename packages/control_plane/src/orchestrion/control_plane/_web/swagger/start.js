// Who has signed in on the dashboard is let in by that here too: the session's cookie counts with its proof, which the
// dashboard keeps for pages of this origin.
function sessionProof() {
  try {
    return localStorage.getItem("orchestrion-proof");
  } catch {
    return ""; // nothing is kept, and what is tried out needs a token
  }
}

window.addEventListener("load", () => {
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#api",
    deepLinking: true,
    persistAuthorization: false,
    validatorUrl: null,
    requestInterceptor(request) {
      const proof = sessionProof();
      if (proof && new URL(request.url, location.href).origin === location.origin) {
        request.headers["X-Session-Proof"] = proof;
      }
      return request;
    },
  });
});
