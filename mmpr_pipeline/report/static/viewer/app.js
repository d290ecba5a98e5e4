"use strict";
// The viewer: state, address and keys. What is shown of it is drawn by list, table, detail and review.

import { $, count, el, plural, remembered, tell } from "./dom.js";
import { Detail } from "./detail.js";
import { chips, fillSelects, read, write } from "./filters.js";
import { openImages } from "./images.js";
import { Index } from "./index.js";
import { List } from "./list.js";
import { drawLive } from "./live.js";
import { look, toggle } from "./parts.js";
import { Review } from "./review.js";
import { Table } from "./table.js";

const LATE = ["doubt", "why", "rule"]; // columns that come with the doubts, when they are asked for
const VIEWS = ["browse", "table", "review"];
const TITLES_KEPT = 5000, TITLES_ASKED = 100, POLL_MS = 2000;
const wide = () => matchMedia("(min-width: 56rem)").matches;

class App {
  index = new Index();
  starts = []; // first row of the index of each shard, in the order in which they came
  filter = read("");
  rows = new Uint32Array(0);
  current = null; // row that is open
  view = "browse";
  doubtsKnown = false;
  #said = null; // Uint8Array: rows that say the text that is searched for
  #titles = new Map();
  #marks = new Map(); // row -> Map(rollout -> names)
  #marking = Promise.resolve(); // marks are sent one after the other, in the order in which they were made
  #search = null;
  #reached = 0;

  constructor(data) {
    this.data = data;
    this.detail = new Detail($("detail"), this);
    this.list = new List(this);
    this.table = new Table(this);
    this.review = new Review(this);
  }

  async start() {
    this.totals = await this.data.overview();
    let early = location.hash.length > 1; // an address may name what only a later block holds
    await this.#grow(async () => {
      if (early) return;
      early = true;
      await this.#draw();
    });
    await this.#loadMarks();
    if (location.hash.length > 1 && !this.list.shown) await this.follow(); else await this.#extend();
    if (this.totals.finished < this.totals.shards) this.#poll();
  }

  // ---- the index

  async #grow(seen = () => {}) {
    for await (const { block, reached } of this.data.index(this.#reached)) {
      const shards = block.columns.shard;
      for (let i = 0; i < block.rows; i += 1) if (i === 0 || shards.data[i] !== shards.data[i - 1]) this.starts.push(this.index.rows + i);
      this.index.append(block);
      this.#reached = reached;
      this.#drawTotals();
      await seen();
    }
  }

  // Takes in rows that came at the end, without moving what is shown.
  async #extend() {
    if (this.filter.text) return this.#find();
    if (this.view !== "browse" || !this.list.shown || (this.filter.sort && $("list").scrollTop <= 200)) return this.#draw();
    this.rows = this.#selected();
    this.#sayFilters();
    return this.list.more();
  }

  async #poll() {
    try {
      this.totals = await this.data.overview();
      const before = this.index.rows;
      await this.#grow();
      if (this.index.rows !== before) {
        this.doubtsKnown = false;
        await this.#loadMarks();
        await this.#extend();
        if (this.current === null && this.view === "browse" && wide() && this.rows.length) await this.open(this.rows[0]);
      }
      this.#drawTotals();
    } catch (error) { tell(error.message); }
    if (this.totals.finished < this.totals.shards) setTimeout(() => this.#poll(), POLL_MS);
  }

  // `say` hears the share that is looked through.
  async loadDoubts(say = () => {}) {
    const parts = [];
    for await (const { block, reached } of this.data.doubts()) {
      parts.push(block);
      say(Math.min(1, reached / this.totals.finished));
    }
    const found = new Index();
    found.derive = () => {};
    for (const block of parts) found.append(block);
    for (const name of [...LATE, "doubt_index"]) {
      const column = found.columns[name];
      if (!column) continue;
      const data = new column.data.constructor(this.index.rows); // shards that came meanwhile have no doubts yet
      data.set(column.data.subarray(0, this.index.rows));
      this.index.setColumn(name, data, column.values);
    }
    this.doubtsKnown = true;
  }

  startOf(row) {
    let low = 0, high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= row) low = middle; else high = middle - 1;
    }
    return this.starts[low];
  }

  place(row) { return { shard: this.index.value("shard", row), row: row - this.startOf(row), index: row }; }

  // ---- what matches

  select(except = null) { return this.index.select(this.filter.where, this.#masks(), except); }

  #masks() {
    const masks = [];
    if (this.#said) masks.push(this.#said);
    if (this.filter.marked) {
      const mask = new Uint8Array(this.index.rows);
      for (const row of this.#marks.keys()) mask[row] = 1;
      masks.push(mask);
    }
    return masks;
  }

  #selected() {
    const rows = this.select();
    const name = this.filter.sort.replace(/^-/, "");
    return name && this.index.columns[name] ? this.index.sort(rows, name, this.filter.sort.startsWith("-")) : rows;
  }

  async refilter() {
    const used = [this.filter.sort.replace(/^-/, ""), ...Object.keys(this.filter.where), this.view === "table" ? this.table.group : ""];
    if (LATE.some((name) => used.includes(name))) await this.#needDoubts();
    this.changed();
    await this.#draw();
  }

  async #needDoubts() {
    if (this.doubtsKnown) return;
    await this.loadDoubts((share) => this.list.say(`Looking for doubtful verdicts, ${Math.floor(100 * share)}% …`));
    this.list.say("");
  }

  // The search: rows are taken in as they are found, questions first, then responses.
  async #find() {
    this.#search?.abort();
    const text = this.filter.text.trim();
    look.needle = text;
    if (!text) {
      this.#said = null;
      return this.#draw();
    }
    const search = this.#search = new AbortController();
    this.#said = new Uint8Array(this.index.rows);
    let drawn = 0, fresh = true;
    try {
      for await (const { rows, where, share } of this.data.search(text, this.starts, search.signal)) {
        if (search.signal.aborted) return undefined;
        for (const row of rows) if (!this.#said[row]) { this.#said[row] = 1; fresh = true; }
        this.searching = where === "responses" && share === 1 ? null : `searching ${where}${share < 1 ? `, ${Math.floor(100 * share)}%` : ""}`;
        if (fresh && performance.now() - drawn > 600) {
          await this.#draw();
          drawn = performance.now();
          fresh = false;
        } else this.#sayFilters();
      }
    } catch (error) {
      if (error.name !== "AbortError") tell(error.message);
      return undefined;
    }
    this.searching = null;
    return this.#draw();
  }

  async #draw() {
    this.rows = this.#selected();
    this.#sayFilters();
    if (this.view === "table") {
      if (!this.doubtsKnown && this.index.rows <= 200_000) await this.loadDoubts();
      this.table.draw();
    } else if (this.view === "review") await this.review.start();
    else {
      await this.list.draw();
      if (wide() && this.rows.length && (this.current === null || !this.rows.includes(this.current))) await this.open(this.rows[0]);
    }
  }

  #sayFilters() {
    if (this.filter.text) this.rows = this.#selected();
    this.list.sayMatches(this.rows.length, this.searching);
    $("table-matches").textContent = $("matches").textContent;
    for (const box of document.querySelectorAll(".filter-chips")) box.replaceChildren(...chips(this.filter, () => this.refilter()));
    fillSelects(this.index, this.filter);
    const active = Object.keys(this.filter.where).length + Number(this.filter.marked);
    $("active").textContent = active ? ` · ${active}` : "";
    this.list.say(this.rows.length || this.searching ? "" : this.index.rows ? "Nothing matches." : "No shard is finished yet.");
  }

  // ---- titles

  knownTitle(row) { return this.#titles.get(row); }

  async titles(rows) {
    const missing = rows.filter((row) => !this.#titles.has(row));
    for (let i = 0; i < missing.length; i += TITLES_ASKED) {
      const part = missing.slice(i, i + TITLES_ASKED);
      const found = await this.data.titles(part.map((row) => this.place(row)));
      part.forEach((row, k) => this.#titles.set(row, found[k]));
    }
    const titles = rows.map((row) => this.#titles.get(row));
    for (const row of this.#titles.keys()) {
      if (this.#titles.size <= TITLES_KEPT) break;
      this.#titles.delete(row);
    }
    return titles;
  }

  // ---- marks

  reviewer() { return (remembered("reviewer") ?? "").slice(0, 60); }
  marksOn(row) { return this.#marks.get(row)?.size ?? 0; }
  isMarked(row, rollout) { return this.#marks.get(row)?.get(rollout)?.has(this.reviewer()) ?? false; }

  async #loadMarks() {
    const { marks } = await this.data.marked();
    const wanted = new Map();
    for (const mark of marks) wanted.set(mark.question_id, [...(wanted.get(mark.question_id) ?? []), mark]);
    this.#marks = new Map();
    for (const [id, found] of wanted) {
      const row = this.index.find(id);
      if (row < 0) continue;
      const rollouts = new Map();
      for (const { index, by } of found) rollouts.set(index, (rollouts.get(index) ?? new Set()).add(by));
      this.#marks.set(row, rollouts);
    }
    this.totals.marks = [...this.#marks.values()].reduce((sum, rollouts) => sum + rollouts.size, 0);
    this.#drawTotals();
  }

  // Keeps a mark; false where it could not be kept.
  async mark(rollout, outcome, note = "", drawn = "") {
    const by = this.reviewer();
    const mark = { question_id: rollout.question_id, index: rollout.index, outcome, note: outcome === "clear" ? "" : note, by, drawn, judged: rollout.outcome ?? "", rule: (rollout.rule ?? "").slice(0, 60) };
    this.#marking = this.#marking.catch(() => {}).then(() => this.data.mark(mark));
    try {
      await this.#marking;
    } catch (error) {
      tell(`Not kept: ${error.message}`);
      return false;
    }
    rollout.marks = rollout.marks.filter((one) => one.by !== by);
    if (outcome !== "clear") rollout.marks.push(mark);
    const row = this.index.find(rollout.question_id);
    const names = this.#marks.get(row) ?? new Map();
    if (rollout.marks.length) names.set(rollout.index, new Set(rollout.marks.map((one) => one.by)));
    else names.delete(rollout.index);
    if (names.size) this.#marks.set(row, names); else this.#marks.delete(row);
    this.totals.marks = [...this.#marks.values()].reduce((sum, rollouts) => sum + rollouts.size, 0);
    this.#drawTotals();
    await this.list.redraw(row);
    return true;
  }

  // ---- the question that is open, and the address

  async open(row, { pair = null, tab = null } = {}, push = false, view = this.view) {
    this.current = row;
    if (view !== this.view) this.#show(view);
    try {
      if (!await this.detail.open(this.place(row), { pair, tab })) return;
    } catch (error) {
      tell(error.message);
      return;
    }
    if (push) document.body.dataset.pane = "detail";
    this.changed(push);
    if (view === "browse" && !this.list.shown) await this.list.draw();
    this.list.showCurrent();
  }

  async step(by) {
    const here = this.rows.indexOf(this.current);
    const next = this.rows[Math.min(this.rows.length - 1, Math.max(0, here + by))];
    if (next === undefined) return;
    while (here + by >= this.list.shown && this.list.shown < this.rows.length) await this.list.more();
    await this.open(next, {}, true);
  }

  changed(push = false) {
    const wanted = new URLSearchParams();
    if (this.view !== "browse") wanted.set("view", this.view);
    write(this.filter, wanted);
    if (this.view === "table" && this.table.group) wanted.set("group", this.table.group);
    const { detail } = this.detail;
    if (this.view === "browse" && detail && (wide() || document.body.dataset.pane === "detail")) {
      if (detail.question.question_id) wanted.set("question", detail.question.question_id);
      else wanted.set("at", `${detail.shard}.${detail.row}`);
      if (this.detail.tab === "rollouts") wanted.set("tab", "rollouts");
      else if (this.detail.pair) wanted.set("pair", this.detail.pair);
    }
    const hash = `#${wanted}`;
    if (hash !== (location.hash || "#")) history[push ? "pushState" : "replaceState"](null, "", hash);
  }

  // Goes where the address says.
  async follow() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const before = this.filter.text;
    this.filter = read(location.hash.slice(1));
    document.querySelectorAll("input[type=search]").forEach((input) => { input.value = this.filter.text; });
    this.table.group = wanted.get("group") ?? "";
    let row = this.index.find(wanted.get("question"));
    if (row < 0 && /^\d+\.\d+$/.test(wanted.get("at") ?? "")) row = this.index.at(...wanted.get("at").split(".").map(Number));
    this.#show(VIEWS.includes(wanted.get("view")) ? wanted.get("view") : "browse");
    if (row >= 0) {
      document.body.dataset.pane = "detail";
      await this.open(row, { pair: wanted.get("pair"), tab: wanted.get("tab") });
    } else document.body.dataset.pane = "list";
    if (this.filter.text !== before) this.#find();
    else await this.refilter();
  }

  #show(view) {
    this.view = view;
    document.body.dataset.view = view;
    for (const link of document.querySelectorAll("#views button")) link.setAttribute("aria-current", link.dataset.view === view ? "page" : "false");
  }

  async go(view) {
    this.#show(view);
    this.changed(true);
    await this.#draw();
  }

  back() {
    if (wide()) return;
    document.body.dataset.pane = "list";
    this.changed(true);
    this.list.showCurrent();
  }

  // Another text is searched for as soon as one stops typing.
  type(text) {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => {
      this.filter.text = text;
      document.querySelectorAll("input[type=search]").forEach((input) => { if (input !== document.activeElement) input.value = text; });
      this.changed();
      this.#find();
    }, 250);
  }

  #drawTotals() {
    const { totals } = this;
    if (!totals) return;
    const part = totals.finished < totals.shards ? ` · ${count(totals.finished)} of ${count(totals.shards)} shards` : "";
    $("totals").textContent = `${plural(totals.questions, "question")} · ${plural(totals.pairs, "pair")} · ${plural(totals.rollouts, "rollout")}${part}${totals.marks ? ` · ${count(totals.marks)} marked` : ""}`;
    drawLive(totals, this.index.rows);
  }

  async redraw() {
    await this.detail.draw();
    if (this.view === "review") await this.review.show();
  }
}

// ---- start, clicks and keys

const bundle = document.querySelector("meta[name=mmpr-bundle]")?.content;
const { Bundled } = bundle ? await import("./bundled.js") : {};
const { Served } = bundle ? {} : await import("./served.js");
const app = new App(bundle ? new Bundled(bundle) : new Served());

const focusSearch = () => { document.body.dataset.pane = "list"; $(app.view === "table" ? "table-search" : "search").focus(); };
const flip = async (name) => { toggle(name); await app.redraw(); };
const ANYWHERE = {
  b: () => app.go("browse"), v: () => app.go("table"), r: () => app.go("review"), "/": focusSearch, "?": () => $("help").showModal(),
  m: () => flip("raw"), d: () => flip("both"), g: () => flip("tiles"), Escape: () => app.back(),
  z: () => openImages(app.view === "review" ? app.review.current?.detail : app.detail.detail, app.data, 0),
};
const BROWSE = {
  j: () => app.step(1), k: () => app.step(-1), n: () => app.detail.step(1), p: () => app.detail.step(-1),
  t: () => app.detail.detail && app.detail.show(app.detail.tab === "pairs" ? "rollouts" : "pairs"),
  1: () => app.detail.focusSide(0), 2: () => app.detail.focusSide(1),
  c: () => app.detail.markFocused("correct"), i: () => app.detail.markFocused("incorrect"), x: () => app.detail.markFocused("ignore"), u: () => app.detail.markFocused("clear"),
};
const REVIEW = { a: "agree", c: "correct", i: "incorrect", x: "ignore", w: "gold", s: "skip", u: "undo" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const own = (keys) => (Object.hasOwn(keys, event.key) ? keys[event.key] : null);
  const act = own(ANYWHERE) ?? (app.view === "browse" ? own(BROWSE) : null);
  if (act) {
    event.preventDefault();
    act();
  } else if (app.view === "review" && own(REVIEW) && !event.repeat) {
    event.preventDefault();
    app.review.act(own(REVIEW));
  }
});
document.addEventListener("click", async (event) => {
  const item = event.target.closest(".item"), shot = event.target.closest(".shot"), view = event.target.closest("#views button");
  if (item) await app.open(Number(item.dataset.row), {}, true);
  else if (shot) openImages(app.view === "review" ? app.review.current?.detail : app.detail.detail, app.data, Number(shot.dataset.number));
  else if (view) await app.go(view.dataset.view);
  else if (event.target.closest(".back")) app.back();
  else if (event.target.closest("#copy-link")) {
    app.changed();
    try {
      await navigator.clipboard.writeText(location.href);
      tell("Link copied.");
    } catch { tell(location.href); }
  }
});
for (const input of document.querySelectorAll("input[type=search]")) input.addEventListener("input", () => app.type(input.value));
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("change", async (event) => {
  const { column } = event.target.dataset;
  if (column && event.target.value !== "several") {
    if (event.target.value) app.filter.where[column] = [event.target.value.slice(1)];
    else delete app.filter.where[column];
  } else if (event.target.id === "marked") app.filter.marked = event.target.checked;
  else if (event.target.id === "sort") app.filter.sort = event.target.value;
  else return;
  await app.refilter();
});
$("clear").addEventListener("click", () => { app.filter = read(""); document.querySelectorAll("input[type=search]").forEach((input) => { input.value = ""; }); app.type(""); });
$("help-open").addEventListener("click", () => $("help").showModal());
$("save-marks")?.addEventListener("click", () => app.data.saveMarks());
addEventListener("popstate", () => app.follow());

try {
  await app.start();
} catch (error) {
  tell(error.message);
  $("items").replaceChildren(el("li", { class: "empty" }, error.message));
}
