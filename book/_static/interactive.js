/* What moves in the book: sliders over panels (study/stepper.py) and charts that answer
   (study/charts.py). Without this file all of them stand still and whole. */
"use strict";

function stepper(box) {
  const control = box.querySelector(".stepper-control");
  const [range, output] = control.querySelectorAll("input, output");
  const panels = [...box.querySelectorAll(".stepper-panel")];
  const show = () => {
    panels.forEach((panel, i) => (panel.hidden = i !== range.valueAsNumber));
    output.value = panels[range.valueAsNumber].getAttribute("aria-label");
    range.setAttribute("aria-valuetext", output.value);
  };
  range.addEventListener("input", show);
  control.hidden = false;
  box.classList.add("live");
  show();
}

function chart(figure) {
  const plot = figure.querySelector(".plot");
  const tip = document.createElement("output");
  tip.className = "tip";
  tip.hidden = true;
  figure.append(tip);
  plot.tabIndex = 0;
  plot.setAttribute("role", "group");
  plot.setAttribute("aria-label", "Chart: arrow keys go from point to point");

  const points = [...plot.querySelectorAll(".point")].map((element) => {
    const title = element.querySelector("title");
    const told = title ? title.textContent : element.title;
    if (title) title.remove(); // else the browser shows it a second time
    element.removeAttribute("title");
    const series = element.closest("[data-series]").dataset.series;
    const group = element.ownerSVGElement || element.closest("table");
    return { element, told, series, group };
  });
  const off = new Set();
  let active = null;

  const shown = () => points.filter((point) => !off.has(point.series));
  const centre = (point) => {
    const box = point.element.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  const nearest = (candidates, cost) => {
    let best = null;
    let least = Infinity;
    for (const point of candidates) {
      const now = cost(...centre(point), point);
      if (now < least) [best, least] = [point, now];
    }
    return [best, least];
  };

  function choose(point) {
    if (active) active.element.classList.remove("active");
    active = point;
    tip.hidden = !point;
    if (!point) return;
    point.element.classList.add("active");
    tip.value = point.told;
    const [x, y] = centre(point);
    const frame = figure.getBoundingClientRect();
    const left = Math.min(x - frame.left - tip.offsetWidth / 2, frame.width - tip.offsetWidth);
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${y - frame.top - tip.offsetHeight - 12}px`;
  }

  function pointed(event) {
    const [point, distance] = nearest(shown(), (x, y, { element }) => {
      const box = element.getBoundingClientRect();
      const inside = element.tagName === "TD"
        && Math.abs(event.clientX - x) <= box.width / 2
        && Math.abs(event.clientY - y) <= box.height / 2;
      return inside ? 0 : Math.hypot(event.clientX - x, event.clientY - y);
    });
    choose(distance < (event.pointerType === "touch" ? 32 : 18) ? point : null);
  }
  plot.addEventListener("pointermove", pointed);
  plot.addEventListener("pointerdown", pointed);
  plot.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "touch") choose(null); // a finger leaves when it is lifted
  });
  plot.addEventListener("blur", () => choose(null));

  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Escape") choose(null);
    if (!step) return;
    event.preventDefault();
    const candidates = shown();
    if (!active) return choose(candidates[0] || null);
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const line = candidates.filter((p) => p.series === active.series && p.group === active.group);
      return choose(line[line.indexOf(active) + step] || active);
    }
    const [x, y] = centre(active);
    const beyond = candidates.filter((p) => p !== active && step * (centre(p)[1] - y) > 0.5);
    const [next] = nearest(beyond, (a, b) => 10 * Math.abs(a - x) + Math.abs(b - y));
    choose(next || active);
  });

  for (const button of figure.querySelectorAll(".legend button")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      const { series } = button.dataset;
      const hide = !off.delete(series);
      if (hide) off.add(series);
      button.setAttribute("aria-pressed", String(!hide));
      for (const part of plot.querySelectorAll(`g[data-series="${series}"]`)) {
        part.classList.toggle("off", hide);
      }
      if (active && off.has(active.series)) choose(null);
    });
  }
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".stepper").forEach(stepper);
  document.querySelectorAll("figure.interactive").forEach(chart);
});
