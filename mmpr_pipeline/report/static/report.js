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
