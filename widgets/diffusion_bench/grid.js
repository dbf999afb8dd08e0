// DiffusionBench's pictures: a row a state of the model, a column a caption, walked by arrow keys.

import { h, setText } from "../base/dom.js";
import { absent, many, plainly, short, shorten } from "../base/text.js";
import { DRAWN, filesOf, ROWS, readState, verdict } from "./pictures.js";

/** `side`: of a picture in pixels, `sharp`: whether its pixels are to be seen, `letter`: the measure's name. */
export const pictureGrid = ({ model, info, asked, push, side, sharp, letter }) => {
  const frames = info.frames.length,
    head = h("tr", { role: "row" }),
    body = h("tbody", { role: "rowgroup" }),
    grid = h(
      "table",
      {
        class: "mn-pictures",
        role: "grid",
        "data-testid": "grid",
        "aria-label": "Pictures: a row a state of the model, a column a caption",
      },
      h("thead", { role: "rowgroup" }, head),
      body,
    ),
    readout = h("p", { class: "mn-note mn-readout", "data-testid": "readout", role: "status" });
  let cells = [],
    ticks = [],
    captions = [],
    trained = () => "",
    states = {},
    focus = [0, 0];
  const seedNow = () => Math.min(model.get("seed"), info.seeds.length - 1),
    pictured = () => (model.get("prompts").sizes ?? []).some((n) => n);
  const valueText = (value) =>
    absent(value) ? "" : `${letter} = ${value.toFixed(2).replace("-0.00", "0.00").replace("-", "−")}`;
  /** What is shown in a cell: file, value, copy, and the words for it. */
  const cellOf = (r, c) => {
    const [name, , words] = ROWS[r],
      caption = captions[c];
    if (name === "training") return { file: trained(c), said: "", alt: `${plainly(caption)}: ${words}` };
    const s = states[name];
    if (!s || s.memorised !== model.get("memorised"))
      return { file: "", said: "", alt: `${plainly(caption)}: not ${words} yet` };
    const f = s.ready
        ? Math.min(model.get("step"), frames - 1)
        : Math.max(0, Math.min(model.get("step"), s.frames - 1)),
      value = s.value(f, c, seedNow()),
      copy = s.copy(f, c, seedNow()),
      said = valueText(value),
      whole = f === frames - 1;
    return {
      file: s.file(f, c, seedNow()),
      value,
      copy,
      said,
      alt:
        `${plainly(caption)}: ${words}${whole ? "" : `, after step ${info.frames[f]} of ${info.steps}`}` +
        `${name !== "before" && s.key && !asked.current(s.key) ? `, of an earlier edit` : ""}` +
        `${said ? `, ${said}` : ""}${verdict(copy) ? `, ${verdict(copy)}` : ""}`,
    };
  };
  const readCell = () => setText(readout, captions.length ? `${cellOf(...focus).alt}.` : "");
  const build = () => {
    const p = model.get("prompts");
    captions = p.captions ?? [];
    trained = filesOf(p);
    focus = [0, 0];
    ticks = captions.map((caption, c) =>
      h("input", {
        type: "checkbox",
        "aria-label": `The mask is located on: ${plainly(caption)}`,
        "data-testid": `tick-${c}`,
        onchange: () => toggle(c),
      }),
    );
    head.replaceChildren(
      h("th", { scope: "col", text: "Caption" }),
      ...captions.map((caption, c) =>
        h(
          "th",
          { scope: "col", title: plainly(caption), style: `min-width:${side + 8}px` },
          h("span", { text: shorten(plainly(caption), 70) }),
          h("br"),
          h("label", { class: "mn-tick" }, ticks[c], "located on"),
        ),
      ),
    );
    cells = ROWS.map(([name, title], r) => {
      const notes = h("span", { class: "mn-row-note" }),
        row = h(
          "tr",
          { role: "row", "data-state": name },
          h("th", { scope: "row" }, h("span", { text: title }), notes),
        );
      const line = captions.map((_, c) => {
        // the picture's words say all of it
        const said = h("span", { class: "mn-said", "aria-hidden": "true" }),
          judged = h("span", { class: "mn-said", "aria-hidden": "true" }),
          picture = h("img", {
            class: "mn-pic",
            style: `min-width:${side}px`,
            "data-sharp": sharp,
            draggable: "false",
          }),
          td = h(
            "td",
            { role: "gridcell", tabindex: r || c ? "-1" : "0", "data-testid": `cell-${name}-${c}` },
            picture,
            said,
            judged,
          );
        td.onfocus = () => {
          go(r, c, false);
        };
        return { td, picture, said, judged };
      });
      row.append(...line.map((x) => x.td));
      body.append(row);
      return { row, notes, line };
    });
    body.replaceChildren(...cells.map((x) => x.row));
  };
  const go = (r, c, take = true) => {
    if (!cells[r]?.line[c]) return;
    cells[focus[0]]?.line[focus[1]]?.td.setAttribute("tabindex", "-1");
    focus = [r, c];
    const { td } = cells[r].line[c];
    td.setAttribute("tabindex", "0");
    if (take) td.focus();
    readCell();
  };
  const toggle = (c) => {
    const now = new Set(model.get("chosen"));
    if (now.has(c)) now.delete(c);
    else now.add(c);
    push({ chosen: [...now].sort((a, b) => a - b) });
  };
  body.onkeydown = (e) => {
    if (!e.target.matches("td") || e.ctrlKey || e.altKey || e.metaKey) return;
    const rows = cells.map((_x, i) => i).filter((i) => !cells[i].row.hidden),
      at = rows.indexOf(focus[0]),
      to = {
        ArrowUp: [at - 1, focus[1]],
        ArrowDown: [at + 1, focus[1]],
        ArrowLeft: [at, focus[1] - 1],
        ArrowRight: [at, focus[1] + 1],
        Home: [at, 0],
        End: [at, captions.length - 1],
      }[e.key];
    if (e.key === " ") toggle(focus[1]);
    else if (!to) return;
    e.preventDefault();
    e.stopPropagation();
    if (to && to[0] >= 0 && to[0] < rows.length && to[1] >= 0 && to[1] < captions.length) go(rows[to[0]], to[1]);
  };
  const read = () => {
    states = Object.fromEntries(
      DRAWN.map((name) => [name, readState(model.get(name), captions.length, info.seeds.length, frames)]),
    );
  };
  /** A state of the question that is asked now, whole or on the way. */
  const mine = (name) => (states[name]?.memorised === model.get("memorised") ? states[name] : null);
  const old = (name) => name !== "before" && !!mine(name) && !asked.current(mine(name).key);
  const hidden = (name) => {
    if (name === "training") return !pictured();
    if (name === "attacked") return !mine(name) || old(name);
    return !mine("before") && (name !== "before" || !mine(name));
  };
  const note = (name) => {
    const s = mine(name);
    if (name === "training" || !s) return "";
    if (!s.ready) return `step ${info.frames[Math.max(0, s.frames - 1)]} of ${info.steps} …`;
    if (old(name)) return "of an earlier edit";
    const steps = asked.placeNow().alike ? "" : `, ${many(model.get("first"), "step")}`;
    return {
      before: "the model’s own weights",
      after: `${model.get("place")}, ${model.get("method")}, ${short(model.get("sparsity"))}${steps}`,
      random: "as many weights of each row",
      attacked: `${s.attack?.[0]} updates`,
    }[name];
  };
  const drawCell = ({ td, picture, said, judged }, cell) => {
    picture.classList.toggle("mn-none", !cell.file);
    if (cell.file) {
      if (picture.getAttribute("src") !== cell.file) picture.src = cell.file;
    } else picture.removeAttribute("src");
    picture.alt = cell.alt;
    setText(said, cell.said);
    setText(judged, verdict(cell.copy));
    td.setAttribute("data-copy", cell.copy === true);
  };
  const draw = () => {
    const chosen = new Set(model.get("chosen"));
    ticks.forEach((t, c) => {
      t.checked = chosen.has(c);
    });
    cells.forEach(({ row, notes, line }, r) => {
      const [name] = ROWS[r];
      row.hidden = hidden(name);
      row.setAttribute("data-old", String(old(name)));
      setText(notes, note(name));
      line.forEach((parts, c) => {
        drawCell(parts, cellOf(r, c));
      });
    });
    if (cells[focus[0]].row.hidden) focus = [0, focus[1]];
    readCell();
  };
  return {
    element: h("div", { class: "mn-gridbox" }, grid),
    readout,
    build,
    read,
    draw,
    mine,
    pictured,
    states: () => states,
    captions: () => captions,
    /** [title, cells] of the rows that are shown. */
    rows: () =>
      ROWS.map(([, title], r) => [title, r])
        .filter(([, r]) => cells[r] && !cells[r].row.hidden)
        .map(([title, r]) => [title, captions.map((_, c) => cellOf(r, c))]),
  };
};
