// Run and Stop with their progress, and the most likely tokens as bars.

import { h, setText } from "./dom.js";
import { percent, shorten, visible } from "./text.js";

/**
 * Run and Stop, how far the computation is, and where it failed: `draw()` shows the traits status, progress and
 * error.
 */
export const runControls = (model, root, { title, start, stop: end }) => {
  const run = h("button", {
    class: "mn-button mn-primary",
    type: "button",
    "data-testid": "run",
    text: "Run",
    title,
    onclick: start,
  });
  const stop = h("button", {
    class: "mn-button",
    type: "button",
    "data-testid": "stop",
    text: "Stop",
    title: "Stop after the layer in progress; finished layers stay",
    onclick: end,
  });
  const bar = h("div", { class: "mn-progress-fill" }),
    text = h("span", { class: "mn-note", "data-testid": "progress", role: "status" });
  const track = h(
    "div",
    {
      class: "mn-progress",
      role: "progressbar",
      "aria-label": "Layers computed",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
    },
    bar,
  );
  const error = h("div", { class: "mn-error", role: "alert", "data-testid": "error", hidden: true });
  const draw = () => {
    const status = model.get("status"),
      p = model.get("progress"),
      share = p.total ? Math.round((100 * p.done) / p.total) : 0,
      e = model.get("error");
    stop.disabled = status !== "running";
    root().setAttribute("data-status", status);
    track.hidden = status !== "running" && status !== "stopping";
    bar.style.width = `${share}%`;
    track.setAttribute("aria-valuenow", share);
    setText(text, p.text ?? "");
    error.hidden = !e.text;
    error.replaceChildren(...(e.text ? [h("strong", { text: e.title }), h("pre", { text: e.text })] : []));
  };
  return {
    run,
    error,
    draw,
    element: h("div", { class: "mn-run" }, run, stop, h("div", { class: "mn-status" }, track, text)),
  };
};

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
