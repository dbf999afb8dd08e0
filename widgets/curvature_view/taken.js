// What the model recites and loses without the band.

import { dataTable } from "../base/charts.js";
import { h } from "../base/dom.js";
import { LEGEND, noneRecited, readTexts, textBlock } from "../base/passages.js";
import { between, many, share, short } from "../base/text.js";

/** The table of what the band's removal did, what has to be said of it, and the most changed texts. */
export const takenParts = (t, current, level) => {
  const u = t.tables.unedited,
    cells = (x, k, write) => (x ? [write(x[k]), between(x[`${k}_low`], x[`${k}_high`], write)] : "…"),
    titles = ["", "unedited", "without the band", "random bases, equal norm"],
    all = ["unedited", "removed", "control"].map((k) => t.tables[k]);
  const texts = t.texts ? readTexts(t.texts) : null,
    [a, b] = t.hashes;
  return [
    ...(noneRecited(u) ? [h("div", { class: "mn-warning", "data-testid": "none-recited", text: noneRecited(u) })] : []),
    ...(current
      ? []
      : [
          h("div", {
            class: "mn-warning",
            "data-testid": "stale",
            text: `What stands here is of ${t.what}; “Take it out” measures the band now brushed.`,
          }),
        ]),
    dataTable(
      "removal",
      titles,
      [
        ["recited word for word", "strict", share],
        ["recited loosely (75 % right)", "loose", share],
        ["edit distance, share of tokens", "lev", share],
        ["loss of the suffix, nats/token", "nll", short],
      ]
        .map(([name, k, write]) => [name, ...all.map((x) => cells(x, k, write))])
        .concat([
          ["clean loss, nats/token", ...all.map((x) => (x ? [short(x.loss), ""] : "…"))],
          ["its rise over unedited", "–", ...all.slice(1).map((x) => cells(x, "rise", short))],
          ["nDCG@10 to unedited, clean text", ...all.map((x) => (x ? [short(x.ndcg), ""] : "…"))],
        ]),
    ),
    h("p", {
      class: "mn-note",
      text:
        `${many(u.n, "memorised sequence")}, ${many(u.texts, "clean text")}; ${short(100 * level)} ` +
        `% intervals, exact for shares recited, bootstrap for the others. ` +
        `${t.removed ? `The band holds ${share(t.removed ** 2)} of the squared weight norm. ` : ""}` +
        (b
          ? a === b
            ? `Weight hash ${a.slice(0, 12)} before and after: unchanged. `
            : `Weight hash ${a.slice(0, 12)} before, ${b.slice(0, 12)} after: ` + "the model was changed meanwhile. "
          : "") +
        `A band that was chosen by looking here is to be tested on other text.`,
    }),
    ...(texts
      ? [
          h("h4", { text: "Most changed texts" }),
          LEGEND(),
          ...texts.items.map((item, i) =>
            textBlock(
              texts,
              i,
              [
                ["before", 0],
                ["without the band", 1],
              ],
              item.what === "clean"
                ? "clean text, half of it given"
                : `loss of the suffix ${t.change[i] > 0 ? "+" : ""}${short(t.change[i])} nats/token`,
            ),
          ),
        ]
      : []),
  ];
};
