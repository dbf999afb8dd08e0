// The layers in one plane: the way of every label's centroid and of the chosen prompt, items behind one layer.

import { axes, svg, ticks } from "../base/charts.js";
import { plainly, short } from "../base/text.js";

/** Outlines round the origin, one a label, so that labels are told apart without colour. */
const SHAPES = [
  "M-1 0A1 1 0 1 0 1 0A1 1 0 1 0 -1 0Z",
  "M-.9 -.9H.9V.9H-.9Z",
  "M0 -1.15L1.05 .8H-1.05Z",
  "M0 -1.25L1.05 0L0 1.25L-1.05 0Z",
  "M-1.05 -.8H1.05L0 1.15Z",
  "M-.35 -1.1H.35V-.35H1.1V.35H.35V1.1H-.35V.35H-1.1V-.35H-.35Z",
  "M-1 -1L0 -.4L1 -1L.4 0L1 1L0 .4L-1 1L-.4 0Z",
  "M-1.2 -.5H1.2V.5H-1.2Z",
];

/** A label's mark at a place, filled or as an outline. */
export const mark = (colours, k, x, y, size, hollow = false) =>
  svg("path", {
    d: SHAPES[k % SHAPES.length],
    transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${size})`,
    style: hollow ? `fill:none;stroke:${colours[k % colours.length]}` : `fill:${colours[k % colours.length]}`,
    "stroke-width": hollow ? (1 / size).toFixed(2) : null,
  });

/** Colours of labels on the page and on paper. */
export const PAPER_LABELS = ["#0b61b8", "#b35900", "#00734d", "#8e3d86", "#b3261e", "#007a87", "#6b4e16", "#555555"];
export const PAGE_LABELS = PAPER_LABELS.map((_, k) => `var(--mn-label${k})`);

/** All labels of a picture: those that have centroids, then those held out. */
export const labelsOf = (p) => [...p.labels, ...p.held];

/** Low and high of many numbers, a little wider, as wide as high where asked. */
const spanOf = (values) => {
  const low = Math.min(...values),
    high = Math.max(...values),
    room = Math.max(high - low, 1e-6);
  return [low - 0.06 * room, high + 0.06 * room];
};

/**
 * p: the picture with its buffers read: place [layer][item][2], centroid [layer][label][2]; layer: whose items are
 * drawn; way: the prompt's places, layer by layer, or null.
 */
export const planeChart = (c, colours, p, { layer, way, width, height }) => {
  const L = p.layers,
    all = [];
  for (let l = 0; l < L; l++) for (let k = 0; k < p.labels.length; k++) all.push(p.centroidAt(l, k));
  for (let i = 0; i < p.items.length; i++) all.push(p.placeAt(layer, i));
  for (const at of way ?? []) all.push(at);
  let [xLow, xHigh] = spanOf(all.map((a) => a[0])),
    [yLow, yHigh] = spanOf(all.map((a) => a[1]));
  // one scale on both axes: distances on the picture are distances in the plane
  const plotW = width - 68,
    plotH = height - 52,
    unit = Math.max((xHigh - xLow) / plotW, (yHigh - yLow) / plotH),
    xMore = (unit * plotW - (xHigh - xLow)) / 2,
    yMore = (unit * plotH - (yHigh - yLow)) / 2;
  [xLow, xHigh, yLow, yHigh] = [xLow - xMore, xHigh + xMore, yLow - yMore, yHigh + yMore];
  const said = p.labels.map((name, k) => {
    const [x, y] = p.centroidAt(layer, k);
    return `${plainly(name)} at ${short(x)}, ${short(y)}`;
  });
  const a = axes(c, {
    width,
    height,
    label:
      `Plane of the centroids over ${L} layers. Behind block ${layer}: ${said.join("; ")}` +
      (way ? `; the prompt at ${short(way[layer][0])}, ${short(way[layer][1])}.` : "."),
    x: {
      low: xLow,
      high: xHigh,
      marks: ticks(xLow, xHigh, 5).map((v) => [v, short(v)]),
      title: "first axis of the plane (spreads of the layer)",
    },
    y: {
      low: yLow,
      high: yHigh,
      marks: ticks(yLow, yHigh, 5).map((v) => [v, short(v)]),
      title: "second axis (spreads)",
    },
  });
  const names = labelsOf(p),
    items = svg("g", { "data-part": "items", opacity: 0.55 });
  p.items.forEach((item, i) => {
    const k = names.indexOf(item.label),
      [x, y] = p.placeAt(layer, i);
    items.append(
      k < 0
        ? svg("circle", { cx: a.X(x), cy: a.Y(y), r: 1.6, style: `fill:${c.muted}` })
        : mark(colours, k, a.X(x), a.Y(y), 3, true),
    );
  });
  a.root.append(items);
  const grow = (l, from, to) => from + ((to - from) * l) / Math.max(1, L - 1);
  const wayOf = (places) => `M${places.map(([x, y]) => `${a.X(x).toFixed(1)} ${a.Y(y).toFixed(1)}`).join("L")}`;
  p.labels.forEach((name, k) => {
    const places = Array.from({ length: L }, (_, l) => p.centroidAt(l, k)),
      colour = colours[k % colours.length],
      group = svg("g", { "data-way": name });
    group.append(
      svg("title", {}, plainly(name)),
      svg("path", { d: wayOf(places), style: `stroke:${colour};fill:none`, "stroke-width": 1.6 }),
    );
    places.forEach(([x, y], l) => {
      group.append(mark(colours, k, a.X(x), a.Y(y), l === layer ? 7 : grow(l, 2, 4)));
    });
    a.root.append(group);
  });
  if (way) {
    const group = svg("g", { "data-way": "prompt" }, svg("title", {}, "the prompt"));
    group.append(
      svg("path", {
        d: wayOf(way),
        style: `stroke:${c.text};fill:none`,
        "stroke-width": 1.8,
        "stroke-dasharray": "5 3",
      }),
    );
    way.forEach(([x, y], l) => {
      group.append(
        svg("circle", {
          cx: a.X(x),
          cy: a.Y(y),
          r: l === layer ? 5.5 : grow(l, 1.8, 3.2),
          style: l === layer ? `fill:${c.page};stroke:${c.text}` : `fill:${c.text}`,
          "stroke-width": l === layer ? 2.5 : null,
        }),
      );
    });
    a.root.append(group);
  }
  return a.root;
};

/** What the marks stand for. */
export const planeKey = (c, colours, p, h, way) => {
  const sample = (...children) => svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, ...children);
  const line = (colour, dash = null) =>
    svg("line", {
      x1: 0,
      x2: 26,
      y1: 6,
      y2: 6,
      style: `stroke:${colour}`,
      "stroke-width": 1.6,
      "stroke-dasharray": dash,
    });
  const names = labelsOf(p);
  return h(
    "div",
    { class: "mn-key", "data-testid": "key" },
    ...names.map((name, k) =>
      h(
        "span",
        {},
        k < p.labels.length
          ? sample(line(colours[k % colours.length]), mark(colours, k, 13, 6, 4.5))
          : sample(mark(colours, k, 13, 6, 4, true)),
        k < p.labels.length ? plainly(name) : `${plainly(name)} (held out)`,
      ),
    ),
    way
      ? h(
          "span",
          {},
          sample(line(c.text, "5 3"), svg("circle", { cx: 13, cy: 6, r: 3, style: `fill:${c.text}` })),
          "the prompt",
        )
      : null,
    p.items.some((item) => !names.includes(item.label))
      ? h("span", {}, sample(svg("circle", { cx: 13, cy: 6, r: 2, style: `fill:${c.muted}` })), "ordinary text")
      : null,
  );
};
