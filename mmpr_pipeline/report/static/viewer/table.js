"use strict";
// All questions that match as a table: sorted by any column, a histogram in each header that filters on click, groups.

import { $, count, el, percent } from "./dom.js";
import { hits, renderText } from "../markup.js";
import { look } from "./parts.js";
import { isOn, LABELS, shownValue, toggleBin } from "./filters.js";

const ROW = 30, MOST_ROWS = 1_000_000; // px; browsers end a page at some 33 million px
const COLUMNS = ["source", "kind", "status", "reason", "strategy", "pairs", "rollouts", "solve", "unparseable", "tokens", "chars", "images", "rule", "doubt", "why"];
const GROUPS = ["source", "kind", "strategy", "status", "reason", "language", "solve", "rule", "why"];
const NUMBERS = new Set(["pairs", "rollouts", "solve", "unparseable", "tokens", "chars", "images", "doubt"]);

export class Table {
  constructor(app) {
    this.app = app;
    this.group = "";
    $("table-scroll").addEventListener("scroll", () => { cancelAnimationFrame(this.frame); this.frame = requestAnimationFrame(() => this.#rows()); });
    $("group").replaceChildren(el("option", { value: "" }, "nothing"), ...GROUPS.map((name) => el("option", { value: name }, LABELS[name])));
    $("group").addEventListener("change", () => { this.group = $("group").value; app.refilter(); });
    $("table").addEventListener("click", (event) => this.#click(event));
  }

  get columns() { return COLUMNS.filter((name) => this.app.index.columns[name] && !this.#empty(name)); }

  #empty(name) { // a column of one value says nothing, unless it is what one filters by
    const column = this.app.index.columns[name];
    return !this.app.filter.where[name] && (column.values ? column.values.length < 2 : !column.data.some((value) => value !== column.data[0]));
  }

  draw() {
    const { app } = this;
    $("group").value = this.group;
    this.drawing = (this.drawing ?? 0) + 1; // titles that are still on their way are for what was shown before
    $("table").classList.toggle("grouped", Boolean(this.group));
    if (this.group) return this.#groups();
    const heads = this.columns.map((name) => this.#head(name));
    $("table-head").replaceChildren(el("tr", {}, el("th", { class: "title", scope: "col" }, el("span", { class: "sort-name" }, "Question")), heads));
    $("table-scroll").scrollTop = 0;
    const height = Math.min(app.rows.length, MOST_ROWS) * ROW;
    $("table-above").style.height = "0px";
    $("table-below").style.height = `${height}px`;
    this.#rows();
  }

  #head(name) {
    const { index, filter } = this.app;
    const base = filter.where[name] ? this.app.select(name) : this.app.rows;
    const bins = index.histogram(base, name).slice(0, 12), most = Math.max(1, ...bins.map((bin) => bin.n));
    const sorted = filter.sort.replace(/^-/, "") === name ? (filter.sort.startsWith("-") ? "descending" : "ascending") : "none";
    const bars = bins.map((bin) => {
      const label = `${LABELS[name]} ${bin.from === undefined ? shownValue(name, bin.value) : bin.label}: ${count(bin.n)}`;
      const bar = el("button", { type: "button", class: "bin", title: label, "aria-label": label, "aria-pressed": isOn(filter.where, name, bin) ? "true" : "false" }, el("i"));
      bar.firstChild.style.height = `${bin.n ? Math.max(6, 100 * bin.n / most) : 0}%`;
      bar.bin = bin;
      return bar;
    });
    const ends = bins.length ? (bins[0].from === undefined ? shownValue(name, bins[0].value) + (bins.length > 1 ? ` +${bins.length - 1}` : "") : `${bins[0].from} – ${bins.at(-1).to}`) : "";
    return el("th", { scope: "col", "aria-sort": sorted, "data-column": name },
      el("button", { type: "button", class: "sort-name" }, LABELS[name], el("span", { class: "arrow", "aria-hidden": "true" }, sorted === "none" ? "" : sorted === "ascending" ? "↑" : "↓")),
      el("div", { class: "bins", role: "group", "aria-label": `Filter by ${LABELS[name]}` }, bars), el("small", {}, ends));
  }

  #click(event) {
    const { app } = this, column = event.target.closest("th")?.dataset.column;
    const bin = event.target.closest(".bin");
    if (bin) {
      toggleBin(app.filter.where, column, bin.bin);
      app.refilter();
    } else if (column && event.target.closest(".sort-name")) {
      const { sort } = app.filter;
      app.filter.sort = sort === `-${column}` ? column : sort === column ? "" : `-${column}`;
      app.refilter();
    } else {
      const row = event.target.closest("tr[data-row]");
      if (row) app.open(Number(row.dataset.row), {}, true, "browse");
      const group = event.target.closest("tr[data-group]");
      if (group) {
        app.filter.where[this.group] = JSON.parse(group.dataset.group);
        this.group = "";
        app.refilter();
      }
    }
  }

  async #rows() {
    if (this.group) return;
    const { app } = this, box = $("table-scroll"), mine = (this.drawing = (this.drawing ?? 0) + 1);
    const total = Math.min(app.rows.length, MOST_ROWS), headHeight = $("table-head").offsetHeight;
    const first = Math.max(0, Math.floor((box.scrollTop - headHeight) / ROW) - 5), last = Math.min(total, first + Math.ceil(box.clientHeight / ROW) + 10);
    const rows = [...app.rows.subarray(first, last)], columns = this.columns;
    const draw = (titles) => {
      $("table-above").style.height = `${first * ROW}px`;
      $("table-below").style.height = `${(total - last) * ROW}px`;
      $("table-body").replaceChildren(...rows.map((row, i) => this.#row(row, titles[i], columns)));
    };
    draw(rows.map((row) => app.knownTitle(row)));
    if (rows.every((row) => app.knownTitle(row))) return;
    await new Promise((resolve) => { setTimeout(resolve, 60); });
    if (mine !== this.drawing) return;
    const titles = await app.titles(rows);
    if (mine === this.drawing) draw(titles);
  }

  #row(row, title, columns) {
    const { index } = this.app;
    const cells = columns.map((name) => {
      const value = index.value(name, row);
      const text = value === null ? "–" : NUMBERS.has(name) ? `${count(value)}${name === "solve" ? "%" : ""}` : name === "why" && !value ? "" : name === "reason" && !value ? "" : shownValue(name, value);
      return el("td", { class: NUMBERS.has(name) ? "n" : name === "status" ? `outcome ${value}` : null }, text);
    });
    const open = el("button", { type: "button", class: "open" });
    const said = title ? (title.text || title.source_id).replace(/<image>\s*/g, "").replace(/\s+/g, " ").slice(0, 90) : "…";
    open.append(renderText(said, hits(said, look.needle), { raw: look.raw, flat: true }));
    return el("tr", { "data-row": row, class: row === this.app.current ? "current" : null }, el("th", { class: "title", scope: "row" }, open), cells);
  }

  #groups() {
    const { index, rows } = this.app, name = this.group;
    const heads = [LABELS[name], "questions", "with pairs", "pairs", "rollouts", "% right", "tokens", "tokens a pair"];
    $("table-head").replaceChildren(el("tr", {}, heads.map((label, i) => el("th", { scope: "col", class: i ? "n" : "title" }, label))));
    const groups = index.groups(rows, name), most = Math.max(1, ...groups.map((group) => group.questions));
    $("table-above").style.height = $("table-below").style.height = "0px";
    $("table-body").replaceChildren(...groups.slice(0, 500).map((group) => {
      const kept = typeof group.value === "number" ? { from: group.value, to: group.value } : group.value === null ? { from: 255, to: 255 } : [group.value];
      const bar = el("i", { class: "share" });
      bar.style.width = `${100 * group.questions / most}%`;
      const right = group.checked ? group.correct / group.checked : NaN;
      return el("tr", { "data-group": JSON.stringify(kept) },
        el("th", { class: "title", scope: "row" }, el("button", { type: "button", class: "open" }, typeof group.value === "number" ? `${group.value}%` : shownValue(name, group.value)), bar),
        [count(group.questions), percent(group.paired / group.questions), count(group.pairs), count(group.rollouts), percent(right), count(group.tokens), group.pairs ? count(Math.round(group.tokens / group.pairs)) : "–"].map((text) => el("td", { class: "n" }, text)));
    }));
  }
}

