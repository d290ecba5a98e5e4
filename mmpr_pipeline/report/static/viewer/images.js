"use strict";
// The images of a question full-screen: the next and the last one, zoom, pan by dragging, the tiles that a model sees.

import { $ } from "./dom.js";
import { look, tileGrid } from "./parts.js";

let images = [], at = 0, address = null, scale = 0;

export function openImages(detail, data, number) {
  if (!detail?.images.length) return;
  images = detail.images;
  address = (image) => data.image(detail.shard, image.path ?? image.sha256);
  if (!$("zoom").open) $("zoom").showModal(); // its size decides how large the image fits
  show(number);
}

function show(which) {
  at = (which + images.length) % images.length;
  const image = images[at], picture = $("zoom").querySelector("img");
  picture.src = address(image);
  picture.alt = `Image ${at + 1} of ${images.length}`;
  picture.style.aspectRatio = `${image.width} / ${image.height}`;
  const number = image.tiles[0] * image.tiles[1];
  const seen = number > 1 ? `${number} tiles and a thumbnail` : "1 tile";
  $("zoom-name").textContent = [images.length > 1 ? `${at + 1} of ${images.length}` : "", `${image.width} × ${image.height}`, seen].filter(Boolean).join(" · ");
  for (const step of $("zoom").querySelectorAll("[data-zoom=before], [data-zoom=next]")) step.hidden = images.length < 2;
  zoom(0);
  tiles();
}

function tiles() {
  $("zoom").querySelector(".tile-grid")?.remove();
  if (look.tiles) $("zoom").querySelector(".picture").append(tileGrid(images[at].tiles));
  $("zoom").querySelector("[data-zoom=tiles]").setAttribute("aria-pressed", look.tiles ? "true" : "false");
}

// 0 fits the image into the window; else a factor of what is shown.
function zoom(by) {
  const picture = $("zoom").querySelector("img"), box = $("zoom").querySelector(".canvas");
  if (!by) {
    const fit = Math.min(box.clientWidth * 0.96 || 900, (box.clientHeight * 0.94 || 700) * images[at].width / images[at].height);
    scale = Math.max(40, fit);
  } else {
    const middle = [(box.scrollLeft + box.clientWidth / 2) / box.scrollWidth, (box.scrollTop + box.clientHeight / 2) / box.scrollHeight];
    scale = Math.min(8000, Math.max(60, scale * by));
    picture.style.width = `${scale}px`;
    box.scrollLeft = middle[0] * box.scrollWidth - box.clientWidth / 2;
    box.scrollTop = middle[1] * box.scrollHeight - box.clientHeight / 2;
  }
  picture.style.width = `${scale}px`;
}

const ACTS = {
  in: () => zoom(1.4), out: () => zoom(1 / 1.4), fit: () => zoom(0), close: () => $("zoom").close(), next: () => show(at + 1), before: () => show(at - 1),
  tiles: () => { look.tiles = !look.tiles; tiles(); },
};
const KEYS = { "+": "in", "=": "in", "-": "out", 0: "fit", ArrowRight: "next", ArrowLeft: "before", j: "next", k: "before", g: "tiles", z: "close" };

$("zoom").addEventListener("keydown", (event) => {
  if (!Object.hasOwn(KEYS, event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation();
  ACTS[KEYS[event.key]]();
});
let drag = null;
$("zoom").addEventListener("click", (event) => {
  const wanted = event.target.closest("[data-zoom]")?.dataset.zoom;
  if (wanted) ACTS[wanted]();
  else if (!event.target.closest(".picture, .tools") && !drag?.moved) $("zoom").close();
});
const canvas = $("zoom").querySelector(".canvas");
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15);
}, { passive: false });
canvas.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse") drag = { x: event.clientX + canvas.scrollLeft, y: event.clientY + canvas.scrollTop, moved: false, down: true }; });
addEventListener("pointermove", (event) => {
  if (!drag?.down) return;
  drag.moved ||= Math.abs(drag.x - canvas.scrollLeft - event.clientX) + Math.abs(drag.y - canvas.scrollTop - event.clientY) > 4;
  canvas.scrollLeft = drag.x - event.clientX;
  canvas.scrollTop = drag.y - event.clientY;
});
addEventListener("pointerup", () => { if (drag) drag.down = false; });

