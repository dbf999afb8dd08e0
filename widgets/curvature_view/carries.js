// Who uses the band: memorised over clean text, beside bands of other bases.

import { dataTable, PAGE_COLOURS } from "../base/charts.js";
import { h } from "../base/dom.js";
import { between, share, short } from "../base/text.js";
import { ratioChart } from "./charts.js";

/**
 * What the band carries, by layer or of one: `rows` as the kernel sends them, `before` what the lines say already, `s`
 * the side of the layer, `waiting` how far the reading is.
 */
export const carriesParts = (rows, { before, everywhere, s, info, width, waiting }) => {
  const ratio = (v) => (v ? [short(v[0]), between(v[1], v[2])] : ["…", ""]);
  const titles = [
      "curvature mass",
      "squared weight norm",
      "activation, memorised over clean",
      "same, band of random bases",
      "same, band of singular vectors",
    ],
    cells = (row) => [
      [share(row.mass), ""],
      [share(row.energy), ""],
      ...["kfac", "random", "svd"].map((basis) => ratio(row[`${basis}_${s}`])),
    ];
  // before the kernel answers, what one layer's lines already say
  const one = rows[0] ?? before,
    table =
      rows.length > 1
        ? dataTable(
            "band",
            ["layer", ...titles],
            rows.map((row, i) => [`${i + 1}.\u00a0${row.layer}`, ...cells(row)]),
          )
        : dataTable(
            "band",
            ["", "value", "interval"],
            everywhere && !rows.length ? [] : cells(one).map(([value, range], i) => [titles[i], value, range]),
          );
  const parts = [
    h("p", {
      class: "mn-note",
      text:
        `Above 1: memorised text uses the band more than clean text. ${short(100 * info.level)} % ` +
        `intervals, bootstrap over ${info.n} memorised and ${info.clean} clean sequences; controls are ` +
        `bands of equal width in other bases.`,
    }),
  ];
  if (rows.length > 1) {
    parts.unshift(
      h("div", { class: "mn-chart", "data-testid": "ratios" }, ratioChart(PAGE_COLOURS, rows, s, width, 190)),
      h("div", { class: "mn-key" }, h("span", { text: "● curvature" }), h("span", { text: "□ random bases" })),
      h("details", {}, h("summary", { text: `The ${rows.length} layers as a table` }), table),
    );
  } else if (rows.length || !everywhere) parts.unshift(table);
  if (!rows.length)
    parts.unshift(
      h("p", {
        class: "mn-note",
        role: "status",
        text: `Reading the activations of both sets …${waiting}`,
      }),
    );
  return parts;
};
