// How full the cluster was lately, or what a workload used.

const LEAST_SECONDS = 60;
const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

/** How values of a unit are drawn: divided by what, up to what at least, and with which word behind them. */
function measure(unit, most) {
  if (unit === "%") return { by: 1, top: 100, word: " %" };
  if (unit === "cores") return { by: 1, top: Math.max(0.01, most), word: "" };
  const power = Math.max(0, Math.min(SIZES.length - 1, Math.floor(Math.log2(Math.max(1, most)) / 10)));
  return { by: 1024 ** power, top: Math.max(1, most / 1024 ** power), word: ` ${SIZES[power]}` };
}

/** Times of a day, to the second where there is room for it. */
function clock(_, ticks) {
  const digits = ticks.length > 1 && ticks[1] - ticks[0] >= 60 ? 5 : 8;
  return ticks.map((tick) => new Date(tick * 1000).toTimeString().slice(0, digits));
}

function load(tag, attributes) {
  return new Promise((done, failed) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.addEventListener("load", done);
    element.addEventListener("error", failed);
    document.head.append(element);
  });
}

/** A time of a day to the second, as the chart's legend tells it. */
function moment(time) {
  return time === null || time === undefined ? "–" : new Date(time * 1000).toTimeString().slice(0, 8);
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
    const units = [...new Set(samples.series.map((each) => each.unit))];
    const measures = new Map(
      units.map((unit) => {
        const values = samples.series.filter((each) => each.unit === unit).flatMap((each) => each.values);
        return [unit, measure(unit, Math.max(0, ...values))];
      }),
    );
    const words = (unit, value) => `${Number(value.toPrecision(3))}${measures.get(unit).word}`;
    const series = samples.series.map((each, index) => ({
      label: each.unit === "cores" ? `${each.title}, cores` : each.title,
      scale: each.unit,
      stroke: colour(`--series-${index % 6}`),
      width: 2,
      dash: index ? [6, 4 * index] : undefined,
      points: { show: false },
      value: (_, value) => (value === null || value === undefined ? "–" : words(each.unit, value)),
    }));
    const scales = Object.fromEntries(units.map((unit) => [unit, { range: [0, measures.get(unit).top * (unit === "%" ? 1 : 1.1)] }]));
    const axes = units.map((unit, index) => ({
      ...axis,
      scale: unit,
      side: index ? 1 : 3,
      size: 64,
      grid: { ...axis.grid, show: index === 0 },
      values: (_, ticks) => ticks.map((tick) => words(unit, tick)),
    }));
    const rows = samples.series.map((each) =>
      each.values.map((value) => (value === null ? null : value / measures.get(each.unit).by)),
    );
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
        scales: { x: { range }, ...scales },
        axes: [{ ...axis, space: 72, values: clock }, ...axes],
        series: [{ value: (_, time) => moment(time) }, ...series],
      },
      [samples.times, ...rows],
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
    place.hidden = !latest.times.length;
    if (latest.times.length) draw(latest);
  }
  document.addEventListener("theme", () => latest && draw(latest));
  addEventListener("resize", () => chart?.setSize({ width: place.clientWidth, height: 180 }));
  // The stream tells when something has changed, and when nothing has for a while.
  document.addEventListener("refreshed", look);
  document.addEventListener("beat", look);
  await look();
}
