"use strict";
// A build that goes on: how far it is, and the newest rollouts on top.

import { $, count, el } from "./dom.js";
import { renderText } from "../markup.js";
import { look } from "./parts.js";

export function drawLive(totals, rows) {
  const box = $("live");
  box.hidden = totals.finished >= totals.shards;
  if (box.hidden) return;
  const { progress, newest = [] } = totals;
  const open = box.querySelector("details")?.open ?? rows === 0;
  const rate = progress?.tokens_per_second ? `, ${count(Math.round(progress.tokens_per_second))} tokens/s` : "";
  const far = progress?.rows ? `${count(progress.questions)} of ${count(progress.rows)} questions, ${count(progress.pairs)} pairs${rate}` : "";
  const ends = { stopped: "The build was stopped", killed: "The build was killed", failed: "The build failed" };
  const said = progress?.running
    ? far ? `Building: ${far}` : `The build starts: ${progress.stage}`
    : `${ends[progress?.state] ?? "No build is at work here"}${far ? `: ${far}` : ""}. The same mmpr build goes on from here.`;
  const bar = el("progress", { max: Math.max(1, progress?.rows || totals.shards), value: progress?.rows ? progress.questions : totals.finished, "aria-label": "Progress of the build" });
  box.replaceChildren(el("p", {}, said), bar, newest.length
    ? el("details", { open }, el("summary", {}, "Newest rollouts"), el("ol", {}, newest.map((rollout) => {
      const text = el("div", { class: "response" });
      text.append(renderText(rollout.text.slice(0, 1500), [], look));
      return el("li", {}, el("span", { class: "facts" }, `#${rollout.index} · round ${rollout.round} · ${count(rollout.tokens)} tokens`), text);
    })))
    : "");
}
