// ProvenanceBench's tables: the numbers with what each is worth, the parts by position, every question asked.

import { head } from "../base/charts.js";
import { h } from "../base/dom.js";
import { absent, many, number, plainly } from "../base/text.js";
import { grouped, power, pText, short } from "./charts.js";

const WORTH = {
  guaranteed: "✓ guaranteed if",
  approximate: "≈ approximate",
  waiting: "… not yet",
  void: "✕ not valid here",
  exact: "exact",
};

const worth = (kind) => h("span", { class: "mn-worth", "data-worth": kind, text: WORTH[kind] });
const line = (name, value, kind, why) =>
  h(
    "tr",
    { "data-worth": kind, "data-row": name },
    h("th", { scope: "row", text: name }),
    h("td", { class: "mn-value" }, h("span", { text: value })),
    h("td", {}, worth(kind), h("span", { class: "mn-why", text: why })),
  );

/** The numbers of an answer, and what each is worth. */
export const worthTable = (f) => {
  const percentLevel = `${short(100 * f.level)} %`,
    ready = !absent(f.rho);
  return h(
    "table",
    { class: "mn-table mn-worths" },
    head("number", "value", "what it is worth"),
    h(
      "tbody",
      {},
      line(
        "rows used",
        grouped(f.n),
        "exact",
        `of ${grouped(f.asked)} asked, ${grouped(f.fields.rows)} ` +
          `${f.fields.rule === "e" ? "at most" : "planned"}` +
          `${f.left_out ? `; ${grouped(f.left_out)} without a finite score left out` : ""}` +
          `${f.tokens ? `; ${grouped(f.tokens)} tokens of the suspect` : ""}`,
      ),
      line(
        "rho",
        ready ? `${short(f.rho)} [${short(f.low)}, ${short(f.high)}]` : "–",
        "approximate",
        ready
          ? `rank correlation of score and position; ${percentLevel} interval: ${f.interval}. ` +
              `Negative: later rows are remembered better`
          : "too few rows yet",
      ),
      line("z", ready ? number(f.z) : "–", "exact", "mean 0 and variance 1 under random orders; no p-value by itself"),
      line("e-value", power(f.log10_e), f.e_kind, `evidence against chance; ${f.e_worth}`),
      ...(ready ? f.ps : []).map((p) =>
        line(
          p.label,
          pText(p.p),
          p.worth,
          `${p.note}${p.at_floor && p.worth === "guaranteed" ? "; the smallest it can be" : ""}`,
        ),
      ),
    ),
  );
};

/** Mean score in each part of the rows by position. */
export const quantileTable = (f) => {
  const percentLevel = `${short(100 * f.level)} %`;
  return h(
    "table",
    { class: "mn-table" },
    head("part", "position", "rows", `mean, ${f.unit}`, percentLevel),
    h(
      "tbody",
      {},
      ...[...f.q_n].map((n, i) =>
        h(
          "tr",
          {},
          h("th", { scope: "row", text: String(i + 1) }),
          ...[
            f.q_at.length ? short(f.q_at[i]) : "–",
            grouped(n),
            short(f.q_mean[i]),
            absent(f.q_low[i]) ? "–" : `${short(f.q_low[i])} to ${short(f.q_high[i])}`,
          ].map((t) => h("td", { class: "mn-value", text: t })),
        ),
      ),
    ),
  );
};

/** What was asked so far, a line a question, with Holm's correction over all of them. */
export const linesParts = (lines, { level, busy, suspects, shown, show }) => {
  const looked = new Set(lines.map((l) => l.suspect)).size,
    all = suspects,
    several = (key) => new Set(lines.map((l) => l[key])).size > 1;
  const how = (l) =>
    `${l.rule === "e" ? "stop by e" : "fixed"}${several("statistic") ? `, ${l.statistic}` : ""}` +
    `${several("seed") ? `, seed ${l.seed}` : ""}${l.status === "stopped" ? ", stopped by hand" : ""}`;
  return [
    h("p", {
      class: "mn-note",
      "data-testid": "looked",
      text:
        `${many(lines.length, "question")} asked about ${looked} of ${many(all, "suspect")}; Holm’s ` +
        `correction over ${lines.length === 1 ? "it" : `all ${lines.length}`}. The p of each line is ` +
        `guaranteed if the conditions beside its answer hold, also when it was stopped by hand: 1 / ` +
        `largest e, or for a fixed number of rows twice the smaller of that and the permutation p. A ` +
        `line whose p is only approximate counts as p = 1. A suspect not asked yet is not corrected for.`,
    }),
    h(
      "div",
      { class: "mn-tablebox" },
      h(
        "table",
        { class: "mn-table mn-lines" },
        head(
          "suspect",
          "reference",
          ...(several("transcript") ? ["transcript"] : []),
          "rows",
          "rho",
          "e",
          "p, guaranteed if",
          "Holm",
          `at α = ${level}`,
        ),
        h(
          "tbody",
          {},
          ...lines.map((l) => {
            const name = h("button", {
              type: "button",
              class: "mn-plain",
              text: plainly(l.suspect),
              "aria-label": `Show the answer for ${l.suspect}, question ${l.number}`,
              disabled: l.p === null || busy,
              onclick: () => show(l.number),
            });
            const cells =
              l.p === null
                ? [h("td", { class: "mn-wrap", colspan: 6, text: `could not be tested, counts as p = 1: ${l.note}` })]
                : [
                    h(
                      "td",
                      { class: "mn-value" },
                      h("span", { text: `${grouped(l.n)} ` }),
                      h("span", { class: "mn-why", text: how(l) }),
                    ),
                    h(
                      "td",
                      { class: "mn-value" },
                      absent(l.rho) ? "–" : short(l.rho),
                      h("span", {
                        class: "mn-why",
                        text: absent(l.low) || absent(l.rho) ? "" : `${short(l.low)} to ${short(l.high)}, approx.`,
                      }),
                    ),
                    h("td", { class: "mn-value", text: power(l.log10_e) }),
                    h("td", { class: "mn-value", text: pText(l.p), title: l.how }),
                    h("td", { class: "mn-value", text: pText(l.holm) }),
                    h(
                      "td",
                      { class: "mn-wrap" },
                      h("strong", {
                        text: l.reason
                          ? `approximate: ${l.reason}`
                          : l.holm <= level * (1 + 1e-9)
                            ? "depends on this order"
                            : "not shown",
                      }),
                      l.warnings ? h("span", { class: "mn-why", text: many(l.warnings, "warning") }) : null,
                    ),
                  ];
            return h(
              "tr",
              { "aria-current": shown === l.number ? "true" : null },
              h("th", { scope: "row", class: "mn-wrap" }, name),
              h("td", { class: "mn-wrap", text: l.reference || "none" }),
              ...(several("transcript") ? [h("td", { class: "mn-wrap", text: l.transcript })] : []),
              ...cells,
            );
          }),
        ),
      ),
    ),
  ];
};
