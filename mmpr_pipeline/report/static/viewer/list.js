"use strict";
// The questions that match, one below the other; more of them as one scrolls.

import { $, count, el, plural, words } from "./dom.js";
import { look, verdictBar } from "./parts.js";
import { hits, renderText } from "../markup.js";

const PAGE = 40;

export class List {
  #drawing = 0;

  constructor(app) {
    Object.assign(this, { app, shown: 0 });
    $("list").addEventListener("scroll", () => {
      const box = $("list");
      if (box.scrollTop + box.clientHeight > box.scrollHeight - 600) this.more();
    });
  }

  async draw() {
    this.#drawing += 1;
    this.shown = 0;
    this.loading = false;
    $("items").replaceChildren();
    await this.more();
  }

  async more() {
    const { app } = this, mine = this.#drawing;
    if (this.loading || this.shown >= app.rows.length) return;
    this.loading = true;
    const rows = [...app.rows.subarray(this.shown, this.shown + PAGE)];
    const titles = await app.titles(rows);
    if (mine !== this.#drawing) return;
    this.loading = false;
    this.shown += rows.length;
    $("items").append(...rows.map((row, i) => this.item(row, titles[i])));
    const box = $("list");
    if (box.clientHeight && box.scrollHeight < box.clientHeight + 200) await this.more();
  }

  item(row, title) {
    const { app } = this, { index } = app;
    const facts = Object.fromEntries(["pairs", "correct", "incorrect", "unparseable", "status", "reason", "shard"].map((name) => [name, index.value(name, row)]));
    const image = title.image
      ? el("img", { src: app.data.image(facts.shard, title.image), alt: "", loading: "lazy", width: 52, height: 52 })
      : el("span", { class: "no-image" });
    const text = el("span", { class: "item-text" });
    const said = title.text || title.source_id;
    const flat = said.replace(/<image>\s*/g, "").replace(/\s+/g, " ");
    text.append(renderText(flat, hits(flat, look.needle), { raw: look.raw, flat: true }));
    const marks = app.marksOn(row);
    return el("li", {},
      el("button", { type: "button", class: "item", "aria-current": row === app.current ? "true" : null, "data-row": row },
        image, text,
        el("span", { class: "item-facts" },
          el("span", {}, title.source), el("span", { class: facts.status }, facts.status === "paired" ? plural(facts.pairs, "pair") : words(facts.reason)),
          marks ? el("span", { class: "marked" }, `${marks} marked`) : null,
          verdictBar(facts))));
  }

  async redraw(row) {
    const old = document.querySelector(`.item[data-row="${row}"]`)?.parentElement;
    if (old) old.replaceWith(this.item(row, (await this.app.titles([row]))[0]));
  }

  showCurrent() {
    for (const button of document.querySelectorAll(".item")) {
      const open = Number(button.dataset.row) === this.app.current;
      if (open) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
      if (open && $("list").clientHeight) button.scrollIntoView({ block: "nearest" });
    }
  }

  say(text) { $("more-items").textContent = text; }
  sayMatches(total, part) { $("matches").textContent = `${count(total)} ${total === 1 ? "question" : "questions"}${part ? ` so far, ${part}` : ""}`; }
}
