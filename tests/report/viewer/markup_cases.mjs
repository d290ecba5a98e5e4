// What markup.js makes of texts, with a document that only keeps what is appended: node markup_cases.mjs URL < [texts]
import { readFileSync } from "node:fs";

class Node {
  constructor(name) { Object.assign(this, { nodeName: name.toUpperCase(), children: [], className: "", style: {} }); }
  append(...nodes) { this.children.push(...nodes.flatMap((node) => (node.nodeName === "#FRAGMENT" ? node.children : [node]))); }
  get lastChild() { return this.children.at(-1); }
  insertRow() { const row = new Node("tr"); this.append(row); return row; }
  setAttribute() {}
  get text() { return (this.nodeName === "#TEXT" ? this.value : this.textContent) ?? this.children.map((child) => child.text).join(""); }
  get shape() {
    if (this.nodeName === "#TEXT") return this.value;
    const name = this.className.split(" ")[0] ? `${this.nodeName.toLowerCase()}.${this.className.split(" ")[0]}` : this.nodeName.toLowerCase();
    return [name, ...(this.textContent ? [this.textContent] : this.children.map((child) => child.shape))];
  }
}
globalThis.document = {
  createDocumentFragment: () => new Node("#fragment"), createElement: (name) => new Node(name),
  createTextNode: (value) => Object.assign(new Node("#text"), { value }),
};
globalThis.temml = { render: (tex, holder) => { if (tex.includes("\\bad")) throw new Error("no"); holder.textContent = `TeX:${tex.trim()}`; } };

const { hits, renderText } = await import(process.argv[2]);
const asked = JSON.parse(readFileSync(0, "utf-8"));
console.log(JSON.stringify(asked.map(({ text, spans = [], raw = false, find = "" }) => {
  const start = performance.now(), page = renderText(text, [...spans, ...hits(text, find)], { raw });
  return { shape: page.children.map((child) => child.shape), text: page.text.length < 5000 ? page.text : "", seconds: (performance.now() - start) / 1000 };
})));
