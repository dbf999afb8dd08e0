// VectorBench's report on the test split: the vector beside none and beside a random one.

import { head } from "../base/charts.js";
import { errorBox, h, section } from "../base/dom.js";
import { button } from "../base/export.js";
import { absent, many, number } from "../base/text.js";
import { shareBar } from "./answers.js";
import { points } from "./table.js";

const p = (v) => (absent(v) ? "–" : v < 0.001 ? "< 0.001" : number(v));

/** A difference in points with its interval; `lead` is "" or "control_". */
const span = (x, lead) => {
  const [value, low, high] = ["", "_low", "_high"].map((end) => x[`${lead}difference${end}`]);
  if (absent(value)) return "–";
  return `${points(value)} (${absent(low) ? "no interval" : `${points(low)} to ${points(high)}`})`;
};

const reportTable = (rows, names, two) =>
  h(
    "div",
    { class: "mn-tablebox" },
    h(
      "table",
      { class: "mn-table mn-answers" },
      head(...(two ? ["model"] : []), "", "right answers", "against no vector, points", "p"),
      h(
        "tbody",
        {},
        ...rows.map((x) =>
          h(
            "tr",
            {},
            ...(two ? [h("th", { scope: "row", text: names[x.side] })] : []),
            h("th", { scope: "row", text: x.name }),
            h("td", {}, shareBar(x)),
            h("td", { text: span(x, "") }),
            h("td", { text: p(x.p) }),
          ),
        ),
      ),
    ),
  );

export const reportPanel = ({ model, names, ask }) => {
  const test = button("test", "Report on test", ask),
    box = h("div", { "data-testid": "report" }),
    element = section({ label: "Test", title: "On the test split", beside: [test] }, box);
  test.title = "Read the prompts that were kept apart, once you have chosen";
  const draw = () => {
    const r = model.get("report");
    element.setAttribute("data-status", r.status ?? "idle");
    test.disabled = r.status === "running";
    if (r.status === "error") {
      box.replaceChildren(errorBox(r.title, r.text, "report-error"));
      return;
    }
    if (!r.rows) {
      box.replaceChildren(
        h("p", {
          class: "mn-note",
          text:
            r.status === "running"
              ? "Reading the test prompts …"
              : "Choose heads, layer and strength above first. The test split then says how well they do " +
                "on pairs that nothing was chosen by, beside a random vector of the same length.",
        }),
      );
      return;
    }
    const two = new Set(r.rows.map((x) => x.side)).size > 1;
    box.replaceChildren(
      h("p", { class: "mn-note", text: r.what }),
      reportTable(r.rows, names, two),
      ...r.rows
        .filter((x) => !absent(x.control_difference))
        .map((x) =>
          h("p", {
            text:
              `${two ? `${names[x.side]}: ` : ""}vector against the random one: ${span(x, "control_")} ` +
              `points, p ${p(x.control_p)}`,
          }),
        ),
      h("p", {
        class: "mn-note",
        text:
          `${many(r.n, "test prompt")}, 95 % intervals: exact for accuracies, paired bootstrap for ` +
          `differences; p ${r.p_kinds}. Read ${r.times === 1 ? "once" : `${r.times} times`} for this task` +
          `${r.times > 1 ? ": what is chosen by looking here is no longer tested by it" : ""}.`,
      }),
    );
  };
  return { element, draw };
};
