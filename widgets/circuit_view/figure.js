// The graph as a figure for a paper: SVG in light colours, whatever the screen's theme.

import { PAPER_COLOURS as PAPER, svg } from "../base/charts.js";
import { css, RAMPS } from "../base/colour.js";
import { largest, number } from "../base/text.js";
import { curveOf, layoutOf } from "./layout.js";
import { buckets, colourOf, widthOf } from "./map.js";

const WIDTH = 760;

/** The kept edges and their nodes with axes, and what colour and width mean. */
export const circuitFigure = (graph, kept, { title, subtitle, unit }) => {
  const layout = layoutOf(graph, WIDTH),
    down = 44,
    height = layout.height + down + 24,
    most = largest(graph.scores),
    root = svg("svg", {
      xmlns: "http://www.w3.org/2000/svg",
      width: WIDTH,
      height,
      viewBox: `0 0 ${WIDTH} ${height}`,
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
  const { r } = layout;
  layout.nodes.forEach(({ x, y }, node) => {
    const at = { fill: PAPER.page, stroke: PAPER.text };
    if (node === 0 || node === graph.writers)
      plot.append(
        svg("rect", { x: x - 26, y: y - 8, width: 52, height: 16, ...at }),
        text(x, y + 3.5, node ? "logits" : "input", { "text-anchor": "middle" }),
      );
    else if (graph.place(node).column === graph.heads)
      plot.append(svg("rect", { x: x - r, y: y - r, width: 2 * r, height: 2 * r, ...at }));
    else plot.append(svg("circle", { cx: x, cy: y, r, ...at }));
  });
  for (let layer = 0; layer < graph.layers; layer += Math.ceil(13 / layout.rh))
    plot.append(text(layout.left - 12, layout.nodes[graph.nodeAt(layer, 0)].y + 3.5, layer, { "text-anchor": "end" }));
  const bottom = layout.base + 26;
  for (let head = 0; head < graph.heads; head += Math.ceil(22 / layout.cw))
    plot.append(text(layout.nodes[graph.nodeAt(0, head)].x, bottom, head, { "text-anchor": "middle" }));
  plot.append(
    text(layout.nodes[graph.nodeAt(0, graph.heads)].x, bottom, "MLP", { "text-anchor": "middle" }),
    text(layout.left + (graph.heads * layout.cw) / 2, bottom + 14, "head", { "text-anchor": "middle" }),
    svg("text", { transform: `translate(12 ${layout.base / 2}) rotate(-90)`, fill: PAPER.muted }, "layer"),
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
  return { text: new XMLSerializer().serializeToString(root), width: WIDTH, height };
};
