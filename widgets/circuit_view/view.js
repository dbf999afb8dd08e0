// CircuitView: edges between heads, MLPs, input and logits; one edge's exact effect; faithfulness of circuits.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { PAGE_COLOURS } from "../base/charts.js";
import { ColourBar } from "../base/colourbar.js";
import { emptyBox, errorBox, field, h, option, section, setText, slide } from "../base/dom.js";
import { button, exportDrawer } from "../base/export.js";
import { shell } from "../base/shell.js";
import { TokenStrip } from "../base/strip.js";
import { csvLine, largest, many, number, share, shorten, visible } from "../base/text.js";
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
import { edgeFacts, edgeList, LISTED } from "./side.js";

const STEPS = 1000;
const METHODS = [
  ["inputs", "gradient along the inputs (EAP-IG)"],
  ["clean-corrupted", "gradients of both runs"],
  ["gim", "gradient interactions (GIM)"],
];
const METRICS = ["logit_diff", "logprob_diff", "prob", "logprob", "kl"].map((m) => [m, m]);
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
  let graph = null,
    order = new Uint32Array(0),
    kept = new Uint32Array(0),
    made = "";

  // --- the graph
  const score = (edge) => number(graph.scores[edge]);
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
          ]
        : [
            ["", graph.nodeName(node)],
            ["", `${many(incident(graph, kept, node).length, "edge")} shown`],
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
    listTitle = h("h3", { "data-testid": "list-title" });

  const draw = () => {
    if (!root.isConnected) return;
    body.hidden = !graph;
    judged.hidden = drawer.element.hidden = !graph;
    empty.hidden = !!graph || !!get("error").text || get("status") === "running";
    busy.hidden = !!graph || get("status") !== "running";
    if (!graph) return;
    const n = Math.min(get("shown"), graph.most),
      now = `${graph.run} ${n} ${get("ranking")}`;
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
    drawCurve();
  };
  const drawCount = (n) => {
    const k = get("kept"),
      fresh = k.n === n;
    setText(
      count,
      `${many(n, "edge")} of ${graph.edges.toLocaleString("en")}` +
        `${fresh ? `; ${k.on_path.toLocaleString("en")} on a path from input to logits` : ""}` +
        `${fresh ? `; ${share(k.share)} of all scores’ size, the least ${number(k.least)}` : ""}` +
        `${graph.most < graph.scored ? `; at most ${graph.most.toLocaleString("en")} are drawn` : ""}`,
    );
    setText(check, graph.check);
    check.hidden = !graph.check;
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
  const strip = new TokenStrip({
    label: "Tokens of the chosen pair, the clean prompt; where the corrupted one differs it stands behind a bar",
    choose: (i) => {
      looked = i;
      drawTokens();
    },
  });
  let looked = -1;
  const pair = h("select", { "data-testid": "pair", onchange: () => set({ pair: Number(pair.value) }) }),
    readout = h("div", { class: "mn-note", "data-testid": "readout", "aria-live": "polite" });
  const drawTokens = () => {
    const t = get("tokens"),
      clean = t.clean ?? [];
    tokensBox.hidden = !clean.length && !t.text;
    if (looked >= clean.length) looked = -1;
    const names = get("graph").names ?? Array.from({ length: t.of ?? 0 }, (_, i) => `pair ${i}`);
    if (pair.length !== names.length || pair.dataset.run !== String(get("graph").run))
      pair.replaceChildren(...names.map((name, i) => option(String(i), `${i}: ${shorten(visible(name), 60)}`)));
    pair.dataset.run = String(get("graph").run);
    pair.value = String(t.pair ?? 0);
    strip.update(
      clean.map((token, i) => {
        const other = t.corrupted[i],
          differs = other !== token;
        return {
          token: differs ? `${token}|${other}` : token,
          strong: differs,
          says: differs ? `corrupted ${visible(other)}` : "",
        };
      }),
      looked,
    );
    const answer = `answer ${visible(t.answer ?? "")}${t.foil ? `, foil ${visible(t.foil)}` : ""}`;
    setText(
      readout,
      t.text ??
        (looked < 0
          ? `${many(clean.length, "token")}; ${answer}`
          : `position ${looked}: clean ${visible(clean[looked])}, ` +
            `corrupted ${visible(t.corrupted[looked])}; ${answer}`),
    );
  };

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
  const tokensBox = section(
    { label: "Tokens of a pair", title: "A pair", beside: [h("label", { class: "mn-check" }, "shown ", pair)] },
    strip.element,
    readout,
  );
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
        bar.element,
      ),
      count,
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
    graph = readGraph(get("graph"));
    order = graph ? ranked(graph, get("ranking")) : new Uint32Array(0);
    made = "";
    draw();
  };
  listen(["graph", "ranking"], pull);
  listen(["shown", "node", "edge", "detail", "error", "status"], draw);
  listen(["kept"], () => graph && drawCount(Math.min(get("shown"), graph.most)));
  listen(["curve"], () => graph && root.isConnected && drawCurve());
  listen(["tokens", "graph"], drawTokens);

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
        subtitle: `${graph.method}, ${graph.metric}, ${graph.ablation}, ${many(graph.pairs, "pair")}`,
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
      tokensBox,
      judged,
    ],
    drawer,
    box: root,
    draw,
  });
  pull();
  drawTokens();
  return close;
}

export default { render };
