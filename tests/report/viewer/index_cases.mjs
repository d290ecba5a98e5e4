// What the page's index says of blocks: node index_cases.mjs URL-OF-INDEX.JS BLOCK...
import { readFileSync } from "node:fs";
const { Index, readBlock } = await import(process.argv[2]);
const bytes = (path) => { const raw = readFileSync(path); return raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length); };
const index = new Index();
for (const path of process.argv.slice(3)) index.append(readBlock(bytes(path)));
const all = index.select({});
const names = (rows) => [...rows].map((row) => `${index.value("source", row)}${index.value("pairs", row)}`);
console.log(JSON.stringify({
  all: names(all), a: names(index.select({ source: ["a"] })), range: names(index.select({ pairs: { from: 3, to: 300 } })),
  except: names(index.select({ source: ["a"], pairs: { from: 0, to: 9 } }, [], "source")),
  masked: names(index.select({}, [Uint8Array.of(1, 1, 0, 0, 0)])),
  up: names(index.sort(all, "pairs", false)), down: names(index.sort(all, "pairs", true)), bySource: names(index.sort(all, "source", true)),
  histogram: index.histogram(all, "source").map((bin) => [bin.value, bin.n]), numbers: index.histogram(all, "pairs", 2).map((bin) => bin.n),
  none: names(index.select({ source: ["z"] })), find: index.find("0".repeat(32)),
}));
