"use strict";
// Nodes from data. Text of the dataset only ever becomes text: no HTML is parsed anywhere.

export const $ = (id) => document.getElementById(id);

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

export function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  node.append(...children.filter(Boolean));
  return node;
}

export const words = (name) => (name ?? "").replaceAll("_", " ");
export const strategyName = (name) => words(name).replaceAll("dropout ntp", "DropNTP");
export const count = (number) => Number(number).toLocaleString("en");
export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
export const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%` : "–");

export function tell(text) {
  const toast = $("toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { toast.hidden = true; }, 3500);
}

// What this browser remembers; a page that may not store anything forgets.
export const remembered = (key) => { try { return localStorage.getItem(`mmpr-${key}`); } catch { return null; } };
export const remember = (key, value) => { try { localStorage.setItem(`mmpr-${key}`, value); } catch { /* then not */ } };
