// Where nodes and edges of a graph lie, and which edge lies at a point.

import { shorten, visible } from "../base/text.js";

/** Steps of an edge's curve that the index knows, in pixels. */
const STEP = 7;
const BIN = 14;

/** Where the nodes of a graph, the ends of its edges and what is written beside them lie. */
export const layoutOf = (graph, width) => (graph.byPosition ? byPosition(graph, width) : byHead(graph, width));

/** Every so many rows has its layer's number, left of them. */
const layerLabels = (graph, left, rh, yOf) => {
  const found = [];
  for (let layer = 0; layer < graph.layers; layer += Math.ceil(13 / rh))
    found.push({ text: String(layer), x: left - 12, y: yOf(layer), align: "right" });
  return found;
};

/** A row a layer, the input at the bottom; a column a head, then the MLPs, half a row higher. */
const byHead = (graph, width) => {
  const { layers, heads } = graph,
    left = 44,
    rh = Math.max(20, Math.min(62, 620 / (layers + 2))),
    cw = Math.max(11, Math.min(96, (width - left - 24) / (heads + 1.6))),
    r = Math.max(2.5, Math.min(9, 0.3 * cw, 0.2 * rh)),
    top = 22,
    height = top + rh * (layers + 1.5) + 46,
    plot = left + cw * (heads + 1.6),
    base = top + rh * (layers + 1.1),
    centre = left + (cw * (heads + 1.6)) / 2;
  const at = (node) => {
    const { layer, column } = graph.place(node);
    if (layer < 0) return { x: centre, y: base };
    if (layer >= layers) return { x: centre, y: top };
    const mlp = column === heads;
    return { x: left + (column + (mlp ? 1 : 0.5)) * cw, y: base - rh * (layer + 1 + (mlp ? 0.42 : 0)) + rh * 0.2 };
  };
  /** Where an edge enters its reader: queries left, keys in the middle, values right; shared ones under their group. */
  const port = (reader) => {
    const { layer, kind, head } = graph.reads(reader);
    if (kind === "logits") return { x: centre, y: top + 8 };
    if (kind === "mlp") {
      const { x, y } = at(graph.nodeAt(layer, heads));
      return { x, y: y + r };
    }
    const shared = kind !== "q" && graph.group > 1,
      first = at(graph.nodeAt(layer, shared ? head * graph.group : head)),
      last = shared ? at(graph.nodeAt(layer, (head + 1) * graph.group - 1)) : first;
    const off = { q: -0.7, k: 0, v: 0.7 }[kind] * r;
    return {
      x: (first.x + last.x) / 2 + (shared && kind === "k" ? -0.35 * r : off),
      y: first.y + r + (shared ? 3 : 0),
    };
  };
  const nodes = Array.from({ length: graph.writers + 1 }, (_, node) => at(node));
  const ports = Array.from({ length: graph.readers }, (_, reader) => port(reader));
  const boxes = new Map([
    [0, { wide: 26, high: 8, text: "input" }],
    [graph.writers, { wide: 26, high: 8, text: "logits" }],
  ]);
  const labels = layerLabels(graph, left, rh, (layer) => nodes[graph.nodeAt(layer, 0)].y);
  for (let head = 0; head < heads; head += Math.ceil(22 / cw))
    labels.push({ text: String(head), x: nodes[graph.nodeAt(0, head)].x, y: base + 24 });
  labels.push(
    { text: "MLP", x: nodes[graph.nodeAt(0, heads)].x, y: base + 24 },
    { text: "head", x: left + 0.5 * heads * cw, y: base + 39, title: true },
    { text: "layer", x: 9, y: (top + base) / 2, turn: -Math.PI / 2, title: true },
  );
  const size = { width: Math.ceil(plot + 8), height: Math.ceil(height) };
  return { rh, cw, r, bow: 0.85 * cw, ...size, nodes, ports, boxes, labels };
};

/** Letters of a token under its column. */
const LETTERS = 9;

/** A column a token, in it a row a layer: attention left, the MLP right and half a row higher; the input below. */
const byPosition = (graph, width) => {
  const { layers, positions } = graph,
    left = 44,
    rh = Math.max(20, Math.min(62, 620 / (layers + 2))),
    cw = Math.max(30, Math.min(110, (width - left - 16) / positions)),
    r = Math.max(2.5, Math.min(7, 0.1 * cw, 0.2 * rh)),
    aside = 0.17 * cw,
    turned = cw < 7 * LETTERS,
    top = 22,
    base = top + rh * (layers + 1.1),
    height = base + (turned ? 104 : 62),
    middle = (t) => left + (t + 0.5) * cw;
  const at = (node) => {
    const { layer, column } = graph.place(node);
    if (layer < 0) return { x: middle(column), y: base };
    if (layer >= graph.rows) return { x: Math.max(left + 26, middle(positions - 1)), y: top };
    const mlp = layer % 2;
    return {
      x: middle(column) + (mlp ? aside : -aside),
      y: base - rh * (Math.floor(layer / 2) + 1 + (mlp ? 0.42 : 0)) + rh * 0.2,
    };
  };
  const nodes = Array.from({ length: graph.writers + 1 }, (_, node) => at(node));
  const ports = Array.from({ length: graph.readers }, (_, reader) => {
    const { layer, kind, position } = graph.reads(reader);
    if (kind === "logits") return { x: nodes[graph.writers].x, y: top + 8 };
    const { x, y } = nodes[graph.nodeAt(2 * layer + (kind === "mlp" ? 1 : 0), position)];
    return { x: x + ({ q: -0.7, v: 0.7 }[kind] ?? 0) * r, y: y + r };
  });
  const boxes = new Map([[graph.writers, { wide: 26, high: 8, text: "logits" }]]);
  const labels = layerLabels(graph, left, rh, (layer) => nodes[graph.nodeAt(2 * layer, 0)].y);
  (graph.tokens ?? []).forEach((token, t) => {
    const text = shorten(visible(token), LETTERS);
    labels.push(
      turned
        ? { text, x: middle(t), y: base + 14, turn: -Math.PI / 2, align: "right" }
        : { text, x: middle(t), y: base + 22 },
    );
  });
  labels.push(
    { text: "token", x: left + 0.5 * positions * cw, y: height - 12, title: true },
    { text: "layer", x: 9, y: (top + base) / 2, turn: -Math.PI / 2, title: true },
  );
  const size = { width: Math.ceil(Math.max(left + positions * cw, nodes[graph.writers].x + 28) + 8), height };
  return { rh, cw, r, bow: 0.45 * cw, ...size, height: Math.ceil(height), nodes, ports, boxes, labels };
};

/** An edge's curve as the eight numbers of a cubic Bézier; edges that run straight up bow around what lies between. */
export const curveOf = (graph, layout, edge) => {
  const reader = graph.readerOf(edge),
    writer = graph.writerOf(edge),
    from = layout.nodes[writer],
    to = layout.ports[reader],
    y0 = from.y - (layout.boxes.get(writer)?.high ?? layout.r),
    rise = y0 - to.y;
  const steep = Math.abs(to.x - from.x) < 0.7 * layout.cw && rise > 1.1 * layout.rh;
  const bow = steep ? (writer % 2 ? 1 : -1) * Math.min(layout.bow, 6 + 0.16 * rise) : 0,
    pull = Math.max(6, 0.45 * rise);
  return [from.x, y0, from.x + bow, y0 - pull, to.x + bow, to.y + pull, to.x, to.y];
};

const at = ([a, b, c, d, e, f, g, h], t) => {
  const s = 1 - t,
    w0 = s * s * s,
    w1 = 3 * s * s * t,
    w2 = 3 * s * t * t,
    w3 = t * t * t;
  return [w0 * a + w1 * c + w2 * e + w3 * g, w0 * b + w1 * d + w2 * f + w3 * h];
};

/**
 * Which edges lie near a point: a grid of bins over the picture, in each the edges that pass through it. Made once for
 * a picture; a question looks into four bins, however many edges there are.
 */
export const indexOf = (curves, width, height) => {
  const columns = Math.ceil(width / BIN) + 1,
    rows = Math.ceil(height / BIN) + 1,
    bins = new Map();
  curves.forEach((curve, i) => {
    const long = Math.hypot(curve[6] - curve[0], curve[7] - curve[1]) + Math.abs(curve[2] - curve[0]),
      steps = Math.max(2, Math.ceil(long / STEP));
    let last = -1;
    for (let k = 0; k <= steps; k++) {
      const [x, y] = at(curve, k / steps),
        column = Math.floor(x / BIN),
        row = Math.floor(y / BIN);
      if (column < 0 || row < 0 || column >= columns || row >= rows) continue;
      const bin = row * columns + column;
      if (bin === last) continue;
      last = bin;
      const there = bins.get(bin);
      if (there) there.push(i);
      else bins.set(bin, [i]);
    }
  });
  const distance = (curve, x, y) => {
    let best = Infinity,
      [px, py] = at(curve, 0);
    for (let k = 1; k <= 32; k++) {
      const [qx, qy] = at(curve, k / 32),
        dx = qx - px,
        dy = qy - py,
        t = Math.max(0, Math.min(1, ((x - px) * dx + (y - py) * dy) / (dx * dx + dy * dy || 1)));
      best = Math.min(best, Math.hypot(x - px - t * dx, y - py - t * dy));
      px = qx;
      py = qy;
    }
    return best;
  };
  /** The nearest curve within `reach` pixels; of two alike the earlier one, which is the stronger edge. -1: none. */
  const nearest = (x, y, reach = 6) => {
    const seen = new Set();
    let found = -1,
      best = reach;
    for (let row = Math.floor((y - reach) / BIN); row <= Math.floor((y + reach) / BIN); row++)
      for (let column = Math.floor((x - reach) / BIN); column <= Math.floor((x + reach) / BIN); column++)
        for (const i of bins.get(row * columns + column) ?? []) seen.add(i);
    for (const i of [...seen].sort((a, b) => a - b)) {
      const d = distance(curves[i], x, y);
      if (d < best - 0.75) {
        best = d;
        found = i;
      }
    }
    return found;
  };
  return { nearest };
};
