// The graph of one prompt by token: in each a column of layers, whose heads are one. Edges stay in their token.

import { readGraph } from "./graph.js";

/**
 * The same questions as of `readGraph`, with nodes (layer, token): token by token the input, each layer's attention and
 * its MLP, a row each; last the logits, which read the last token alone. Names are those of the layers and the token's
 * position, `a3->a7<q>@5`.
 */
export const readPositions = (raw) => {
  if (!raw?.scores) return null;
  const one = readGraph({ ...raw, heads: 1, kv: 1, whole: true }),
    { layers, positions } = raw,
    { each } = one,
    rows = 2 * layers,
    logits = positions * one.writers;
  const tokenOf = (node) => (node === logits ? positions - 1 : Math.floor(node / one.writers));
  const place = (node) =>
    node === logits ? { layer: rows, column: -1 } : { layer: (node % one.writers) - 1, column: tokenOf(node) };
  const nodeAt = (layer, column) =>
    layer >= rows ? logits : Math.max(0, Math.min(positions - 1, column)) * one.writers + Math.max(0, layer + 1);
  const nodeName = (node) =>
    node === logits ? "logits" : `${one.nodeName(node % one.writers)}@${Math.floor(node / one.writers)}`;
  const parts = (name) => {
    const [, of, at] = /^(.*)@(\d+)$/.exec(String(name)) ?? [];
    return at === undefined || Number(at) >= positions ? null : [of, Number(at)];
  };
  return {
    ...one,
    byPosition: true,
    rows,
    last: positions - 1,
    writers: logits,
    readers: positions * one.readers,
    shape: (node) =>
      node === logits ? "box" : node % one.writers === 0 ? "input" : place(node).layer % 2 ? "square" : "circle",
    readerOf: (e) => Math.floor(e / each) * one.readers + one.readerOf(e % each),
    writerOf: (e) => Math.floor(e / each) * one.writers + one.writerOf(e % each),
    reads: (r) => ({ ...one.reads(r % one.readers), position: Math.floor(r / one.readers) }),
    readerName: (r) => `${one.readerName(r % one.readers)}@${Math.floor(r / one.readers)}`,
    nodeName,
    nodesOf: (r) =>
      one
        .nodesOf(r % one.readers)
        .map((node) => (node === one.writers ? logits : Math.floor(r / one.readers) * one.writers + node)),
    nameOf: (e) => `${one.nameOf(e % each)}@${Math.floor(e / each)}`,
    edgeOf: (name) => {
      const [of, at] = parts(name) ?? [],
        edge = of === undefined ? -1 : one.edgeOf(of);
      return edge < 0 ? -1 : at * each + edge;
    },
    place,
    nodeAt,
    nodeOf: (name) => {
      if (name === "logits") return logits;
      const [of, at] = parts(name) ?? [],
        node = of === undefined ? -1 : one.nodeOf(of);
      return node < 0 || node === one.writers ? -1 : at * one.writers + node;
    },
    tokenOf,
    /** The token of an edge. */
    positionOf: (e) => Math.floor(e / each),
  };
};

/** What all scores at each token are together in size, beside those of all tokens: 0 to 1. */
export const sharesOf = (graph) => {
  const sums = new Float64Array(graph.positions);
  graph.scores.forEach((score, e) => {
    if (!Number.isNaN(score)) sums[graph.positionOf(e)] += Math.abs(score);
  });
  const whole = sums.reduce((a, b) => a + b, 0);
  return Array.from(sums, (sum) => (whole ? sum / whole : 0));
};
