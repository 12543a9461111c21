"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("numbers").textContent);
  const tip = document.getElementById("tip");
  const width = (svg) => svg.viewBox.baseVal.width;

  const pretty = (value, unit) => {
    if (unit === "share" || unit === "probability") return value.toFixed(2).replace(/^0\./, ".");
    const size = Math.abs(value);
    return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : String(+value.toPrecision(3));
  };

  const nearest = (xs, x) => {
    let best = 0;
    for (let i = 1; i < xs.length; i++) if (Math.abs(xs[i] - x) < Math.abs(xs[best] - x)) best = i;
    return best;
  };

  const show = (svg, lines, x, y) => {
    tip.replaceChildren(...lines.map(([text, style]) => {
      const line = document.createElement("div");
      line.textContent = text;
      if (style) line.className = style;
      return line;
    }));
    tip.hidden = false;
    const box = svg.getBoundingClientRect();
    const scale = box.width / width(svg);
    const left = box.left + x * scale;
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    const beside = left + 14 > room ? left - tip.offsetWidth - 14 : left + 14;
    tip.style.left = Math.max(8, Math.min(room, beside)) + window.scrollX + "px";
    tip.style.top = box.top + window.scrollY + Math.max(4, y * scale - tip.offsetHeight / 2) + "px";
  };

  const rule = (svg, x, [top, bottom] = [24, 206]) => {
    let line = svg.querySelector(".rule");
    if (!line) {
      line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      line.setAttribute("class", "rule");
      svg.append(line);
    }
    line.setAttribute("d", x === null ? "" : `M${x} ${top}V${bottom}`);
  };

  // Where the stages of a lineage have names, a line may lack some of them.
  const stepsOf = (data) => data.names ? data.names.map((_, i) => i) : data.lines.length ? data.lines[0].x : [];

  const lineTip = (svg, data, step, y) => {
    const [left, right, first, last] = data.x;
    const xs = stepsOf(data);
    if (!xs.length) return;
    const at = xs[nearest(xs, step)];
    const x = left + ((at - first) / (last - first || 1)) * (right - left);
    const rows = data.lines.filter((line) => line.x.length).map((line) => {
      const i = nearest(line.x, at);
      const away = Math.abs(line.x[i] - at) > (data.names ? 0 : Math.max(1, (last - first) / 40));
      const value = away ? "–" : line.says ? line.says[i] : pretty(line.y[i], data.unit);
      return [(line.label ? line.label + ": " : "") + value, "run" + line.run];
    });
    rule(svg, x, data.y);
    show(svg, [[data.names ? data.names[at] : "step " + Math.round(at)], ...rows], x, y);
  };

  const heatTip = (svg, data, row, column) => {
    const [left, top, w, h] = data.box;
    const value = (data.heat[row] || [])[column];
    if (value === undefined || value === null) return void (tip.hidden = true);
    const [from, to] = data.columns[column];
    const where = from === to ? "step " + from : "steps " + from + "–" + to;
    const label = data.labels[row];
    const name = data.rows === "prompt" ? "prompt " + label : label || "rank " + (row + 1);
    show(svg, [[where], [name], [pretty(value, "share") + " different"]],
      left + (column + 0.5) * w, top + (row + 0.5) * h);
  };

  for (const [id, data] of Object.entries(charts)) {
    const svg = document.getElementById(id);
    if (!svg) continue;
    let at = null;
    let cell = [0, 0];
    const hide = () => {
      tip.hidden = true;
      if (!data.heat) rule(svg, null);
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * width(svg);
      const y = ((event.clientY - box.top) / box.width) * width(svg);
      if (data.heat) {
        const [left, top, w, h] = data.box;
        return heatTip(svg, data, Math.floor((y - top) / h), Math.floor((x - left) / w));
      }
      const [left, right, first, last] = data.x;
      lineTip(svg, data, first + ((x - left) / (right - left)) * (last - first), y);
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (event.key === "Escape") return hide();
      if (!move || (!data.heat && !move[1])) return;
      event.preventDefault();
      if (data.heat) {
        cell = [
          Math.min(data.heat.length - 1, Math.max(0, cell[0] + move[0])),
          Math.min(data.columns.length - 1, Math.max(0, cell[1] + move[1])),
        ];
        return heatTip(svg, data, ...cell);
      }
      const xs = stepsOf(data);
      at = at === null ? (move[1] > 0 ? 0 : xs.length - 1) : Math.min(xs.length - 1, Math.max(0, at + move[1]));
      lineTip(svg, data, xs[at], 60);
    });
  }

  const closed = new Set();
  window.addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details:not([open])")) {
      closed.add(one);
      one.open = true;
    }
  });
  window.addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
    closed.clear();
  });
})();
