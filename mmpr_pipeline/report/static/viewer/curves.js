"use strict";
// Curves of a run as SVG: smoothed over the raw values behind them.

import { el, svg } from "./dom.js";

const WIDTH = 420, HEIGHT = 190, LEFT = 52, RIGHT = 10, TOP = 8, BOTTOM = 24, POINTS = 500;

// Exponential moving average, corrected for its start; each value weighs as much as `weights` says (pairs of a step).
export function smooth(points, factor, weights = null) {
  let sum = 0, weight = 0;
  return points.map(([x, y], i) => {
    const mine = weights?.[i] ?? 1;
    sum = factor * sum + (1 - factor) * mine * y;
    weight = factor * weight + (1 - factor) * mine;
    return [x, weight > 0 ? sum / weight : y];
  });
}

// At most `most` points, each the mean of its neighbours.
export function thin(points, most = POINTS) {
  const size = Math.ceil(points.length / most) || 1, found = [];
  for (let i = 0; i < points.length; i += size) {
    const group = points.slice(i, i + size);
    found.push([0, 1].map((k) => group.reduce((sum, point) => sum + point[k], 0) / group.length));
  }
  return found;
}

// Some round numbers from low to high.
export function ticks(low, high, number = 6) {
  const rough = (high - low) / number || 1, power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 2.5, 5, 10].map((m) => m * power).find((step) => step >= rough);
  const found = [];
  for (let i = Math.ceil(low / size); i * size <= high + size * 1e-9; i += 1) found.push(Number((i * size).toPrecision(12)));
  return found;
}

export const shortly = (value) => {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return size !== 0 && size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(4)));
};

// `curves`: [{ label, points: [[step, value]], weights, className }]
export function chart(title, curves, factor) {
  const drawn = curves.filter((curve) => curve.points.length).map((curve) => ({ ...curve, smooth: smooth(curve.points, factor, curve.weights) }));
  if (!drawn.length) return null;
  const shown = drawn.flatMap((curve) => curve.smooth), raw = drawn.flatMap((curve) => curve.points.map((point) => point[1])).sort((a, b) => a - b);
  const steps = shown.map((point) => point[0]), first = Math.min(...steps), last = Math.max(...steps, first + 1);
  // The smooth curves and nearly all raw values fit: one spike does not flatten everything else.
  let low = Math.min(...shown.map((point) => point[1]), raw[Math.floor(0.01 * raw.length)]), high = Math.max(...shown.map((point) => point[1]), raw[Math.ceil(0.99 * raw.length) - 1]);
  const flat = high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high)); // the average of equal values differs in its last bits
  const margin = flat ? Math.abs(high) * 0.1 || 1 : 0.06 * (high - low);
  [low, high] = [low - margin, high + margin];
  const x = (step) => LEFT + (WIDTH - LEFT - RIGHT) * (step - first) / (last - first), y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (high - Math.min(high, Math.max(low, value))) / (high - low);
  const path = (points) => `M${thin(points).map(([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}`;
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${drawn.map((curve) => `${curve.label} ${shortly(curve.smooth.at(-1)[1])}`).join(", ")} at step ${last}` });
  for (const tick of ticks(low, high)) picture.append(svg("path", { class: "axis", d: `M${LEFT} ${y(tick)}H${WIDTH - RIGHT}` }), label(LEFT - 6, y(tick) + 4, shortly(tick), "end"));
  for (const tick of ticks(first, last, 5)) if (Number.isInteger(tick)) picture.append(label(x(tick), HEIGHT - 7, shortly(tick), "middle"));
  for (const curve of drawn) if (factor > 0) picture.append(svg("path", { class: `raw-line ${curve.className}`, d: path(curve.points) }));
  for (const curve of drawn) picture.append(svg("path", { class: `line ${curve.className}`, d: path(curve.smooth) }));
  const cursor = svg("path", { class: "cursor", d: "" });
  picture.append(cursor);
  const values = drawn.map(() => el("b")), step = el("span", { class: "facts" });
  const say = (at) => drawn.forEach((curve, i) => { values[i].textContent = ` ${shortly((at === null ? curve.smooth.at(-1) : nearest(curve.smooth, at))[1])}`; });
  say(null);
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect(), at = first + (last - first) * ((event.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT);
    const here = nearest(drawn[0].smooth, at)[0];
    cursor.setAttribute("d", `M${x(here)} ${TOP}V${HEIGHT - BOTTOM}`);
    step.textContent = `step ${here}`;
    say(here);
  });
  picture.addEventListener("pointerleave", () => { cursor.setAttribute("d", ""); step.textContent = ""; say(null); });
  const legend = el("div", { class: "legend" }, drawn.map((curve, i) => el("span", {}, el("i", { class: curve.className }), curve.label, values[i])), step);
  return el("figure", { class: "card chart" }, el("h3", {}, title), legend, picture);
}

function label(x, y, text, anchor) {
  const node = svg("text", { x, y, "text-anchor": anchor });
  node.textContent = text;
  return node;
}

function nearest(points, step) {
  let low = 0, high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < step) low = middle + 1; else high = middle;
  }
  return low > 0 && step - points[low - 1][0] < points[low][0] - step ? points[low - 1] : points[low];
}
