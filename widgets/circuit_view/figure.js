// The graph as a figure for a paper: SVG in light colours, whatever the screen's theme.

import { PAPER_COLOURS as PAPER, svg } from "../base/charts.js";
import { css, RAMPS } from "../base/colour.js";
import { largest, number } from "../base/text.js";
import { curveOf, layoutOf } from "./layout.js";
import { buckets, colourOf, widthOf } from "./map.js";

const LEAST_WIDTH = 760;

/** The kept edges and their nodes with axes, and what colour and width mean. */
export const circuitFigure = (graph, kept, { title, subtitle, unit }) => {
  const layout = layoutOf(graph, LEAST_WIDTH),
    width = Math.max(LEAST_WIDTH, layout.width),
    down = 44,
    height = layout.height + down + 24,
    most = largest(graph.scores),
    root = svg("svg", {
      xmlns: "http://www.w3.org/2000/svg",
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      "font-family": "DejaVu Sans, Arial, sans-serif",
      "font-size": 10,
    });
  const text = (x, y, words, more = {}) => svg("text", { x, y, fill: PAPER.text, ...more }, words);
  root.append(
    svg("rect", { width: "100%", height: "100%", fill: PAPER.page }),
    text(12, 18, title, { "font-size": 12, "font-weight": "bold" }),
    text(12, 34, subtitle, { fill: PAPER.muted }),
  );
  const plot = svg("g", { transform: `translate(0 ${down})` });
  for (const { sign, s, edges } of buckets(graph, kept, most)) {
    const d = edges.map((i) => {
      const [a, b, ...rest] = curveOf(graph, layout, kept[i]).map((v) => Number(v.toFixed(1)));
      return `M${a} ${b}C${rest.join(" ")}`;
    });
    plot.append(
      svg("path", {
        d: d.join(""),
        fill: "none",
        stroke: css(colourOf(RAMPS.light, sign, s)),
        "stroke-width": widthOf(s).toFixed(2),
        opacity: (0.35 + 0.6 * s).toFixed(2),
      }),
    );
  }
  const { r, boxes } = layout;
  layout.nodes.forEach(({ x, y }, node) => {
    const at = { fill: PAPER.page, stroke: PAPER.text },
      box = boxes.get(node),
      shape = graph.shape(node);
    if (box)
      plot.append(
        svg("rect", { x: x - box.wide, y: y - box.high, width: 2 * box.wide, height: 2 * box.high, ...at }),
        text(x, y + 3.5, box.text, { "text-anchor": "middle" }),
      );
    else if (shape === "circle") plot.append(svg("circle", { cx: x, cy: y, r, ...at }));
    else {
      const wide = shape === "input" ? 1.6 * r : r;
      plot.append(svg("rect", { x: x - wide, y: y - r, width: 2 * wide, height: 2 * r, ...at }));
    }
  });
  for (const { text: words, x, y, align = "center", turn = 0, title: quiet } of layout.labels)
    plot.append(
      svg(
        "text",
        {
          transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) rotate(${Math.round((turn * 180) / Math.PI)})`,
          dy: 3.5,
          fill: quiet ? PAPER.muted : PAPER.text,
          "text-anchor": align === "right" ? "end" : "middle",
        },
        words,
      ),
    );
  root.append(plot);
  const last = height - 12;
  [-1, 1].forEach((sign, i) => {
    root.append(
      svg("line", {
        x1: 12 + 270 * i,
        x2: 40 + 270 * i,
        y1: last - 4,
        y2: last - 4,
        stroke: css(colourOf(RAMPS.light, sign, 1)),
        "stroke-width": widthOf(1),
      }),
      text(
        46 + 270 * i,
        last,
        `${sign > 0 ? "speaks for" : "speaks against"} the answer, up to ${number(sign * most)} ${unit}`,
      ),
    );
  });
  return { text: new XMLSerializer().serializeToString(root), width, height };
};
