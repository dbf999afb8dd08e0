// The graph of a decoder as numbers: who writes, who reads, which edges there are, in the order of `lens.circuits`.

import { floats } from "../base/traits.js";

/**
 * Writers are the input, then each layer's heads and MLP; readers each layer's queries, keys, values and MLP, last the
 * logits. The edges of a reader come from the first so many writers. Nodes are the writers, and the logits behind them.
 * `whole`: a layer's heads are one, and named by the layer alone.
 */
export const readGraph = (raw) => {
  if (!raw?.scores) return null;
  const { layers, heads, kv, parallel, whole } = raw,
    perLayer = heads + 2 * kv + 1,
    readers = layers * perLayer + 1,
    writers = 1 + layers * (heads + 1),
    group = heads / kv;
  const incoming = (r) => {
    if (r === readers - 1) return writers;
    const first = 1 + Math.floor(r / perLayer) * (heads + 1);
    return r % perLayer === perLayer - 1 && !parallel ? first + heads : first;
  };
  const starts = new Int32Array(readers + 1);
  for (let r = 0; r < readers; r++) starts[r + 1] = starts[r] + incoming(r);
  const scores = floats(raw.scores);
  const readerOf = (e) => {
    let low = 0,
      high = readers - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= e) low = middle;
      else high = middle - 1;
    }
    return low;
  };
  const writerOf = (e) => e - starts[readerOf(e)];
  /** A node's layer (-1: input, `layers`: logits) and its column (a head, or `heads` for the MLP). */
  const place = (node) =>
    node === 0
      ? { layer: -1, column: -1 }
      : node === writers
        ? { layer: layers, column: -1 }
        : { layer: Math.floor((node - 1) / (heads + 1)), column: (node - 1) % (heads + 1) };
  const nodeAt = (layer, column) => (layer < 0 ? 0 : layer >= layers ? writers : 1 + layer * (heads + 1) + column);
  const nodeName = (node) => {
    if (node === 0) return "input";
    if (node === writers) return "logits";
    const { layer, column } = place(node);
    return column === heads ? `m${layer}` : whole ? `a${layer}` : `a${layer}.h${column}`;
  };
  /** What a reader is: its layer, its kind ("q", "k", "v", "mlp", "logits") and its head or key/value head. */
  const reads = (r) => {
    if (r === readers - 1) return { layer: layers, kind: "logits", head: -1 };
    const layer = Math.floor(r / perLayer),
      k = r % perLayer;
    if (k === perLayer - 1) return { layer, kind: "mlp", head: -1 };
    if (k < heads) return { layer, kind: "q", head: k };
    return k < heads + kv ? { layer, kind: "k", head: k - heads } : { layer, kind: "v", head: k - heads - kv };
  };
  const readerName = (r) => {
    const { layer, kind, head } = reads(r);
    if (kind === "logits") return "logits";
    if (kind === "mlp") return `m${layer}`;
    if (whole) return `a${layer}<${kind}>`;
    return `a${layer}.${kind !== "q" && group > 1 ? "kv" : "h"}${head}<${kind}>`;
  };
  /** The nodes that a reader belongs to: of a key/value head all heads of its group. */
  const nodesOf = (r) => {
    const { layer, kind, head } = reads(r);
    if (kind === "logits") return [writers];
    if (kind === "mlp") return [nodeAt(layer, heads)];
    const first = kind === "q" ? head : head * group,
      count = kind === "q" ? 1 : group;
    return Array.from({ length: count }, (_, i) => nodeAt(layer, first + i));
  };
  const nameOf = (e) => `${nodeName(writerOf(e))}->${readerName(readerOf(e))}`;
  const names = new Map();
  for (let r = 0; r < readers; r++) names.set(readerName(r), r);
  const nodes = new Map();
  for (let n = 0; n <= writers; n++) nodes.set(nodeName(n), n);
  /** The edge of a name; -1 for none. */
  const edgeOf = (name) => {
    const [writer, reader] = String(name).split("->"),
      r = names.get(reader),
      w = nodes.get(writer);
    return r === undefined || w === undefined || w >= incoming(r) ? -1 : starts[r] + w;
  };
  return {
    ...raw,
    scores,
    each: starts[readers],
    rows: layers,
    last: heads,
    shape: (node) => (node === 0 || node === writers ? "box" : place(node).column === heads ? "square" : "circle"),
    writers,
    readers,
    group,
    readerOf,
    writerOf,
    reads,
    readerName,
    nodeName,
    nodesOf,
    nameOf,
    edgeOf,
    place,
    nodeAt,
    nodeOf: (name) => nodes.get(name) ?? -1,
  };
};

/** Edges that have a score, the largest first: by magnitude, or as they are. */
export const ranked = (graph, ranking) => {
  const { scores } = graph,
    size = Float64Array.from(scores, (s) => (Number.isNaN(s) ? -Infinity : ranking === "absolute" ? Math.abs(s) : s));
  const order = new Uint32Array(scores.length).map((_, i) => i).filter((e) => size[e] > -Infinity);
  return order.sort((a, b) => size[b] - size[a] || a - b);
};

/** Edges of a node among those that are kept, the largest first. */
export const incident = (graph, kept, node) =>
  [...kept]
    .filter((e) => graph.writerOf(e) === node || graph.nodesOf(graph.readerOf(e)).includes(node))
    .sort((a, b) => Math.abs(graph.scores[b]) - Math.abs(graph.scores[a]));

/** From a slider's place, 0 to 1, to a number of edges and back: each step multiplies. */
export const countAt = (share, most) => Math.max(1, Math.round(most ** share));
export const shareAt = (count, most) => (most > 1 ? Math.log(Math.max(1, count)) / Math.log(most) : 1);
