// Charts in SVG and tables beside them.

import { h } from "./dom.js";
import { absent } from "./text.js";

export const PAGE_COLOURS = {
  text: "var(--mn-text)",
  muted: "var(--mn-muted)",
  line: "var(--mn-line)",
  accent: "var(--mn-accent)",
  other: "var(--mn-other)",
  page: "var(--mn-bg)",
  band: "var(--mn-accent)",
};

export const PAPER_COLOURS = {
  text: "#1c1c1c",
  muted: "#555555",
  line: "#d0d0d0",
  accent: "#0b61b8",
  other: "#b35900",
  page: "#ffffff",
  band: "#0b61b8",
};

export const svg = (tag, attributes = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attributes)) if (!absent(v)) node.setAttribute(k, v);
  node.append(...children);
  return node;
};

/** The style of words that stand over lines and marks. */
export const overDrawing = (c) => `fill:${c.text};stroke:${c.page};stroke-width:3px;paint-order:stroke`;

export const drawn = (node) => ({
  text: new XMLSerializer().serializeToString(node),
  width: Number(node.getAttribute("width")),
  height: Number(node.getAttribute("height")),
});

/** About `count` round numbers from low to high. */
export const ticks = (low, high, count) => {
  const raw = (high - low) / Math.max(1, count) || 1,
    size = 10 ** Math.floor(Math.log10(raw)),
    step = size * ([1, 2, 5].find((m) => m * size >= raw * 0.999) ?? 10),
    out = [];
  for (let v = Math.ceil(low / step - 1e-9); v * step <= high + 1e-9 * step; v++)
    out.push(Number((v * step).toPrecision(12)) || 0);
  return out;
};

/**
 * Axes with their titles. x and y: { low, high, marks: [[value, words]], title, map }; the root's X and Y give places
 * in the picture.
 */
export const axes = (c, { width, height, title, label, x, y, left = 54 }) => {
  const right = width - 14,
    top = title ? 30 : 14,
    bottom = height - 38,
    words = (attributes, text) => svg("text", { style: `fill:${c.muted}`, "font-size": 10.5, ...attributes }, text);
  const place = (axis, from, to) => {
    const f = axis.map ?? ((v) => v),
      a = f(axis.low),
      b = f(axis.high);
    return (v) => from + ((f(v) - a) / (b - a || 1)) * (to - from);
  };
  const X = place(x, left, right),
    Y = place(y, bottom, top);
  const root = svg("svg", {
    xmlns: "http://www.w3.org/2000/svg",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-label": label,
    "font-family": "system-ui, DejaVu Sans, Arial, sans-serif",
    "font-size": 11,
  });
  if (title) root.append(words({ x: 2, y: 13, "font-size": 12, "font-weight": 600, style: `fill:${c.text}` }, title));
  for (const [v, text] of y.marks)
    root.append(
      svg("line", { x1: left, x2: right, y1: Y(v), y2: Y(v), style: `stroke:${c.line}`, "stroke-width": 0.7 }),
      words({ x: left - 6, y: Y(v) + 3.5, "text-anchor": "end" }, text),
    );
  let end = -99;
  for (const [v, text] of x.marks) {
    const at = X(v),
      room = text.length * 3 + 3;
    if (at - room < end) continue;
    end = at + room;
    root.append(words({ x: Math.min(at, width - room - 2), y: bottom + 14, "text-anchor": "middle" }, text));
  }
  root.append(
    svg("line", { x1: left, x2: right, y1: bottom, y2: bottom, style: `stroke:${c.muted}` }),
    words({ x: (left + right) / 2, y: height - 5, "text-anchor": "middle" }, x.title),
    words({ transform: `translate(11 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, y.title),
  );
  return { root, X, Y, left, right, top, bottom, words };
};

export const head = (...titles) =>
  h("thead", {}, h("tr", {}, ...titles.map((t) => h("th", { scope: "col", text: t }))));

export const dataTable = (testid, titles, rows) =>
  h(
    "div",
    { class: "mn-tablebox" },
    h(
      "table",
      { class: "mn-table", "data-testid": testid },
      head(...titles),
      h(
        "tbody",
        {},
        ...rows.map(([name, ...cells]) =>
          h(
            "tr",
            {},
            h("th", { scope: "row", text: name }),
            ...cells.map((cell) =>
              Array.isArray(cell)
                ? h(
                    "td",
                    {},
                    h("span", { text: cell[0] }),
                    cell[1] ? h("span", { class: "mn-why", text: cell[1] }) : null,
                  )
                : h("td", { text: cell }),
            ),
          ),
        ),
      ),
    ),
  );
