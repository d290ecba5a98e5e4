"use strict";
import { asked, count, el, itemRow, pairSide, rolloutCard, strategyName, words } from "./viewer_parts.js";

const $ = (id) => document.getElementById(id);
const token = document.querySelector("meta[name=mmpr-token]").content;
const form = $("filters");
const state = { items: [], next: null, loading: false, detail: null, tab: "pairs", pair: null, search: 0, opening: 0 };

async function ask(path, parameters = {}) {
  const answer = await fetch(`${path}?${new URLSearchParams(parameters)}`);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

function tell(text) {
  const toast = $("toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { toast.hidden = true; }, 3500);
}

// ---- the address: filters, and the question and pair that are open

const FIELDS = ["text", "source", "strategy", "verdict", "outcome", "shard"];

function filters() {
  const found = {};
  for (const name of FIELDS) {
    const value = form.elements[name].value.trim();
    if (value && !(name === "shard" && value === "0")) found[name] = value;
  }
  if (form.elements.marked.checked) found.marked = "1";
  return found;
}

function readAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const name of FIELDS) form.elements[name].value = wanted.get(name) ?? (name === "shard" ? "0" : "");
  form.elements.marked.checked = wanted.get("marked") === "1";
  return { at: wanted.get("at"), question: wanted.get("question"), pair: wanted.get("pair"), tab: wanted.get("tab") };
}

function writeAddress(push) {
  const wanted = new URLSearchParams(filters());
  const detail = state.detail;
  if (detail && document.body.dataset.pane === "detail") {
    if (detail.question.question_id) wanted.set("question", `${detail.shard}.${detail.question.question_id}`);
    else wanted.set("at", `${detail.shard}.${detail.row}`);
    if (state.tab === "rollouts") wanted.set("tab", "rollouts");
    else if (state.pair) wanted.set("pair", state.pair);
  }
  const hash = `#${wanted}`;
  if (hash === (location.hash || "#")) return;
  history[push ? "pushState" : "replaceState"](null, "", hash);
}

// ---- the list

async function search() {
  const mine = ++state.search;
  state.items = [];
  state.next = [Number(form.elements.shard.value) || 0, 0];
  state.loading = false;
  $("items").replaceChildren();
  const active = Object.keys(filters()).filter((name) => name !== "text").length;
  $("active").textContent = active ? ` · ${active}` : "";
  await load(mine);
}

async function load(mine = state.search) {
  if (state.loading || !state.next || mine !== state.search) return;
  state.loading = true;
  $("more-items").textContent = `Searching shard ${state.next[0]} …`;
  try {
    const { outcome, ...wanted } = filters();
    const [kind, value] = (outcome ?? "").split(":");
    if (kind) wanted[kind] = value;
    const found = await ask("/api/questions", { ...wanted, shard: state.next[0], row: state.next[1] });
    if (mine !== state.search) return;
    state.items.push(...found.items);
    state.next = found.next;
    $("items").append(...found.items.map((item) => itemRow(item, isOpen(item))));
    $("more-items").textContent = state.next ? "" : state.items.length ? `${count(state.items.length)} shown, that is all` : "Nothing matches.";
  } catch (error) {
    $("more-items").textContent = error.message;
    state.next = null;
  } finally {
    if (mine === state.search) state.loading = false;
  }
  const box = $("list");
  if (state.next && (state.items.length < 20 || (box.clientHeight && box.scrollHeight < box.clientHeight + 200))) await load(mine);
}

const isOpen = (item) => state.detail && item.shard === state.detail.shard && item.row === state.detail.row;

function showOpen() {
  for (const button of document.querySelectorAll(".item")) {
    const open = state.detail && button.dataset.key === `${state.detail.shard}.${state.detail.row}`;
    button.toggleAttribute("aria-current", open);
    if (open) button.scrollIntoView({ block: "nearest" });
  }
}

async function step(by) {
  const here = state.items.findIndex(isOpen);
  if (here + by >= state.items.length) await load();
  const item = state.items[Math.max(0, here + by)];
  if (item) await open({ shard: item.shard, row: item.row }, {}, true);
}

// ---- one question

async function open(place, { pair = null, tab = null } = {}, push = false) {
  const mine = ++state.opening;
  try {
    const detail = await ask("/api/question", place);
    if (mine !== state.opening) return;
    state.detail = detail;
  } catch (error) {
    tell(error.message);
    return;
  }
  state.pair = pair ?? state.detail.pairs[0]?.pair_id ?? null;
  state.tab = tab ?? (state.detail.pairs.length ? "pairs" : "rollouts");
  document.body.dataset.pane = "detail";
  writeAddress(push);
  showOpen();
  await draw();
  $("detail").scrollTop = 0;
}

async function draw() {
  const { detail } = state;
  const question = detail.question;
  const tab = (name, number) => el("button", { type: "button", role: "tab", "aria-selected": state.tab === name ? "true" : "false", onclick: () => show(name) }, `${name} `, el("span", {}, count(number)));
  const body = el("div", { id: "tab-body" });
  $("detail").replaceChildren(
    el("header", { class: "detail-head" },
      el("button", { type: "button", class: "round back", "aria-label": "Back to the list", onclick: back }, "‹"),
      el("span", { class: "tag" }, question.source), el("span", { class: "tag" }, words(question.kind)),
      el("span", { class: `tag ${question.status}` }, question.status === "paired" ? "paired" : words(question.reason)),
      el("span", { class: "facts" }, `${question.source_id} · shard ${detail.shard}`),
      el("button", { type: "button", class: "link", onclick: copyLink }, "copy link")),
    asked(detail),
    el("div", { class: "tabs", role: "tablist" }, tab("pairs", detail.pairs.length), tab("rollouts", detail.rollouts.length)),
    body);
  if (state.tab === "rollouts") drawRollouts(body);
  else await drawPair(body);
}

async function show(tab) {
  state.tab = tab;
  writeAddress(false);
  await draw();
}

function drawRollouts(body) {
  const { rollouts } = state.detail;
  body.replaceChildren(rollouts.length
    ? el("div", { class: "rollouts" }, rollouts.map((rollout) => rolloutCard(rollout, send)))
    : el("p", { class: "empty" }, "No rollouts: the row was not usable."));
}

async function drawPair(body) {
  const { pairs, rollouts, shard, question } = state.detail;
  if (!pairs.length) {
    body.replaceChildren(el("p", { class: "empty" }, `No pairs: ${words(question.reason)}.`));
    return;
  }
  const pair = pairs.find((one) => one.pair_id === state.pair) ?? pairs[0];
  state.pair = pair.pair_id;
  const texts = await ask("/api/pair", { shard, question: question.question_id, id: pair.pair_id });
  if (state.pair !== pair.pair_id || !texts) return;
  const by = new Map(rollouts.map((rollout) => [rollout.index, rollout]));
  const chips = pairs.map((one, i) => el("button", {
    type: "button", class: "chip", "aria-current": one === pair ? "true" : null, title: strategyName(one.strategy), onclick: () => choosePair(one.pair_id),
  }, String(i + 1)));
  body.replaceChildren(
    el("div", { class: "chips" }, chips, el("span", { class: `tag ${pair.strategy}` }, strategyName(pair.strategy))),
    el("div", { class: "sides" }, ["chosen", "rejected"].map((kind) => pairSide(kind, pair, texts, by.get(pair[`${kind}_index`]), send))),
    el("p", { class: "facts" }, [pair.prompt_version, pair.checker, `pair ${pair.pair_id}`].filter(Boolean).join(" · ")));
}

async function choosePair(id) {
  state.pair = id;
  writeAddress(false);
  await drawPair($("tab-body"));
}

async function stepWithin(by) {
  if (!state.detail) return;
  if (state.tab === "pairs") {
    const ids = state.detail.pairs.map((pair) => pair.pair_id);
    const next = ids[ids.indexOf(state.pair) + by];
    if (next) await choosePair(next);
    return;
  }
  const cards = [...document.querySelectorAll(".rollout")];
  const here = cards.indexOf(document.activeElement?.closest(".rollout"));
  cards[Math.min(cards.length - 1, Math.max(0, here + by))]?.focus();
}

function back() {
  document.body.dataset.pane = "list";
  writeAddress(true);
  showOpen();
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    tell("Link copied.");
  } catch { tell(location.href); }
}

// ---- marks

async function send(rollout, outcome, note = "") {
  if (!outcome) return;
  const mark = { question_id: rollout.question_id, index: rollout.index, outcome, note: outcome === "clear" ? "" : note };
  try {
    const answer = await fetch("/api/marks", { method: "POST", headers: { "X-Mmpr-Token": token, "Content-Type": "application/json" }, body: JSON.stringify(mark) });
    if (!answer.ok) throw new Error(await answer.text());
    totals.marks = (await answer.json()).marks;
  } catch (error) {
    tell(`Not kept: ${error.message}`);
    return;
  }
  rollout.mark = outcome === "clear" ? null : mark;
  const focused = document.activeElement?.closest("[data-index]")?.dataset.index;
  const item = state.items.find(isOpen);
  if (item) {
    item.marks = state.detail.rollouts.filter((one) => one.mark).length;
    document.querySelector(`.item[data-key="${item.shard}.${item.row}"]`)?.parentElement.replaceWith(itemRow(item, true));
  }
  drawTotals();
  await draw();
  if (focused !== undefined) document.querySelector(`#tab-body [data-index="${Number(focused)}"]`)?.focus();
  tell(outcome === "clear" ? "Mark taken back." : `Rollout ${rollout.index} marked ${outcome}.`);
}

function markFocused(outcome) {
  const index = document.activeElement?.closest("[data-index]")?.dataset.index;
  const rollout = state.detail?.rollouts.find((one) => one.index === Number(index));
  if (!rollout || index === undefined) tell("Choose a rollout first (n, or click on it).");
  else if (rollout.outcome !== null || ["ignore", "clear"].includes(outcome)) send(rollout, outcome, rollout.mark?.note);
}

// ---- zoom: the image in a box that scrolls, so that fingers and wheels move it as everywhere

function zoom(source) {
  const picture = $("zoom").querySelector("img");
  picture.src = source.src;
  picture.style.width = "";
  $("zoom").showModal();
}

function scale(by) {
  const picture = $("zoom").querySelector("img");
  picture.style.width = by ? `${Math.min(8000, Math.max(60, picture.clientWidth * by))}px` : "";
}

$("zoom").addEventListener("click", (event) => {
  const wanted = event.target.closest("[data-zoom]")?.dataset.zoom;
  if (wanted) ({ in: () => scale(1.4), out: () => scale(1 / 1.4), fit: () => scale(0), close: () => $("zoom").close() })[wanted]();
  else if (!event.target.closest("img")) $("zoom").close();
});
$("zoom").addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.target.closest("img")) return;
  event.preventDefault();
  scale(event.deltaY < 0 ? 1.15 : 1 / 1.15);
}, { passive: false });

// ---- start

let totals = {};
function drawTotals() {
  const part = totals.finished < totals.shards ? ` · ${count(totals.finished)} of ${count(totals.shards)} shards finished` : "";
  $("totals").textContent = `${count(totals.questions)} questions · ${count(totals.pairs)} pairs · ${count(totals.rollouts)} rollouts${part}${totals.marks ? ` · ${count(totals.marks)} marked` : ""}`;
}

function fillFilters() {
  const add = (name, values, label = (value) => value) => form.elements[name].append(...values.map((value) => el("option", { value }, label(value))));
  add("source", totals.sources);
  add("strategy", totals.strategies, strategyName);
  add("outcome", ["status:paired", "status:unpaired", "status:rejected"], (value) => value.slice(7));
  add("outcome", [...totals.reasons.unpaired, ...totals.reasons.rejected].map((reason) => `reason:${reason}`), (value) => words(value.slice(7)));
  form.elements.shard.max = String(totals.shards - 1);
}

async function follow() {
  const wanted = readAddress();
  const [shard, name] = (wanted.question ?? wanted.at ?? "").split(".");
  if (name) await open({ shard, [wanted.question ? "id" : "row"]: name }, wanted);
  else document.body.dataset.pane = "list";
}

const KEYS = {
  j: () => step(1), k: () => step(-1), n: () => stepWithin(1), p: () => stepWithin(-1),
  t: () => state.detail && show(state.tab === "pairs" ? "rollouts" : "pairs"),
  c: () => markFocused("correct"), i: () => markFocused("incorrect"), x: () => markFocused("ignore"), u: () => markFocused("clear"),
  z: () => { const picture = document.querySelector(".shot img"); if (picture) zoom(picture); },
  "/": () => { document.body.dataset.pane = "list"; form.elements.text.focus(); }, "?": () => $("help").showModal(), Escape: back,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});
document.addEventListener("click", (event) => {
  const item = event.target.closest(".item");
  if (item) {
    const [shard, row] = item.dataset.key.split(".");
    open({ shard, row }, {}, true);
  } else if (event.target.closest(".shot")) zoom(event.target.closest(".shot").querySelector("img"));
});
$("help-open").addEventListener("click", () => $("help").showModal());
$("list").addEventListener("scroll", () => {
  const box = $("list");
  if (box.scrollTop + box.clientHeight > box.scrollHeight - 600) load();
});
form.addEventListener("submit", (event) => event.preventDefault());
let typing;
form.addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => { writeAddress(false); search(); }, event.target.name === "text" ? 300 : 0);
});
form.addEventListener("reset", () => setTimeout(() => { writeAddress(false); search(); }));
addEventListener("popstate", async () => { const before = JSON.stringify(filters()); await follow(); if (JSON.stringify(filters()) !== before) search(); });

try {
  totals = await ask("/api/overview");
  fillFilters();
  drawTotals();
  await follow();
  await search();
  if (!state.detail && state.items.length && matchMedia("(min-width: 56rem)").matches) {
    await open({ shard: state.items[0].shard, row: state.items[0].row });
  }
} catch (error) {
  tell(error.message);
}
