"use strict";
// The dataset as `mmpr view` serves it. `bundled.js` offers the same over a static folder.

import { readBlock } from "./index.js";

const token = document.querySelector("meta[name=mmpr-token]")?.content ?? "";

async function ask(path, parameters = {}, signal = undefined) {
  const answer = await fetch(`${path}?${new URLSearchParams(parameters)}`, { signal });
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

const json = async (...asked) => (await ask(...asked)).json();

export class Served {
  writable = true;

  overview() { return json("/api/overview"); }

  // Blocks of the index from shard number `from` on; says how far it came.
  async *index(from) { yield* this.#blocks("/api/index", from); }

  async *doubts() { yield* this.#blocks("/api/doubts", 0); }

  async *#blocks(path, from) {
    for (let next = String(from); next !== "";) {
      const answer = await ask(path, { from: next });
      next = answer.headers.get("X-Mmpr-Next");
      yield { block: readBlock(await answer.arrayBuffer()), reached: Number(answer.headers.get("X-Mmpr-Reached")), complete: next === "" };
    }
  }

  // Rows of the index that say the text: yields { rows, where, share } piece by piece, questions first, then responses.
  async *search(text, starts, signal) {
    for (const where of ["questions", "responses"]) {
      for (let next = 0; next !== null;) {
        const found = await (await ask("/api/search", { text, from: next, in: where }, signal)).json();
        const rows = found.found.flatMap(([place, inside]) => inside.map((row) => starts[place] + row));
        next = found.next;
        yield { rows, where, share: next === null ? 1 : next / starts.length };
      }
    }
  }

  titles(places) { return json("/api/rows", { at: places.map(({ shard, row }) => `${shard}.${row}`).join(",") }); }
  question({ shard, row }) { return json("/api/question", { shard, row }); }
  pair(shard, question, id) { return json("/api/pair", { shard, question, id }); }
  image(shard, sha256) { return `/image/${shard}/${sha256}`; }
  marked() { return json("/api/marked"); }

  async mark(mark) {
    const headers = { "X-Mmpr-Token": token, "Content-Type": "application/json" };
    const answer = await fetch("/api/marks", { method: "POST", headers, body: JSON.stringify(mark) });
    if (!answer.ok) throw new Error(await answer.text());
  }
}
