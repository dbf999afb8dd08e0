// VectorBench's vector on bare prompts: right answers and next tokens without and with it.

import { head } from "../base/charts.js";
import { emptyBox, errorBox, h, section, setText } from "../base/dom.js";
import { tokenBars } from "../base/predictions.js";
import { absent, number, percent, shorten, visible } from "../base/text.js";
import { whole } from "./table.js";

const LIVE = ["template", "seed", "k", "by_hand", "layer", "strength", "queries"];

/** A share of right answers as a bar with its interval. */
export const shareBar = (a) =>
  a
    ? h(
        "span",
        { class: "mn-share", title: `${a.k} of ${a.n} right; 95 % interval ${whole(a.low)} to ${whole(a.high)} %` },
        h(
          "span",
          { class: "mn-track", "aria-hidden": "true" },
          h("span", { class: "mn-fill", style: `width:${(100 * a.k) / a.n}%` }),
          h("span", { class: "mn-range", style: `left:${100 * a.low}%;width:${100 * (a.high - a.low)}%` }),
        ),
        h("span", { text: `${a.k} of ${a.n} (${whole(a.low)}–${whole(a.high)} %)` }),
      )
    : "–";

const code = (text, length) => h("code", { text: shorten(visible(text), length), title: visible(text) });

const answer = (pair, text) =>
  pair
    ? h(
        "td",
        { class: pair[1] ? "mn-right" : "mn-not" },
        h("code", {
          text: shorten(visible(text ?? pair[0]), 26),
          title: visible(text ?? pair[0]),
          "aria-label": `${visible(text ?? pair[0])}${pair[1] ? ", right" : ""}`,
        }),
      )
    : h("td", { text: "–" });

const accuracyTable = (live, names, two) =>
  h(
    "table",
    { class: "mn-table", "data-testid": "accuracy" },
    head(two ? "model" : "", "without the vector", "with the vector", "mean p of the first token"),
    h(
      "tbody",
      {},
      ...live.sides.map((x) =>
        h(
          "tr",
          {},
          h("th", { scope: "row", text: two ? names[x.side] : "right answers" }),
          h("td", {}, shareBar(x.base)),
          h("td", {}, shareBar(x.with)),
          h("td", { text: `${percent(x.prob[0])}${absent(x.prob[1]) ? "" : ` → ${percent(x.prob[1])}`}` }),
        ),
      ),
    ),
  );

const answerTable = (live, said, two) =>
  h(
    "table",
    { class: "mn-table mn-answers", "data-testid": "answers" },
    head(
      "input",
      "expected",
      ...live.sides.flatMap((x) =>
        two ? [`${x.side}, without`, `${x.side}, with`] : ["without the vector", "with the vector"],
      ),
    ),
    h(
      "tbody",
      {},
      ...live.items.map((item, i) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, code(item.x, 24)),
          h("td", {}, code(item.y, 20)),
          ...item.sides.flatMap((x, j) => [
            answer(x.base, said[i]?.sides[j]?.base),
            answer(x.with, said[i]?.sides[j]?.with),
          ]),
        ),
      ),
    ),
  );

/** What the vector says by itself, and how it lies to the same heads' in the other model. */
const decodedParts = (live, names) =>
  live.decoded
    ? [
        tokenBars("what the vector says by itself", live.decoded.slice(0, 8), new Map()),
        h("p", { class: "mn-note", text: "read through the model’s last layer: a hint, no test" }),
        h("p", { class: "mn-note", text: `length ${number(live.norm)}` }),
        ...(absent(live.cosine)
          ? []
          : [
              h("p", {
                "data-testid": "cosine",
                text: `cosine with the vector of the same heads in ${names.after}: ${number(live.cosine)}`,
              }),
            ]),
      ]
    : [h("p", { class: "mn-note", text: live.text ?? "" })];

export const answerPanel = ({ model, names, shown, controls }) => {
  const read = h("div", { class: "mn-read", "data-testid": "read" }),
    decoded = h("div", { "data-testid": "decoded" }),
    note = h("span", { class: "mn-note" }),
    element = section(
      {
        label: "The vector on bare prompts",
        title: "The vector on bare prompts",
        beside: [note],
        "data-testid": "live",
      },
      controls,
      read,
    );
  element.classList.add("mn-live");

  /** Whether the answers are of what the controls show. */
  const fresh = () => {
    const { fields, heads } = model.get("live"),
      hand = model.get("by_hand"),
      now = { ...shown(), by_hand: hand };
    const of = !!fields && LIVE.every((key) => String(fields[key]) === String(now[key]));
    element.setAttribute(
      "data-fresh",
      String(of && (!hand || JSON.stringify(model.get("heads")) === JSON.stringify(heads))),
    );
  };
  const draw = () => {
    const l = model.get("live"),
      s = model.get("samples");
    element.setAttribute("data-status", l.status ?? "empty");
    setText(note, l.what ?? "");
    fresh();
    if (l.status === "error") {
      read.replaceChildren(errorBox(l.title, l.text, "live-error"));
      return;
    }
    if (!l.sides) {
      const title = l.status === "running" ? "Reading the prompts …" : "Nothing to read yet";
      read.replaceChildren(emptyBox(title, l.text ?? "", {}));
      return;
    }
    const said = s.rows && JSON.stringify([s.fields, s.heads]) === JSON.stringify([l.fields, l.heads]) ? s.rows : [],
      two = l.sides.length > 1;
    decoded.replaceChildren(...decodedParts(l, names));
    read.replaceChildren(
      h(
        "div",
        {},
        h("div", { class: "mn-tablebox" }, accuracyTable(l, names, two)),
        h("div", { class: "mn-tablebox" }, answerTable(l, said, two)),
        h("p", {
          class: "mn-note",
          text:
            `validation prompts without demonstrations; ✓ the whole answer is the greedy one; most likely ` +
            `next token${said.length ? ", the first rows continued" : ""}`,
        }),
        ...(s.text ? [h("div", { class: "mn-warning", text: s.text })] : []),
        ...(l.warning ? [h("div", { class: "mn-warning", "data-testid": "live-warning", text: l.warning })] : []),
      ),
      decoded,
    );
  };
  return { element, draw, fresh };
};
