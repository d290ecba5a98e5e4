"use strict";
// Building blocks of the viewer. Text of the dataset only ever becomes text: no markup is parsed anywhere.

export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const words = (name) => (name ?? "").replaceAll("_", " ");
export const strategyName = (name) => (name === "dropout_ntp" ? "DropNTP" : words(name));
export const count = (number) => Number(number).toLocaleString("en");

export function response(pieces) {
  return el("div", { class: "response" }, pieces.map((piece) => {
    if (piece.answer) return el("mark", {}, piece.text);
    return piece.shared ? el("span", { class: "shared" }, piece.text) : piece.text;
  }));
}

// A thin bar: how many rollouts were correct, incorrect, unparseable.
export function verdictBar(item) {
  const kinds = ["correct", "incorrect", "unparseable"];
  const parts = kinds.map((kind) => {
    const part = el("i", { class: kind });
    part.style.flexGrow = item[kind];
    return part;
  });
  const label = kinds.map((kind) => `${item[kind]} ${kind}`).join(", ");
  const checked = kinds.some((kind) => item[kind] > 0);
  return checked ? el("span", { class: "verdicts", title: label, role: "img", "aria-label": label }, parts) : null;
}

export function itemRow(item, chosen) {
  const image = item.image
    ? el("img", { src: `/image/${item.shard}/${item.image}`, alt: "", loading: "lazy", width: 52, height: 52 })
    : el("span", { class: "no-image" });
  const state = item.status === "paired" ? `${count(item.pairs)} pair${item.pairs === 1 ? "" : "s"}` : words(item.reason);
  return el("li", {},
    el("button", { type: "button", class: "item", "aria-current": chosen ? "true" : null, "data-key": `${item.shard}.${item.row}` },
      image,
      el("span", { class: "item-text" }, item.text || item.source_id),
      el("span", { class: "item-facts" },
        el("span", {}, item.source), el("span", { class: item.status }, state),
        item.marks ? el("span", { class: "marked" }, `${item.marks} marked`) : null,
        verdictBar(item))));
}

export function asked(detail) {
  const question = detail.question;
  const images = detail.images.map((image) => el("button", { type: "button", class: "shot", title: "Zoom (z)" },
    el("img", { src: `/image/${detail.shard}/${image.sha256}`, width: image.width, height: image.height, alt: "Image of the question" })));
  const bare = question.choices.every((choice, i) => choice === String.fromCharCode(65 + i)); // the image holds them
  const letters = bare ? [] : question.choices.map((choice) => el("li", {}, choice));
  return el("section", { class: "asked" },
    images.length ? el("div", { class: "shots" }, images) : null,
    el("div", {},
      el("p", { class: "question" }, question.text || question.detail || "(no text)"),
      letters.length ? el("ol", { class: "choices", type: "A" }, letters) : null,
      question.answer !== null
        ? el("p", { class: "gold" }, "Gold answer ", el("b", {}, [question.answer, ...question.answers].join("  or  ")), question.unit ? ` ${question.unit}` : "")
        : el("p", { class: "gold" }, question.question_id ? "Open-ended: no gold answer" : `Not usable: ${words(question.reason)}`),
      question.prompt ? el("details", { class: "prompt" }, el("summary", {}, "Prompt as sampled"), el("pre", {}, question.prompt)) : null));
}

// Buttons that say what a rollout really is; `send` keeps it.
export function markControls(rollout, send) {
  const current = rollout.mark?.outcome;
  const kinds = rollout.outcome === null ? ["ignore"] : ["correct", "incorrect", "ignore"];
  const note = el("input", { class: "note", type: "text", maxlength: 1000, placeholder: "Why? (kept with the mark)", "aria-label": "Note", value: rollout.mark?.note ?? "" });
  note.addEventListener("change", () => send(rollout, current, note.value));
  const button = (kind) => el("button", {
    type: "button", class: `mark ${kind}`, "aria-pressed": current === kind ? "true" : "false",
    onclick: () => send(rollout, current === kind ? "clear" : kind, note.value),
  }, kind);
  return el("div", { class: "marking" }, el("span", { class: "facts" }, current ? "marked" : "mark as"), kinds.map(button), current ? note : null);
}

export function verdictTag(rollout) {
  const outcome = rollout.outcome ?? (rollout.parent === null ? "not checked" : "continued without the image");
  return el("span", { class: `tag ${rollout.outcome ?? "none"}` }, outcome);
}

export function rolloutCard(rollout, send) {
  const facts = [words(rollout.rule), rollout.tokens ? `${count(rollout.tokens)} tokens` : "", rollout.finish_reason === "length" ? "cut off" : "", rollout.model];
  return el("article", { class: `rollout ${rollout.outcome ?? ""}`, tabindex: 0, "data-index": rollout.index },
    el("header", {}, el("b", {}, `#${rollout.index}`), verdictTag(rollout),
      rollout.extracted !== null ? el("span", { class: "answer" }, rollout.extracted) : null,
      el("span", { class: "facts" }, facts.filter(Boolean).join(" · "))),
    response(rollout.pieces),
    el("footer", {}, markControls(rollout, send),
      el("span", { class: "facts" }, `round ${rollout.round} · seed ${rollout.seed}`)));
}

export function pairSide(kind, pair, texts, rollout, send) {
  const answer = pair[`${kind}_answer`];
  const tokens = pair[`${kind}_tokens`];
  const model = kind === "chosen" ? pair.model : pair.rejected_model;
  const facts = [words(pair[`${kind}_rule`]), tokens ? `${count(tokens)} tokens` : "", `rollout ${pair[`${kind}_index`]}`, model];
  return el("section", { class: `side ${kind}`, tabindex: 0, "data-index": pair[`${kind}_index`] },
    el("header", {}, el("b", {}, kind), answer !== null ? el("span", { class: "answer" }, answer) : null,
      el("span", { class: "facts" }, facts.filter(Boolean).join(" · "))),
    response(texts[kind]),
    rollout ? markControls(rollout, send) : null);
}
