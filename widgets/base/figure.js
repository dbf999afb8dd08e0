// The heat map as a figure for a paper: SVG, and PNG drawn from that SVG.

import { css, RAMPS } from "./colour.js";
import { h } from "./dom.js";
import { number, shorten } from "./text.js";

/**
 * The map as SVG text, for a paper: light colours whatever the screen's theme. Token text is escaped by the
 * serializer.
 */
export const svgFigure = (grid, { title, subtitle, bar, limit, low = number(-limit) }) => {
  const ns = "http://www.w3.org/2000/svg",
    theme = RAMPS.light;
  const node = (tag, attributes, text) => {
    const n = document.createElementNS(ns, tag);
    for (const [k, v] of Object.entries(attributes)) n.setAttribute(k, v);
    if (text !== undefined) n.textContent = text;
    return n;
  };
  const labels = grid.columnLabels.map((c) => shorten(c.text, 24)),
    cw = Math.max(4, Math.min(26, 900 / grid.columns)),
    ch = Math.max(4, Math.min(14, 600 / grid.rows));
  const every = Math.max(1, Math.ceil(11 / cw)),
    rowEvery = Math.max(1, Math.ceil(11 / ch)),
    longest = Math.max(1, ...labels.map((t) => [...t].length)) * 6.1,
    turned = longest + 4 > cw;
  const left = 46,
    top = 48,
    width = left + cw * grid.columns + Math.max(20, longest * 0.55) + 70,
    height = top + ch * grid.rows + longest * 0.87 + 36;
  const svg = node("svg", {
    xmlns: ns,
    width: Math.ceil(width),
    height: Math.ceil(height),
    viewBox: `0 0 ${Math.ceil(width)} ${Math.ceil(height)}`,
    "font-family": "DejaVu Sans, Arial, sans-serif",
    "font-size": 10,
  });
  svg.append(
    node("rect", { width: "100%", height: "100%", fill: "#ffffff" }),
    node("text", { x: left, y: 18, "font-size": 12, "font-weight": "bold" }, title),
    node("text", { x: left, y: 34, fill: "#555555" }, subtitle),
  );
  const y = (r) => top + (grid.flip ? grid.rows - 1 - r : r) * ch;
  for (let r = 0; r < grid.rows; r++)
    for (let c = 0; c < grid.columns; c++)
      svg.append(
        node("rect", {
          x: (left + c * cw).toFixed(2),
          y: y(r).toFixed(2),
          width: (cw + 0.2).toFixed(2),
          height: (ch + 0.2).toFixed(2),
          fill: css(grid.colour(r, c, theme) ?? theme.missing),
        }),
      );
  svg.append(
    node("rect", {
      x: left,
      y: top,
      width: cw * grid.columns,
      height: ch * grid.rows,
      fill: "none",
      stroke: "#888888",
      "stroke-width": 0.75,
    }),
  );
  for (let r = 0; r < grid.rows; r += rowEvery)
    svg.append(node("text", { x: left - 4, y: y(r) + ch / 2 + 3.5, "text-anchor": "end" }, grid.rowLabels[r]));
  const bottom = top + ch * grid.rows;
  for (let c = 0; c < grid.columns; c += every) {
    const x = left + (c + 0.5) * cw - (turned ? 2 : 0);
    svg.append(
      node(
        "text",
        {
          transform: `translate(${x.toFixed(1)} ${bottom + (turned ? 9 : 13)})${turned ? " rotate(60)" : ""}`,
          "text-anchor": turned ? "start" : "middle",
          "font-family": "DejaVu Sans Mono, monospace",
          "font-weight": grid.columnLabels[c].strong ? "bold" : "normal",
        },
        labels[c],
      ),
    );
  }
  svg.append(
    node(
      "text",
      {
        transform: `translate(12 ${top + (ch * grid.rows) / 2}) rotate(-90)`,
        "text-anchor": "middle",
        fill: "#555555",
      },
      grid.rowTitle,
    ),
    node("text", { x: left, y: height - 8, fill: "#555555" }, grid.columnTitle),
  );
  const bx = left + cw * grid.columns + 14,
    steps = 60,
    bh = Math.min(160, ch * grid.rows);
  for (let i = 0; i < steps; i++)
    svg.append(
      node("rect", {
        x: bx,
        y: top + (bh * i) / steps,
        width: 9,
        height: bh / steps + 0.3,
        fill: css(theme.diverging(1 - i / (steps - 1))),
      }),
    );
  for (const [t, at] of [
    [number(limit), 0],
    ["0", 0.5],
    [low, 1],
  ])
    svg.append(node("text", { x: bx + 13, y: top + bh * at + 4 }, t));
  svg.append(
    node(
      "text",
      { transform: `translate(${bx + 50} ${top + bh / 2}) rotate(90)`, "text-anchor": "middle", fill: "#555555" },
      bar,
    ),
  );
  return { text: new XMLSerializer().serializeToString(svg), width: Math.ceil(width), height: Math.ceil(height) };
};

export const svgToPng = (figure, scale = 3) =>
  new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => {
      const canvas = h("canvas", { width: figure.width * scale, height: figure.height * scale });
      const pen = canvas.getContext("2d");
      pen.scale(scale, scale);
      pen.drawImage(image, 0, 0);
      canvas.toBlob(resolve, "image/png");
    };
    image.onerror = () => reject(new Error("the browser could not draw the figure"));
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(figure.text);
  });

/** Figures next to each other as one. */
export const sideBySide = (figures) => {
  const width = figures.reduce((sum, f) => sum + f.width, 0),
    height = Math.max(...figures.map((f) => f.height));
  let x = 0;
  const inner = figures
    .map((f) => {
      const at = x;
      x += f.width;
      return f.text.replace("<svg ", `<svg x="${at}" `);
    })
    .join("");
  return {
    text:
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ` +
      `${height}"><rect width="100%" height="100%" fill="#ffffff"/>${inner}</svg>`,
    width,
    height,
  };
};
