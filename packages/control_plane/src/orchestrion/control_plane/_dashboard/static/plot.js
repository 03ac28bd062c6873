// How full the cluster was lately.

const LEAST_SECONDS = 60;

function load(tag, attributes) {
  return new Promise((done, failed) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.addEventListener("load", done);
    element.addEventListener("error", failed);
    document.head.append(element);
  });
}

export async function plot() {
  const place = document.getElementById("plot");
  const words = document.getElementById("plot-words");
  const vendor = new URL("./vendor/", import.meta.url);
  await Promise.all([
    load("link", { rel: "stylesheet", href: new URL("uPlot.min.css", vendor).href }),
    load("script", { src: new URL("uPlot.iife.min.js", vendor).href }),
  ]);
  let chart = null;

  function draw(samples) {
    // A canvas needs the colour itself, which only an element has that uses it.
    const colour = (name) => {
      place.style.color = `var(${name})`;
      return getComputedStyle(place).color;
    };
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line") }, ticks: { stroke: colour("--line") } };
    const series = samples.series.map((each, index) => ({
      label: each.title,
      stroke: colour(`--series-${index % 6}`),
      width: 2,
      dash: index ? [6, 4 * index] : undefined,
      points: { show: false },
    }));
    place.style.color = "";
    chart?.destroy();
    const last = samples.times.at(-1);
    // Of a single sample the chart would make years; it ends with the last one, and is not shorter than a minute.
    const range = (_, least, most) => [Math.min(least, Math.min(most, last) - LEAST_SECONDS), Math.min(most, last)];
    chart = new uPlot(
      {
        width: place.clientWidth,
        height: 180,
        cursor: { y: false },
        scales: { x: { range }, y: { range: [0, 100] } },
        axes: [axis, { ...axis, values: (_, ticks) => ticks.map((tick) => `${tick} %`) }],
        series: [{}, ...series],
      },
      [samples.times, ...samples.series.map((each) => each.percent)],
      place,
    );
  }

  let latest = null;
  async function look() {
    if (document.hidden) return;
    try {
      const answer = await fetch(place.dataset.source);
      if (!answer.ok) return;
      latest = await answer.json();
    } catch {
      return;
    }
    words.textContent = latest.words;
    if (latest.times.length) draw(latest);
  }
  document.addEventListener("theme", () => latest && draw(latest));
  addEventListener("resize", () => chart?.setSize({ width: place.clientWidth, height: 180 }));
  // The stream tells when something has changed, and when nothing has for a while.
  document.addEventListener("refreshed", look);
  document.addEventListener("beat", look);
  await look();
}
