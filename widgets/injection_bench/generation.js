// What the model of InjectionBench goes on to say, without and with the injection.

import { errorBox, field, h, section, setText } from "../base/dom.js";
import { button } from "../base/export.js";

const SAID = { running: "writing …", stopping: "stopping …", stopped: "stopped; what was written stays" };

const note = (text) => h("span", { class: "mn-note", text });

const passage = (title, g, key) =>
  h(
    "div",
    {},
    h("h4", { text: title }),
    h(
      "p",
      { class: "mn-said", "data-testid": `said-${key}` },
      note(g.prompt),
      g[key] === undefined ? note(g.status === "stopped" ? " (not begun)" : " …") : h("strong", { text: g[key] }),
      g.cut === key ? note(" (stopped here)") : null,
    ),
  );

export const generationPanel = ({ model, send, bound, begin }) => {
  const texts = h("div", { class: "mn-texts", "data-testid": "texts" }),
    count = bound("new_tokens", h("input", { type: "number", min: 1, max: 500, step: 1 })),
    generate = button("generate", "Generate", begin),
    written = h("span", { class: "mn-note", role: "status", "data-testid": "generation-status" });
  const stop = () => {
    if (model.get("generation").status === "running") send("stop_generation");
  };
  const halt = button("stop-generation", "Stop", stop);
  halt.setAttribute("aria-label", "Stop writing");
  halt.title = "Stop after the token in progress; what is written stays (Escape in this section)";
  const element = section(
    {
      label: "Generation",
      title: "What it goes on to say",
      "data-testid": "generation",
      onkeydown: (e) => {
        if (e.key === "Escape") {
          e.stopPropagation();
          stop();
        }
      },
    },
    h(
      "div",
      { class: "mn-controls" },
      field("New tokens", count),
      h("div", { class: "mn-both" }, generate, halt, written),
      note("greedy; “every token” and “all but the start token” include the new ones"),
    ),
    texts,
  );
  const draw = () => {
    const g = model.get("generation");
    element.setAttribute("data-status", g.status ?? "idle");
    halt.disabled = g.status !== "running";
    setText(written, SAID[g.status] ?? "");
    if (!g.status) texts.replaceChildren();
    else if (g.status === "error") texts.replaceChildren(errorBox(g.title, g.text));
    else texts.replaceChildren(passage("unedited", g, "before"), passage(`injected: ${g.what}`, g, "after"));
  };
  return { element, draw };
};
