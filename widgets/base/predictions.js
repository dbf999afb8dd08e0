// The most likely tokens as bars.

import { h } from "./dom.js";
import { percent, shorten, visible } from "./text.js";

/** Most likely tokens as bars; `marks` maps a token to [letter, meaning, class]. */
export const tokenBars = (title, list, marks) =>
  h(
    "div",
    { class: "mn-predictions" },
    h("h4", { text: title }),
    h(
      "ol",
      {},
      ...list.map(([token, p]) => {
        const [letter, meaning, kind = ""] = marks.get(token) ?? [];
        return h(
          "li",
          {},
          h("span", { class: "mn-p-bar", style: `width:${(100 * p).toFixed(1)}%` }),
          h("code", { text: shorten(visible(token), 18), title: visible(token) }),
          letter ? h("span", { class: `mn-tag ${kind}`, text: letter, title: meaning, "aria-label": meaning }) : null,
          h("span", { class: "mn-p", text: percent(p) }),
        );
      }),
    ),
  );
