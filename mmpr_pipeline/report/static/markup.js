"use strict";
// Markdown and mathematics of a response as DOM nodes. Nothing of the text is ever parsed as HTML; TeX becomes MathML by
// Temml, without trust, and what it cannot read stays as it was written. Every mark-up is found by offsets into the text,
// so that spans over it (the answer found, what both responses share, search hits) survive the rendering.

const MOST_CHARS = 40000; // longer texts are shown as they are
const MATH = { throwOnError: true, trust: false, maxSize: [12, 30], maxExpand: 100, annotate: false };

const INLINE = new RegExp([
  "`(?<code>[^`\\n]{1,500})`",
  "\\$\\$(?<display>[^$]{1,2000})\\$\\$",
  "\\\\\\[(?<bracket>[^]{1,2000}?)\\\\\\]",
  "\\\\\\((?<paren>[^]{1,2000}?)\\\\\\)",
  "(?<![\\\\$\\w])\\$(?<dollar>(?:\\\\.|[^$\\\\\\n]|\\n(?!\\n)){1,600}?)\\$(?!\\d)",
  "(?<boxed>\\\\boxed\\{)",
  "\\*\\*(?=\\S)(?<bold>[^\\n]{1,2000}?)(?<=\\S)\\*\\*",
  "(?<![\\w*])\\*(?=[^\\s*])(?<italic>[^*\\n]{1,500}?)(?<=\\S)\\*(?![\\w*])",
  "(?<image><image>)",
].join("|"), "gd");

// The text as a fragment. `spans`: [{ start, stop, name }] with the names answer, shared, own, hit. `raw` leaves it as it
// is written, `flat` keeps it within one line: no paragraphs, lists and tables.
export function renderText(text, spans = [], { raw = false, flat = false } = {}) {
  const page = document.createDocumentFragment();
  const emit = emitter(text, spans);
  if (raw || text.length > MOST_CHARS) emit(page, 0, text.length);
  else if (flat) inline(page, text, 0, text.length, emit);
  else for (const block of blocks(text)) drawBlock(page, text, block, emit);
  return page;
}

// A short answer: mathematics where it is TeX, with or without its dollars, else text.
export function renderAnswer(text, { raw = false } = {}) {
  const bare = /\\[a-zA-Z]+|[_^]\{/.test(text) && !/[$`]|\\\(|\\\[/.test(text);
  const page = document.createDocumentFragment();
  const math = !raw && bare && text.length < 500 ? toMath(text, false) : null;
  page.append(math ?? renderText(text, [], { raw, flat: true }));
  return page;
}

// Where `needle` occurs, in capitals or not.
export function hits(text, needle) {
  const found = [];
  if (!needle) return found;
  const low = text.toLowerCase(), wanted = needle.toLowerCase();
  if (low.length !== text.length) return found; // some capitals have no small letter of the same length
  for (let at = low.indexOf(wanted); at >= 0 && found.length < 500; at = low.indexOf(wanted, at + wanted.length)) {
    found.push({ start: at, stop: at + wanted.length, name: "hit" });
  }
  return found;
}

// ---- blocks: [{ kind, start, stop, … }] of the text, line by line

const ITEM = /^( {0,12})([-*+•]|\d{1,3}[.)])[ \t]+(?=\S)/;
const RULE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const OPENERS = [["$$", "$$"], ["\\[", "\\]"]];

export function blocks(text) {
  const found = [];
  const lineEnd = (at) => { const end = text.indexOf("\n", at); return end < 0 ? text.length : end; };
  let at = 0, paragraph = null;
  const close = () => { if (paragraph) found.push(paragraph); paragraph = null; };
  while (at < text.length) {
    const end = lineEnd(at), line = text.slice(at, end), trimmed = line.trim();
    const opener = OPENERS.find(([open]) => trimmed.startsWith(open));
    const stop = opener ? text.indexOf(opener[1], at + line.indexOf(opener[0]) + 2) : -1;
    let next = end + 1;
    if (!trimmed) close();
    else if (trimmed.startsWith("```")) {
      close();
      const shut = text.indexOf("\n```", end);
      const inner = shut < 0 ? text.length : shut;
      found.push({ kind: "code", start: Math.min(end + 1, inner), stop: inner });
      next = shut < 0 ? text.length : lineEnd(shut + 1) + 1;
    } else if (stop > end) { // mathematics over several lines stays in one block
      paragraph ??= { kind: "text", start: at, stop: end };
      next = lineEnd(stop) + 1;
      paragraph.stop = next - 1;
    } else if (/^#{1,6}[ \t]+\S/.test(trimmed)) {
      close();
      found.push({ kind: "heading", start: at + line.search(/#[ \t]/) + 2, stop: end });
    } else if (/^(?:-{3,}|\*{3,}|_{3,})$/.test(trimmed)) {
      close();
      found.push({ kind: "rule", start: at, stop: end });
    } else if (line.includes("|") && end < text.length && RULE.test(text.slice(end + 1, lineEnd(end + 1))) && text.slice(end + 1, lineEnd(end + 1)).includes("-")) {
      close();
      const rows = [[at, end]];
      next = lineEnd(end + 1) + 1;
      while (next < text.length && text.slice(next, lineEnd(next)).includes("|")) {
        rows.push([next, lineEnd(next)]);
        next = lineEnd(next) + 1;
      }
      found.push({ kind: "table", start: at, stop: next - 1, rows });
    } else if (ITEM.test(line)) {
      close();
      const [all, space, marker] = ITEM.exec(line);
      paragraph = { kind: "item", start: at + all.length, stop: end, depth: Math.min(3, space.length >> 1), marker };
    } else {
      paragraph ??= { kind: "text", start: at, stop: end };
      paragraph.stop = end;
    }
    at = next;
  }
  close();
  return found;
}

function drawBlock(page, text, block, emit) {
  const make = (name, className = "") => {
    const node = document.createElement(name);
    if (className) node.className = className;
    return node;
  };
  if (block.kind === "rule") return page.append(make("hr"));
  if (block.kind === "code") {
    const pre = make("pre", "md-code");
    emit(pre, block.start, block.stop);
    return page.append(pre);
  }
  if (block.kind === "table") {
    const table = make("table", "md-table");
    block.rows.forEach(([start, stop], number) => {
      const row = table.insertRow();
      for (const [from, to] of cells(text, start, stop)) {
        const cell = make(number ? "td" : "th");
        inline(cell, text, from, to, emit);
        row.append(cell);
      }
    });
    const box = make("div", "md-scroll");
    box.tabIndex = 0;
    box.append(table);
    return page.append(box);
  }
  if (block.kind === "item") {
    const numbered = /\d/.test(block.marker);
    let list = page.lastChild;
    if (list?.nodeName !== (numbered ? "OL" : "UL")) page.append(list = make(numbered ? "ol" : "ul", "md-list"));
    const item = make("li", `d${block.depth}`);
    if (numbered) item.value = parseInt(block.marker, 10);
    inline(item, text, block.start, block.stop, emit);
    return list.append(item);
  }
  const paragraph = make("p", block.kind === "heading" ? "md-heading" : "");
  inline(paragraph, text, block.start, block.stop, emit);
  page.append(paragraph);
}

function cells(text, start, stop) {
  const found = [];
  let from = start;
  for (let at = start; at <= stop; at += 1) {
    if (at < stop && (text[at] !== "|" || text[at - 1] === "\\")) continue;
    if (!(text.slice(from, at).trim() === "" && (found.length === 0 && from === start || at === stop))) found.push([from, at]);
    from = at + 1;
  }
  return found.slice(0, 40);
}

// ---- within a block

function inline(parent, text, start, stop, emit, images = { seen: countOf(text.slice(0, start), "<image>") }) {
  let at = start;
  const part = text.slice(0, stop);
  INLINE.lastIndex = start;
  for (let match; (match = INLINE.exec(part)) !== null;) {
    const resume = drawInline(parent, text, match, emit, images, () => { emit(parent, at, match.index); at = match.index; });
    if (resume) at = resume;
    INLINE.lastIndex = resume ?? match.index + 1; // drawing may have used the same expression
  }
  emit(parent, at, stop);
}

// Draws what was found and returns where it ends; null where it is nothing after all.
function drawInline(parent, text, match, emit, images, before) {
  const { code, display, bracket, paren, dollar, boxed, bold, italic, image } = match.groups;
  const end = match.index + match[0].length;
  if (image !== undefined) {
    before();
    images.seen += 1;
    const chip = document.createElement("span");
    chip.className = "image-ref";
    chip.textContent = `Image ${images.seen}`;
    parent.append(chip);
    return end;
  }
  if (bold !== undefined || italic !== undefined || code !== undefined) {
    before();
    const node = document.createElement(bold !== undefined ? "strong" : italic !== undefined ? "em" : "code");
    const [from, to] = match.indices.groups[bold !== undefined ? "bold" : italic !== undefined ? "italic" : "code"];
    if (code !== undefined) emit(node, from, to);
    else inline(node, text, from, to, emit, images);
    parent.append(node);
    return end;
  }
  // Two sums of money are no mathematics: what begins or ends with a blank must at least look like it.
  if (dollar !== undefined && /^\s|\s$/.test(dollar) && !/[\\^_]|^\s*\w\s*$/.test(dollar)) return null;
  const stop = boxed !== undefined ? closing(text, end) : end;
  const tex = display ?? bracket ?? paren ?? dollar ?? (stop ? text.slice(match.index, stop) : null);
  const math = tex === null ? null : toMath(tex, display !== undefined || bracket !== undefined);
  if (!math) return null;
  before();
  emit.around(parent, match.index, stop, math);
  return stop;
}

function toMath(tex, displayMode) {
  const holder = document.createElement("span");
  holder.className = displayMode ? "math display" : "math";
  try {
    globalThis.temml.render(tex, holder, { ...MATH, displayMode });
  } catch { return null; }
  holder.setAttribute("title", tex.trim());
  return holder;
}

// Behind the brace that closes the one before `at`; null where none does within 300 signs.
function closing(text, at) {
  let depth = 1;
  for (let i = at; i < Math.min(text.length, at + 300); i += 1) {
    if (text[i] === "\\") i += 1;
    else if (text[i] === "{") depth += 1;
    else if (text[i] === "}" && (depth -= 1) === 0) return i + 1;
  }
  return null;
}

const countOf = (text, wanted) => text.split(wanted).length - 1;

// ---- text with its spans

const TAGS = { answer: "mark", hit: "mark", shared: "span", own: "span" };

function emitter(text, spans) {
  const borders = [...new Set(spans.flatMap((span) => [span.start, span.stop]))].sort((a, b) => a - b);
  const wrap = (names, node) => names.reduce((inner, name) => {
    const outer = document.createElement(TAGS[name]);
    outer.className = name;
    outer.append(inner);
    return outer;
  }, node);
  const emit = (parent, start, stop) => {
    let at = start;
    for (const border of [...borders.filter((one) => one > start && one < stop), stop]) {
      if (border <= at) continue;
      const names = spans.filter((span) => span.start <= at && border <= span.stop).map((span) => span.name);
      parent.append(wrap(names, document.createTextNode(text.slice(at, border))));
      at = border;
    }
  };
  // One node that stands for a stretch: marked where an answer or a hit touches it, shared or own where it is so wholly.
  emit.around = (parent, start, stop, node) => {
    const whole = spans.filter((span) => span.start <= start && stop <= span.stop).map((span) => span.name);
    const touched = spans.filter((span) => TAGS[span.name] === "mark" && span.start < stop && start < span.stop).map((span) => span.name);
    parent.append(wrap([...new Set([...whole, ...touched])], node));
  };
  return emit;
}
