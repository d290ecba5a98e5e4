"use strict";
// A training run, live: its curves, the last step, and what the model says of fixed questions at each checkpoint.

import { $, count, el, remember, remembered, tell, words } from "./dom.js";
import { chart, shortly } from "./curves.js";
import { renderAnswer, renderText } from "../markup.js";

const POLL_MS = 2000;
const PANELS = [
  ["Loss", ["loss"]],
  ["Loss by term, unweighted", /^loss\//],
  ["Rewards and δ", ["reward/chosen", "reward/rejected", "delta"]],
  ["Reward margin", ["reward/margin"]],
  ["Pairs with the chosen ahead", ["reward/accuracy"]],
  ["KL to the reference, nats a response", ["kl"]],
  ["Nats a token of the chosen", ["nll"]],
  ["Gradient norm", ["grad_norm"]],
  ["Learning rate", ["lr"]],
  ["Tokens a second", ["tokens_per_second"]],
  ["Memory, GiB", ["memory_gib"]],
];
const HELD_OUT = /^(?:eval|held_?out|heldout|valid(?:ation)?)\//;
const LABELS = { delta: "δ", "reward/chosen": "chosen", "reward/rejected": "rejected", tokens_per_second: "tokens/s" };
const COLOURS = { "reward/chosen": "chosen-line", "reward/rejected": "rejected-line", delta: "c3" };
const state = { lines: [], next: 0, samples: [], held: [], at: new Map() };

async function ask(path, parameters = {}) {
  const answer = await fetch(`${path}?${new URLSearchParams(parameters)}`);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

const linesOf = (name) => HELD_OUT.test(name) ? state.held : state.lines;
const numbers = (name) => linesOf(name).filter((line) => Number.isFinite(line[name]));
const curve = (name, i) => {
  const lines = numbers(name);
  return { label: LABELS[name] ?? words(name.replace(/^.*\//, "")), points: lines.map((line) => [line.step, line[name]]), weights: lines.map((line) => line.pairs || 1), className: COLOURS[name] ?? `c${i % 5}` };
};

function drawCharts() {
  const factor = Number($("smooth").value), names = new Set([...state.lines, ...state.held].flatMap((line) => Object.keys(line)));
  const of = (wanted) => [...names].filter((name) => (Array.isArray(wanted) ? wanted.includes(name) : wanted.test(name)));
  const held = [...names].filter((name) => HELD_OUT.test(name) && !/\/(pairs|tokens|tiles)$/.test(name));
  const panels = [...PANELS, ...held.map((name) => [`Held out: ${words(name.replace(HELD_OUT, ""))}`, [name]])];
  $("charts").replaceChildren(...panels.map(([title, wanted]) => chart(title, of(wanted).map(curve), HELD_OUT.test(wanted[0]) ? 0 : factor)).filter(Boolean));
}

function drawTiles() {
  const last = state.lines.at(-1);
  if (!last) return;
  const steps = last.steps ?? 0;
  const left = steps ? (steps - last.step - 1) * mean("seconds") : 0;
  const tiles = [
    [steps ? `${count(last.step + 1)} / ${count(steps)}` : count(last.step + 1), "steps"], [shortly(last.loss ?? NaN), "loss"], [shortly(last["reward/margin"] ?? NaN), "margin"],
    [`${Math.round(100 * (last["reward/accuracy"] ?? NaN))}%`, "chosen ahead"], [shortly(mean("tokens_per_second")), "tokens/s"], [`${shortly(mean("pairs_per_second"))}`, "pairs/s"],
  ];
  if (last.mfu >= 0.01) tiles.push([`${(100 * last.mfu).toFixed(0)}%`, "MFU"]);
  if (left > 0 && state.running) tiles.push([left < 90 ? `${Math.round(left)} s` : left < 5400 ? `${Math.round(left / 60)} min` : `${(left / 3600).toFixed(1)} h`, "left"]);
  $("tiles").replaceChildren(...tiles.filter(([value]) => !/NaN/.test(value)).map(([value, label]) => el("div", { class: "tile" }, el("b", {}, value), el("span", {}, label))));
  $("progress").hidden = !steps;
  $("progress").max = steps || 1;
  $("progress").value = last.step + 1;
}

function mean(name) {
  const last = numbers(name).slice(-20);
  return last.length ? last.reduce((sum, line) => sum + line[name], 0) / last.length : NaN;
}

function drawSamples() {
  if (!state.samples.length) return;
  const by = new Map();
  for (const sample of state.samples) {
    const name = sample.question_id ?? sample.question ?? "";
    by.set(name, [...(by.get(name) ?? []), sample]);
  }
  $("samples").replaceChildren(el("h2", {}, "What it says"), ...[...by].map(([name, samples]) => {
    const at = Math.min(state.at.get(name) ?? samples.length - 1, samples.length - 1), sample = samples[at];
    const question = el("div", { class: "question" }), text = el("div", { class: `response ${sample.outcome ?? ""}` });
    question.append(renderText(String(sample.question ?? name)));
    text.append(renderText(String(sample.text ?? "")));
    return el("article", { class: "card sample" }, question,
      sample.answer ? el("p", { class: "facts" }, "Gold answer ", el("b", {}, renderAnswer(String(sample.answer)))) : null,
      el("div", { class: "steps", role: "group", "aria-label": "Checkpoint" }, samples.map((one, i) => el("button", { type: "button", class: "chip", "aria-current": i === at ? "true" : null, onclick: () => { state.at.set(name, i); drawSamples(); } }, `step ${one.step}`))),
      el("header", {}, sample.outcome ? el("span", { class: `tag ${sample.outcome}` }, sample.outcome) : null), text);
  }));
}

async function look() {
  try {
    const [run, metrics, samples] = [await ask("/api/run"), await ask("/api/metrics", { from: state.next }), await ask("/api/samples")];
    const before = state.lines.length, heldBefore = state.held.length;
    const wasRunning = state.running;
    state.held = run.held_out;
    state.running = run.running;
    state.lines = metrics.anew ? metrics.lines : state.lines.concat(metrics.lines);
    state.next = metrics.next;
    $("state").className = run.running ? "running" : "";
    $("state").textContent = run.running ? "running" : state.lines.length ? "not running" : "no step is made yet";
    if (run.rejects.length) $("state").textContent += ` · ${count(run.rejects.length)} pairs left out`;
    $("settings").querySelector("pre").textContent = JSON.stringify(run.settings, null, 1);
    if (state.lines.length !== before || state.held.length !== heldBefore || metrics.anew || wasRunning !== state.running) { drawTiles(); drawCharts(); }
    if (samples.length !== state.samples.length) { state.samples = samples; drawSamples(); }
  } catch (error) { tell(error.message); }
  setTimeout(look, POLL_MS);
}

$("smooth").value = remembered("smooth") ?? "0.8";
$("smooth").addEventListener("input", () => { remember("smooth", $("smooth").value); drawCharts(); });
look();
