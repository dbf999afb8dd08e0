// The next token and the answer beside the sliders.

import { h } from "../base/dom.js";
import { tokenBars } from "../base/predictions.js";
import { number, visible } from "../base/text.js";
import { chance, gain, nats, ratio } from "./numbers.js";

const facts = (a) =>
  h(
    "table",
    { class: "mn-table", "data-testid": "answer-change" },
    h(
      "thead",
      {},
      h("tr", {}, ...["", "unedited", "injected", "change"].map((t) => h("th", { scope: "col", text: t }))),
    ),
    h(
      "tbody",
      {},
      ...[
        ["probability", chance(a.before), chance(a.after), ratio(a.change)],
        ["ln p (nats)", nats(a.before), nats(a.after), gain(a.change)],
        ...(a.tokens > 1
          ? [["first token, ln p", nats(a.first.before), nats(a.first.after), gain(a.first.change)]]
          : []),
      ].map(([name, ...cells]) =>
        h("tr", {}, h("th", { scope: "row", text: name }), ...cells.map((t) => h("td", { text: t }))),
      ),
    ),
  );

/** The next token without and with the injection, and how the answer's probability moves. */
export const liveParts = (l) => {
  if (l.status === "error") {
    return [
      h(
        "div",
        { class: "mn-error", role: "alert", "data-testid": "live-error" },
        h("strong", { text: l.title }),
        h("pre", { text: l.text }),
      ),
    ];
  }
  if (!l.before) {
    return [
      h(
        "div",
        { class: "mn-empty" },
        h("strong", { text: l.status === "running" ? "Reading the prompt …" : "Nothing to read yet" }),
        h("p", { text: l.text ?? "" }),
      ),
    ];
  }
  const marks = new Map([
    ...(l.memory_tokens ?? []).map((t) => [t, ["M", "token of the memory", "mn-foil"]]),
    ...(l.answer ? [[l.answer.token, ["A", l.answer.tokens > 1 ? "first token of the answer" : "answer"]]] : []),
  ]);
  const after = l.after
    ? tokenBars("with the injection", l.after, marks)
    : h(
        "div",
        { class: "mn-predictions" },
        h("h4", { text: "with the injection" }),
        h("p", { class: "mn-note", text: l.text }),
      );
  return [
    tokenBars("unedited", l.before, marks),
    after,
    h(
      "div",
      { class: "mn-answer" },
      l.answer
        ? h(
            "div",
            {},
            h("h4", {
              text:
                l.answer.tokens > 1
                  ? `whole answer ${visible(l.answer.text)}, ${l.answer.tokens} tokens`
                  : `answer ${visible(l.answer.text)}`,
            }),
            facts(l.answer),
          )
        : h("p", { class: "mn-note", text: "Give an answer to see how its probability changes." }),
      l.after && l.kl !== null
        ? h("p", { class: "mn-note", text: `KL(unedited ‖ injected) over all tokens: ${number(l.kl)} nats` })
        : null,
      l.warning ? h("div", { class: "mn-warning", "data-testid": "live-warning", text: l.warning }) : null,
      h("p", {
        class: "mn-note mn-key",
        text:
          `ten most likely next tokens` +
          `${l.answer ? (l.answer.tokens > 1 ? " · A first token of the answer" : " · A answer") : ""}` +
          `${l.memory_tokens?.length ? " · M memory" : ""}`,
      }),
    ),
  ];
};
