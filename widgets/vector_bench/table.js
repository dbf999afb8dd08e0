// VectorBench's table of pairs, and its map and numbers.

import { h, setText } from "../base/dom.js";
import { absent, csvLine, number } from "../base/text.js";
import { floats } from "../base/traits.js";

export const OWN = "own pairs",
  SHOWN_PAIRS = 400;

/** Rows that stand there before all are asked for, so that nothing scrolls inside the page. */
const FIRST_PAIRS = 8;

export const plus = (v) => (absent(v) ? "–" : (v > 0 ? "+" : "") + number(v));

export const points = (v) => (absent(v) ? "–" : (v > 0 ? "+" : v < 0 ? "−" : "") + Math.abs(100 * v).toFixed(0));

export const whole = (v) => `${(100 * v).toFixed(0)}`;

export const same = (a, b) => a[0] === b[0] && a[1] === b[1];

/** The map trait with its buffers as arrays. */
export const readMap = (raw) => {
  if (!raw?.shape) return null;
  const map = { ...raw, at: (row, column) => row * raw.shape[1] + column };
  for (const side of raw.sides)
    for (const name of ["", "_low", "_high", "_p_holm"])
      map[side + name] = raw[side + name] ? floats(raw[side + name]) : null;
  return map;
};

export const csvOf = (map) => {
  let text = "model,layer,head,mean_effect_probability,low,high,p_holm,prompts\r\n";
  for (const side of map.sides)
    for (let r = 0; r < map.shape[0]; r++)
      for (let c = 0; c < map.shape[1]; c++) {
        const i = map.at(r, c);
        text += csvLine([
          map.names[side],
          map.rows[r],
          map.columns[c],
          map[side][i],
          map[`${side}_low`]?.[i] ?? NaN,
          map[`${side}_high`]?.[i] ?? NaN,
          map[`${side}_p_holm`]?.[i] ?? NaN,
          map.n,
        ]);
      }
  return text;
};

/** Pasted text as rows of two cells: by tab, else by comma, semicolon or arrow; null where it is one cell. */
const pasted = (text) => {
  const lines = text
    .replace(/\r\n?/g, "\n")
    .split("\n")
    .filter((line) => line.trim());
  if (!text.includes("\t") && lines.length < 2) return null;
  const cut = text.includes("\t")
    ? /\t/
    : lines.every((l) => /\s*->\s*/.test(l))
      ? /\s*->\s*/
      : lines.every((l) => l.includes(";"))
        ? /;\s*/
        : /,\s*/;
  return lines.map((line) => {
    const parts = line.split(cut);
    return [parts[0].trim(), parts.slice(1).join(" ").trim()];
  });
};

/**
 * An editable table of pairs: Enter and the arrow keys move between rows, pasted rows are taken in, an empty row at
 * the end waits for more.
 */
export const pairTable = (changed) => {
  let whole = false;
  const body = h("tbody"),
    more = h("div", { class: "mn-note" }),
    unfold = h("button", {
      type: "button",
      class: "mn-button mn-small",
      "data-testid": "all-pairs",
      onclick: () => {
        whole = !whole;
        fold();
      },
    });
  const element = h(
    "div",
    { class: "mn-pairs", "data-testid": "pairs" },
    h(
      "table",
      { "aria-label": "Pairs of input and output" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col", "aria-label": "row" }),
          h("th", { scope: "col", text: "input" }),
          h("th", { scope: "col", text: "output" }),
          h("th", { scope: "col", "aria-label": "remove" }),
        ),
      ),
      body,
    ),
    h("div", { class: "mn-unfold" }, unfold, more),
  );
  let rows = [],
    wrong = new Map(),
    timer;
  const cells = () => [...body.rows].map((row) => [...row.querySelectorAll("input")]);
  const typed = () => cells().map((pair) => pair.map((cell) => cell.value));
  const read = () => {
    const kept = typed();
    while (kept.length && kept.at(-1).every((t) => !t.trim())) kept.pop();
    return [...kept, ...rows.slice(SHOWN_PAIRS)];
  };
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    const now = read();
    if (JSON.stringify(now) !== JSON.stringify(rows)) {
      rows = now;
      changed(now);
    }
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(flush, 450);
  };
  /** The first rows, those with a fault and the empty one at the end; or all. */
  const fold = () => {
    const count = body.rows.length,
      many = count > FIRST_PAIRS + 2;
    [...body.rows].forEach((row, i) => {
      row.hidden = many && !whole && i >= FIRST_PAIRS && i < count - 1 && !wrong.has(i);
    });
    unfold.hidden = !many;
    unfold.setAttribute("aria-expanded", String(whole));
    setText(unfold, whole ? `Show the first ${FIRST_PAIRS} pairs` : `Show all ${count - 1} pairs`);
  };
  const focus = (row, column) => {
    const cell = cells()[row]?.[column];
    if (cell) {
      if (body.rows[row].hidden) {
        whole = true;
        fold();
      }
      cell.focus();
      cell.select();
    }
  };
  const place = (cell) => {
    const all = cells(),
      row = all.findIndex((pair) => pair.includes(cell));
    return [row, all[row].indexOf(cell)];
  };
  const line = (pair, index) => {
    const cell = (column, name) =>
      h("input", {
        type: "text",
        spellcheck: "false",
        autocomplete: "off",
        autocapitalize: "off",
        value: pair[column],
        "aria-label": `${name} ${index + 1}`,
        oninput: () => {
          const [row] = place(line_.querySelector("input"));
          whole = true; // no row goes away under the hand
          if (row === body.rows.length - 1 && typed()[row].some((t) => t)) body.append(line(["", ""], row + 1));
          later();
        },
        onchange: flush,
        onkeydown: (e) => {
          const [row, at] = place(e.currentTarget),
            step = { Enter: 1, ArrowDown: 1, ArrowUp: -1 }[e.key];
          if (!step || e.ctrlKey || e.metaKey || e.altKey) return;
          e.preventDefault();
          e.stopPropagation();
          focus(row + step, at);
          if (e.key === "Enter") flush();
        },
        onpaste: (e) => {
          const found = pasted(e.clipboardData?.getData("text/plain") ?? "");
          if (!found) return;
          e.preventDefault();
          const [row, at] = place(e.currentTarget),
            now = typed();
          found.forEach((two_, i) => {
            const old = now[row + i] ?? ["", ""];
            now[row + i] = at === 0 || two_[1] ? two_ : [old[0], two_[0]];
          });
          const kept = [...now.filter((p) => p.some((t) => t.trim())), ...rows.slice(SHOWN_PAIRS)];
          rows = kept;
          draw();
          changed(kept);
          focus(Math.min(row + found.length, body.rows.length - 1), 0);
        },
      });
    const line_ = h(
      "tr",
      {},
      h("td", { text: String(index + 1) }),
      h("td", {}, cell(0, "input")),
      h("td", {}, cell(1, "output")),
      h(
        "td",
        {},
        h("button", {
          type: "button",
          class: "mn-remove",
          text: "×",
          "aria-label": `Remove row ${index + 1}`,
          title: "Remove this row",
          onclick: () => {
            const [row] = place(line_.querySelector("input"));
            const now = read().filter((_, i) => i !== row);
            rows = now;
            draw();
            changed(now);
            focus(Math.min(row, body.rows.length - 1), 0);
          },
        }),
      ),
    );
    return line_;
  };
  const draw = () => {
    body.replaceChildren(
      ...rows.slice(0, SHOWN_PAIRS).map(line),
      ...(rows.length < SHOWN_PAIRS ? [line(["", ""], rows.length)] : []),
    );
    setText(more, rows.length > SHOWN_PAIRS ? ` … and ${rows.length - SHOWN_PAIRS} more, used as well` : "");
    mark(wrong);
  };
  const mark = (faults) => {
    wrong = faults;
    [...body.rows].forEach((row, i) => {
      const text = wrong.get(i) ?? "";
      row.classList.toggle("mn-wrong", !!text);
      for (const c of row.querySelectorAll("input")) {
        c.title = text;
        c.setAttribute("aria-invalid", String(!!text));
      }
    });
    fold();
  };
  // What the kernel says is drawn only where it differs, so that a cell being typed in keeps its cursor.
  return {
    element,
    flush,
    mark,
    update: (next) => {
      if (timer !== undefined || JSON.stringify(next) === JSON.stringify(read())) {
        if (timer === undefined) rows = next;
        return;
      }
      rows = next;
      whole = false;
      draw();
    },
    draw: () => draw(),
  };
};
