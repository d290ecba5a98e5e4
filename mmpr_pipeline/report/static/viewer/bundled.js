"use strict";
// The dataset as a static folder holds it (`mmpr view --bundle`): the index whole, all else by range from Parquet files.
// Offers what `served.js` does; marks stay in this browser until they are saved as a file.

import { asyncBufferFromUrl, cachedAsyncBuffer, parquetMetadataAsync, parquetReadObjects } from "../vendor/hyparquet.min.js";
import { readBlock } from "./index.js";
import { remember, remembered } from "./dom.js";

const GROUPS_KEPT = 60;

// A Parquet file read by row groups, the last ones kept.
class Rows {
  #kept = new Map();

  constructor(url) { this.opened = this.#open(url); }

  async #open(url) {
    const file = cachedAsyncBuffer(await asyncBufferFromUrl({ url }));
    const metadata = await parquetMetadataAsync(file);
    const starts = [0];
    for (const group of metadata.row_groups) starts.push(starts.at(-1) + Number(group.num_rows));
    return { file, metadata, starts };
  }

  async groups() { return (await this.opened).starts.length - 1; }

  // All rows of a group, of some columns; with the number of the first one.
  async group(number, columns) {
    const { file, metadata, starts } = await this.opened, key = `${number} ${columns}`;
    let rows = this.#kept.get(key);
    if (!rows) {
      rows = parquetReadObjects({ file, metadata, columns, rowStart: starts[number], rowEnd: starts[number + 1] });
      this.#kept.set(key, rows);
      if (this.#kept.size > GROUPS_KEPT) this.#kept.delete(this.#kept.keys().next().value);
    }
    return { rows: await rows, start: starts[number] };
  }

  async slice(from, to, columns) {
    const { starts } = await this.opened, found = [];
    for (let number = 0; number + 1 < starts.length; number += 1) {
      if (starts[number + 1] <= from || starts[number] >= to) continue;
      const { rows, start } = await this.group(number, columns);
      found.push(...rows.slice(Math.max(0, from - start), to - start));
    }
    return found;
  }
}

export class Bundled {
  writable = true;

  constructor(base) {
    this.base = base;
    for (const kind of ["questions", "rollouts", "pairs"]) this[kind] = new Rows(`${base}${kind}.parquet`);
  }

  async #fetch(name) {
    const answer = await fetch(`${this.base}${name}`);
    if (!answer.ok) throw new Error(`${name} is not there (${answer.status}).`);
    return answer;
  }

  async overview() {
    const found = await (await this.#fetch("overview.json")).json();
    this.name = found.name;
    return { ...found, finished: found.shards };
  }

  async *index(from) {
    if (from) return;
    const block = readBlock(await (await this.#fetch("index.bin")).arrayBuffer());
    this.columns = block.columns;
    yield { block, reached: Infinity, complete: true };
  }

  async *doubts() { yield { block: readBlock(await (await this.#fetch("doubts.bin")).arrayBuffer()), reached: Infinity, complete: true }; }

  async *search(text, starts, signal) {
    const low = text.toLowerCase(), says = (value) => value?.toLowerCase().includes(low);
    for (const [where, columns] of [["questions", ["text", "answer", "source_id"]], ["responses", ["text"]]]) {
      const file = where === "questions" ? this.questions : this.rollouts, groups = await file.groups();
      for (let number = 0; number < groups; number += 1) {
        signal?.throwIfAborted();
        const { rows, start } = await file.group(number, columns), found = [];
        rows.forEach((row, i) => { if (columns.some((name) => says(row[name]))) found.push(where === "questions" ? start + i : this.#questionOf(start + i)); });
        yield { rows: found, where, share: (number + 1) / groups };
      }
      if (!groups) yield { rows: [], where, share: 1 };
    }
  }

  // The question whose rollouts hold this row.
  #questionOf(rollout) {
    const starts = this.columns.rollouts_at.data;
    let low = 0, high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= rollout) low = middle; else high = middle - 1;
    }
    return low;
  }

  async titles(places) {
    const columns = ["text", "source", "source_id", "image"];
    return Promise.all(places.map(async ({ index }) => (await this.questions.slice(index, index + 1, columns))[0]));
  }

  async question({ shard, row, index }) {
    const range = (kind) => [this.columns[`${kind}_at`].data[index], this.columns[`${kind}_end`].data[index]];
    const [[question], rollouts, pairs] = await Promise.all([
      this.questions.slice(index, index + 1, ["json"]), this.rollouts.slice(...range("rollouts"), ["json"]), this.pairs.slice(...range("pairs"), ["json"])]);
    this.open = { range: range("pairs") };
    const marks = this.#marks();
    const said = rollouts.map((one) => JSON.parse(one.json));
    for (const rollout of said) rollout.marks = marks.filter((mark) => mark.question_id === rollout.question_id && mark.index === rollout.index);
    return { shard, row, ...JSON.parse(question.json), rollouts: said, pairs: pairs.map((one) => JSON.parse(one.json)) };
  }

  async pair(shard, question, id) {
    const found = await this.pairs.slice(...this.open.range, ["pair_id", "texts"]);
    const pair = found.find((one) => one.pair_id === id);
    return pair ? JSON.parse(pair.texts) : null;
  }

  image(shard, path) { return path; }

  // ---- marks

  #marks() {
    try { return JSON.parse(remembered(`marks-${this.name}`) ?? "[]"); } catch { return []; }
  }

  async marked() {
    const marks = this.#marks(), none = { checked: 0, right: 0, share: null, low: 0, high: 1 };
    return { marks, summary: { rollouts: marks.length, precision: { correct: none, incorrect: none }, agreement: [] } };
  }

  async mark(mark) {
    const others = this.#marks().filter((one) => one.question_id !== mark.question_id || one.index !== mark.index || one.by !== mark.by);
    remember(`marks-${this.name}`, JSON.stringify(mark.outcome === "clear" ? others : [...others, mark]));
  }

  saveMarks() {
    const lines = this.#marks().map((mark) => `${JSON.stringify(mark)}\n`);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
    link.download = "marks.jsonl";
    link.click();
    URL.revokeObjectURL(link.href);
  }
}
