// Tables: the centroid that a prompt is near by layer, how often the gate opens, and what each arm does.

import { dataTable } from "../base/charts.js";
import { absent, between, plainly, share, short } from "../base/text.js";

export const ARMS = ["the model", "gated edit", "no gate", "random gate", "random direction"];

const percents = ([mean, low, high]) => (absent(mean) ? "–" : [share(mean), between(low, high, (v) => short(100 * v))]);

/** Layer by layer: nearest centroid and margin of the prompt; how many report items are nearest to their own. */
export const layerTable = (p, d) =>
  dataTable(
    "layers",
    [
      "behind block",
      "prompt is nearest to",
      "by (of the distance between centroids)",
      `report items nearest to their own (n ${p.n})`,
      "labels at random",
      "of centroids’ variance in the plane",
      "of all variance",
    ],
    p.own.map(([own, low, high, shuffled, all, centroids], l) => [
      `${l}${l === p.layer && p.gate ? " · gate" : ""}`,
      d.nearest ? plainly(p.labels[d.nearest[l]]) : "–",
      d.margin ? short(d.margin[l]) : "–",
      percents([own, low, high]),
      share(shuffled),
      share(centroids),
      share(all),
    ]),
  );

/** By label: how often the gate is open, which share of answers each arm changes. */
export const rateTable = (p) => {
  const more = p.rates.some((r) => r.changed);
  return dataTable(
    "rates",
    [
      "label",
      "n",
      "gate open at the prompt’s end",
      "open tokens",
      ...(more ? ARMS.slice(1).map((a) => `changed: ${a}`) : []),
    ],
    p.rates.map((r) => [
      plainly(r.label) + (p.held.includes(r.label) ? " (held out)" : ""),
      String(r.n),
      percents(r.fired),
      share(r.tokens),
      ...(r.changed ?? []).slice(1).map(percents),
    ]),
  );
};

/** By label: the share of answers that are right; null where no answer is known. */
export const rightTable = (p) => {
  const rows = p.rates.filter((r) => r.right && !absent(r.right[0][0]));
  return rows.length
    ? dataTable(
        "right",
        ["label", ...ARMS],
        rows.map((r) => [plainly(r.label) + (p.held.includes(r.label) ? " (held out)" : ""), ...r.right.map(percents)]),
      )
    : null;
};
