"use strict";
// What a question, a rollout and a pair look like.

import { hits, renderAnswer, renderText } from "../markup.js";
import { count, el, plural, remember, remembered, strategyName, words } from "./dom.js";

export const look = { raw: remembered("raw") === "1", both: remembered("both") === "1", tiles: false, needle: "" };

export function toggle(name) {
  look[name] = !look[name];
  remember(name, look[name] ? "1" : "0");
  return look[name];
}

// Pieces of a response as text with spans; with `both`, what is its own is coloured instead of the rest greyed.
export function response(pieces, paired = false) {
  let text = "";
  const spans = [];
  for (const piece of pieces) {
    const start = text.length;
    text += piece.text;
    const name = piece.answer ? "answer" : piece.shared ? (paired && look.both ? null : "shared") : paired && look.both ? "own" : null;
    if (name) spans.push({ start, stop: text.length, name });
  }
  const box = el("div", { class: `response${look.raw ? " raw" : ""}` });
  box.append(renderText(text, [...spans, ...hits(text, look.needle)], look));
  return box;
}

const answerTag = (text) => (text === null || text === undefined ? null : el("span", { class: "answer" }, renderAnswer(text, look)));

// A thin bar: how many rollouts were correct, incorrect, unparseable.
export function verdictBar(item) {
  const kinds = ["correct", "incorrect", "unparseable"];
  if (!kinds.some((kind) => item[kind] > 0)) return null;
  const parts = kinds.map((kind) => {
    const part = el("i", { class: kind });
    part.style.flexGrow = item[kind];
    return part;
  });
  const label = kinds.map((kind) => `${item[kind]} ${kind}`).join(", ");
  return el("span", { class: "verdicts", title: label, role: "img", "aria-label": label }, parts);
}

const FOLDED = 700;

// Takes its room before its bytes have come, so that nothing below it moves.
function sized(img, { width, height }, most) {
  img.style.width = `min(${width}px, ${most * width / height}rem)`;
  return img;
}

// Question, images, choices and gold. Long questions are folded.
export function asked(detail, data) {
  const { question, images } = detail;
  const shots = images.map((image, number) => el("button", { type: "button", class: "shot", "data-number": number, title: "Zoom (z)", "aria-label": `Zoom image ${number + 1}` },
    sized(el("img", { src: data.image(detail.shard, image.path ?? image.sha256), width: image.width, height: image.height, alt: images.length > 1 ? `Image ${number + 1} of the question` : "Image of the question" }), image, images.length > 1 ? 11 : 17),
    images.length > 1 ? el("span", { class: "number" }, String(number + 1)) : null,
    look.tiles ? tileGrid(image.tiles) : null));
  const bare = question.choices.every((choice, i) => choice === String.fromCharCode(65 + i)); // the image holds them
  const letters = bare ? [] : question.choices.map((choice) => el("li", {}, renderAnswer(choice, look)));
  const shown = question.text || `Row ${question.source_id.replace(/^row /, "")} became no question.`;
  const text = el("div", { class: `question${shown.length > FOLDED ? " folded" : ""}` });
  text.append(renderText(shown, hits(shown, look.needle), look));
  const unfold = shown.length > FOLDED ? el("button", { type: "button", class: "link", onclick: () => { text.classList.remove("folded"); unfold.remove(); } }, `show all ${count(shown.length)} characters`) : null;
  const golds = [question.answer, ...question.answers].filter((gold) => gold !== null);
  return el("section", { class: `asked${images.length > 1 ? " strip" : ""}` },
    shots.length ? el("div", { class: "shots" }, shots) : null,
    el("div", {}, text, unfold,
      letters.length ? el("ol", { class: "choices", type: "A" }, letters) : null,
      golds.length
        ? el("p", { class: "gold" }, "Gold answer ", golds.flatMap((gold, i) => [i ? " or " : "", el("b", {}, renderAnswer(gold, look))]), question.unit ? ` ${question.unit}` : "")
        : el("p", { class: "gold" }, question.question_id ? "Open-ended: no gold answer" : `Not usable: ${words(question.reason)}${question.detail ? `: ${question.detail}` : ""}`),
      detail.raw ? el("details", { class: "prompt", open: true }, el("summary", {}, "Row as its source holds it"), el("pre", {}, detail.raw)) : null,
      question.prompt ? el("details", { class: "prompt" }, el("summary", {}, "Prompt as sampled"), el("pre", {}, question.prompt)) : null));
}

export function tileGrid([across, down]) {
  const grid = el("span", { class: "tile-grid", "aria-hidden": "true" });
  grid.style.gridTemplate = `repeat(${down}, 1fr) / repeat(${across}, 1fr)`;
  grid.append(...Array.from({ length: across * down }, () => el("i")));
  return grid;
}

const mine = (rollout, name) => rollout.marks.find((mark) => mark.by === name) ?? null;

// Buttons that say what a rollout really is; `send(rollout, outcome, note)` keeps it.
export function markControls(rollout, name, send) {
  const own = mine(rollout, name), current = own?.outcome;
  const kinds = rollout.outcome === null ? ["ignore"] : ["correct", "incorrect", "ignore"];
  const note = el("input", { class: "note", type: "text", maxlength: 1000, placeholder: "Why? (kept with the mark)", "aria-label": "Note", value: own?.note ?? "" });
  note.addEventListener("change", () => send(rollout, mine(rollout, name)?.outcome, note.value));
  const button = (kind) => el("button", {
    type: "button", class: `mark ${kind}`, "aria-pressed": current === kind ? "true" : "false",
    onclick: ({ target }) => send(rollout, current === kind ? "clear" : kind, target.parentElement.querySelector(".note")?.value),
  }, kind);
  const others = rollout.marks.filter((mark) => mark !== own).map((mark) => el("span", { class: `tag ${mark.outcome}` }, `${mark.by || "someone"}: ${mark.outcome}`));
  return el("div", { class: "marking" }, el("span", { class: "facts" }, current ? "marked" : "mark as"), kinds.map(button), others, current ? note : null);
}

// With `quiet`, shown only where a person says otherwise.
export function verdictTag(rollout, quiet = false) {
  const said = rollout.outcome ?? (rollout.parent === null ? "not checked" : "continued without the image");
  const overruled = rollout.marks.some((mark) => mark.outcome !== rollout.outcome);
  return el("span", { class: `verdict tag ${rollout.outcome ?? "none"}${overruled ? " overruled" : ""}`, title: overruled ? "A person says otherwise" : null, hidden: quiet && !overruled }, said);
}

export function rolloutCard(rollout, controls) {
  const facts = [words(rollout.rule), rollout.tokens ? plural(rollout.tokens, "token") : "", rollout.finish_reason === "length" ? "cut off" : "", rollout.model];
  return el("article", { class: `rollout ${rollout.outcome ?? ""}`, tabindex: 0, "data-index": rollout.index, "aria-label": `Rollout ${rollout.index}` },
    el("header", {}, el("b", {}, `#${rollout.index}`), verdictTag(rollout), answerTag(rollout.extracted),
      el("span", { class: "facts" }, facts.filter(Boolean).join(" · "))),
    response(rollout.pieces),
    el("footer", {}, controls, el("span", { class: "facts" }, `round ${rollout.round} · seed ${rollout.seed}`)));
}

export function pairSide(kind, pair, texts, rollout, controls) {
  const tokens = pair[`${kind}_tokens`];
  const facts = [words(pair[`${kind}_rule`]), tokens ? plural(tokens, "token") : "", `rollout ${pair[`${kind}_index`]}`, kind === "chosen" ? pair.model : pair.rejected_model];
  return el("section", { class: `side ${kind}`, tabindex: 0, "data-index": pair[`${kind}_index`], "aria-label": kind },
    el("header", {}, el("b", {}, kind), answerTag(pair[`${kind}_answer`]),
      rollout ? verdictTag(rollout, true) : null,
      el("span", { class: "facts" }, facts.filter(Boolean).join(" · "))),
    response(texts[kind], true),
    controls);
}

export function pairHead(pairs, pair, choose) {
  const chips = pairs.map((one, i) => el("button", {
    type: "button", class: "chip", "aria-current": one === pair ? "true" : null, title: strategyName(one.strategy), "aria-label": `Pair ${i + 1}, ${strategyName(one.strategy)}`, onclick: () => choose(one.pair_id),
  }, String(i + 1)));
  return el("div", { class: "chips" }, chips, el("span", { class: `tag ${pair.strategy}` }, strategyName(pair.strategy)));
}
