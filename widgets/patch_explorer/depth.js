// From which layer on the other prompt no longer changes the answer, and from which the last token carries it.

import { h } from "../base/dom.js";
import { number } from "../base/text.js";

/** Whether a depth is of the run that is shown. */
export const ofRun = (depth, run) => depth.status !== undefined && depth.run === run;

const rowOf = ([layer, reading, writing]) =>
  h(
    "tr",
    {},
    h("th", { scope: "row", text: String(layer) }),
    ...[reading, writing].map((value) => h("td", { class: "mn-number", text: number(value) })),
  );

/** What is said of both depths: a sentence, and where they were measured the effects by layer. */
export const depthParts = (depth, run) => {
  if (!ofRun(depth, run)) return [];
  const text = h("p", { class: "mn-note", text: depth.text });
  if (!depth.rows) return [text];
  const names = ["Layer", "Other prompt changes", "Last token carries"];
  const head = h("tr", {}, ...names.map((name) => h("th", { scope: "col", text: name })));
  const table = h("table", {}, h("thead", {}, head), h("tbody", {}, ...depth.rows.map(rowOf)));
  return [text, h("details", {}, h("summary", { text: "Effects by layer" }), table)];
};
