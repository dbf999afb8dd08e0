// PatchExplorer's selected cell, and its tables of pinned cells and of runs.

import { h } from "../base/dom.js";
import { tokenBars } from "../base/predictions.js";
import { number, percent, shorten, visible } from "../base/text.js";

const predictions = (title, list, pair) =>
  tokenBars(
    title,
    list,
    new Map([
      [pair.foil, ["F", "foil", "mn-foil"]],
      [pair.answer, ["A", "answer"]],
    ]),
  );

/** The selected cell: its numbers, and what the model predicts under its edit beside both unedited runs. */
export const cellParts = (detail, pin) => {
  const facts = [
    ["clean token", detail.clean_token],
    ["corrupted token", detail.corrupted_token],
  ]
    .filter(([, t]) => t !== undefined && t !== null)
    .map(([k, t]) => [k, visible(t)]);
  for (const k of ["value", "effect", "normalized"]) facts.push([k === "value" ? detail.metric : k, number(detail[k])]);
  return [
    h(
      "div",
      { class: "mn-side-head" },
      h("h3", { text: `${detail.site} · layer ${detail.layer}, ${detail.column_name} ${detail.column}` }),
      h("button", {
        type: "button",
        class: "mn-button",
        "data-testid": "pin",
        text: "Pin (P)",
        onclick: pin,
      }),
    ),
    h("dl", { class: "mn-facts" }, ...facts.flatMap(([k, v]) => [h("dt", { text: k }), h("dd", { text: v })])),
    detail.status === "error"
      ? h("pre", { class: "mn-error", role: "alert", text: detail.text })
      : detail.status === "running"
        ? h("p", { class: "mn-note", text: "Running this one edit …" })
        : h(
            "div",
            { class: "mn-columns", "data-testid": "predictions" },
            predictions("clean run", detail.clean, detail),
            predictions("corrupted run", detail.corrupted, detail),
            predictions(`${detail.base_name} + edit`, detail.edited, detail),
            h("p", {
              class: "mn-note mn-key",
              text: `most likely next tokens · A answer${detail.foil ? " · F foil" : ""}`,
            }),
          ),
  ];
};

const table = (headers, rows) =>
  h(
    "div",
    { class: "mn-tablebox" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...headers.map((t) => h("th", { scope: "col", text: t })))),
      h("tbody", {}, ...rows),
    ),
  );
const small = (text, label, onclick) =>
  h("button", { type: "button", class: "mn-button mn-small", text, "aria-label": label, title: label, onclick });

/** The pinned cells; `show` and `remove` take a pin. */
export const pinTable = (pins, { show, remove }) =>
  table(
    ["cell", "run", "clean | corrupted", "value", "effect", "normalized", "top predictions under the edit", ""],
    pins.map((p) =>
      h(
        "tr",
        {},
        h("td", { text: `layer ${p.layer}, ${p.column_name} ${p.column}` }),
        h("td", { text: p.name }),
        h(
          "td",
          {},
          h("code", {
            text:
              p.clean_token === undefined || p.clean_token === null
                ? "all positions"
                : p.clean_token === p.corrupted_token
                  ? visible(p.clean_token)
                  : `${visible(p.clean_token)} | ${visible(p.corrupted_token)}`,
          }),
        ),
        ...["value", "effect", "normalized"].map((k) => h("td", { class: "mn-number", text: number(p[k]) })),
        h(
          "td",
          {},
          h("code", {
            text:
              (p.edited ?? [])
                .slice(0, 3)
                .map(([t, q]) => `${shorten(visible(t), 14)} ${percent(q)}`)
                .join("   ") || "…",
          }),
        ),
        h(
          "td",
          {},
          small("Show", `Show layer ${p.layer}, ${p.column_name} ${p.column}`, () => show(p)),
          small("×", `Remove the pin of layer ${p.layer}, ${p.column_name} ${p.column}`, () => remove(p)),
        ),
      ),
    ),
  );

/** The runs; `shown` is the number of the one on the screen, `radio` the name of their buttons. */
export const runTable = (runs, shown, radio, { show, rename, forget }) =>
  table(
    ["", "name", "what", "status", ""],
    runs.map((r) =>
      h(
        "tr",
        { class: r.run === shown ? "mn-current" : null, "data-run": r.run },
        h(
          "td",
          {},
          h("input", {
            type: "radio",
            name: radio,
            checked: r.run === shown,
            "aria-label": `Show ${r.name}`,
            onchange: () => show(r.run),
          }),
        ),
        h(
          "td",
          {},
          h("input", {
            type: "text",
            value: r.name,
            "aria-label": `Name of run ${r.run}`,
            onchange: (e) => rename(r.run, e.target.value),
          }),
        ),
        h("td", { text: r.what }),
        h("td", { text: r.status }),
        h(
          "td",
          {},
          small("×", `Forget ${r.name}`, () => forget(r.run)),
        ),
      ),
    ),
  );
