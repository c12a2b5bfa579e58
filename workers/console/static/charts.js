/* Charts of what was seen, drawn by uPlot from /api/history; the newest document is their last point. */
"use strict";
(() => {
  const { show, words, local, onDocument, filled, setText } = Titian;
  const boxes = [...document.querySelectorAll("[data-chart]")];
  if (!boxes.length || typeof uPlot === "undefined") return;
  const LANES = ["urgent", "control", "record", "biometric"];
  const laneOf = (lane) => ({ label: words[`lane.${lane}`], colour: `--${lane}` });
  /* By chart: names of its figures, how the newest document says them, how they are shown. */
  const CHARTS = {
    depth: {
      as: "number", whole: true, stacked: true,
      lines: LANES.map((lane) => ({ name: `waiting.${lane}`, now: `lanes.${lane}.waiting`, fill: true, ...laneOf(lane) })),
    },
    speed: {
      as: "speed", calm: true,
      lines: [
        { name: "goodput_bytes_s", now: "link.goodput_bytes_s", label: words["js.goodput"], colour: "--record", fill: true },
        { name: "rate_bytes_s", now: "throttle.rate_bytes_s", label: words["js.allowed"], colour: "--biometric" },
        { name: "cap_bytes_s", now: "cap_bytes_s", label: words["js.cap"], colour: "--fail", dash: [6, 4] },
      ],
    },
    rtt: {
      as: "ms", calm: true,
      lines: [
        { name: "rtt_ms", now: "throttle.rtt_ms", label: words["js.rtt"], colour: "--urgent", fill: true },
        { name: "base_ms", now: "throttle.base_ms", label: words["js.base"], colour: "--biometric", dash: [6, 4] },
      ],
    },
    intake: {
      as: "rate",
      lines: [
        { name: "received", label: words["js.received"], colour: "--record", fill: true },
        { name: "validated", label: words["js.validated"], colour: "--urgent" },
      ],
    },
    center: {
      as: "number", whole: true,
      lines: [
        { name: "unverdicted", now: "unverdicted", label: words["js.unverdicted"], colour: "--record", fill: true },
        { name: "announced", now: "announced", label: words["js.announced"], colour: "--biometric" },
        { name: "incomplete", now: "waiting", label: words["js.incomplete"], colour: "--urgent", dash: [6, 4] },
      ],
    },
    frames: { as: "speed", lines: [{ name: "frames", label: words["js.received"], colour: "--record", fill: true }] },
  };
  const HEIGHT = 200;
  let hours = 1;
  const region = boxes[0].dataset.region || "";
  const drawn = new Map();    // box -> {plot, raw}
  let kept = null;            // the last history

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const two = (n) => String(n).padStart(2, "0");
  const clock = (s) => { const at = local(s * 1000); return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`; };
  const day = (s) => { const at = local(s * 1000); return `${two(at.getUTCDate())}/${two(at.getUTCMonth() + 1)}`; };

  /* Values of a stack stand on those below; `raw` keeps what each line says of itself. */
  function columns(chart, history) {
    const from = history.from_ms / 1000;
    const any = history.names[chart.lines[0].name] || [];
    const xs = any.map((_, at) => from + at * history.step_s);
    const raw = chart.lines.map((line) => (history.names[line.name] || xs.map(() => null)).slice());
    return { xs, raw };
  }
  function heights(chart, raw) {
    if (!chart.stacked) return raw;
    const under = raw[0].map(() => 0);
    return raw.map((line) => line.map((value, at) => (value === null ? null : (under[at] += value))));
  }
  /* One second in which a line answered late, or was let loose, must not flatten a day: such peaks are cut off. */
  function calmed(raw) {
    const values = raw.flat().filter((value) => value !== null).sort((a, b) => a - b);
    return values.length ? 2 * values[Math.floor(0.99 * (values.length - 1))] : 0;
  }
  function options(chart, box, state) {
    const grid = { stroke: css("--grid"), width: 1 };
    const axis = { stroke: css("--soft"), grid, ticks: { ...grid, size: 4 }, font: "12px system-ui, sans-serif", gap: 4 };
    const pale = (colour) => colour + (chart.stacked ? "55" : "22");
    return {
      width: Math.max(200, box.clientWidth), height: HEIGHT,
      padding: [8, 8, 0, 0],
      cursor: { points: { size: 6 }, drag: { x: false, y: false } },
      legend: { live: true },
      tzDate: (s) => { const at = local(s * 1000); return new Date(at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate(), at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()); },
      scales: {
        x: { time: true, range: () => state.range },
        y: { range: (_, least, most) => { const top = chart.calm ? Math.min(most, calmed(state.raw)) : most; return [0, top > 0 ? top * 1.12 : chart.whole ? 4 : 1]; } },
      },
      axes: [
        { ...axis, size: 30, space: 56, values: (_, at) => at.map((s) => (hours > 24 ? day(s) : clock(s))) },
        { ...axis, size: 76, space: 34, values: (_, at) => at.map((v) => (chart.whole && v % 1 ? "" : show[chart.as](v))) },
      ],
      bands: chart.stacked ? chart.lines.slice(1).map((line, at) => ({ series: [at + 2, at + 1], fill: pale(css(line.colour)) })) : [],
      series: [
        { label: words["js.time"], value: (plot, s) => { const at = s === null ? plot.data[0][plot.data[0].length - 1] : s; return `${hours > 6 ? day(at) + " " : ""}${clock(at)}`; } },
        ...chart.lines.map((line, at) => ({
          label: line.label, stroke: css(line.colour), width: line.fill ? 1.75 : 1.5, dash: line.dash,
          fill: line.fill && (!chart.stacked || at === 0) ? pale(css(line.colour)) : undefined,
          points: { show: false }, spanGaps: false,
          value: (_, __, ___, index) => {
            const value = index === null ? state.raw[at][state.raw[at].length - 1] : state.raw[at][index];
            return value === null || value === undefined ? "–" : show[chart.as](value);
          },
        })),
      ],
    };
  }
  function draw(box, history) {
    const chart = CHARTS[box.dataset.chart];
    const { xs, raw } = columns(chart, history);
    const state = { raw, range: [history.from_ms / 1000, history.to_ms / 1000] };
    const old = drawn.get(box);
    if (old) old.plot.destroy();
    box.textContent = "";
    drawn.set(box, { plot: new uPlot(options(chart, box, state), [xs, ...heights(chart, raw)], box), state, chart, xs });
    summary(box);
  }
  /* One sentence for whoever does not see the picture, and for who does: now and most. */
  function summary(box) {
    const { state, chart } = drawn.get(box);
    const note = document.getElementById(`chart-${box.dataset.chart}-said`);
    const parts = chart.lines.map((line, at) => {
      const values = state.raw[at].filter((value) => value !== null);
      if (!values.length) return null;
      const most = values.reduce((a, b) => Math.max(a, b), 0);
      return `${line.label} ${show[chart.as](values[values.length - 1])} (${filled(words["js.most"], show[chart.as](most))})`;
    }).filter((one) => one !== null);
    setText(note, parts.length ? parts.join(" · ") : words["js.no_data"]);
  }
  function extend(found) {
    if (region || !kept || hours > 24) return;
    for (const [box, one] of drawn) {
      const last = one.xs.length - 1;
      if (last < 0) continue;
      let moved = false;
      one.chart.lines.forEach((line, at) => {
        if (!line.now) return;
        const value = Titian.valueAt(found, line.now);
        one.state.raw[at][last] = typeof value === "number" ? value : null;
        moved = true;
      });
      if (!moved) continue;
      one.plot.setData([one.xs, ...heights(one.chart, one.state.raw)]);
      summary(box);
    }
  }
  let asked = 0;
  async function load() {
    const mine = ++asked;
    const names = [...new Set(boxes.flatMap((box) => CHARTS[box.dataset.chart].lines.map((line) => line.name)))];
    const query = new URLSearchParams({ hours: String(hours), names: names.join(",") });
    if (region) query.set("region", region);
    try {
      const answer = await fetch(`/api/history?${query}`, { headers: { accept: "application/json" } });
      if (!answer.ok || mine !== asked) return;
      kept = await answer.json();
      for (const box of boxes) draw(box, kept);
      if (Titian.latest()) extend(Titian.latest());
    } catch { /* asked again in a minute */ }
  }
  const again = () => { if (kept) { for (const box of boxes) draw(box, kept); if (Titian.latest()) extend(Titian.latest()); } };
  document.addEventListener("DOMContentLoaded", () => {
    for (const group of document.querySelectorAll("[data-ranges]")) {
      group.addEventListener("click", (event) => {
        const button = event.target.closest("button[data-hours]");
        if (!button) return;
        hours = Number(button.dataset.hours);
        for (const one of group.querySelectorAll("button")) one.setAttribute("aria-pressed", String(one === button));
        load();
      });
    }
    load();
    setInterval(() => { if (!document.hidden) load(); }, 60000);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) load(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    let width = 0;
    new ResizeObserver(() => {
      if (boxes[0].clientWidth === width) return;
      width = boxes[0].clientWidth;
      for (const [box, one] of drawn) one.plot.setSize({ width: Math.max(200, box.clientWidth), height: HEIGHT });
    }).observe(boxes[0]);
    onDocument(extend);
  });
})();
