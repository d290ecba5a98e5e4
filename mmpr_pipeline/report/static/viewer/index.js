"use strict";
// The index: one row a question in typed arrays, whether it came from the server or lies in a static folder. Filters,
// orders, histograms and groups are worked out here, so that a click costs no request and a million rows stay fluid.

const HEAD = 8; // bytes: "MMPRIDX1"

// A block of columns: magic, length of the JSON head (u32), the head, then the arrays, each aligned to 8 bytes.
export function readBlock(buffer) {
  const view = new DataView(buffer);
  const size = view.getUint32(HEAD, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, HEAD + 4, size)));
  const arrays = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array };
  const columns = {};
  for (const { name, type, at, values } of head.columns) {
    columns[name] = { data: new arrays[type](buffer, at, head.rows), values: values ?? null };
  }
  return { rows: head.rows, columns };
}

export class Index {
  constructor() {
    this.rows = 0;
    this.columns = {}; // name -> { data: typed array, values: names of the codes or null }
  }

  // Take in another block: new shards of a running build.
  append(block) {
    if (!block.rows) return;
    const total = this.rows + block.rows;
    for (const [name, { data, values }] of Object.entries(block.columns)) {
      const mine = this.columns[name] ?? { data: new (values ? Uint16Array : data.constructor)(0), values: values ? [] : null };
      const Wider = mine.data.BYTES_PER_ELEMENT < data.BYTES_PER_ELEMENT ? data.constructor : mine.data.constructor;
      const joined = new Wider(total);
      joined.set(mine.data);
      if (values) {
        const codes = values.map((value) => {
          const known = mine.values.indexOf(value);
          return known >= 0 ? known : mine.values.push(value) - 1;
        });
        for (let i = 0; i < block.rows; i += 1) joined[this.rows + i] = codes[data[i]];
      } else joined.set(data, this.rows);
      this.columns[name] = { data: joined, values: mine.values };
    }
    this.rows = total;
    this.derive();
  }

  // Numbers that follow from others: the share judged correct, in percent; 255 where nothing was checked.
  derive() {
    const { correct, incorrect, unparseable } = this.columns;
    if (!correct) return;
    const solve = new Uint8Array(this.rows).fill(255), checked = new Uint16Array(this.rows);
    for (let i = 0; i < this.rows; i += 1) {
      checked[i] = correct.data[i] + incorrect.data[i] + unparseable.data[i];
      if (checked[i]) solve[i] = Math.round(100 * correct.data[i] / checked[i]);
    }
    this.columns.solve = { data: solve, values: null };
    this.columns.checked = { data: checked, values: null };
  }

  setColumn(name, data, values = null) { this.columns[name] = { data, values }; }

  value(name, row) {
    const column = this.columns[name];
    if (!column) return null;
    const found = column.data[row];
    if (column.values) return column.values[found];
    return name === "solve" && found === 255 ? null : found;
  }

  // The rows that pass every condition of `where` { column: ["a", "b"] or { from, to } } and the masks; `except` is left out.
  select(where, masks = [], except = null) {
    const tests = [];
    for (const [name, wanted] of Object.entries(where)) {
      const column = this.columns[name];
      if (name === except || !column) continue;
      tests.push([column.data, table(column, wanted)]);
    }
    const found = new Uint32Array(this.rows);
    let number = 0;
    rows: for (let i = 0; i < this.rows; i += 1) {
      for (const mask of masks) if (!mask[i]) continue rows;
      for (const [data, test] of tests) if (!(typeof test === "function" ? test(data[i]) : test[data[i]])) continue rows;
      found[number++] = i;
    }
    return found.slice(0, number);
  }

  // In the order of a column; equal ones stay as they stood. Bucket by bucket: linear in the number of rows.
  sort(rows, name, down) {
    const column = this.columns[name];
    if (!column || !rows.length) return rows;
    const rank = column.values ? ranks(column.values) : null;
    const { data } = column;
    let key = rank ? (row) => rank[data[row]] : (row) => data[row];
    if (name === "solve") key = (row) => (data[row] === 255 ? (down ? 0 : 255) : data[row] + 1); // what is not known, last
    let most = 0;
    for (const row of rows) most = Math.max(most, key(row));
    if (most > 1 << 20) {
      const sorted = Uint32Array.from(rows).sort((a, b) => key(a) - key(b) || a - b);
      return down ? stableReverse(sorted, key) : sorted;
    }
    const starts = new Uint32Array(most + 2);
    for (const row of rows) starts[(down ? most - key(row) : key(row)) + 1] += 1;
    for (let i = 1; i < starts.length; i += 1) starts[i] += starts[i - 1];
    const sorted = new Uint32Array(rows.length);
    for (const row of rows) sorted[starts[down ? most - key(row) : key(row)]++] = row;
    return sorted;
  }

  // How the rows fall: [{ label, value | from, to, n }], at most `most` bins; values by how often, numbers in order.
  histogram(rows, name, most = 12) {
    const column = this.columns[name];
    if (!column || !rows.length) return [];
    if (column.values) {
      const counts = new Uint32Array(column.values.length);
      for (const row of rows) counts[column.data[row]] += 1;
      const bins = [...counts].map((n, code) => ({ label: column.values[code], value: column.values[code], n })).filter((bin) => bin.n);
      return bins.sort((a, b) => b.n - a.n || (a.label < b.label ? -1 : 1));
    }
    const none = name === "solve" ? 255 : -1;
    let low = Infinity, high = -Infinity;
    for (const row of rows) {
      const value = column.data[row];
      if (value === none) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (name === "solve") [low, high] = [0, 100];
    if (!Number.isFinite(low)) return [];
    const width = Math.max(1, Math.ceil((high - low + 1) / most));
    const bins = [];
    for (let from = low; from <= high; from += width) bins.push({ label: width === 1 ? `${from}` : `${from}–${Math.min(from + width - 1, high)}`, from, to: Math.min(from + width - 1, high), n: 0 });
    for (const row of rows) if (column.data[row] !== none) bins[Math.floor((column.data[row] - low) / width)].n += 1;
    return bins;
  }

  // Totals by the values of a column: [{ value, questions, pairs, rollouts, correct, checked, tokens }], most questions first.
  groups(rows, name) {
    const column = this.columns[name];
    const totals = new Map();
    const number = ["pairs", "rollouts", "correct", "checked", "tokens"];
    for (const row of rows) {
      const code = column.data[row];
      let total = totals.get(code);
      if (!total) totals.set(code, total = { questions: 0, paired: 0, pairs: 0, rollouts: 0, correct: 0, checked: 0, tokens: 0 });
      total.questions += 1;
      if (this.columns.pairs.data[row]) total.paired += 1;
      for (const each of number) total[each] += this.columns[each].data[row];
    }
    const named = [...totals].map(([code, total]) => ({ value: column.values ? column.values[code] : name === "solve" && code === 255 ? null : code, ...total }));
    return named.sort((a, b) => (column.values ? b.questions - a.questions : a.value - b.value));
  }

  // Row of a question by its id; -1 where it is not here.
  find(id) {
    if (!/^[0-9a-f]{32}$/.test(id ?? "") || !this.rows) return -1;
    const high = parseInt(id.slice(0, 8), 16), low = parseInt(id.slice(8, 16), 16);
    const one = this.columns.id_high.data, other = this.columns.id_low.data;
    for (let i = one.indexOf(high); i >= 0; i = one.indexOf(high, i + 1)) if (other[i] === low) return i;
    return -1;
  }

  // Row at a place of the dataset; -1 where it is not here.
  at(shard, row) {
    const shards = this.columns.shard?.data ?? [];
    const first = shards.indexOf(shard);
    return first >= 0 && shards[first + row] === shard ? first + row : -1;
  }
}

// What a condition says of every possible value, as a table where that is small.
function table(column, wanted) {
  if (column.values) {
    const kept = new Set(wanted);
    return Uint8Array.from(column.values, (value) => (kept.has(value) ? 1 : 0));
  }
  return (value) => value >= wanted.from && value <= wanted.to;
}

function ranks(values) {
  const order = values.map((_, code) => code).sort((a, b) => (values[a] < values[b] ? -1 : values[a] > values[b] ? 1 : 0));
  const rank = new Uint32Array(values.length);
  order.forEach((code, place) => { rank[code] = place; });
  return rank;
}

function stableReverse(rows, key) {
  const found = new Uint32Array(rows.length);
  let at = 0;
  for (let end = rows.length; end > 0;) {
    let start = end - 1;
    while (start > 0 && key(rows[start - 1]) === key(rows[end - 1])) start -= 1;
    for (let i = start; i < end; i += 1) found[at++] = rows[i];
    end = start;
  }
  return found;
}
