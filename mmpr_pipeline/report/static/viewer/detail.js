"use strict";
// One question: what was asked, its pairs, its rollouts, and marks on them.

import { $, count, el, tell, words } from "./dom.js";
import { asked, look, markControls, pairHead, pairSide, rolloutCard, toggle, verdictTag } from "./parts.js";

export class Detail {
  #opening = 0;

  // `app`: { data, reviewer(), changed(), marked(rollout) }
  constructor(box, app) {
    Object.assign(this, { box, app, detail: null, tab: "pairs", pair: null });
  }

  // Shows a question; false where another was opened meanwhile.
  async open(place, { pair = null, tab = null } = {}) {
    const mine = ++this.#opening;
    const detail = await this.app.data.question(place);
    if (mine !== this.#opening) return false;
    this.detail = detail;
    this.pair = pair ?? detail.pairs[0]?.pair_id ?? null;
    this.tab = tab ?? (detail.pairs.length ? "pairs" : "rollouts");
    await this.draw();
    this.box.scrollTop = 0;
    return true;
  }

  async draw() {
    const { detail, tab } = this;
    if (!detail) return;
    const { question } = detail;
    const tabButton = (name, number) => el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "tab-body", "aria-selected": tab === name ? "true" : "false", onclick: () => this.show(name) }, `${name} `, el("span", {}, count(number)));
    const body = el("div", { id: "tab-body", role: "tabpanel", "aria-labelledby": `tab-${tab}` });
    this.box.replaceChildren(
      el("header", { class: "detail-head" },
        el("button", { type: "button", class: "round back", "aria-label": "Back to the list" }, "‹"),
        el("span", { class: "tag" }, question.source), question.question_id ? el("span", { class: "tag" }, words(question.kind)) : null,
        el("span", { class: `tag ${question.status}` }, question.status === "paired" ? "paired" : words(question.reason)),
        el("span", { class: "facts" }, `${question.source_id} · shard ${detail.shard}`),
        el("span", { class: "switches" },
          this.#switch("raw", "m", "raw text"), this.#switch("both", "d", "differences"), detail.images.length ? this.#switch("tiles", "g", "tiles") : null,
          el("button", { type: "button", class: "link", id: "copy-link" }, "copy link"))),
      asked(detail, this.app.data),
      el("div", { class: "tabs", role: "tablist" }, tabButton("pairs", detail.pairs.length), tabButton("rollouts", detail.rollouts.length)),
      body);
    if (tab === "rollouts") this.#drawRollouts(body);
    else await this.#drawPair(body);
  }

  #switch(name, key, label) {
    return el("button", { type: "button", class: "switch", "aria-pressed": look[name] ? "true" : "false", title: `(${key})`, onclick: () => this.toggle(name) }, label);
  }

  async toggle(name) {
    toggle(name);
    await this.draw();
  }

  async show(tab) {
    this.tab = tab;
    this.app.changed();
    await this.draw();
  }

  #controls(rollout) {
    return rollout && this.app.data.writable ? markControls(rollout, this.app.reviewer(), (...mark) => this.mark(...mark)) : null;
  }

  #drawRollouts(body) {
    const { rollouts } = this.detail;
    body.replaceChildren(rollouts.length
      ? el("div", { class: "rollouts" }, rollouts.map((rollout) => rolloutCard(rollout, this.#controls(rollout))))
      : el("p", { class: "empty" }, "No rollouts: the row was not usable."));
  }

  async #drawPair(body) {
    const { pairs, rollouts, shard, question } = this.detail;
    if (!pairs.length) {
      body.replaceChildren(el("p", { class: "empty" }, `No pairs: ${words(question.reason)}.`));
      return;
    }
    const pair = pairs.find((one) => one.pair_id === this.pair) ?? pairs[0];
    this.pair = pair.pair_id;
    const texts = await this.app.data.pair(shard, question.question_id, pair.pair_id);
    if (this.pair !== pair.pair_id || !texts) return;
    const by = new Map(rollouts.map((rollout) => [rollout.index, rollout]));
    const sides = ["chosen", "rejected"].map((kind) => {
      const rollout = by.get(pair[`${kind}_index`]);
      return pairSide(kind, pair, texts, rollout, this.#controls(rollout));
    });
    body.replaceChildren(pairHead(pairs, pair, (id) => this.choosePair(id)), el("div", { class: "sides" }, sides),
      el("p", { class: "facts" }, [pair.prompt_version, pair.checker, `pair ${pair.pair_id}`].filter(Boolean).join(" · ")));
  }

  async choosePair(id) {
    this.pair = id;
    this.app.changed();
    await this.#drawPair($("tab-body"));
  }

  // The next pair or rollout; false at the end.
  async step(by) {
    if (!this.detail) return false;
    if (this.tab === "pairs") {
      const ids = this.detail.pairs.map((pair) => pair.pair_id);
      const next = ids[ids.indexOf(this.pair) + by];
      if (next) await this.choosePair(next);
      return Boolean(next);
    }
    const cards = [...this.box.querySelectorAll(".rollout")];
    const here = cards.indexOf(document.activeElement?.closest(".rollout"));
    cards[Math.min(cards.length - 1, Math.max(0, here + by))]?.focus();
    return here + by < cards.length;
  }

  focusSide(number) { this.box.querySelectorAll(".side, .rollout")[number]?.focus(); }

  async mark(rollout, outcome, note = "") {
    if (!outcome || !await this.app.mark(rollout, outcome, note)) return false;
    for (const card of this.box.querySelectorAll(`#tab-body [data-index="${Number(rollout.index)}"]`)) this.#redrawMarks(card, rollout);
    return true;
  }

  // Only what a mark changes is drawn anew: nothing else moves, and a note that is being typed stays as it is.
  #redrawMarks(card, rollout) {
    card.querySelector(".verdict")?.replaceWith(verdictTag(rollout, card.matches(".side")));
    const old = card.querySelector(".marking"), fresh = this.#controls(rollout);
    if (!old || !fresh) return;
    const focused = old.contains(document.activeElement), typed = old.querySelector(".note");
    if (typed && fresh.querySelector(".note")) {
      fresh.querySelector(".note").remove();
      for (const node of [...old.childNodes]) if (node !== typed) node.remove();
      old.prepend(...fresh.childNodes);
    } else old.replaceWith(fresh);
    if (focused && document.activeElement !== typed) card.focus({ preventScroll: true });
  }

  async markFocused(outcome) {
    const index = document.activeElement?.closest("[data-index]")?.dataset.index;
    const rollout = this.detail?.rollouts.find((one) => one.index === Number(index));
    if (!this.app.data.writable) tell("Marks are made in `mmpr view`.");
    else if (!rollout || index === undefined) tell("Choose a side first: 1 or 2, n, or a click.");
    else if (rollout.outcome !== null || ["ignore", "clear"].includes(outcome)) {
      const note = rollout.marks.find((mark) => mark.by === this.app.reviewer())?.note ?? "";
      if (await this.mark(rollout, outcome, note)) tell(outcome === "clear" ? "Mark taken back." : `Rollout ${rollout.index} marked ${outcome}.`);
    }
  }
}

