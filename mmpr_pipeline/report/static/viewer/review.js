"use strict";
// A queue to check verdicts by: the most doubtful first, or a random sample that says how precise all of them are. One
// key a verdict, then the next by itself; what was done can be undone.

import { $, count, el, percent, plural, remember, remembered, tell, words } from "./dom.js";
import { asked, rolloutCard } from "./parts.js";

const BATCH = 50;
const WRONG_GOLD = "The gold is wrong.";

export class Review {
  constructor(app) {
    Object.assign(this, { app, drawn: "queue", items: [], at: 0, done: [], current: null });
    $("reviewer").value = remembered("reviewer") ?? "";
    $("reviewer").addEventListener("change", () => { remember("reviewer", $("reviewer").value.trim()); this.start(); });
    for (const button of document.querySelectorAll("#review-kinds button")) {
      button.addEventListener("click", () => { this.drawn = button.dataset.drawn; this.start(); });
    }
  }

  // Draws a new batch from the questions that match the filters.
  async start() {
    const { app } = this;
    for (const button of document.querySelectorAll("#review-kinds button")) button.setAttribute("aria-pressed", button.dataset.drawn === this.drawn ? "true" : "false");
    if (this.drawn === "queue" && !app.doubtsKnown) {
      const said = el("p", { class: "empty", role: "status" }, "Looking for doubtful verdicts …");
      $("review-body").replaceChildren(said);
      await app.loadDoubts((share) => { said.textContent = `Looking for doubtful verdicts, ${Math.floor(100 * share)}% …`; });
    }
    Object.assign(this, { items: this.drawn === "queue" ? this.#doubtful() : this.#sample(), at: 0, done: [] });
    await this.show();
  }

  #doubtful() {
    const { app } = this, { index } = app, worth = index.columns.doubt?.data;
    if (!worth) return [];
    const rows = index.sort(app.rows.filter((row) => worth[row] > 0), "doubt", true);
    const found = [];
    for (const row of rows) {
      const rollout = index.columns.doubt_index.data[row];
      if (!app.isMarked(row, rollout)) found.push({ row, index: rollout, why: index.value("why", row), worth: worth[row] });
      if (found.length === BATCH) break;
    }
    return found;
  }

  // Questions with pairs in an order that only their ids decide; one verdict of a pair each.
  #sample() {
    const { app } = this, { index } = app, { id_high: high, id_low: low, pairs, status } = index.columns;
    const paired = app.rows.filter((row) => pairs.data[row] && index.columns.checked.data[row] && status.values[status.data[row]] === "paired");
    const key = (row) => Math.imul(high.data[row] ^ low.data[row], 0x9e3779b1) >>> 0;
    const sorted = Uint32Array.from(paired).sort((a, b) => key(a) - key(b));
    const found = [];
    for (const row of sorted) {
      if (!app.marksOn(row)) found.push({ row, index: null, why: "drawn at random", pick: key(row) });
      if (found.length === BATCH) break;
    }
    return found;
  }

  async show() {
    const { app } = this, item = this.items[this.at];
    this.current = null; // until the next one is seen, no key judges it
    $("review-body").setAttribute("aria-busy", "true");
    this.#progress();
    if (!item) return this.#end();
    const detail = await app.data.question(app.place(item.row));
    if (item !== this.items[this.at]) return;
    if (item.index === null) {
      const used = detail.pairs.filter((pair) => pair.strategy === "correctness");
      if (!used.length) return this.#next();
      const pair = used[item.pick % used.length];
      item.index = item.pick & 64 ? pair.chosen_index : pair.rejected_index;
    }
    const rollout = detail.rollouts.find((one) => one.index === item.index);
    if (!rollout || rollout.outcome === null) return this.#next();
    this.current = { detail, rollout, item };
    const button = (key, label, act, kind = "") => el("button", { type: "button", class: `verdict-button ${kind}`, onclick: act }, el("kbd", {}, key), ` ${label}`);
    $("review-body").replaceChildren(
      el("p", { class: "why" }, el("b", {}, words(item.why)), item.worth ? ` · ${item.worth}` : "", el("span", { class: "facts" }, ` ${detail.question.source} · ${detail.question.source_id}`),
        el("button", { type: "button", class: "link", onclick: () => app.open(item.row, { tab: "rollouts" }, true, "browse") }, "all rollouts")),
      asked(detail, app.data),
      rolloutCard(rollout, null),
      el("div", { class: "verdict-buttons", role: "group", "aria-label": "Your verdict" },
        button("a", `agree: ${rollout.outcome}`, () => this.act("agree"), "agree"),
        button("c", "correct", () => this.act("correct"), "correct"), button("i", "incorrect", () => this.act("incorrect"), "incorrect"),
        button("x", "leave out", () => this.act("ignore")), button("w", "the gold is wrong", () => this.act("gold")),
        button("s", "skip", () => this.act("skip")), button("u", "undo", () => this.act("undo"))));
    $("review").scrollTop = 0;
    $("review-body").setAttribute("aria-busy", "false");
  }

  // Keys that come while a question is fetched are for one that nobody has seen yet.
  async act(what) {
    if (!this.app.data.writable) return tell("Marks are made in `mmpr view`.");
    if (this.busy) return undefined;
    this.busy = true;
    try {
      if (what === "undo") return await this.#undo();
      if (!this.current) return undefined;
      const { rollout, detail } = this.current;
      if (what === "skip") return await this.#next();
      if (what === "gold") {
        const marked = [];
        for (const one of detail.rollouts.filter((each) => each.outcome !== null)) {
          if (!await this.app.mark(one, "ignore", WRONG_GOLD, this.drawn)) return undefined;
          marked.push(one);
        }
        this.done.push({ at: this.at, marked, overruled: true });
        return await this.#next();
      }
      const outcome = what === "agree" ? (rollout.outcome === "unparseable" ? "ignore" : rollout.outcome) : what;
      if (!await this.app.mark(rollout, outcome, "", this.drawn)) return undefined;
      this.done.push({ at: this.at, marked: [rollout], overruled: what !== "agree" && outcome !== rollout.outcome });
      return await this.#next();
    } finally { this.busy = false; }
  }

  async #undo() {
    const last = this.done.pop();
    if (!last) return tell("Nothing to undo.");
    for (const rollout of last.marked) if (!await this.app.mark(rollout, "clear")) return undefined;
    this.at = last.at;
    return this.show();
  }

  #next() {
    this.at += 1;
    return this.show();
  }

  #progress() {
    const { at, items, done } = this, overruled = done.filter((one) => one.overruled).length;
    $("review-progress").max = Math.max(1, items.length);
    $("review-progress").value = at;
    $("review-count").textContent = items.length ? `${count(Math.min(at, items.length))} of ${count(items.length)} · ${overruled} overruled` : "";
  }

  async #end() {
    const { summary } = await this.app.data.marked();
    const line = (verdict) => {
      const { checked, right, share, low, high } = summary.precision[verdict];
      return el("tr", {}, el("th", { scope: "row" }, `judged ${verdict}`), el("td", { class: "n" }, checked ? `${right} of ${checked}` : "–"), el("td", { class: "n" }, checked ? `${percent(share)}  (95%: ${percent(low)} to ${percent(high)})` : "none drawn at random yet"));
    };
    const said = this.items.length ? `${plural(this.done.length, "verdict")} given, ${this.done.filter((one) => one.overruled).length} overruled.` : this.drawn === "queue" ? "No doubtful verdict is left among these questions." : "No question with pairs is left to draw.";
    const people = summary.agreement.map((each) => el("p", {}, `${each.people.map((name) => name || "unnamed").join(" and ")} agree on ${each.same} of ${each.both} rollouts that both marked${each.kappa === null ? "" : ` (Cohen's κ ${each.kappa.toFixed(2)})`}.`));
    $("review-body").replaceChildren(el("div", { class: "review-end" },
      el("h2", {}, "That is all of this batch"), el("p", {}, said),
      el("button", { type: "button", class: "verdict-button agree", onclick: () => this.start() }, "Next batch"),
      el("h3", {}, "How precise are the verdicts?"),
      el("table", {}, el("tbody", {}, line("correct"), line("incorrect"))),
      el("p", { class: "facts" }, `Estimated from the random sample alone; ${plural(summary.rollouts, "rollout")} marked in all. \`mmpr build --from-rollouts\` pairs anew with these marks.`), people));
  }
}
