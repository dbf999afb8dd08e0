// One point of SubspaceBench's curve: its numbers beside the unedited model's and the control's, and its texts.

import { dataTable } from "../base/charts.js";
import { h } from "../base/dom.js";
import { textBlock } from "../base/passages.js";
import { between, many, share, short } from "../base/text.js";
import { KINDS, NAMES } from "./charts.js";

const SHARES = ["strict", "loose", "lev"];

/** The measures at a place of the slider, of one set of sequences. */
export const pointParts = (found, at, set, level) => {
  const u = found.unedited[set],
    e = at ? found.edit[at - 1][set] : null,
    r = at ? found.random[at - 1][set] : null,
    unit = KINDS[found.kind];
  const cell = (values, name, write) => [
    write(values[name]),
    between(values[`${name}_low`], values[`${name}_high`], write),
  ];
  const row = (title, name, write, before = cell(u, name, write)) => [
    title,
    before,
    e ? cell(e, name, write) : "–",
    r ? cell(r, name, write) : "–",
  ];
  return [
    dataTable(
      "point",
      [
        "",
        `unedited, n = ${u.n}`,
        at ? `${unit.unit} ${short(found.strengths[at - 1])}` : "–",
        at ? found.control : "–",
      ],
      [
        ...["strict", "loose", "lev", "exact_prefix", "nll"].map((name) =>
          row(NAMES[name], name, SHARES.includes(name) ? share : short),
        ),
        row(`clean loss, nats/token (${many(u.texts, "text")})`, "loss", short),
        row("its rise over unedited", "rise", short, "–"),
        row("nDCG@10 to unedited, clean text", "ndcg", short),
      ],
    ),
    h("p", {
      class: "mn-note",
      text:
        `${short(100 * level)} % intervals: exact (Clopper–Pearson) for shares recited, bootstrap over sequences or ` +
        `texts for the others. ` +
        (found.sets.length > 1
          ? "“kept apart”: the half of the sequences that the edit was not found on."
          : "Too few sequences to halve: recitation is of those that the edit was found on.") +
        ` Control: one draw.`,
    }),
  ];
};

/** The texts as they were recited before, and at a place of the slider. */
export const textParts = (found, at) => {
  const under = [["before", 0], ...(at ? [[`after, ${short(found.strengths[at - 1])}`, at]] : [])];
  return found.texts.items.map((item, i) =>
    textBlock(found.texts, i, under, item.what === "clean" ? "clean text, half of it given" : item.what),
  );
};
