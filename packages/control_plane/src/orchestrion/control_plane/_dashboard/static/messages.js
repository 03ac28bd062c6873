// Server-sent events out of an answer, for requests that carry a header: a browser's own EventSource sends none.

function fields(text) {
  return Object.fromEntries(
    text.split("\n").map((line) => {
      const at = line.indexOf(": ");
      return [line.slice(0, at), line.slice(at + 2)];
    }),
  );
}

/** Reads messages as they come, until there are no more: `react` gets their name, what they say and their position. */
export async function messages(body, react) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const texts = (rest + value).split("\n\n");
    rest = texts.pop();
    for (const { event, data, id } of texts.map(fields)) {
      if (event) react(event, JSON.parse(data), id);
    }
  }
}
