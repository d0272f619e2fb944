"use strict";

/* The data come from the server that this page came from, or stand in this very file. Text of
   others is put in as text alone, and their documents into frames that can do nothing. */

const held = document.getElementById("data");
const ENVIRONMENT_ORDER = ["production", "prod", "live", "staging", "stage", "testing", "test", "qa", "demo", "dev", "development"];
const PAGE = 24;
const FRAME_WIDTH = 560;

// -- where data come from

class Refused extends Error {}

/* What JSON says. A component or an environment may be called "constructor", and must not find what
   every other object has. */
function parsed(text) {
  return JSON.parse(text, (_, one) =>
    one && typeof one === "object" && !Array.isArray(one) ? Object.setPrototypeOf(one, null) : one);
}

/* An address of the server's. What is empty is not said. */
function urlOf(path, query) {
  const url = new URL(`page/${path}`, new URL(".", location.href.split("#")[0]));
  for (const [name, value] of Object.entries(query)) {
    if (value !== "" && value !== undefined && value !== null) url.searchParams.set(name, value);
  }
  return url;
}

class Served {
  live = true;

  async ask(path, query = {}, headers = {}, more = {}) {
    const key = sessionStorage.getItem("myop-cdn-key");
    if (key) headers["X-Myop-Cdn-Key"] = key;
    const answer = await fetch(urlOf(path, query), {
      headers, cache: "no-cache", credentials: "same-origin", redirect: "error", ...more,
    });
    if (!answer.ok && answer.status !== 304) {
      const words = await answer.json().catch(() => ({}));
      throw new Refused(words.error || `The listener answered ${answer.status}.`);
    }
    return answer;
  }

  async told(path, query) { return parsed(await (await this.ask(path, query)).text()); }

  async state(tag, wait) {
    const headers = tag ? { "If-None-Match": tag, Prefer: `wait=${wait}` } : {};
    const answer = await this.ask("state", {}, headers);
    if (answer.status === 304) return null;
    return { tag: answer.headers.get("ETag"), state: parsed(await answer.text()) };
  }

  async post(path, value) {
    const more = { method: "POST", body: JSON.stringify(value) };
    return (await this.ask(path, {}, { "Content-Type": "application/json" }, more)).json();
  }

  session() { return this.told("session"); }
  job(job) { return this.told("job", { job }); }
  components(query) { return this.told("components", { ...query, limit: PAGE }); }
  history(destination, component) { return this.told("history", { destination, component }); }
  async html(version) { return (await this.ask("source", version)).text(); }

  show(frame, version) {
    frame.sandbox = "allow-scripts";
    frame.src = urlOf("document", version);
  }
}

class InFile {
  live = false;
  constructor(data) { this.data = data; }
  async state() { return { tag: "file", state: this.data.state }; }

  async components({ destination, search = "", environment = "", offset = 0 }) {
    const place = this.data.places[destination] || { items: [], environments: {} };
    const wanted = search.toLowerCase();
    const has = (text) => (text || "").toLowerCase().includes(wanted);
    const found = place.items.filter((item) => {
      const live = environment ? [item.live[environment]].filter(Boolean) : Object.values(item.live);
      return live.length && (!wanted || has(item.name) || has(item.id) ||
        live.some((one) => has(one.variantName)));
    });
    return {
      components: place.items.length, matched: found.length, offset,
      environments: place.environments, items: found.slice(offset, offset + PAGE),
    };
  }

  async history(destination, component) {
    const place = this.data.places[destination];
    const found = place?.history[component] || { component, environments: parsed("{}"), held: [], warnings: [] };
    return { ...found, older: place?.older || 0 };
  }

  text(version) {
    const documents = this.data.places[version.destination]?.documents || {};
    return this.data.html[version.sha256 || documents[`${version.component}/${version.environment}`]];
  }

  async html(version) {
    const text = this.text(version);
    if (text === undefined) throw new Refused("This version is not in this file.");
    return text;
  }

  show(frame, version) {
    frame.sandbox = this.data.scripts ? "allow-scripts" : "";
    const text = this.text(version);
    frame.srcdoc = text === undefined ? note("This version is not in this file.") :
      this.data.scripts ? text : still(text);
  }
}

/* Without what could make a browser connect to somewhere, even if it only does so ahead.
   What is written down may be read as something else again (links out of a style in a formula), so
   it is done until nothing changes: then the frame reads what was looked at here. A template's
   content would only be looked at by the frame, which makes a shadow tree of it. */
function still(html) {
  const dropped = "script,iframe,frame,frameset,object,embed,portal,link,base,template,meta[http-equiv]";
  let text = html;
  for (let round = 0; round < 10; round += 1) {
    const found = new DOMParser().parseFromString(text, "text/html");
    for (const node of found.querySelectorAll(dropped)) node.remove();
    for (const node of found.querySelectorAll("[*|href],[ping]")) {
      for (const one of [...node.attributes]) {
        const leads = one.localName === "href" && !/^(#|data:)/i.test(one.value);
        if (leads || one.name === "ping") node.removeAttributeNode(one);
      }
    }
    const made = `<!DOCTYPE html>${found.documentElement.outerHTML}`;
    if (made === text) return made;
    text = made;
  }
  return note("This document can't be shown without its scripts.");
}

function note(words) {
  return `<!DOCTYPE html><meta charset="utf-8"><style>body{font:15px system-ui;color:#5f6b65;` +
    `background:#f4f1ea;display:grid;place-items:center;height:100vh;margin:0}</style><p>${words}`;
}

const source = held ? new InFile(parsed(held.textContent)) : new Served();

// -- making and changing what is seen

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "rect", "circle", "line", "path", "text", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) :
    document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(9).filter((one) => one !== null && one !== undefined && one !== false));
  return node;
}

/* Makes `old` look like `made` and keeps what is the same: the focus, the place scrolled to, frames. */
function morph(old, made) {
  if (old.nodeType !== made.nodeType || old.nodeName !== made.nodeName ||
      (old.dataset && old.dataset.key !== made.dataset.key)) {
    old.replaceWith(made);
    if (made.nodeType === 1) prepare(made);
    return;
  }
  if (old.nodeType !== 1) {
    if (old.data !== made.data) old.data = made.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!made.hasAttribute(name) && name !== "style" && !(name === "open" && old.nodeName === "DETAILS")) {
      old.removeAttribute(name);
    }
  }
  for (const { name, value } of [...made.attributes]) {
    if (name === "value" && old === document.activeElement) continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.classList.contains("frame")) { reframe(old); return; }
  if (old.nodeName === "INPUT" && old !== document.activeElement) old.value = made.value;
  if (old.nodeName === "SELECT" && old === document.activeElement) return;
  const keyed = new Map([...old.children].filter((one) => one.dataset.key).map((one) => [one.dataset.key, one]));
  let at = old.firstChild;
  for (const child of [...made.childNodes]) {
    const key = child.dataset?.key;
    const same = key ? keyed.get(key) : at;
    if (!same) {
      old.insertBefore(child, at);
      if (child.nodeType === 1) prepare(child);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    morph(same, child);
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
  if (old.nodeName === "SELECT") old.value = made.dataset.value;
}

function draw(place, ...children) {
  const made = place.cloneNode(false);
  made.append(...children.flat(9).filter(Boolean));
  morph(place, made);
}

function prepare(node) {
  const all = (selector) => [...(node.matches(selector) ? [node] : []), ...node.querySelectorAll(selector)];
  for (const frame of all(".frame")) {
    near.observe(frame);
    size.observe(frame);
  }
  for (const one of all("select[data-value]")) one.value = one.dataset.value;
}

/* What is made again and again. */
const para = (kind, ...words) => make("p", { class: kind }, words);
const bold = (...words) => make("b", {}, words);
const hidden = (words) => make("span", { class: "hidden" }, words);
const chip = (text, tone = "") => make("span", { class: `chip ${tone}` }, text);
const link = (href, text, more = {}) => make("a", { href, ...more }, text);
const mending = (line) => make("code", { class: "mend", tabindex: 0 }, line);
const button = (attributes, text) => make("button", { type: "button", class: "button", ...attributes }, text);
const section = (key, kind, title, ...children) => make("section", { class: kind, "data-key": key, "aria-labelledby": key },
  make("h2", { id: key }, title), children);

// -- frames: made when they are near, taken away when they are far

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) reframe(target);
    else target.replaceChildren();
  }
}, { rootMargin: "300px 0px" });

const size = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    target.style.setProperty("--scale", String(contentRect.width / (Number(target.dataset.width) || FRAME_WIDTH)));
  }
});

function reframe(place) {
  if (!place.isConnected) return;
  const wanted = place.dataset.version;
  const now = place.lastElementChild;
  if (now && now.dataset.version === wanted) return;
  const box = place.getBoundingClientRect();
  if (!now && (box.bottom < -400 || box.top > innerHeight + 400)) return;
  const frame = document.createElement("iframe");
  frame.title = place.dataset.title;
  frame.dataset.version = wanted;
  frame.setAttribute("referrerpolicy", "no-referrer");
  frame.setAttribute("allow", "");
  if (!("alive" in place.dataset)) frame.tabIndex = -1;
  frame.className = "coming";
  frame.addEventListener("load", () => {
    frame.className = "";
    while (place.firstElementChild && place.firstElementChild !== frame) place.firstElementChild.remove();
  });
  source.show(frame, JSON.parse(wanted));
  place.append(frame);
}

function framed(version, title, { alive = false, width = FRAME_WIDTH } = {}) {
  return make("div", {
    class: "frame", "data-version": JSON.stringify(version), "data-title": title,
    "data-alive": alive, "data-width": width, inert: !alive,
  });
}

// -- words

const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const days = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

function ago(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  const ahead = seconds < 0;
  const s = Math.abs(seconds);
  if (s > 7 * 86400) return days.format(Date.parse(iso));
  const [n, unit] = s < 60 ? [Math.round(s), "s"] : s < 3600 ? [Math.round(s / 60), "min"] :
    s < 86400 ? [Math.round(s / 3600), "h"] : [Math.round(s / 86400), "d"];
  if (ahead) return `in ${n} ${unit}`;
  return s < 5 ? "just now" : `${n} ${unit} ago`;
}

function when(iso) {
  if (!iso) return "–";
  return make("time", { datetime: iso, title: moments.format(Date.parse(iso)), "data-ago": true }, ago(iso));
}

function count(n, noun, nouns = `${noun}s`) { return `${n.toLocaleString("en")} ${n === 1 ? noun : nouns}`; }
function labelled(one) { return one ? one.variantName || one.variantId || "unnamed variant" : "nothing"; }
function shortened(url) { return url.replace(/^file:\/\//, ""); }

const TONES = {
  done: "good", running: "busy", waiting: "busy", retrying: "warn", partly: "warn", failed: "bad",
  interrupted: "warn", ignored: "", ok: "good", failing: "bad",
};

// -- what is shown: the address says it, so that it can be linked and gone back to

let state = null;
let found = null;
let told = { history: null, key: "", sides: null };
let error = "";

function plain(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function route() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(plain);
  const given = Object.fromEntries(new URLSearchParams(query));
  if (parts[0] === "activity") return { ...given, view: "activity" };
  if (parts[0] === "component" && parts[1]) return { ...given, view: "component", component: parts[1] };
  return { ...given, view: "live" };
}

function address(view, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value);
  const text = new URLSearchParams(kept).toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

function componentAt(id, query) { return address(`component/${encodeURIComponent(id)}`, query); }

function destinations() { return state ? state.destinations.map((one) => one.destination) : []; }
function chosen(at) { return destinations().includes(at.destination) ? at.destination : destinations()[0] || ""; }

function ordered(environments) {
  const rank = (name) => {
    const known = ENVIRONMENT_ORDER.indexOf(name);
    return name === "preview" ? 99 : known < 0 ? 50 : known;
  };
  return [...environments].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

// -- views

function drawTop() {
  const at = route();
  const view = (name, href, text, ...more) => link(href, [text, more], {
    "aria-current": name === at.view || (name === "live" && at.view === "component") ? "page" : null,
  });
  const dot = troubles().length ? make("b", { class: "dot", title: "needs a look" }) : null;
  draw(document.getElementById("views"), view("live", "#/", "Live"),
    state?.deliveries ? view("activity", "#/activity", "Activity", dot) : null);
  document.title = at.view === "live" || !found ? "myop-cdn" : `myop-cdn: ${at.view}`;
  draw(document.getElementById("foot"), make("p", {}, !source.live ?
    `Written by ${state?.writtenBy || "myop-cdn"} ${state?.at ? moments.format(Date.parse(state.at)) : ""}; it needs no server and no network.${source.data.scripts ? "" : " Documents are shown without their scripts."}` :
    account.signedIn ? "Signed in: actions show what they will do before they do it." :
      account.enabled ? "Read-only until you sign in." :
        "Read-only: this listener was started without --admin-token-file, so nothing can be changed here."));
}

function troubles() {
  if (!state) return [];
  return [
    ...state.destinations.filter((one) => one.state === "failing").map((one) => one.destination),
    ...(state.retries || []).filter((one) => one.givenUp),
    ...(state.journal && state.journal !== "ok" ? [state.journal] : []),
  ];
}

function summary() {
  const tiles = [];
  const where = route().view === "activity" ? "see below" : "see Activity";
  const add = (label, value, tone, detail) => tiles.push(make("div", { class: `tile ${tone || ""}`, "data-key": label },
    make("dt", {}, label), make("dd", {}, make("strong", {}, value), make("span", {}, detail || "\u00a0"))));
  if (state.runs) {
    const running = state.destinations.map((one) => one.running).find(Boolean);
    const failing = state.destinations.filter((one) => one.state === "failing");
    const last = state.destinations.map((one) => one.lastSuccess).filter(Boolean).sort()[0];
    if (running) add("Now", "Publishing", "busy", running.scope === "full" ? "everything" : "what was released");
    else if (failing.length) add("Now", "Failing", "bad", failing.length === 1 && state.destinations.length > 1 ? failing[0].destination : where);
    else add("Now", state.waiting ? "Waiting" : "Up to date", state.waiting ? "busy" : "good", last ? ["last run ", when(last)] : "no run yet");
    add("Waiting", count(state.waiting, "delivery", "deliveries"), state.waiting ? "busy" : "", state.oldest ? ["oldest ", when(state.oldest)] : "nothing is waiting");
    const lost = state.destinations.reduce((sum, one) => sum + one.givenUp, 0);
    add("Given up", count(lost, "document"), lost ? "bad" : "", lost ? where : "nothing is lost");
    const next = state.destinations.map((one) => one.nextFullSync).filter(Boolean).sort()[0];
    const due = state.destinations.find((one) => one.fullSyncDue);
    add("Next full sync", due ? "Due now" : next ? when(next) : "Not planned", "", due ? due.fullSyncDue : next ? "by the schedule" : "--full-sync-every 0");
  } else {
    if (state.committed) add("Last change", when(state.committed), "", `commit ${state.commit}`);
    if (!state.tiles.some((one) => one.label === "Run")) add("Destination", shortened(destinations()[0]).split("/").filter(Boolean).pop() || "", "", shortened(destinations()[0]));
    for (const one of state.tiles || []) add(one.label, one.value, one.tone, one.detail);
  }
  return make("dl", { class: "tiles" }, tiles);
}

function toolbar(at) {
  const picker = (name, label, value, values) => make("label", {}, hidden(label), make("select", { name, "data-value": value },
    values.map(([one, text]) => make("option", { value: one, selected: one === value }, text))));
  const names = destinations(), environments = ordered(Object.keys(found?.environments || {}));
  return make("form", { class: "tools", role: "search", "data-key": "tools" },
    make("label", { class: "search" }, hidden("Search components and variants"),
      make("input", { type: "search", name: "search", value: at.search || "", placeholder: "Search components and variants", autocomplete: "off" })),
    picker("environment", "Environment", at.environment || "", [["", "All environments"], ...environments.map((one) => [one, one])]),
    names.length > 1 ? picker("destination", "Destination", chosen(at), names.map((one) => [one, shortened(one)])) : null,
    make("output", { class: "count" }, found ? counted(at) : ""));
}

function counted(at) {
  const start = found.matched ? (Number(at.offset) || 0) + 1 : 0;
  const end = Math.min(start + PAGE - 1, found.matched);
  const all = found.matched === found.components ? count(found.matched, "component") :
    `${found.matched.toLocaleString("en")} of ${count(found.components, "component")}`;
  return found.matched > PAGE ? `${start}–${end} of ${all}` : all;
}

function trouble(destination, component, environment) {
  return (state.retries || []).find((one) => one.destination === destination &&
    one.componentId === component && one.environment === environment);
}

function cell(at, item, environment, wide) {
  const one = item.live[environment];
  const key = `${item.id}/${environment}`, name = item.name || item.id;
  if (!one) return make("div", { class: "cell none", "data-key": key }, make("span", {}, "not released"));
  const destination = chosen(at);
  const bad = trouble(destination, item.id, environment);
  const version = { destination, component: item.id, environment, at: `${one.since || ""}${one.variantId || ""}${one.sha256 || ""}` };
  const where = `${name} in ${environment}: `;
  return link(componentAt(item.id, { environment, destination: at.destination }), [
    framed(version, where + labelled(one)),
    make("span", { class: "what" }, bold(hidden(where), labelled(one)),
      make("small", {}, wide ? `${name} · ` : make("span", { class: "env" }, `${environment} · `), when(one.since))),
    bad ? chip(bad.givenUp ? "given up" : bad.behind ? "behind" : "retrying", bad.givenUp ? "bad" : "warn") :
      one.state && one.state !== "live" && one.state !== "current" ? chip(one.state, "warn") : one.held ? chip("held back", "warn") : null,
  ], { class: `cell${fresh(key) ? " fresh" : ""}`, "data-key": key });
}

const changed = new Map();
function fresh(key) { return (changed.get(key) || 0) > Date.now(); }

function drawLive() {
  const at = route();
  const parts = [make("h1", { class: "hidden", "data-key": "h" }, "What is live"), summary(), toolbar(at)];
  if (!found) return [...parts, para("loading", error || "Loading …")];
  const environments = ordered(Object.keys(found.environments));
  if (!found.items.length) {
    parts.push(make("p", { class: "empty", "data-key": "empty" }, found.components ? "Nothing fits. Try fewer letters, or another environment." :
      "Nothing has been published yet. What is released in Myop shows here by itself."));
  } else if (at.environment) {
    parts.push(make("ul", { class: "gallery", "data-key": "gallery" }, found.items.map((item) => make("li", { "data-key": item.id },
      cell(at, item, at.environment, true)))));
  } else {
    const column = (text) => make("th", { scope: "col" }, text);
    const rows = found.items.map((item) => make("tr", { "data-key": item.id },
      make("th", { scope: "row" }, link(componentAt(item.id, { destination: at.destination }), item.name || item.id), make("small", {}, item.id)),
      environments.map((environment) => make("td", { "data-key": environment }, cell(at, item, environment, false)))));
    parts.push(make("div", { class: "matrix", "data-key": "matrix", "data-columns": Math.min(environments.length, 9) }, make("table", {},
      make("caption", { class: "hidden" }, "What is live: components by environment"),
      make("thead", {}, make("tr", {}, column("Component"), environments.map(column))), make("tbody", {}, rows))));
  }
  if (found.matched > PAGE) {
    const offset = Number(at.offset) || 0;
    const turn = (to, text, off) => off ? make("span", { class: "button off" }, text) :
      link(address("", { ...at, view: "", offset: to || "" }), text, { class: "button" });
    parts.push(make("nav", { class: "pages", "aria-label": "Pages", "data-key": "pages" },
      turn(Math.max(0, offset - PAGE), "← Previous", offset === 0),
      make("span", {}, `Page ${Math.floor(offset / PAGE) + 1} of ${Math.ceil(found.matched / PAGE).toLocaleString("en")}`),
      turn(offset + PAGE, "Next →", offset + PAGE >= found.matched)));
  }
  return parts;
}

function drawActivity() {
  const lost = state.retries.filter((one) => one.givenUp);
  const coming = state.retries.filter((one) => !one.givenUp);
  return [
    make("div", { class: "head", "data-key": "h" }, make("h1", {}, "Activity"), account.signedIn ? act("full", {}, "Full sync now") : null),
    summary(),
    state.journal !== "ok" ? make("p", { class: "alarm", "data-key": "journal" }, `The journal: ${state.journal}`) : null,
    lost.length ? section("lost", "panel bad", "Given up",
      make("p", {}, "Tried again and again without success. The line below each has it done again once the cause is mended."),
      make("ul", { class: "plain" }, lost.map((one) => make("li", { "data-key": `${one.destination}${one.componentId}/${one.environment}` },
        bold(one.name || one.componentId), ` in ${one.environment} · `, count(one.attempts, "attempt"), " since ", when(one.since),
        para("error", one.error), mending(one.mend))))) : null,
    section("where", null, "Destinations", make("div", { class: "cards" }, state.destinations.map((one) => destination(one, coming)))),
    section("runs", "panel", "Runs over time", plot(state.runs)),
    section("last", null, "Last deliveries", deliveries()),
  ];
}

function destination(one, coming) {
  const mine = coming.filter((retry) => retry.destination === one.destination);
  const shown = mine.slice(0, 5);
  const facts = {
    documents: one.documents.toLocaleString("en"),
    "last success": when(one.lastSuccess),
    waiting: one.pending ? count(one.pending, "delivery", "deliveries") : "nothing",
    "next attempt": one.nextAttempt ? when(one.nextAttempt) : null,
    "next full sync": one.fullSyncDue ? `due: ${one.fullSyncDue}` : one.nextFullSync ? when(one.nextFullSync) : "not planned",
  };
  return make("article", { class: "panel", "data-key": one.destination },
    make("h3", {}, make("span", {}, shortened(one.destination)), one.running ? chip("publishing", "busy") : chip(one.state, TONES[one.state])),
    one.error ? para("error", `${count(one.failedAttempts, "run")} failed in a row: ${one.error}`) : null,
    one.fullSyncError ? para("error", `The full sync failed: ${one.fullSyncError}`) : null,
    make("dl", { class: "facts" }, Object.entries(facts).map(([name, value]) => value ? [make("dt", {}, name), make("dd", {}, value)] : null)),
    shown.length ? make("ul", { class: "plain small" }, shown.map((retry) => make("li", {}, bold(retry.name || retry.componentId),
      ` in ${retry.environment}: ${retry.error} · `, retry.due ? ["again ", when(retry.due)] : "with the next full sync"))) : null,
    mine.length > shown.length ? para("soft", `and ${mine.length - shown.length} more`) : null,
    account.signedIn ? para("acts", act("rollback", { destination: one.destination }, "Roll back …"), act("resume", { destination: one.destination }, "Resume …")) : null);
}

function deliveries() {
  if (!state.deliveries.length) return para("empty", "No delivery has come yet.");
  const named = (release, at) => [at ? ", " : "", bold(release.name || release.componentId), ` in ${release.environment}`,
    release.variantName || release.variantId ? ` → ${labelled(release)}` : ""];
  return make("ul", { class: "deliveries" }, state.deliveries.map((one) => make("li", { "data-key": one.id, id: `delivery-${one.id}` },
    make("span", { class: "time" }, when(one.received)),
    make("div", {},
      make("p", {}, one.releases.length ? one.releases.map(named) : one.scope === "full" ? "a full sync" : one.event || "nothing to publish",
        one.more ? ` and ${one.more} more` : ""),
      one.note ? para("soft", one.note) : null,
      one.error ? para("error", one.error) : null,
      one.lacking.filter((lack) => !lack.error && state.destinations.length > 1).map((lack) => para("soft", `to come: ${lack.destination}`)),
      one.mend ? mending(one.mend) : null,
      account.signedIn ? para("acts", act("retry", { delivery: one.id }, "Retry"), act("forget", { delivery: one.id }, "Forget")) : null),
    make("span", { class: "fate" }, chip(one.state, TONES[one.state]), make("small", {}, one.id)))));
}

/* Lengths of time that an axis names, in seconds. */
const MARKS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 18000, 36000, 86400];

/* Runs from the oldest to the newest: a bar for each, as high as it took long; under it the documents.
   It is drawn as wide as there is room, so that its words have the size of all others. */
function plot(all) {
  const width = Math.max(260, Math.round(main.clientWidth - 2 * parseFloat(getComputedStyle(main).paddingLeft) - 46));
  const height = 190, base = 130, left = 60, room = width - left - 6;
  const runs = [...all].reverse().filter((one) => one.ended).slice(-Math.min(80, Math.floor(room / 8)));
  if (!runs.length) return para("empty", "No run yet.");
  const seconds = (one) => Math.max(0.001, (Date.parse(one.ended) - Date.parse(one.started)) / 1000);
  const step = Math.min(26, room / runs.length), many = state.destinations.length > 1;
  const longest = Math.max(...runs.map(seconds)), most = Math.max(1, ...runs.map((one) => one.uploaded));
  const top = MARKS.find((mark) => mark >= longest) || longest;
  // A root, so that a full sync of a minute leaves a release of a second to be seen.
  const high = (value) => Math.max(2, Math.sqrt(value / top) * 110);
  const marks = MARKS.filter((mark) => mark < top).reduceRight((kept, mark) =>
    high(kept[kept.length - 1]) - high(mark) >= 22 && high(mark) >= 18 ? [...kept, mark] : kept, [top]);
  const line = (y, kind) => make("line", { x1: left, x2: width, y1: y, y2: y, class: kind });
  const label = (x, y, words, kind = "axis") => make("text", { x, y, class: kind }, words);
  const ticks = marks.map((mark) => [line(base - high(mark), "grid"), label(left - 8, base - high(mark) + 4, duration(mark).replace(".0", ""))]);
  const bars = runs.map((one, at) => {
    const x = left + 4 + at * step;
    const text = `${moments.format(Date.parse(one.started))}: ${one.scope}, ${one.state}, ${duration(seconds(one))}, ${count(one.uploaded, "object")} written` +
      `${many ? `, ${one.destination}` : ""}${one.error ? `; ${one.error}` : ""}`;
    return make("g", { class: `run ${TONES[one.state] || ""}` }, make("title", {}, text),
      make("rect", { x, y: base - high(seconds(one)), width: Math.max(2, step - 4), height: high(seconds(one)), rx: 2 }),
      one.state !== "done" ? make("path", { class: "mark", d: `M${x + step / 2 - 6} 12l8 0l-4 7z` }) : null,
      one.uploaded ? make("circle", { cx: x + (step - 4) / 2, cy: 158, r: Math.max(2, Math.sqrt(one.uploaded / most) * Math.min(11, step / 2)) }) : null);
  });
  const failed = runs.filter((one) => one.state === "failed").length;
  const words = `${count(runs.length, "run")}, ${failed} failed; the longest took ${duration(longest)}, the most written were ${count(most, "object")}`;
  const rows = [...runs].reverse().slice(0, 40).map((one) => make("tr", { "data-key": one.run },
    [String(one.run), when(one.started), `${one.scope}${many ? ` → ${shortened(one.destination)}` : ""}`, chip(one.state, TONES[one.state]),
      duration(seconds(one)), String(one.uploaded)].map((cell) => make("td", {}, cell)), make("td", { class: "error" }, one.error || "")));
  return make("div", {},
    para("legend", make("span", { class: "key good" }, "done"), make("span", { class: "key warn" }, "in part"), make("span", { class: "key bad" }, "failed"),
      make("span", { class: "soft" }, "height: how long, as its square root · circle: documents written")),
    make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words, class: "plot" }, ticks, line(base, "base"), bars,
      label(left, height - 4, ago(runs[0].started), "axis start"),
      label(Math.max(left + 130, left + runs.length * step), height - 4, runs.length > 1 ? ago(runs[runs.length - 1].started) : "")),
    make("details", {}, make("summary", {}, "As a table"), make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Runs as a table" },
      make("table", { class: "list" }, make("thead", {}, make("tr", {},
        ["Run", "Began", "What", "State", "Took", "Written", "Error"].map((one) => make("th", { scope: "col" }, one)))), make("tbody", {}, rows)))));
}

function duration(seconds) {
  if (seconds < 0.9995) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 90) return `${seconds.toFixed(1)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// -- a component: its versions, before and after

function drawComponent() {
  const at = route();
  const { destination: given, component } = at;
  const { history, live } = told;
  const destination = chosen(at), name = history?.name || told.name || component;
  const names = ordered(new Set([...Object.keys(history?.environments || {}), ...Object.keys(live || {})]));
  const environment = names.includes(at.environment) ? at.environment : names[0] || "";
  const list = history?.environments[environment] || [];
  const head = [
    make("p", { class: "crumbs", "data-key": "crumbs" }, link(address("", { destination: given }), "Live"), " / ", name),
    make("div", { class: "head", "data-key": "head" }, make("h1", {}, name), make("code", {}, component)),
    make("nav", { class: "tabs", "aria-label": "Environments", "data-key": "tabs" }, names.map((one) =>
      link(componentAt(component, { destination: given, environment: one }),
        [one, make("small", {}, labelled(live?.[one] || history?.environments[one]?.[0]))], { "aria-current": one === environment ? "true" : null }))),
  ];
  if (!history) return [...head, make("p", { class: "loading", "data-key": "loading" }, error || "Reading the destination's log …")];
  const after = list.find((one) => one.commit === at.after) || list[0] || null;
  const later = list.indexOf(after);
  const before = list.find((one) => one.commit === at.before) || list.slice(later + 1).find((one) => one.sha256) || null;
  const document_ = { destination, component, environment };
  const figure = (label, title, ...shown) => make("figure", { "data-key": label },
    make("figcaption", {}, chip(label, label === "Before" ? "" : "good"), title), shown);
  const side = (one, label) => {
    const version = label !== "Live" ? { ...document_, sha256: one.sha256, at: one.sha256 } :
      { ...document_, at: one ? `${one.commit}${one.sha256}` : `${live?.[environment]?.since || ""}` };
    const gone = one && !one.sha256;
    return figure(label, [" ", bold(gone ? "deleted" : labelled(one || live?.[environment])), make("small", {}, one?.at ? [" since ", when(one.at)] : "")],
      gone ? para("empty", "It was deleted.") : framed(version, `${name} in ${environment}, ${label.toLowerCase()}: ${labelled(one)}`, { alive: true, width: 720 }));
  };
  const { older } = history;
  const row = (one, index) => make("li", { "data-key": one.commit, class: one === after ? "on" : "" },
    make("span", { class: "time" }, when(one.at)),
    make("div", {}, make("p", {}, bold(one.sha256 ? labelled(one) : "deleted"), index === 0 ? [" ", chip("live", "good")] : ""), para("soft", cause(one))),
    para("acts",
      link(componentAt(component, { destination: given, environment, before: list[index + 1]?.commit, after: one.commit }), "Compare",
        { class: "button", "aria-label": `Compare the version of commit ${one.commit} with the one before` }),
      account.signedIn && index > 0 && one.sha256 ? act("rollback", { ...document_, to: one.commit }, "Roll back to this …") : null));
  return [
    ...head,
    history.warnings.map((one, n) => make("p", { class: "alarm", "data-key": `w${n}` }, one)),
    history.held.includes(environment) ? make("p", { class: "alarm", "data-key": "held" },
      "Held back since a rollback: a publish that brings the same content again passes over this document. ",
      account.signedIn ? act("resume", document_, "Resume …") : null) : null,
    make("div", { class: "sides", "data-key": "sides" },
      before ? side(before, "Before") : figure("Before", [], para("empty", older ? "The log was not read as far back as the version before." :
        "Nothing: this is the first version that the log has.")),
      side(after, later <= 0 ? "Live" : "After")),
    before && after?.sha256 ? section("diff", null, "What changed in its HTML", difference(before, after, document_)) : null,
    section("versions", null, "Versions", list.length ? make("ol", { class: "versions" }, list.map(row)) :
      para("empty", older ? "The newest commits of the destination's log have nothing of this document." : "The destination's log has nothing of this document."),
    older ? make("p", { class: "soft", "data-key": "older" }, `${count(older, "older commit")} of the log ${older === 1 ? "was" : "were"} not read; `,
      make("code", {}, "myop-cdn history --limit 0"), " reads all.") : null),
  ];
}

function cause({ cause: why, commit }) {
  const known = (id) => state.deliveries?.some((one) => one.id === id) ? link(address("activity", { delivery: id }), id) : id;
  return [[why.command, why.scope].filter(Boolean).join(" ") || "published",
    why.delivery ? [" · delivery ", why.delivery.split(",").map((id, n) => [n ? ", " : "", known(id)])] : "",
    why.announced ? [" · announced ", when(why.announced)] : "", /^\d+$/.test(commit) ? ` · commit ${commit}` : ""];
}

function difference(before, after, document_) {
  const key = `${before.sha256} ${after.sha256}`;
  if (told.diff?.key !== key) {
    const mine = told.diff = { key };
    const live = told.history.environments[document_.environment][0] === after;
    Promise.all([source.html({ ...document_, sha256: before.sha256, at: before.sha256 }),
      source.html({ ...document_, sha256: live ? "" : after.sha256, at: after.sha256 })])
      .then(([old, now]) => { mine.lines = compare(pieces(old), pieces(now)); }, (reason) => { mine.problem = String(reason.message || reason); })
      .then(() => { if (told.diff === mine) redraw(); });
  }
  const { lines, problem } = told.diff;
  if (problem) return para("empty", problem);
  if (!lines) return para("loading", "Comparing …");
  const [added, removed] = ["+", "-"].map((sign) => lines.filter((one) => one[0] === sign).length);
  if (!added && !removed) return para("empty", "Its HTML is the same.");
  const kinds = { "+": "added", "-": "removed", "…": "gap" };
  return make("div", { class: "diff" }, para("soft", `${count(added, "line")} added, ${count(removed, "line")} removed`),
    make("pre", { tabindex: 0, role: "region", "aria-label": "Differences, line by line" }, around(lines).map(([sign, text]) =>
      make("span", { class: kinds[sign] || "" }, make("i", { "aria-hidden": sign === " " }, sign), text, "\n"))));
}

/* Lines; of HTML without line breaks, elements. */
function pieces(html) {
  return html.split(/\r\n?|\n/).flatMap((line) => line.length > 400 ? line.replace(/>\s*</g, ">\n<").replace(/([;{}])(?=\S)/g, "$1\n").split("\n") : [line])
    .map((line) => line.length > 600 ? `${line.slice(0, 600)}…` : line).slice(0, 20000);
}

/* Myers' shortest edit script between what both begin and end with; where the two have too little in common, all of one for all of the other. */
function compare(old, now) {
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start += 1;
  let end = 0;
  while (end < old.length - start && end < now.length - start && old[old.length - 1 - end] === now[now.length - 1 - end]) end += 1;
  const a = old.slice(start, old.length - end), b = now.slice(start, now.length - end);
  const same = (lines) => lines.map((text) => [" ", text]);
  return [...same(old.slice(0, start)), ...script(a, b), ...same(old.slice(old.length - end))];
}

function script(a, b) {
  const whole = [...a.map((text) => ["-", text]), ...b.map((text) => ["+", text])];
  if (!a.length || !b.length) return whole;
  const trace = [], furthest = new Map([[1, 0]]);
  for (let d = 0; d <= Math.min(a.length + b.length, 1200); d += 1) {
    trace.push(new Map(furthest));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
      let x = down ? furthest.get(k + 1) : furthest.get(k - 1) + 1;
      let y = x - k;
      while (x < a.length && y < b.length && a[x] === b[y]) { x += 1; y += 1; }
      furthest.set(k, x);
      if (x >= a.length && y >= b.length) return walked(trace, a, b);
    }
  }
  return whole;
}

function walked(trace, a, b) {
  const out = [];
  let x = a.length, y = b.length;
  for (let d = trace.length - 1; d > 0; d -= 1) {
    const seen = trace[d], k = x - y;
    const down = k === -d || (k !== d && (seen.get(k - 1) ?? -1) < (seen.get(k + 1) ?? -1));
    const px = seen.get(down ? k + 1 : k - 1), py = px - (down ? k + 1 : k - 1);
    while (x > px && y > py) { x -= 1; y -= 1; out.push([" ", a[x]]); }
    if (down) { y -= 1; out.push(["+", b[y]]); } else { x -= 1; out.push(["-", a[x]]); }
  }
  while (x > 0 && y > 0) { x -= 1; y -= 1; out.push([" ", a[x]]); }
  return out.reverse();
}

function around(lines) {
  const keep = new Set(lines.flatMap(([sign], at) => sign === " " ? [] : [-3, -2, -1, 0, 1, 2, 3].map((n) => at + n)));
  const out = [];
  let hidden = 0;
  for (const [at, one] of [...lines, null].entries()) {
    if (one && !keep.has(at)) { hidden += 1; continue; }
    if (hidden) out.push(["…", `${count(hidden, "line")} as before`]);
    hidden = 0;
    if (one) out.push(one);
  }
  return out.length > 3000 ? [...out.slice(0, 3000), ["…", `${count(out.length - 3000, "line")} more`]] : out;
}

// -- actions: each first says what it will do

const account = { enabled: false, signedIn: false };

function act(action, given, text) {
  return button({ "data-act": action, "data-given": JSON.stringify(given) }, text);
}

async function recall() {
  if (!source.live) return;
  const found = await source.session().catch(() => account);
  account.enabled = found.enabled;
  account.signedIn = found.signedIn && Boolean(sessionStorage.getItem("myop-cdn-key"));
  redraw();
}

function drawAccount() {
  draw(document.getElementById("account"), !account.enabled ? null :
    account.signedIn ? act("logout", {}, "Sign out") : act("login", {}, "Sign in"));
}

const dialog = document.getElementById("dialog");

function ask(title, ...children) {
  draw(dialog, make("h2", { id: "dialog-title" }, title), children);
  if (!dialog.open) dialog.showModal();
}

/* Of a dialog: away with it, or on. */
const acts = (...more) => para("acts", act("close", {}, "Close"), more);

/* Asks for what is not known yet. fields: the label of each, and its input. */
function askFor(form, title, given, fields, verb, problem) {
  ask(title, make("form", { method: "dialog", "data-form": form, "data-given": JSON.stringify(given) },
    fields.map(([label, input]) => make("label", {}, label, make("input", { autocomplete: "off", ...input }))),
    problem ? make("p", { class: "error", role: "alert" }, problem) : null,
    acts(make("button", { class: "button main" }, verb))));
}

const TITLES = { retry: "Do this delivery again?", forget: "Forget this delivery?", full: "Sync everything now?", rollback: "Roll back?", resume: "Hold back no longer?" };
const VERBS = { retry: "Retry", forget: "Forget", full: "Full sync now", rollback: "Roll back", resume: "Resume" };

function login(problem) {
  const token = { type: "password", name: "token", required: true, autocomplete: "current-password" };
  askFor("login", "Sign in", {}, [["The token of --admin-token-file", token]], "Sign in", problem);
}

function aim(action, given) {
  askFor("aim", TITLES[action], { action, ...given }, [
    ["Go back to this commit, or to how it was at this time", { name: "to", required: true, placeholder: "41, or 2026-03-24T10:00:00Z" }],
    ["Only this component (its id); nothing for all", { name: "component" }],
    ["Only this environment; nothing for all", { name: "environment" }],
  ], "Show what it would do");
}

async function carryOut(given) {
  const answer = await source.post("action", given);
  if (answer.outcome) return answer.outcome;
  for (;;) {
    const { outcome } = await source.job(answer.job);
    if (outcome) return outcome;
    await new Promise((go) => setTimeout(go, 300));
  }
}

async function propose(given, preview = true) {
  const title = TITLES[given.action];
  ask(title, para("loading", preview ? "Looking what it would do …" : "Under way …"), acts());
  let outcome;
  try {
    outcome = await carryOut({ ...given, preview });
  } catch (reason) {
    outcome = { title: "It was not done", lines: [], error: String(reason.message || reason) };
    if (/sign in/.test(outcome.error)) { await recall(); login("Sign in again."); return; }
  }
  if (!dialog.open) return;
  ask(title, make("p", { role: "status", class: outcome.error ? "error" : "" }, outcome.error ? `${outcome.title}: ${outcome.error}` : `${outcome.title}.`),
    make("ul", { tabindex: 0, "aria-label": "In detail" }, outcome.lines.map((line) => make("li", {}, line))),
    acts(preview && !outcome.error ? button({ class: "button main", "data-act": "sure", "data-given": JSON.stringify(given) }, VERBS[given.action]) : null));
  if (!preview) { told.key = ""; load(); }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-act]");
  if (!button) return;
  const given = JSON.parse(button.dataset.given || "{}");
  const action = button.dataset.act;
  if (action === "close") dialog.close();
  else if (action === "login") login();
  else if (action === "logout") {
    await source.post("logout", {}).catch(() => {});
    sessionStorage.removeItem("myop-cdn-key");
    recall();
  } else if (action === "sure") propose(given, false);
  else if (action === "rollback" && !given.to) aim(action, given);
  else propose({ action, ...given });
});

document.addEventListener("submit", async (event) => {
  const form = event.target;
  event.preventDefault();
  const values = Object.fromEntries(new FormData(form));
  if (form.dataset.form === "aim") propose({ ...JSON.parse(form.dataset.given), ...values });
  if (form.dataset.form === "login") {
    try {
      const { key } = await source.post("login", { token: values.token });
      sessionStorage.setItem("myop-cdn-key", key);
      dialog.close();
      await recall();
      say("You are signed in.");
    } catch (reason) { login(String(reason.message || reason)); }
  }
});

// -- going round

const main = document.getElementById("main");

function redraw() {
  if (!state) { draw(main, make("p", { class: "loading" }, error || "Loading …")); return; }
  const at = route();
  const view = at.view === "activity" && !state.deliveries ? "live" : at.view;
  main.dataset.view = view;
  draw(main, { activity: drawActivity, component: drawComponent, live: drawLive }[view]());
  drawTop();
  drawAccount();
}

let searched = "";

async function load() {
  const at = route();
  const destination = chosen(at);
  try {
    if (at.view === "component") {
      const key = `${destination} ${at.component}`;
      if (told.key !== key) told = { key, history: null, name: "", live: null };
      const mine = told;
      const live = source.components({ destination, search: at.component }).then(({ items }) => {
        const item = items.find((one) => one.id === at.component);
        mine.name = item?.name || mine.name;
        mine.live = item?.live || null;
      });
      const past = source.history(destination, at.component).then((history) => { mine.history = history; });
      await Promise.all([live, past]);
    } else if (at.view === "live") {
      const query = { destination, search: at.search, environment: at.environment, offset: Number(at.offset) || 0 };
      const asked = JSON.stringify(query);
      searched = asked;
      const answer = await source.components(query);
      if (searched !== asked) return;
      note_changes(answer, asked);
      found = answer;
    }
    error = "";
  } catch (reason) {
    error = reason instanceof Refused ? reason.message : "The listener can't be reached.";
  }
  redraw();
}

let noted = "";
function note_changes(answer, asked) {
  if (found && noted === asked) {
    const before = new Map(found.items.map((item) => [item.id, item]));
    for (const item of answer.items) {
      for (const [environment, one] of Object.entries(item.live)) {
        const old = before.get(item.id)?.live[environment];
        if (before.has(item.id) && (!old || old.since !== one.since || old.variantId !== one.variantId)) {
          changed.set(`${item.id}/${environment}`, Date.now() + 6000);
          say(`${item.name || item.id} in ${environment} shows ${labelled(one)} now.`);
          setTimeout(redraw, 6100);
        }
      }
    }
  }
  noted = asked;
}

function say(words) { document.getElementById("said").textContent = words; }

function linked(words, tone) {
  const place = document.getElementById("link");
  if (place.textContent !== words) place.textContent = words;
  place.className = `link ${tone}`;
}

async function follow() {
  let tag = "", pause = 250;
  for (;;) {
    if (document.hidden) {
      await new Promise((go) => document.addEventListener("visibilitychange", go, { once: true }));
      continue;
    }
    try {
      const asked = Date.now();
      const answer = await source.state(tag, 8);
      // While much happens, less often: who takes deliveries has better things to do.
      pause = Date.now() - asked > 1000 ? 250 : Math.min(2500, pause * 1.6);
      if (source.live) linked("live", "good");
      if (answer) {
        const first = !state;
        tag = answer.tag;
        state = answer.state;
        if (first && source.live) redraw();
        if (first || relevant()) await load();
        else redraw();
      }
      if (!source.live) return;
    } catch (reason) {
      linked(reason instanceof Refused ? "in trouble" : "not reached", "bad");
      error = reason instanceof Refused ? reason.message : "The listener can't be reached; this page goes on trying.";
      if (!state) redraw();
      pause = Math.min(8000, pause * 2);
    }
    await new Promise((go) => setTimeout(go, pause));
  }
}

/* What is live changes with runs alone. */
let lastRuns = "";
function relevant() {
  const now = JSON.stringify((state.runs || []).slice(0, 12).map((one) => [one.run, one.state])) + JSON.stringify(state.destinations.map((one) => one.documents));
  const is = now !== lastRuns;
  lastRuns = now;
  return is;
}

let resizing = 0;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(redraw, 150);
});

addEventListener("hashchange", () => {
  const at = route();
  if (at.view !== "live") { main.focus({ preventScroll: true }); scrollTo(0, 0); }
  redraw();
  load().then(() => {
    if (at.view === "activity" && at.delivery) document.getElementById(`delivery-${at.delivery}`)?.scrollIntoView({ block: "center" });
  });
});

let typing = 0;
document.addEventListener("input", (event) => {
  const form = event.target.closest("form.tools");
  if (!form) return;
  clearTimeout(typing);
  typing = setTimeout(() => {
    const given = Object.fromEntries(new FormData(form));
    if (given.destination === destinations()[0]) delete given.destination;
    history.replaceState(null, "", address("", given));
    load();
  }, event.target.type === "search" ? 150 : 0);
});
setInterval(() => {
  for (const one of document.querySelectorAll("time[data-ago]")) {
    const words = ago(one.dateTime);
    if (one.textContent !== words) one.textContent = words;
  }
}, 5000);

recall();
follow();
