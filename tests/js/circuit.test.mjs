import assert from "node:assert/strict";
import { test } from "node:test";
import { countAt, incident, ranked, readGraph, shareAt } from "../../widgets/circuit_view/graph.js";
import { curveOf, indexOf, layoutOf } from "../../widgets/circuit_view/layout.js";
import { buckets, LEVELS } from "../../widgets/circuit_view/map.js";
import { readPositions, sharesOf } from "../../widgets/circuit_view/positions.js";

/** A graph of which every edge scores what `score` says of its number. */
const graphOf = (layers, heads, kv, { parallel = false, score = (e) => e + 1 } = {}) => {
  const first = (l) => 1 + l * (heads + 1);
  let edges = 1 + layers * (heads + 1);
  for (let l = 0; l < layers; l++) edges += (heads + 2 * kv) * first(l) + first(l) + (parallel ? 0 : heads);
  const scores = new DataView(Float32Array.from({ length: edges }, (_, e) => score(e)).buffer);
  return readGraph({ run: 1, layers, heads, kv, parallel, edges, scores });
};

test("a graph has the edges of its size, and each is found again by its name", () => {
  assert.equal(graphOf(12, 12, 12).scores.length, 32491); // as the docstring of lens.circuits.Graph says
  for (const graph of [graphOf(3, 4, 2), graphOf(2, 2, 2, { parallel: true })]) {
    const names = new Set();
    for (let e = 0; e < graph.scores.length; e++) {
      names.add(graph.nameOf(e));
      assert.equal(graph.edgeOf(graph.nameOf(e)), e);
    }
    assert.equal(names.size, graph.scores.length);
  }
  assert.ok(graphOf(2, 2, 2).edgeOf("a0.h0->m0") >= 0);
  for (const none of ["a0.h0->m0", "m1->a0.h0<q>", "nowhere", ""])
    assert.equal(graphOf(2, 2, 2, { parallel: true }).edgeOf(none), -1, none);
});

test("an edge has its reader and its writer: layer 1 has readers 5 to 9, two queries, a key, a value, the MLP", () => {
  const graph = graphOf(2, 2, 1),
    edge = graph.edgeOf("a0.h1->a1.kv0<v>");
  assert.deepEqual([graph.readerOf(edge), graph.writerOf(edge)], [8, 2]);
});

test("edges without a score are not ranked, and a sign counts where it is asked for", () => {
  const graph = graphOf(1, 1, 1, { score: (e) => (e === 2 ? NaN : e % 2 ? -e : e) });
  const size = [...ranked(graph, "absolute")],
    signed = [...ranked(graph, "signed")];
  assert.ok(!size.includes(2) && size.length === graph.scores.length - 1);
  assert.deepEqual(
    size.map((e) => Math.abs(graph.scores[e])),
    size.map((e) => Math.abs(graph.scores[e])).sort((a, b) => b - a),
  );
  assert.equal(graph.scores[signed.at(-1)], Math.min(...size.map((e) => graph.scores[e])));
});

test("a head's edges are what it writes and what its group reads", () => {
  const graph = graphOf(2, 4, 2),
    names = incident(graph, ranked(graph, "absolute"), graph.nodeOf("a1.h3")).map(graph.nameOf);
  assert.ok(names.includes("input->a1.kv1<k>") && names.includes("a1.h3->logits") && names.includes("a0.h0->a1.h3<q>"));
  assert.ok(!names.includes("input->a1.kv0<k>") && !names.includes("a0.h0->a1.h2<q>"));
});

test("a slider's place and a number of edges belong together, from one edge to all", () => {
  assert.equal(countAt(0, 10_000), 1);
  assert.equal(countAt(1, 10_000), 10_000);
  assert.equal(countAt(0.5, 10_000), 100);
  for (const n of [1, 7, 512, 10_000]) assert.equal(countAt(shareAt(n, 10_000), 10_000), n);
  assert.equal(countAt(shareAt(1, 1), 1), 1);
});

test("every kept edge is in one stroke, weak ones first", () => {
  const graph = graphOf(3, 4, 4, { score: (e) => (e % 3 ? e : -e) }),
    kept = ranked(graph, "absolute"),
    found = buckets(graph, kept, graph.scores.length);
  assert.ok(found.length <= 2 * LEVELS);
  assert.equal(new Set(found.flatMap((b) => b.edges)).size, kept.length);
  assert.deepEqual(
    found.map((b) => b.s),
    found.map((b) => b.s).sort((a, b) => a - b),
  );
});

test("the index finds the edge under a point of its curve, and none where there is none", () => {
  const graph = graphOf(6, 6, 6),
    layout = layoutOf(graph, 700),
    kept = [graph.edgeOf("input->a3.h0<q>"), graph.edgeOf("a1.h5->logits"), graph.edgeOf("m0->m5")],
    curves = kept.map((e) => curveOf(graph, layout, e)),
    index = indexOf(curves, layout.width, layout.height);
  curves.forEach(([a, b, c, d, e, f, g, i], k) => {
    for (const t of [0.2, 0.35, 0.8]) {
      const s = 1 - t,
        mix = (w, x, y, z) => s ** 3 * w + 3 * s * s * t * x + 3 * s * t * t * y + t ** 3 * z;
      assert.equal(index.nearest(mix(a, c, e, g) + 1, mix(b, d, f, i) + 1), k);
    }
  });
  assert.equal(index.nearest(layout.width - 2, layout.height - 2), -1);
});

/** Three tokens of two layers, of which the last alone goes to the logits. */
const tokensOf = (parallel = false) => {
  const each = readGraph({ layers: 2, heads: 1, kv: 1, parallel, scores: new DataView(new ArrayBuffer(4)) }).each,
    scores = Float32Array.from({ length: 3 * each }, (_, e) => (e < 2 * each && e % each >= each - 5 ? NaN : e + 1));
  return readPositions({ run: 1, layers: 2, parallel, positions: 3, scores: new DataView(scores.buffer) });
};

test("an edge by token has its token, its layers and its name, and no logits but the last token's", () => {
  for (const graph of [tokensOf(), tokensOf(true)]) {
    for (let e = 0; e < graph.scores.length; e++) {
      const name = graph.nameOf(e);
      assert.equal(graph.edgeOf(name), e);
      assert.ok(name.endsWith(`@${graph.positionOf(e)}`));
      assert.equal(graph.nodeOf(graph.nodeName(graph.writerOf(e))), graph.writerOf(e));
    }
    const names = [...ranked(graph, "absolute")].map(graph.nameOf);
    assert.ok(names.includes("a0->logits@2") && !names.includes("a0->logits@1"));
    assert.equal(names.includes("a0->m0@1"), !graph.parallel);
    for (const none of ["a0->m1@3", "a0->m1", "m1->a0<q>@0", "a0.h0->m1@0", ""]) assert.equal(graph.edgeOf(none), -1);
    assert.deepEqual([graph.nodeOf("logits"), graph.nodeOf("logits@1"), graph.nodeOf("a0")], [graph.writers, -1, -1]);
  }
});

test("nodes by token lie in rows from the input up, and each place is its node's", () => {
  const graph = tokensOf();
  for (let node = 0; node < graph.writers; node++) {
    const { layer, column } = graph.place(node);
    assert.equal(graph.nodeAt(layer, column), node);
  }
  assert.deepEqual(graph.place(graph.nodeOf("m1@2")), { layer: 3, column: 2 });
  assert.equal(graph.nodeAt(4, 0), graph.writers);
  const layout = layoutOf(graph, 600),
    at = (name) => layout.nodes[graph.nodeOf(name)];
  assert.ok(at("input@0").y > at("a0@0").y && at("a0@0").y > at("m0@0").y && at("m0@0").y > at("a1@0").y);
  assert.ok(at("m0@0").x < at("a0@1").x && at("logits").y < at("m1@2").y);
  assert.ok(layout.nodes.every(({ x, y }) => x > 0 && x < layout.width && y > 0 && y < layout.height));
  const edges = incident(graph, ranked(graph, "absolute"), graph.nodeOf("a1@2")).map(graph.nameOf);
  assert.ok(edges.includes("input->a1<k>@2") && edges.includes("a1->logits@2"));
  assert.ok(edges.every((name) => name.endsWith("@2")));
});

test("the shares of tokens are those of all scores' size", () => {
  const graph = tokensOf(),
    shares = sharesOf(graph),
    whole = graph.scores.reduce((sum, s) => sum + (s || 0), 0);
  assert.equal(shares.length, 3);
  assert.ok(Math.abs(shares.reduce((a, b) => a + b, 0) - 1) < 1e-12);
  const first = graph.scores.slice(0, graph.scores.length / 3).reduce((sum, s) => sum + (s || 0), 0);
  assert.ok(Math.abs(shares[0] - first / whole) < 1e-6);
});
