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

class Served {
  live = true;

  async ask(path, query = {}, headers = {}, method = "GET", body = undefined) {
    const url = new URL(`page/${path}`, new URL(".", location.href.split("#")[0]));
    for (const [name, value] of Object.entries(query)) {
      if (value !== "" && value !== undefined && value !== null) url.searchParams.set(name, value);
    }
    const answer = await fetch(url, {
      method, body, headers, cache: "no-cache", credentials: "same-origin", redirect: "error",
    });
    if (!answer.ok && answer.status !== 304) {
      const words = await answer.json().catch(() => ({}));
      throw new Refused(words.error || `The listener answered ${answer.status}.`);
    }
    return answer;
  }

  async state(tag, wait) {
    const headers = tag ? { "If-None-Match": tag } : {};
    if (wait && tag) headers.Prefer = `wait=${wait}`;
    const answer = await this.ask("state", {}, headers);
    if (answer.status === 304) return null;
    return { tag: answer.headers.get("ETag"), state: parsed(await answer.text()) };
  }

  async session() { return (await this.ask("session")).json(); }
  async post(path, value) {
    const headers = { "Content-Type": "application/json" };
    const key = sessionStorage.getItem("myop-cdn-key");
    if (key) headers["X-Myop-Cdn-Key"] = key;
    return (await this.ask(path, {}, headers, "POST", JSON.stringify(value))).json();
  }
  async job(job) {
    const key = sessionStorage.getItem("myop-cdn-key") || "";
    return (await this.ask("job", { job }, { "X-Myop-Cdn-Key": key })).json();
  }

  async components(query) { return parsed(await (await this.ask("components", { ...query, limit: PAGE })).text()); }
  async history(destination, component) {
    return parsed(await (await this.ask("history", { destination, component })).text());
  }
  async html(version) { return (await this.ask("source", asked(version))).text(); }

  show(frame, version) {
    frame.sandbox = "allow-scripts";
    const url = new URL("page/document", new URL(".", location.href.split("#")[0]));
    for (const [name, value] of Object.entries(asked(version))) url.searchParams.set(name, value);
    frame.src = url;
  }
}

function asked({ destination, component, environment, sha256 = "", at = "" }) {
  const query = { destination, component, environment };
  if (sha256) query.sha256 = sha256;
  if (at) query.at = at;
  return query;
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
    const same = child.nodeType === 1 && child.dataset.key ? keyed.get(child.dataset.key) : at;
    if (same && child.nodeType === 1 && child.dataset.key && same !== at) {
      old.insertBefore(same, at);
      morph(same, child);
    } else if (same && !(child.nodeType === 1 && child.dataset.key && same !== at)) {
      at = at.nextSibling;
      morph(same, child);
    } else {
      old.insertBefore(child, at);
      if (child.nodeType === 1) prepare(child);
    }
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
  for (const frame of node.matches(".frame") ? [node] : node.querySelectorAll(".frame")) {
    near.observe(frame);
    size.observe(frame);
  }
  for (const one of node.querySelectorAll("select[data-value]")) one.value = one.dataset.value;
  if (node.matches("select[data-value]")) node.value = node.dataset.value;
}

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
function chip(text, tone = "") { return make("span", { class: `chip ${tone}` }, text); }

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
  const views = [["live", "#/", "Live"]];
  if (state && state.deliveries) views.push(["activity", "#/activity", "Activity"]);
  draw(document.getElementById("views"), views.map(([name, href, text]) => make("a", {
    href, "aria-current": name === at.view || (name === "live" && at.view === "component") ? "page" : null,
  }, text, name === "activity" && troubles().length ? make("b", { class: "dot", title: "needs a look" }) : null)));
  document.title = at.view === "live" || !found ? "myop-cdn" : `myop-cdn: ${at.view}`;
  const foot = document.getElementById("foot");
  draw(foot, make("p", {}, source.live ?
    (account.signedIn ? "Signed in: actions show what they will do before they do it." : account.enabled ?
      "Read-only until you sign in." :
      "Read-only: this listener was started without --admin-token-file, so nothing can be changed here.") :
    `Written by ${state?.writtenBy || "myop-cdn"} ${state?.at ? moments.format(Date.parse(state.at)) : ""}; it needs no server and no network.${source.data.scripts ? "" : " Documents are shown without their scripts."}`));
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
  const options = (values, value) => values.map((one) => make("option", { value: one[0], selected: one[0] === value }, one[1]));
  const names = destinations();
  return make("form", { class: "tools", role: "search", "data-key": "tools" },
    make("label", { class: "search" }, make("span", { class: "hidden" }, "Search components and variants"),
      make("input", { type: "search", name: "search", value: at.search || "", placeholder: "Search components and variants", autocomplete: "off" })),
    make("label", {}, make("span", { class: "hidden" }, "Environment"),
      make("select", { name: "environment", "data-value": at.environment || "" },
        options([["", "All environments"], ...ordered(Object.keys(found?.environments || {})).map((one) => [one, one])], at.environment || ""))),
    names.length > 1 ? make("label", {}, make("span", { class: "hidden" }, "Destination"),
      make("select", { name: "destination", "data-value": chosen(at) }, options(names.map((one) => [one, shortened(one)]), chosen(at)))) : null,
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
  const key = `${item.id}/${environment}`;
  if (!one) return make("div", { class: "cell none", "data-key": key }, make("span", {}, "not released"));
  const destination = chosen(at);
  const bad = trouble(destination, item.id, environment);
  const version = { destination, component: item.id, environment, at: `${one.since || ""}${one.variantId || ""}${one.sha256 || ""}` };
  const title = `${item.name || item.id} in ${environment}: ${labelled(one)}`;
  const href = address(`component/${encodeURIComponent(item.id)}`, { environment, destination: at.destination });
  return make("a", {
    class: `cell${fresh(key) ? " fresh" : ""}`, href, "data-key": key,
  },
    framed(version, title),
    make("span", { class: "what" },
      make("b", {}, make("span", { class: "hidden" }, `${item.name || item.id} in ${environment}: `), labelled(one)),
      make("small", {}, wide ? `${item.name || item.id} · ` : make("span", { class: "env" }, `${environment} · `), when(one.since))),
    bad ? chip(bad.givenUp ? "given up" : bad.behind ? "behind" : "retrying", bad.givenUp ? "bad" : "warn") :
      one.state && one.state !== "live" && one.state !== "current" ? chip(one.state, "warn") : one.held ? chip("held back", "warn") : null);
}

const changed = new Map();
function fresh(key) { return (changed.get(key) || 0) > Date.now(); }

function drawLive() {
  const at = route();
  const heading = make("h1", { class: "hidden", "data-key": "h" }, "What is live");
  if (!found) return [heading, summary(), toolbar(at), make("p", { class: "loading" }, error || "Loading …")];
  const environments = ordered(Object.keys(found.environments));
  const parts = [heading, summary(), toolbar(at)];
  if (!found.items.length) {
    parts.push(make("p", { class: "empty", "data-key": "empty" }, found.components ? "Nothing fits. Try fewer letters, or another environment." :
      "Nothing has been published yet. What is released in Myop shows here by itself."));
  } else if (at.environment) {
    parts.push(make("ul", { class: "gallery", "data-key": "gallery" }, found.items.map((item) => make("li", { "data-key": item.id },
      cell(at, item, at.environment, true)))));
  } else {
    const columns = make("tr", {}, make("th", { scope: "col" }, "Component"), environments.map((one) => make("th", { scope: "col" }, one)));
    const rows = found.items.map((item) => make("tr", { "data-key": item.id },
      make("th", { scope: "row" },
        make("a", { href: address(`component/${encodeURIComponent(item.id)}`, { destination: at.destination }) }, item.name || item.id),
        make("small", {}, item.id)),
      environments.map((environment) => make("td", { "data-key": environment }, cell(at, item, environment, false)))));
    parts.push(make("div", { class: "matrix", "data-key": "matrix", "data-columns": Math.min(environments.length, 9) }, make("table", {},
      make("caption", { class: "hidden" }, "What is live: components by environment"),
      make("thead", {}, columns), make("tbody", {}, rows))));
  }
  if (found.matched > PAGE) {
    const offset = Number(at.offset) || 0;
    const link = (to, text, off) => off ? make("span", { class: "button off" }, text) :
      make("a", { class: "button", href: address("", { ...at, view: "", offset: to || "" }) }, text);
    parts.push(make("nav", { class: "pages", "aria-label": "Pages", "data-key": "pages" },
      link(Math.max(0, offset - PAGE), "← Previous", offset === 0),
      make("span", {}, `Page ${Math.floor(offset / PAGE) + 1} of ${Math.ceil(found.matched / PAGE).toLocaleString("en")}`),
      link(offset + PAGE, "Next →", offset + PAGE >= found.matched)));
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
    lost.length ? make("section", { class: "panel bad", "data-key": "lost", "aria-labelledby": "lost" },
      make("h2", { id: "lost" }, "Given up"),
      make("p", {}, "Tried again and again without success. The line below each has it done again once the cause is mended."),
      make("ul", { class: "plain" }, lost.map((one) => make("li", { "data-key": `${one.destination}${one.componentId}/${one.environment}` },
        make("b", {}, one.name || one.componentId), ` in ${one.environment} · `, count(one.attempts, "attempt"), " since ", when(one.since),
        make("p", { class: "error" }, one.error), make("code", { class: "mend", tabindex: 0 }, one.mend))))) : null,
    make("section", { "data-key": "where", "aria-labelledby": "where" }, make("h2", { id: "where" }, "Destinations"),
      make("div", { class: "cards" }, state.destinations.map((one) => destination(one, coming)))),
    make("section", { class: "panel", "data-key": "runs", "aria-labelledby": "runs" }, make("h2", { id: "runs" }, "Runs over time"), plot(state.runs)),
    make("section", { "data-key": "last", "aria-labelledby": "last" }, make("h2", { id: "last" }, "Last deliveries"), deliveries()),
  ].filter(Boolean);
}

function destination(one, coming) {
  const mine = coming.filter((retry) => retry.destination === one.destination);
  const facts = [];
  const add = (name, ...value) => facts.push(make("dt", {}, name), make("dd", {}, value));
  add("documents", one.documents.toLocaleString("en"));
  add("last success", when(one.lastSuccess));
  add("waiting", one.pending ? count(one.pending, "delivery", "deliveries") : "nothing");
  if (one.nextAttempt) add("next attempt", when(one.nextAttempt));
  add("next full sync", one.fullSyncDue ? `due: ${one.fullSyncDue}` : one.nextFullSync ? when(one.nextFullSync) : "not planned");
  const shown = mine.slice(0, 5);
  return make("article", { class: "panel", "data-key": one.destination },
    make("h3", {}, make("span", {}, shortened(one.destination)), one.running ? chip("publishing", "busy") : chip(one.state, TONES[one.state])),
    one.error ? make("p", { class: "error" }, `${count(one.failedAttempts, "run")} failed in a row: ${one.error}`) : null,
    one.fullSyncError ? make("p", { class: "error" }, `The full sync failed: ${one.fullSyncError}`) : null,
    make("dl", { class: "facts" }, facts),
    shown.length ? make("ul", { class: "plain small" }, shown.map((retry) => make("li", {},
      make("b", {}, retry.name || retry.componentId), ` in ${retry.environment}: ${retry.error} · `, retry.due ? ["again ", when(retry.due)] : "with the next full sync"))) : null,
    mine.length > shown.length ? make("p", { class: "soft" }, `and ${mine.length - shown.length} more`) : null,
    account.signedIn ? make("p", { class: "acts" }, act("rollback", { destination: one.destination }, "Roll back …"), act("resume", { destination: one.destination }, "Resume …")) : null);
}

function deliveries() {
  if (!state.deliveries.length) return make("p", { class: "empty" }, "No delivery has come yet.");
  return make("ul", { class: "deliveries" }, state.deliveries.map((one) => make("li", { "data-key": one.id, id: `delivery-${one.id}` },
    make("span", { class: "time" }, when(one.received)),
    make("div", {},
      make("p", {}, one.releases.length ? one.releases.map((release, at) => [at ? ", " : "", make("b", {}, release.name || release.componentId),
        ` in ${release.environment}`, release.variantName || release.variantId ? ` → ${release.variantName || release.variantId}` : ""]) :
        one.scope === "full" ? "a full sync" : one.event || "nothing to publish", one.more ? ` and ${one.more} more` : ""),
      one.note ? make("p", { class: "soft" }, one.note) : null,
      one.error ? make("p", { class: "error" }, one.error) : null,
      one.lacking.filter((lack) => !lack.error && state.destinations.length > 1).map((lack) => make("p", { class: "soft" }, `to come: ${lack.destination}`)),
      one.mend ? make("code", { class: "mend", tabindex: 0 }, one.mend) : null,
      account.signedIn ? make("p", { class: "acts" }, act("retry", { delivery: one.id }, "Retry"), act("forget", { delivery: one.id }, "Forget")) : null),
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
  if (!runs.length) return make("p", { class: "empty" }, "No run yet.");
  const seconds = (one) => Math.max(0.001, (Date.parse(one.ended) - Date.parse(one.started)) / 1000);
  const step = Math.min(26, room / runs.length);
  const longest = Math.max(...runs.map(seconds));
  const top = MARKS.find((mark) => mark >= longest) || longest;
  const most = Math.max(1, ...runs.map((one) => one.uploaded));
  // A root, so that a full sync of a minute leaves a release of a second to be seen.
  const high = (value) => Math.max(2, Math.sqrt(value / top) * 110);
  const marks = MARKS.filter((mark) => mark < top).reduceRight((kept, mark) =>
    high(kept[kept.length - 1]) - high(mark) >= 22 && high(mark) >= 18 ? [...kept, mark] : kept, [top]);
  const ticks = marks.map((mark) => [make("line", { x1: left, x2: width, y1: base - high(mark), y2: base - high(mark), class: "grid" }),
    make("text", { x: left - 8, y: base - high(mark) + 4, class: "axis" }, duration(mark).replace(".0", ""))]);
  const bars = runs.map((one, at) => {
    const x = left + 4 + at * step;
    const text = `${moments.format(Date.parse(one.started))}: ${one.scope}, ${one.state}, ${duration(seconds(one))}, ${count(one.uploaded, "object")} written` +
      `${state.destinations.length > 1 ? `, ${one.destination}` : ""}${one.error ? `; ${one.error}` : ""}`;
    return make("g", { class: `run ${TONES[one.state] || ""}` }, make("title", {}, text),
      make("rect", { x, y: base - high(seconds(one)), width: Math.max(2, step - 4), height: high(seconds(one)), rx: 2 }),
      one.state !== "done" ? make("path", { class: "mark", d: `M${x + step / 2 - 6} 12l8 0l-4 7z` }) : null,
      one.uploaded ? make("circle", { cx: x + (step - 4) / 2, cy: 158, r: Math.max(2, Math.sqrt(one.uploaded / most) * Math.min(11, step / 2)) }) : null);
  });
  const failed = runs.filter((one) => one.state === "failed").length;
  const label = `${count(runs.length, "run")}, ${failed} failed; the longest took ${duration(longest)}, the most written were ${count(most, "object")}`;
  return make("div", {},
    make("p", { class: "legend" }, make("span", { class: "key good" }, "done"), make("span", { class: "key warn" }, "in part"), make("span", { class: "key bad" }, "failed"),
      make("span", { class: "soft" }, "height: how long, as its square root · circle: documents written")),
    make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "plot" },
      ticks, make("line", { x1: left, x2: width, y1: base, y2: base, class: "base" }), bars,
      make("text", { x: left, y: height - 4, class: "axis start" }, ago(runs[0].started)),
      make("text", { x: Math.max(left + 130, left + runs.length * step), y: height - 4, class: "axis" }, runs.length > 1 ? ago(runs[runs.length - 1].started) : "")),
    make("details", {}, make("summary", {}, "As a table"), make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Runs as a table" }, make("table", { class: "list" },
      make("thead", {}, make("tr", {}, ["Run", "Began", "What", "State", "Took", "Written", "Error"].map((one) => make("th", { scope: "col" }, one)))),
      make("tbody", {}, [...runs].reverse().slice(0, 40).map((one) => make("tr", { "data-key": one.run }, make("td", {}, String(one.run)), make("td", {}, when(one.started)),
        make("td", {}, `${one.scope}${state.destinations.length > 1 ? ` → ${shortened(one.destination)}` : ""}`), make("td", {}, chip(one.state, TONES[one.state])),
        make("td", {}, duration(seconds(one))), make("td", {}, String(one.uploaded)), make("td", { class: "error" }, one.error || ""))))))));
}

function duration(seconds) {
  if (seconds < 0.9995) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 90) return `${seconds.toFixed(1)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// -- a component: its versions, before and after

function versions(at) {
  const history = told.history;
  const names = ordered(new Set([...Object.keys(history?.environments || {}), ...Object.keys(told.live || {})]));
  const environment = names.includes(at.environment) ? at.environment : names[0] || "";
  return { names, environment, list: history?.environments[environment] || [] };
}

function drawComponent() {
  const at = route();
  const destination = chosen(at);
  const name = told.history?.name || told.name || at.component;
  const { names, environment, list } = versions(at);
  const go = (more) => address(`component/${encodeURIComponent(at.component)}`, { destination: at.destination, environment, before: at.before, after: at.after, ...more });
  const head = [
    make("p", { class: "crumbs", "data-key": "crumbs" }, make("a", { href: address("", { destination: at.destination }) }, "Live"), " / ", name),
    make("div", { class: "head", "data-key": "head" }, make("h1", {}, name), make("code", {}, at.component)),
    make("nav", { class: "tabs", "aria-label": "Environments", "data-key": "tabs" }, names.map((one) => make("a", {
      href: address(`component/${encodeURIComponent(at.component)}`, { destination: at.destination, environment: one }), "aria-current": one === environment ? "true" : null,
    }, one, make("small", {}, labelled(told.live?.[one] || told.history?.environments[one]?.[0]))))),
  ];
  if (!told.history) return [...head, make("p", { class: "loading", "data-key": "loading" }, error || "Reading the destination's log …")];
  const after = list.find((one) => one.commit === at.after) || list[0] || null;
  const later = list.indexOf(after);
  const before = list.find((one) => one.commit === at.before) || list.slice(later + 1).find((one) => one.sha256) || null;
  const side = (one, label, isLive) => {
    const version = isLive ? { destination, component: at.component, environment, at: one ? `${one.commit}${one.sha256}` : `${told.live?.[environment]?.since || ""}` } :
      { destination, component: at.component, environment, sha256: one.sha256, at: one.sha256 };
    const gone = one && !one.sha256;
    return make("figure", { "data-key": label }, make("figcaption", {}, chip(label, label === "Before" ? "" : "good"), " ", make("b", {}, gone ? "deleted" : labelled(one || told.live?.[environment])),
      make("small", {}, one?.at ? [" since ", when(one.at)] : "")),
      gone ? make("p", { class: "empty" }, "It was deleted.") : framed(version, `${name} in ${environment}, ${label.toLowerCase()}: ${labelled(one)}`, { alive: true, width: 720 }));
  };
  const nothing = make("figure", { "data-key": "Before" }, make("figcaption", {}, chip("Before")), make("p", { class: "empty" }, told.history.older ? "The log was not read as far back as the version before." : "Nothing: this is the first version that the log has."));
  const held = told.history.held.includes(environment);
  return [
    ...head,
    told.history.warnings.map((one, n) => make("p", { class: "alarm", "data-key": `w${n}` }, one)),
    held ? make("p", { class: "alarm", "data-key": "held" }, "Held back since a rollback: a publish that brings the same content again passes over this document. ",
      account.signedIn ? act("resume", { destination, component: at.component, environment }, "Resume …") : null) : null,
    make("div", { class: "sides", "data-key": "sides" },
      before ? side(before, "Before", false) : nothing,
      side(after, later <= 0 ? "Live" : "After", later <= 0)),
    before && after?.sha256 ? make("section", { "data-key": "diff", "aria-labelledby": "diff" }, make("h2", { id: "diff" }, "What changed in its HTML"), difference(before, after, destination, at.component, environment)) : null,
    make("section", { "data-key": "versions", "aria-labelledby": "versions" }, make("h2", { id: "versions" }, "Versions"),
      list.length ? make("ol", { class: "versions" }, list.map((one, index) => make("li", { "data-key": one.commit, class: one === after ? "on" : "" },
        make("span", { class: "time" }, when(one.at)),
        make("div", {}, make("p", {}, make("b", {}, one.sha256 ? labelled(one) : "deleted"), index === 0 ? [" ", chip("live", "good")] : ""),
          make("p", { class: "soft" }, cause(one))),
        make("p", { class: "acts" },
          make("a", { class: "button", href: go({ after: one.commit, before: list[index + 1]?.commit || "" }), "aria-label": `Compare the version of commit ${one.commit} with the one before` }, "Compare"),
          account.signedIn && index > 0 && one.sha256 ? act("rollback", { destination, component: at.component, environment, to: one.commit }, "Roll back to this …") : null)))) :
        make("p", { class: "empty" }, told.history.older ? "The newest commits of the destination's log have nothing of this document." : "The destination's log has nothing of this document."),
      told.history.older ? make("p", { class: "soft", "data-key": "older" }, `${count(told.history.older, "older commit")} of the log ${told.history.older === 1 ? "was" : "were"} not read; `, make("code", {}, "myop-cdn history --limit 0"), " reads all.") : null),
  ].flat().filter(Boolean);
}

function cause(one) {
  const why = one.cause;
  const words = [why.command, why.scope].filter(Boolean).join(" ");
  return [words || "published", why.delivery ? [" · delivery ", why.delivery.split(",").map((id, n) => [n ? ", " : "", state.deliveries?.some((known) => known.id === id) ?
    make("a", { href: address("activity", { delivery: id }) }, id) : id])] : "", why.announced ? [" · announced ", when(why.announced)] : "", /^\d+$/.test(one.commit) ? ` · commit ${one.commit}` : ""];
}

function difference(before, after, destination, component, environment) {
  const key = `${before.sha256} ${after.sha256}`;
  if (told.diff?.key !== key) {
    told.diff = { key, lines: null };
    const mine = told.diff;
    const live = told.history.environments[environment][0] === after;
    Promise.all([source.html({ destination, component, environment, sha256: before.sha256, at: before.sha256 }),
      source.html({ destination, component, environment, sha256: live ? "" : after.sha256, at: after.sha256 })])
      .then(([old, now]) => { mine.lines = compare(pieces(old), pieces(now)); }, (reason) => { mine.problem = String(reason.message || reason); })
      .then(() => { if (told.diff === mine) redraw(); });
  }
  const { lines, problem } = told.diff;
  if (problem) return make("p", { class: "empty" }, problem);
  if (!lines) return make("p", { class: "loading" }, "Comparing …");
  if (!lines.some((one) => one[0] !== " ")) return make("p", { class: "empty" }, "Its HTML is the same.");
  const counts = [lines.filter((one) => one[0] === "+").length, lines.filter((one) => one[0] === "-").length];
  return make("div", { class: "diff" }, make("p", { class: "soft" }, `${count(counts[0], "line")} added, ${count(counts[1], "line")} removed`),
    make("pre", { tabindex: 0, role: "region", "aria-label": "Differences, line by line" }, around(lines).map(([sign, text]) => make("span", { class: sign === "+" ? "added" : sign === "-" ? "removed" : sign === "…" ? "gap" : "" },
      make("i", { "aria-hidden": sign === " " }, sign), text, "\n"))));
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
  const keep = new Set();
  lines.forEach(([sign], at) => { if (sign !== " ") for (let n = at - 3; n <= at + 3; n += 1) keep.add(n); });
  const out = [];
  let hidden = 0;
  lines.forEach((one, at) => {
    if (keep.has(at)) {
      if (hidden) out.push(["…", `${count(hidden, "line")} as before`]);
      hidden = 0;
      out.push(one);
    } else hidden += 1;
  });
  if (hidden) out.push(["…", `${count(hidden, "line")} as before`]);
  return out.length > 3000 ? [...out.slice(0, 3000), ["…", `${count(out.length - 3000, "line")} more`]] : out;
}

// -- actions: each first says what it will do

const account = { enabled: false, signedIn: false };

function act(action, given, text) {
  return make("button", { type: "button", class: "button", "data-act": action, "data-given": JSON.stringify(given) }, text);
}

async function recall() {
  if (!source.live) return;
  const found = await source.session().catch(() => account);
  account.enabled = found.enabled;
  account.signedIn = found.signedIn && Boolean(sessionStorage.getItem("myop-cdn-key"));
  redraw();
}

function drawAccount() {
  draw(document.getElementById("account"), account.enabled ?
    make("button", { type: "button", class: "button", "data-act": account.signedIn ? "logout" : "login" }, account.signedIn ? "Sign out" : "Sign in") : null);
}

const dialog = document.getElementById("dialog");

function ask(...children) {
  draw(dialog, children);
  if (!dialog.open) dialog.showModal();
}

const close = () => make("button", { type: "button", class: "button", "data-act": "close" }, "Close");

const TITLES = { retry: "Do this delivery again?", forget: "Forget this delivery?", full: "Sync everything now?", rollback: "Roll back?", resume: "Hold back no longer?" };
const VERBS = { retry: "Retry", forget: "Forget", full: "Full sync now", rollback: "Roll back", resume: "Resume" };

function login(problem) {
  ask(make("h2", { id: "dialog-title" }, "Sign in"), make("form", { method: "dialog", "data-form": "login" },
    make("label", {}, "The token of --admin-token-file", make("input", { type: "password", name: "token", required: true, autocomplete: "current-password" })),
    problem ? make("p", { class: "error", role: "alert" }, problem) : null,
    make("p", { class: "acts" }, close(), make("button", { class: "button main" }, "Sign in"))));
}

/* Where to go back to is not known yet: ask. */
function aim(action, given) {
  ask(make("h2", { id: "dialog-title" }, TITLES[action]), make("form", { method: "dialog", "data-form": "aim", "data-given": JSON.stringify({ action, ...given }) },
    make("label", {}, "Go back to this commit, or to how it was at this time", make("input", { name: "to", required: true, placeholder: "41, or 2026-03-24T10:00:00Z", autocomplete: "off" })),
    make("label", {}, "Only this component (its id); nothing for all", make("input", { name: "component", autocomplete: "off" })),
    make("label", {}, "Only this environment; nothing for all", make("input", { name: "environment", autocomplete: "off" })),
    make("p", { class: "acts" }, close(), make("button", { class: "button main" }, "Show what it would do"))));
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
  const heading = make("h2", { id: "dialog-title" }, TITLES[given.action]);
  ask(heading.cloneNode(true), make("p", { class: "loading" }, preview ? "Looking what it would do …" : "Under way …"), make("p", { class: "acts" }, close()));
  let outcome;
  try {
    outcome = await carryOut({ ...given, preview });
  } catch (reason) {
    outcome = { title: "It was not done", lines: [], error: String(reason.message || reason) };
    if (/sign in/.test(outcome.error)) { await recall(); login("Sign in again."); return; }
  }
  if (!dialog.open) return;
  const go = preview && !outcome.error;
  ask(heading, make("p", { role: "status", class: outcome.error ? "error" : "" }, outcome.error ? `${outcome.title}: ${outcome.error}` : `${outcome.title}.`),
    make("ul", { tabindex: 0, "aria-label": "In detail" }, outcome.lines.map((line) => make("li", {}, line))),
    make("p", { class: "acts" }, close(), go ? make("button", { type: "button", class: "button main", "data-act": "sure", "data-given": JSON.stringify(given) }, VERBS[given.action]) : null));
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
  if (form.closest("form.tools")) { event.preventDefault(); return; }
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
  draw(main, view === "activity" ? drawActivity() : view === "component" ? drawComponent() : drawLive());
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
      const item = async () => {
        const some = await source.components({ destination, search: at.component });
        const item = some.items.find((one) => one.id === at.component);
        mine.name = item?.name || mine.name;
        mine.live = item?.live || null;
      };
      const past = async () => { mine.history = await source.history(destination, at.component); };
      await Promise.all([item(), past()]);
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
