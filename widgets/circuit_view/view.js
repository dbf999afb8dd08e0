// CircuitView: edges between heads, MLPs, input and logits; one edge's exact effect; faithfulness of circuits.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { PAGE_COLOURS } from "../base/charts.js";
import { ColourBar } from "../base/colourbar.js";
import { emptyBox, errorBox, field, h, section, setText, slide } from "../base/dom.js";
import { button, exportDrawer } from "../base/export.js";
import { shell } from "../base/shell.js";
import { csvLine, largest, many, number, share, visible } from "../base/text.js";
import { tiedControls } from "../base/traits.js";
import {
  CURVE_COLUMNS,
  curveRows,
  faithfulnessChart,
  faithfulnessTable,
  faithfulnessWords,
  RANKINGS,
} from "./curve.js";
import { circuitFigure } from "./figure.js";
import { countAt, incident, ranked, readGraph, shareAt } from "./graph.js";
import { CircuitMap } from "./map.js";
import { pairBox } from "./pair.js";
import { readPositions } from "./positions.js";
import { edgeFacts, edgeList, LISTED } from "./side.js";

const STEPS = 1000;
const METHODS = [
  ["inputs", "gradient along the inputs (EAP-IG)"],
  ["clean-corrupted", "gradients of both runs"],
  ["gim", "gradient interactions (GIM)"],
];
const METRICS = ["logit_diff", "logprob_diff", "prob", "logprob", "kl"].map((m) => [m, m]);
const DRAWN = [
  ["head", "head"],
  ["position", "token"],
];
const BY_POSITION =
  "One pair, heads of a layer summed: circles are attention, squares MLPs. Edges stay in their token; what goes from " +
  "token to token goes inside attention, which reads keys and values at the earlier one.";
const ABLATIONS = [
  ["counterfactual", "the corrupted run’s"],
  ["mean", "the mean"],
  ["zero", "nothing"],
];

function render({ model, el }) {
  const frame = shell(model, {
    title: "Circuit",
    testid: "circuit-view",
    name: "Circuit view",
    kind: "mn-circuit",
    label: "Run",
    help: "Score every edge",
    stop: "End after the batch in progress; pairs that are finished stay",
    unit: "Batches",
    start: () => send("run", { fields: fields() }),
  });
  const { send, listen, set, root, row, error } = frame,
    get = (name) => model.get(name);
  const { choose, shown: fields } = tiedControls(model, listen, set);
  let heads = null, // the whole graph
    graph = null, // the one that is drawn
    order = new Uint32Array(0),
    kept = new Uint32Array(0),
    made = "";

  // --- the graph
  const score = (edge) => number(graph.scores[edge]);
  const tokenLine = (t) => (t < 0 ? [] : [["token", `${t} ${visible(graph.tokens[t])}`]]);
  const rank = (edge) => order.indexOf(edge) + 1;
  const map = new CircuitMap({
    label:
      "Graph of edges. Arrow keys go from node to node, Enter goes into a node’s edges, there arrows walk and Enter " +
      "runs the exact effect, Escape leaves.",
    testid: "circuit",
    say: (node, edge, walk, count) =>
      edge >= 0
        ? `edge ${walk + 1} of ${count}: ${graph.nameOf(edge).replace("->", " to ")}, score ${score(edge)}`
        : node >= 0
          ? `${graph.nodeName(node)}, ${many(count, "edge")} shown`
          : `no node chosen, ${many(kept.length, "edge")} shown`,
    tip: (edge, node) =>
      edge >= 0
        ? [
            ["", graph.nameOf(edge).replace("->", " → ")],
            ["writer", graph.nodeName(graph.writerOf(edge))],
            ["reader", graph.readerName(graph.readerOf(edge))],
            ["score", `${score(edge)} ${graph.unit}`],
            ["rank", `${rank(edge)} of ${graph.scored.toLocaleString("en")}`],
            ...tokenLine(graph.byPosition ? graph.positionOf(edge) : -1),
          ]
        : [
            ["", graph.nodeName(node)],
            ["", `${many(incident(graph, kept, node).length, "edge")} shown`],
            ...tokenLine(graph.byPosition ? graph.tokenOf(node) : -1),
          ],
    selectNode: (node) => set({ node: node < 0 ? "" : graph.nodeName(node) }),
    selectEdge: (edge) => set({ edge: graph.nameOf(edge) }),
  });
  const bar = new ColourBar("colour-bar"),
    count = h("output", { class: "mn-note", "data-testid": "kept", "aria-live": "polite" }),
    check = h("p", { class: "mn-note", "data-testid": "check" }),
    slider = h("input", {
      type: "range",
      min: 0,
      max: STEPS,
      step: 1,
      "data-testid": "threshold",
      "aria-label": "Edges shown, on a log scale",
      oninput: () => set({ shown: countAt(slider.value / STEPS, graph?.most ?? 1) }),
    });
  const side = h("div", { "data-testid": "edge-side", "aria-live": "polite" }),
    list = h("div"),
    listTitle = h("h3", { "data-testid": "list-title" }),
    waiting = h("div", { "data-testid": "waiting" });

  const draw = () => {
    if (!root.isConnected) return;
    body.hidden = judged.hidden = drawer.element.hidden = !heads;
    empty.hidden = !!heads || !!get("error").text || get("status") === "running";
    busy.hidden = !!heads || get("status") !== "running";
    if (heads) drawCurve();
    map.element.hidden = !graph;
    drawWaiting();
    if (!graph) return;
    const n = Math.min(get("shown"), graph.most),
      now = `${graph.run} ${graph.pair ?? ""} ${n} ${get("ranking")}`;
    if (now !== made) {
      made = now;
      kept = order.slice(0, Math.max(1, n));
    }
    const room = Math.min(root.clientWidth - 30 || 900, 1400),
      wide = room > 820;
    body.classList.toggle("mn-one", !wide);
    map.update(
      { graph, kept, node: graph.nodeOf(get("node")), edge: graph.edgeOf(get("edge")) },
      wide ? Math.round(room * 0.62) : room - 8,
    );
    const most = largest(graph.scores);
    bar.update({
      ramp: map.theme.diverging,
      low: number(-most),
      middle: "0",
      high: number(most),
      title: `score, ${graph.unit}; above 0 speaks for the answer`,
    });
    if (document.activeElement !== slider) slider.value = Math.round(STEPS * shareAt(n, graph.most));
    slider.setAttribute("aria-valuetext", many(n, "edge"));
    drawCount(n);
    drawSide();
    tokens.draw();
  };
  /** Where tokens are asked for and not scored yet. */
  const drawWaiting = () => {
    const failed = get("columns").status === "error" && get("by") === "position";
    waiting.replaceChildren(
      ...(graph || !heads
        ? []
        : failed
          ? [errorBox("The tokens could not be scored", get("columns").text, "columns-error")]
          : [h("p", { class: "mn-note", role: "status", text: "Scoring every token of the pair …" })]),
    );
    if (!graph && heads) {
      setText(count, "");
      side.replaceChildren();
      list.replaceChildren();
      setText(listTitle, "");
    }
  };
  /** What edges are worth beside all. */
  const sizeOf = (edges) => {
    const size = (sum, e) => sum + (Math.abs(graph.scores[e]) || 0),
      whole = graph.scores.reduce((sum, s) => sum + (Math.abs(s) || 0), 0);
    const least = edges.length ? graph.scores[edges[edges.length - 1]] : NaN;
    return { n: edges.length, least, share: whole ? edges.reduce(size, 0) / whole : 0 };
  };
  const drawCount = (n) => {
    const k = graph.byPosition ? sizeOf(kept) : get("kept"),
      fresh = k.n === n;
    setText(
      count,
      `${many(n, "edge")} of ${graph.edges.toLocaleString("en")}` +
        `${fresh && "on_path" in k ? `; ${k.on_path.toLocaleString("en")} on a path from input to logits` : ""}` +
        `${fresh ? `; ${share(k.share)} of all scores’ size, the least ${number(k.least)}` : ""}` +
        `${graph.most < graph.scored ? `; at most ${graph.most.toLocaleString("en")} are drawn` : ""}`,
    );
    setText(check, graph.byPosition ? BY_POSITION : graph.check);
    check.hidden = !check.textContent;
  };
  const drawSide = () => {
    side.replaceChildren(...edgeFacts(get("detail")));
    const node = graph.nodeOf(get("node")),
      edges = node < 0 ? [...kept.slice(0, LISTED)] : incident(graph, kept, node),
      all = node < 0 ? kept.length : edges.length;
    setText(
      listTitle,
      node < 0 ? "The largest edges" : `Edges of ${graph.nodeName(node)}: ${all.toLocaleString("en")} shown`,
    );
    list.replaceChildren(
      edgeList(graph, edges, graph.edgeOf(get("edge")), largest(graph.scores), (edge) =>
        set({ edge: graph.nameOf(edge) }),
      ),
      ...(all > LISTED
        ? [h("p", { class: "mn-note", text: `and ${(all - LISTED).toLocaleString("en")} more on the graph` })]
        : []),
    );
  };

  // --- the tokens of one pair
  const tokens = pairBox({ get, set, graph: () => graph });

  // --- faithfulness
  const judge = button("judge", "Compute faithfulness", () => send("judge")),
    stopJudging = button("stop-judging", "Stop", () => send("stop judging")),
    judging = h("span", { class: "mn-note", role: "status", "data-testid": "judging" }),
    curveBox = h("div", { "data-testid": "curve" });
  const drawCurve = () => {
    const c = get("curve"),
      status = c.status ?? "idle";
    judge.disabled = status === "running" || status === "stopping" || get("status") === "running";
    stopJudging.disabled = status !== "running";
    setText(judging, status === "error" ? "" : (c.text ?? ""));
    const ranking = get("ranking");
    if (status === "error") {
      curveBox.replaceChildren(errorBox("Faithfulness could not be computed", c.text, "curve-error"));
      return;
    }
    if (status !== "complete") {
      const words = "How much of the metric circuits of each size keep by themselves, beside random ones.";
      curveBox.replaceChildren(h("p", { class: "mn-note", text: words }));
      return;
    }
    const width = Math.max(300, Math.min(640, (root.clientWidth || 900) - 40)),
      chart = faithfulnessChart(PAGE_COLOURS, c, ranking, width, 270);
    curveBox.replaceChildren(
      ...(c.found_on
        ? [
            h("p", {
              class: "mn-warning",
              "data-testid": "same-pairs",
              text:
                `The edges were found on ${c.found_on} of these ${many(c.n, "pair")}: f is too high. ` +
                "Give others (held_out=).",
            }),
          ]
        : []),
      h("p", {
        class: "mn-caption",
        text: `Circuits ${RANKINGS[ranking]}: filled circles; random ones: open squares.`,
      }),
      chart,
      h("p", { class: "mn-note", text: faithfulnessWords(c, ranking) }),
      faithfulnessTable(c, ranking),
    );
  };

  // --- parts
  const empty = emptyBox(
    "No edges yet",
    "Press Run: every edge between two parts of the model gets a score, and the largest are drawn here.",
  );
  const busy = h("div", { class: "mn-empty", "data-testid": "busy" }, h("strong", { text: "Scoring every edge …" }));
  const body = h(
    "div",
    { class: "mn-body" },
    h(
      "section",
      { class: "mn-graph", "aria-label": "Graph" },
      h(
        "div",
        { class: "mn-threshold" },
        slide("Edges shown", null, slider),
        field(
          "Kept are the largest",
          choose("ranking", [
            ["absolute", "by size"],
            ["signed", "for the answer"],
          ]),
        ),
        field("Drawn by", choose("by", DRAWN)),
        bar.element,
      ),
      count,
      waiting,
      map.element,
      check,
    ),
    h(
      "section",
      { class: "mn-side", "aria-label": "Edges" },
      h("h3", { text: "The chosen edge" }),
      side,
      listTitle,
      list,
    ),
  );
  const judged = section(
    { label: "Faithfulness", title: "Faithfulness", beside: [judge, stopJudging, judging] },
    curveBox,
  );

  const pull = () => {
    heads = readGraph(get("graph"));
    const { status, run } = get("columns"),
      ready = status === "ready" && run === heads?.run;
    graph = get("by") === "head" ? heads : ready ? readPositions({ ...get("graph"), ...get("columns") }) : null;
    order = graph ? ranked(graph, get("ranking")) : new Uint32Array(0);
    made = "";
    draw();
  };
  listen(["graph", "ranking", "by", "columns"], pull);
  listen(["shown", "node", "edge", "detail", "error", "status"], draw);
  listen(["kept"], () => graph && drawCount(Math.min(get("shown"), graph.most)));
  listen(["curve"], () => heads && root.isConnected && drawCurve());
  listen(["tokens", "graph"], tokens.draw);

  // --- export
  const csv = () =>
    csvLine(["edge", "writer", "reader", "score"]) +
    [...kept]
      .map((e) =>
        csvLine([
          graph.nameOf(e),
          graph.nodeName(graph.writerOf(e)),
          graph.readerName(graph.readerOf(e)),
          graph.scores[e],
        ]),
      )
      .join("") +
    (get("curve").status === "complete"
      ? "\r\n" + csvLine(CURVE_COLUMNS) + curveRows(get("curve")).map(csvLine).join("")
      : "");
  const drawer = exportDrawer(model, send, {
    stem: () => `circuit_${kept.length}`,
    figure: () =>
      circuitFigure(graph, kept, {
        title: `${get("model_info").name}: ${kept.length} of ${graph.edges} edges`,
        subtitle:
          `${graph.method}, ${graph.metric}, ${graph.ablation}, ` +
          `${graph.byPosition ? `pair ${graph.pair}, by token` : many(graph.pairs, "pair")}`,
        unit: graph.unit,
      }),
    table: csv,
    example: "edges.zarr, edges.nc, circuit.json",
  });
  const close = frame.open(el, {
    parts: [
      h(
        "div",
        { class: "mn-controls" },
        field("Scores by", choose("method", METHODS)),
        field("Metric", choose("metric", METRICS)),
        field("A cut edge carries", choose("ablation", ABLATIONS)),
        row,
      ),
      error,
      empty,
      busy,
      body,
      tokens.element,
      judged,
    ],
    drawer,
    box: root,
    draw,
  });
  pull();
  tokens.draw();
  return close;
}

export default { render };
