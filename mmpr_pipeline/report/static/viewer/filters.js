"use strict";
// What is looked for, as state, as address, and as chips: { text, marked, sort, where: { column: [values] or { from, to } } }.

import { $, count, el, strategyName, words } from "./dom.js";

export const LABELS = {
  source: "source", kind: "kind", status: "outcome", reason: "reason", strategy: "strategy", language: "language", pairs: "pairs", rollouts: "rollouts",
  solve: "% right", correct: "correct", incorrect: "incorrect", unparseable: "unparseable", rounds: "rounds", tokens: "tokens", chars: "length",
  images: "images", doubt: "doubt", why: "doubted because", rule: "rule", shard: "shard",
};
const MOST = 4294967295;

export const empty = () => ({ text: "", marked: false, sort: "", where: {} });

export function read(hash) {
  const wanted = new URLSearchParams(hash), found = empty();
  found.text = wanted.get("text") ?? "";
  found.marked = wanted.get("marked") === "1";
  found.sort = Object.hasOwn(LABELS, (wanted.get("sort") ?? "").replace(/^-/, "")) ? wanted.get("sort") : "";
  for (const [key, value] of wanted) {
    const name = key.slice(2);
    if (!key.startsWith("f.") || !Object.hasOwn(LABELS, name)) continue;
    const range = /^(\d{1,10})\.\.(\d{0,10})$/.exec(value);
    if (range) found.where[name] = { from: Number(range[1]), to: range[2] ? Number(range[2]) : MOST };
    else if (Array.isArray(found.where[name])) found.where[name].push(value);
    else found.where[name] = [value];
  }
  return found;
}

export function write(filter, wanted) {
  if (filter.text) wanted.set("text", filter.text);
  if (filter.marked) wanted.set("marked", "1");
  if (filter.sort) wanted.set("sort", filter.sort);
  for (const [name, kept] of Object.entries(filter.where)) {
    if (Array.isArray(kept)) for (const value of kept) wanted.append(`f.${name}`, value);
    else wanted.set(`f.${name}`, `${kept.from}..${kept.to >= MOST ? "" : kept.to}`);
  }
}

// Puts a bin of a histogram into the filter, or takes it out again.
export function toggleBin(where, name, bin) {
  const kept = where[name];
  if (bin.from !== undefined) {
    if (kept && kept.from === bin.from && kept.to === bin.to) delete where[name];
    else where[name] = { from: bin.from, to: bin.to };
  } else if (Array.isArray(kept) && kept.includes(bin.value)) {
    where[name] = kept.filter((value) => value !== bin.value);
    if (!where[name].length) delete where[name];
  } else where[name] = [...(kept ?? []), bin.value];
}

export const isOn = (where, name, bin) => (Array.isArray(where[name]) ? where[name].includes(bin.value) : where[name] ? where[name].from <= bin.from && bin.to <= where[name].to : false);

export const shownValue = (name, value) => (value === null ? "not checked" : name === "strategy" ? strategyName(value || "no pairs") : words(value) || (name === "why" ? "no doubt" : "none"));

// The conditions in force, each to be taken away by a click.
export function chips(filter, changed) {
  const found = Object.entries(filter.where).map(([name, kept]) => {
    const said = Array.isArray(kept) ? kept.map((value) => shownValue(name, value)).join(" or ") : kept.from === kept.to ? count(kept.from) : kept.to >= MOST ? `≥ ${count(kept.from)}` : `${count(kept.from)}–${count(kept.to)}`;
    return el("button", { type: "button", class: "filter-chip", "aria-label": `Remove ${LABELS[name]} ${said}`, onclick: () => { delete filter.where[name]; changed(); } }, el("span", {}, `${LABELS[name]} `), el("b", {}, said), " ✕");
  });
  if (filter.marked) found.push(el("button", { type: "button", class: "filter-chip", onclick: () => { filter.marked = false; changed(); } }, el("b", {}, "marked"), " ✕"));
  return found;
}

// The selects of the list: they set one condition each.
export function fillSelects(index, filter) {
  for (const select of document.querySelectorAll("#filters select[data-column]")) {
    const name = select.dataset.column, column = index.columns[name];
    if (!column?.values) continue;
    const kept = filter.where[name];
    const values = [...column.values].filter(Boolean).sort();
    const options = [el("option", { value: "" }, "all"), ...values.map((value) => el("option", { value: `=${value}` }, shownValue(name, value)))];
    if (kept?.length > 1) options.push(el("option", { value: "several" }, "several"));
    select.replaceChildren(...options);
    select.value = kept ? (kept.length > 1 ? "several" : `=${kept[0]}`) : "";
  }
  $("marked").checked = filter.marked;
  $("sort").value = filter.sort;
}
