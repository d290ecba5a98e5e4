// Mathematics and Markdown, unless it is to be seen as written: then the text is as it was.
(() => {
  const rendered = [...document.querySelectorAll("[data-markup]")].map((box) => {
    let text = "";
    const spans = [];
    for (const node of box.childNodes) {
      const start = text.length;
      text += node.textContent;
      if (node.nodeType === 1) spans.push({ start, stop: text.length, name: node.nodeName === "MARK" ? "answer" : box.dataset.markup === "own" ? "own" : "shared" });
    }
    return { box, text, spans, flat: box.dataset.markup === "flat" };
  });
  const draw = (raw) => {
    for (const { box, text, spans, flat } of rendered) {
      box.replaceChildren(flat ? renderAnswer(text, { raw }) : renderText(text, spans, { raw }));
      box.classList.toggle("raw", raw);
    }
  };
  let raw = false;
  draw(raw);
  const flip = () => {
    raw = !raw;
    draw(raw);
    document.getElementById("raw")?.setAttribute("aria-pressed", String(raw));
  };
  document.getElementById("raw")?.addEventListener("click", flip);
  document.addEventListener("keydown", (event) => { if (event.key === "m" && !event.ctrlKey && !event.metaKey && !event.altKey) flip(); });
})();
// What is long is folded until it is asked for; paper shows all of it. A phone shows the first pairs, and all of them
// when asked for: only what is seen can be measured.
(() => {
  const fold = () => {
    for (const box of document.querySelectorAll("[data-fold]:not([data-measured])")) {
      if (!box.offsetParent) continue;
      box.dataset.measured = "";
      if (box.scrollHeight < box.clientHeight + 24) {
        box.removeAttribute("data-fold");
        continue;
      }
      const button = document.createElement("button");
      button.type = "button";
      button.className = "unfold";
      button.textContent = "show all";
      button.addEventListener("click", () => {
        const open = box.toggleAttribute("data-open");
        button.textContent = open ? "show less" : "show all";
      });
      box.after(button);
    }
  };
  fold();
  addEventListener("resize", fold);
  for (const gallery of document.querySelectorAll(".gallery")) {
    const number = gallery.children.length;
    if (number <= 8) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "unfold all-pairs";
    button.textContent = `show all ${number}`;
    button.addEventListener("click", () => {
      gallery.dataset.all = "";
      button.remove();
      fold();
    });
    gallery.after(button);
  }
})();
// Charts say what a bar stands for: their drawings carry it as labels for screen readers.
(() => {
  const tip = document.getElementById("tip");
  document.addEventListener("pointermove", (event) => {
    const shape = event.target.closest?.(".chart [aria-roledescription=bar], .chart [aria-roledescription=rule]");
    tip.hidden = !shape;
    if (!shape) return;
    tip.textContent = shape.getAttribute("aria-label").replaceAll("; ", " · ");
    const wide = tip.offsetWidth;
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 12, innerWidth - wide - 8))}px`;
    tip.style.top = `${event.clientY + 16}px`;
  });
  document.addEventListener("click", (event) => {
    const image = event.target.closest?.(".pair img");
    const dialog = document.getElementById("zoom");
    if (image) {
      dialog.firstElementChild.src = image.src;
      dialog.showModal();
    } else if (event.target.closest?.("#zoom")) dialog.close();
  });
})();
