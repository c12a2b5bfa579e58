/* Figures that move. The page is whole without this file; with it each figure that carries `data-live` (its path in
   the document of `depth`) and `data-as` (how it is shown) goes on with every event, in the dress that
   workers/console/figures.py gives it. Whatever came from elsewhere is set as text, never as markup. */
"use strict";
const Titian = (() => {
  const body = document.body;
  const lang = document.documentElement.lang;
  const words = JSON.parse(body.dataset.words);
  const zoneMin = Number(body.dataset.zoneMin);
  const side = body.dataset.side;
  const NONE = "–";
  const SPANS = lang === "id" ? ["hari", "jam", "mnt", "dtk"] : ["d", "h", "min", "s"];
  const MARKS = lang === "id" ? [".", ","] : [",", "."];
  const BYTES = ["kB", "MB", "GB", "TB"];
  document.documentElement.classList.add("js");

  /* --- figures, as in figures.py --- */
  const two = (n) => String(n).padStart(2, "0");
  const show = {
    number(value, digits = 0) {
      const [whole, part] = Math.abs(value).toFixed(digits).split(".");
      const grouped = whole.replace(/\B(?=(\d{3})+$)/g, MARKS[0]);
      return (value < 0 && Number(value.toFixed(digits)) !== 0 ? "-" : "") + grouped + (part ? MARKS[1] + part : "");
    },
    three(value) {
      return value === 0 ? "0" : show.number(value, value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
    },
    size(value) {
      if (Math.abs(value) < 999.5) return `${show.number(value)} B`;
      for (const unit of BYTES) {
        value /= 1000;
        if (Math.abs(value) < 999.5 || unit === "TB") return `${show.three(value)} ${unit}`;
      }
      return NONE;
    },
    speed: (value) => `${show.size(value)}/${SPANS[3]}`,
    rate(value) {
      if (value > 0 && value < 0.1) return `${show.three(value * 60)}/${SPANS[2]}`;
      return `${show.three(value)}/${SPANS[3]}`;
    },
    ms: (value) => `${show.number(value, value !== 0 && Math.abs(value) < 9.95 ? 1 : 0)} ms`,
    span(seconds) {
      if (seconds < 0.05) return `0 ${SPANS[3]}`;
      if (seconds < 9.95) return `${show.number(seconds, 1)} ${SPANS[3]}`;
      const whole = Math.floor(seconds + 0.5);
      const steps = [[0, 86400, 1, 3600], [1, 3600, 2, 60], [2, 60, 3, 1]];
      for (const [unit, below, smaller, part] of steps) {
        if (whole < below) continue;
        const rest = Math.floor((whole % below) / part);
        return `${Math.floor(whole / below)} ${SPANS[unit]}` + (rest ? ` ${rest} ${SPANS[smaller]}` : "");
      }
      return `${whole} ${SPANS[3]}`;
    },
    days: (value) => `${value > 3650 ? "> " : ""}${show.number(Math.min(value, 3650))} ${SPANS[0]}`,
    percent: (value) => `${show.number(value, 1)} %`,
    /* Foreign text without controls, and without marks that turn the order of text round. */
    text: (value) => String(value).replace(/[\p{C}\u2028\u2029]/gu, "\ufffd"),
    when(ms) {
      const at = local(ms);
      return `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())} ` +
        `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
    },
    clock(ms, nowMs) {
      const at = local(ms);
      const time = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
      if (at.toISOString().slice(0, 10) === local(nowMs).toISOString().slice(0, 10)) return time;
      return `${two(at.getUTCDate())}/${two(at.getUTCMonth() + 1)}/${at.getUTCFullYear()} ${time}`;
    },
  };
  /* The office's wall clock, whatever zone the browser is in: read with the getUTC... methods. */
  function local(ms) { return new Date(ms + zoneMin * 60000); }
  function valueAt(found, path) {
    for (const name of path.split(".")) found = found === null || found === undefined ? undefined : found[name];
    return found === "" ? undefined : found;
  }
  function figure(doc, path, how) {
    const value = valueAt(doc, path);
    if (value === null || value === undefined) return null;
    if (how.startsWith("word.")) return words[`${how.slice(5)}.${value}`] || String(value);
    if (how === "since") return show.span(Math.max(0, doc.at_ms - value) / 1000);
    if (how === "clock") return show.clock(value, doc.at_ms);
    if (how === "after") return show.clock(doc.at_ms + value * 1000, doc.at_ms);
    return show[how](value);
  }
  const filled = (said, value) => said.replace(/\{\w+\}/, () => value);

  /* --- what is on the page --- */
  let doc = null;
  let ageAtPage = 0;        // how old the document was when it came, seconds
  let cameAt = performance.now();
  const heard = [];         // who else wants each document

  function setText(node, text) { if (node && node.textContent !== text) node.textContent = text; }
  function paint(found) {
    for (const node of document.querySelectorAll("[data-live]")) {
      const { live, as, say, none } = node.dataset;
      const text = figure(found, live, as);
      if (text === null) setText(node, none || ("blank" in node.dataset ? "" : NONE));
      else setText(node, say ? filled(say, text) : text);
    }
    for (const node of document.querySelectorAll("[data-held]")) {
      const why = valueAt(found, `lanes.${node.dataset.held}.held`);
      const held = Boolean(why) && !why.startsWith(`lane ${node.dataset.held} is capped`);
      node.dataset.level = held ? "warn" : "ok";
      setText(node, held ? node.dataset.kept : node.dataset.free);
    }
    const state = document.getElementById("link-state");
    if (state) state.dataset.level = found.link.state === "up" ? "ok" : "fail";
    paintHeadline(found.headline && found.headline[lang]);
  }
  let spokenKey = null;
  function paintHeadline(said) {
    const box = document.getElementById("headline");
    if (!said || !box) return;
    setText(document.getElementById("headline-text"), said.text);
    box.dataset.level = said.level;
    /* Read out when the cause changes, not with every packet. */
    const key = said.key + said.level;
    if (spokenKey !== null && spokenKey !== key) setText(document.getElementById("spoken"), said.text);
    spokenKey = key;
  }
  const ageNow = () => ageAtPage + (performance.now() - cameAt) / 1000;
  function paintAges() {
    for (const node of document.querySelectorAll("[data-age]")) {
      const more = node.dataset.age === "counts" ? 0 : valueAt(doc || {}, `ages.${node.dataset.age}`);
      if (doc === null && node.dataset.age !== "counts") continue;
      setText(node, more === null || more === undefined ? "" : filled(words["js.age"], show.span(ageNow() + more)));
    }
    for (const node of document.querySelectorAll("[data-at]")) {
      const age = (Number(body.dataset.nowMs) - Number(node.dataset.at)) / 1000 + performance.now() / 1000;
      setText(node, filled(words["js.age"], show.span(Math.max(0, age))));
    }
  }

  /* --- parts that the server writes: fetched again when what they say has changed --- */
  const PARTS = ["alarms", "steer-now", "timeline", "dead-now", "notice-now", "audit-now", "held-now", "held-one", "one-head", "one-tiles", "one-facts"];
  const keyOf = (found) => JSON.stringify([
    (found.alarms || []).map((one) => [one.code, one.level]), found.pauses, found.caps, found.dead, found.link && found.link.state,
    found.held, found.restraint && found.restraint.step,
  ]);
  let partsKey = null;
  let partsAt = performance.now();
  let fetching = false;
  const renewed = [];
  async function renew() {
    if (fetching || document.hidden) return;
    fetching = true;
    partsAt = performance.now();
    try {
      const answer = await fetch(location.pathname, { headers: { accept: "text/html" }, cache: "no-store" });
      if (!answer.ok || answer.redirected) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const id of PARTS) {
        const old = document.getElementById(id);
        const made = fresh.getElementById(id);
        if (!old || !made || old.contains(document.activeElement) || old.querySelector("details[open]")) continue;
        if (old.innerHTML !== made.innerHTML) old.replaceWith(document.adoptNode(made));
      }
      for (const one of renewed) one(fresh);
    } catch { /* the stream says that nobody answers */ } finally { fetching = false; }
  }

  /* --- the stream --- */
  const live = document.getElementById("live");
  let brokenAt = null;
  let lastAt = performance.now();
  function saw(found) {
    doc = found;
    ageAtPage = 0;
    cameAt = lastAt = performance.now();
    brokenAt = null;
    paint(found);
    paintAges();
    paintLive();
    const key = keyOf(found);
    if (partsKey !== null && partsKey !== key) renew();
    partsKey = key;
    for (const one of heard) one(found);
  }
  function paintLive() {
    if (!live) return;
    const silent = performance.now() - lastAt > (side === "center" ? 25000 : 9000);
    const state = brokenAt !== null || silent ? "broken" : doc === null ? "connecting" : "live";
    live.dataset.state = state;
    if (state === "live") setText(live, words["js.live"]);
    if (state === "connecting") setText(live, words["js.connecting"]);
    if (state === "broken") setText(live, filled(words["js.broken"], show.span((performance.now() - (brokenAt === null ? lastAt : brokenAt)) / 1000)));
  }
  let source = null;
  let again = 1;
  function listen() {
    source = new EventSource("/events");
    source.addEventListener("open", () => { again = 1; });
    source.addEventListener("depth", (event) => saw(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (brokenAt === null) brokenAt = performance.now();
      paintLive();
      if (source.readyState !== EventSource.CLOSED) return;
      /* The browser gives up where the answer was no stream (a side that starts again, a session that is over). */
      setTimeout(check, 1000 * again);
      again = Math.min(30, again * 2);
    });
  }
  async function check() {
    try {
      const answer = await fetch("/api/depth", { headers: { accept: "application/json" }, cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) { setText(live, words["js.stopped"]); location.assign("/login?next=" + encodeURIComponent(location.pathname)); return; }
    } catch { /* tried again below */ }
    listen();
  }

  function start() {
    if (document.getElementById("not-yet")) {
      heard.push(() => location.reload());
    }
    const shown = document.querySelector("#headline");
    if (shown) {
      spokenKey = shown.dataset.key + shown.dataset.level;
      ageAtPage = Math.max(0, Number(body.dataset.nowMs) - Number(shown.dataset.atMs)) / 1000;
    }
    if (live || document.getElementById("not-yet")) listen();
    setInterval(() => {
      paintAges();
      paintLive();
      const every = side === "center" ? 15000 : 30000;
      if (performance.now() - partsAt > every) renew();
    }, 1000);
  }
  document.addEventListener("DOMContentLoaded", start);
  return { show, words, lang, side, local, valueAt, filled, setText, onDocument: (one) => heard.push(one), onRenewed: (one) => renewed.push(one), latest: () => doc };
})();
