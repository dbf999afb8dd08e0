// Beside the graph: the chosen edge in numbers, and the edges of the chosen node as a list.

import { dataTable } from "../base/charts.js";
import { errorBox, h } from "../base/dom.js";
import { absent, between, many, number, share, visible } from "../base/text.js";

/** Edges that the list shows at most; the keyboard walks through all of them on the graph. */
export const LISTED = 12;

const row = (term, ...parts) => [h("dt", { text: term }), h("dd", {}, ...parts)];

/** A mean with its interval and unit, or why there is none. */
const said = (of, unit) => {
  if (!of || absent(of.mean)) return [h("span", { text: "no value" })];
  const bounds = between(of.low, of.high, number);
  return [
    h("strong", { text: number(of.mean) }),
    ` ${unit}`,
    h("span", {
      class: "mn-why",
      text: bounds ? `95 % interval over ${many(of.n, "pair")}: ${bounds}` : `${many(of.n, "pair")}; ${of.kind}`,
    }),
  ];
};

/** The chosen edge: its score, and its exact effect as soon as it is there. */
export const edgeFacts = (d) => {
  if (!d.edge)
    return [h("p", { class: "mn-note", text: "Click an edge, or choose one below: its exact effect is run." })];
  if (d.status === "error" && !d.writer) return [errorBox(`There is no edge ${d.edge}`, d.text, "edge-error")];
  if (!d.writer) return [h("p", { class: "mn-note", role: "status", text: "running …" })];
  if (d.parts) return positionFacts(d);
  const exact =
    d.status === "running"
      ? [h("span", { class: "mn-note", role: "status", text: "running …" })]
      : d.status === "error"
        ? [errorBox("The exact effect failed", d.text, "edge-error")]
        : said(d.exact, d.unit);
  const part = d.exact && d.gap ? [...row("of the gap", `${share(d.exact.mean / d.gap)} of clean − corrupted`)] : [];
  return [
    h(
      "dl",
      { class: "mn-facts", "data-testid": "edge-facts" },
      ...row("edge", h("code", { text: `${d.writer} → ${d.reader}` })),
      ...row("score", ...said(d.score, d.unit)),
      ...(absent(d.rank) ? [] : row("rank", `${d.rank.toLocaleString("en")} of ${d.of.toLocaleString("en")} by size`)),
      ...row("exact effect", ...exact),
      ...part,
      ...(d.chosen ? row("checked", d.chosen) : []),
    ),
  ];
};

/** An edge between layers at one token, with the largest single edges that it is the sum of. */
const positionFacts = (d) => [
  h(
    "dl",
    { class: "mn-facts", "data-testid": "edge-facts" },
    ...row("edge", h("code", { text: `${d.writer} → ${d.reader}` })),
    ...row("token", h("code", { text: `${d.position} ${visible(d.token)}` })),
    ...row("score", h("strong", { text: number(d.score.mean) }), ` ${d.unit}, of this pair alone`),
    ...row("rank", `${d.rank.toLocaleString("en")} of ${d.of.toLocaleString("en")} by size`),
  ),
  d.status === "error"
    ? errorBox("The exact effects failed", d.text, "edge-error")
    : dataTable(
        "parts",
        ["largest inside", "score", "exact at this token"],
        d.parts.map((part) => [
          part.edge.replace("->", " → "),
          number(part.score),
          d.status === "running" ? "running …" : number(part.exact),
        ]),
      ),
  h("p", {
    class: "mn-note",
    text: `The sum of ${many(d.n_single, "edge")} between heads. One pair: exact effects of it, and no interval.`,
  }),
];

/** Edges as buttons, the strongest first, with a bar by sign and size. */
export const edgeList = (graph, edges, chosen, most, choose) =>
  h(
    "ol",
    { class: "mn-edges", "data-testid": "edge-list" },
    ...edges.slice(0, LISTED).map((edge) => {
      const score = graph.scores[edge],
        name = graph.nameOf(edge).replace("->", " → ");
      return h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: `mn-edge${edge === chosen ? " mn-chosen" : ""}`,
            "data-edge": graph.nameOf(edge),
            "aria-pressed": String(edge === chosen),
            onclick: () => choose(edge),
          },
          h("span", {
            class: `mn-edge-bar ${score < 0 ? "mn-against" : "mn-for"}`,
            "aria-hidden": "true",
            style: `width:${most ? ((100 * Math.abs(score)) / most).toFixed(1) : 0}%`,
          }),
          h("code", { text: name }),
          h("span", { class: "mn-p", text: number(score) }),
        ),
      );
    }),
  );
