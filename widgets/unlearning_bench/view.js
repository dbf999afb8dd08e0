// UnlearningBench: rows to forget and to retain, a method and its dose; its path, attacks, and the weights put back.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { drawn, PAGE_COLOURS, PAPER_COLOURS } from "../base/charts.js";
import { emptyBox, errorBox, field, h, option, section, setText } from "../base/dom.js";
import { button, exportDrawer } from "../base/export.js";
import { sideBySide } from "../base/figure.js";
import { forcePanel } from "../base/force.js";
import { shell } from "../base/shell.js";
import { csvLine, many, visible } from "../base/text.js";
import { tiedControls } from "../base/traits.js";
import { armTable, curveRows, keyOf, measureChart } from "./charts.js";

const ATTACKS = [
  ["int4", "round its weights to 4 bits"],
  ["int8", "round its weights to 8 bits"],
  ["relearn", "train it 10 steps on the retain set"],
];
const ROLES = [
  ["forget", "forget"],
  ["retain", "retain"],
  ["neither", "neither"],
];

function render({ model, el }) {
  const frame = shell(model, {
    title: "Unlearning bench",
    testid: "unlearning-bench",
    name: "Unlearning bench",
    kind: "mn-panels mn-unlearning",
    label: "Unlearn",
    help: "Walk the method’s path on a copy of the model",
    stop: "Stop after the step in progress; looks that are there stay",
    unit: "Steps",
    start: () => {
      flush();
      send("run", { fields: { ...shown(), roles: get("roles") } });
    },
  });
  const { send, listen, set, root, row, error } = frame,
    get = (name) => model.get(name);
  const { bound, shown, flush, choose } = tiedControls(model, listen, set);
  const does = h("p", { class: "mn-note", "data-testid": "does" });
  const controls = h(
    "div",
    { class: "mn-controls" },
    field(
      "Method",
      choose(
        "method",
        get("methods").map((m) => [m.name, m.title]),
      ),
    ),
    field("Dose: steps", bound("steps", h("input", { type: "number", min: 1, step: 1 }))),
    field("Learning rate", bound("rate", h("input", { type: "number", min: 0, step: "any" }))),
    row,
    does,
  );
  const drawDoes = () => setText(does, get("methods").find((m) => m.name === get("method"))?.does ?? "");

  // --- the rows
  const rowsBox = h("details", { class: "mn-more", "data-testid": "rows" }),
    summary = h("summary");
  const selects = [];
  const listed = get("rows").map(({ row: i, prompt, answer, unit }) => {
    const select = h(
      "select",
      {
        "aria-label": `Row ${i}: forget, retain or neither`,
        "data-row": i,
        onchange: () => {
          const roles = [...get("roles")];
          roles[i] = select.value;
          set({ roles });
        },
      },
      ...ROLES.map(([value, words]) => option(value, words)),
    );
    selects.push([i, select]);
    return h(
      "tr",
      {},
      h("td", { class: "mn-role" }, select),
      h("td", { text: visible(prompt) }),
      h("td", { text: visible(answer) }),
      ...(unit ? [h("td", { text: visible(unit) })] : []),
    );
  });
  const units = get("rows").some((r) => r.unit);
  rowsBox.append(
    summary,
    h(
      "div",
      { class: "mn-tablebox" },
      h(
        "table",
        { class: "mn-table mn-rows-list" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...["to", "prompt", "answer", ...(units ? ["unit"] : [])].map((text) => h("th", { scope: "col", text })),
          ),
        ),
        h("tbody", {}, ...listed),
      ),
    ),
  );
  const drawRows = () => {
    const roles = get("roles"),
      count = (role) => roles.filter((r) => r === role).length;
    for (const [i, select] of selects) select.value = roles[i] ?? "neither";
    const more = roles.length - listed.length;
    setText(
      summary,
      `Rows: ${count("forget")} to forget, ${count("retain")} to retain` +
        `${count("neither") ? `, ${count("neither")} left out` : ""}` +
        `${more > 0 ? `; ${more.toLocaleString("en")} of them are not listed` : ""}`,
    );
  };

  // --- curves
  const empty = emptyBox(
      "Nothing unlearned yet",
      "Unlearn trains a copy of the model to forget the rows, looks at it on the way, and draws the path beside " +
        "training on the retain set alone and beside the models given. The model itself stays as it is.",
    ),
    busy = h("div", { class: "mn-empty", "data-testid": "busy" }, h("strong", { text: "Walking the path …" })),
    caption = h("p", { class: "mn-caption", "data-testid": "caption" }),
    chartBox = h("div", { "data-testid": "curves" }),
    tableBox = h("div");
  const charts = (colours, width) => {
    const c = get("curves");
    return c.measures.filter((m) => m.drawn).map((m) => measureChart(colours, c, m, width, 210));
  };
  const draw = () => {
    if (!root.isConnected) return;
    const c = get("curves"),
      has = !!c.measures;
    for (const part of [body, drawer.element]) part.hidden = !has;
    empty.hidden = has || !!get("error").text || get("status") === "running";
    busy.hidden = has || get("status") !== "running";
    drawForce();
    drawAttack();
    if (!has) return;
    const room = Math.min(root.clientWidth - 30 || 900, 1500),
      columns = Math.max(1, Math.min(Math.floor((room + 18) / 290), c.measures.filter((m) => m.drawn).length)),
      width = Math.floor((room - 18 * (columns - 1)) / columns);
    const n = [...new Set(c.measures.filter((m) => m.drawn).map((m) => m.n))].join(", "),
      title = get("methods").find((m) => m.name === c.method)?.title ?? c.method;
    setText(
      caption,
      `${title}: ${many(c.steps, "step")} at learning rate ${c.rate}; ${c.forget} rows to forget, ${c.retain} to ` +
        `retain. Bars: ${100 * c.level} % intervals over units (n ${n}), of this one training.`,
    );
    chartBox.replaceChildren(
      keyOf(PAGE_COLOURS, c, h),
      h("div", { class: "mn-charts" }, ...charts(PAGE_COLOURS, Math.min(width, 460))),
    );
    tableBox.replaceChildren(
      armTable(c),
      ...(c.models.includes("twin")
        ? []
        : [
            h("p", {
              class: "mn-warning",
              "data-testid": "no-twin",
              text: "No twin was given: where forgetting should arrive is not known.",
            }),
          ]),
    );
  };

  // --- attacks
  const which = h(
      "select",
      { "data-testid": "attack", "aria-label": "Attack" },
      ...ATTACKS.map(([value, words]) => option(value, words)),
    ),
    go = button("attack-run", "Attack", () => send("attack", { name: which.value })),
    told = h("span", { class: "mn-note", role: "status", "data-testid": "attack-status" }),
    refused = h("div");
  const drawAttack = () => {
    const a = get("attack");
    go.disabled = a.status === "running" || get("status") === "running" || !get("curves").measures;
    setText(told, a.status === "error" ? "" : (a.text ?? ""));
    refused.replaceChildren(
      ...(a.status === "error" ? [errorBox("The attack was not made", a.text, "attack-error")] : []),
    );
  };

  // --- weights
  const force = forcePanel(model, send, {
    fields: shown,
    words: {
      edited: (what, hashes) =>
        `In force: ${what}. ${hashes}; whatever the notebook asks this model now is answered by the unlearned one.`,
      undone: (what, hashes) => `Put back after ${what}: ${hashes}`,
      none: () => "The model is as it was given. Put the unlearned weights in force to ask them in the notebook.",
    },
  });
  const drawForce = () =>
    force.draw({
      ready: get("status") !== "running" && !!get("curves").measures,
      name: "Put the unlearned weights in force",
    });

  const body = h(
    "div",
    {},
    caption,
    chartBox,
    section({ label: "Last looks", title: "Last looks" }, tableBox),
    section(
      { label: "Attack", title: "What comes back under an attack", beside: [which, go, told] },
      h("p", {
        class: "mn-note",
        text: "Start and twin are attacked alike: what comes back in the arm and not in the twin was hidden.",
      }),
      refused,
    ),
    section({ label: "Weights", title: "Weights" }, force.element),
  );
  const drawer = exportDrawer(model, send, {
    stem: () => `unlearning_${get("curves").method}`,
    figure: () => sideBySide(charts(PAPER_COLOURS, 360).map(drawn)),
    table: () =>
      csvLine(["measure", "arm", "dose", "mean", "low", "high"]) + curveRows(get("curves")).map(csvLine).join(""),
    example: "unlearned.zarr, unlearned.nc, unlearned.csv",
  });
  listen(["curves", "status", "error"], draw);
  listen(["attack"], drawAttack);
  listen(["force"], drawForce);
  listen(["roles"], drawRows);
  listen(["method"], drawDoes);
  const close = frame.open(el, { parts: [controls, rowsBox, error, empty, busy, body], drawer, box: root, draw });
  drawRows();
  drawDoes();
  draw();
  return close;
}

export default { render };
