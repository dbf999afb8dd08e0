// A grid of numbers on a canvas that mouse, keyboard and screen reader can walk.
// Cells are (row, column) of the data; with `flip` row 0 lies at the bottom, as layers in a residual stream.

import { themeOf } from "./colour.js";
import { drawCone } from "./cone.js";
import { h, uniqueId } from "./dom.js";
import { shorten } from "./text.js";

const CELL = { minWidth: 3, maxWidth: 46, minHeight: 3, maxHeight: 22, label: 11 };

export class HeatMap {
  /** name(row, column) is what a screen reader says; hover/select/key tell the view. */
  constructor({ label, testid, name, hover = () => {}, select = () => {}, key = () => false }) {
    Object.assign(this, { name, onHover: hover, onSelect: select, onKey: key });
    this.focus = { row: 0, column: 0 };
    this.hovered = null;
    this.selected = null;
    this.cone = null;
    this.marks = [];
    this.grid = null;
    const id = uniqueId("cell");
    this.cell = h("div", { role: "gridcell", id, "data-testid": `${testid}-cell` });
    this.rowLabels = h("canvas", { class: "mn-rows", "aria-hidden": "true" });
    this.base = h("canvas", { "aria-hidden": "true" });
    this.overlay = h("canvas", { class: "mn-overlay", "aria-hidden": "true" });
    this.stack = h("div", { class: "mn-stack" }, this.base, this.overlay);
    this.scroller = h("div", { class: "mn-scroll" }, this.stack);
    this.tip = h("div", { class: "mn-tip", "aria-hidden": "true", "data-testid": `${testid}-tip`, hidden: true });
    this.cellRow = h("div", { class: "mn-hidden", role: "row" }, this.cell);
    this.element = h(
      "div",
      {
        class: "mn-map",
        role: "grid",
        tabindex: "0",
        "aria-label": label,
        "aria-activedescendant": id,
        "aria-readonly": "true",
        "data-testid": testid,
        onkeydown: (event) => this.keydown(event),
        onfocus: () => this.showFocus(),
        onblur: () => {
          this.hideTip();
          this.drawOverlay();
        },
      },
      this.cellRow,
      this.rowLabels,
      this.scroller,
      this.tip,
    );
    this.stack.addEventListener("mousemove", (event) => this.mousemove(event));
    this.stack.addEventListener("mouseleave", () => {
      this.hovered = null;
      this.hideTip();
      this.drawOverlay();
      this.onHover(null);
    });
    this.stack.addEventListener("click", (event) => {
      const at = this.at(event);
      if (at) {
        this.focus = at;
        this.element.focus({ preventScroll: true });
        this.hideTip();
        this.choose();
      }
    });
  }

  /**
   * grid: {rows, columns, rowLabels, columnLabels [{text, strong}], rowTitle, columnTitle, flip, colour(row, column)
   * -> [r,g,b] or null, image, cellWidth, cellHeight}.
   */
  update(grid, width) {
    const before = this.grid;
    this.grid = grid;
    this.width = width;
    if (!before || before.rows !== grid.rows || before.columns !== grid.columns) {
      this.focus = grid.start ?? { row: grid.flip ? grid.rows - 1 : 0, column: 0 };
      this.hovered = null;
      this.selected = null;
      this.cone = null;
    }
    this.focus = {
      row: Math.min(this.focus.row, grid.rows - 1),
      column: Math.min(this.focus.column, grid.columns - 1),
    };
    this.element.setAttribute("aria-rowcount", grid.rows);
    this.element.setAttribute("aria-colcount", grid.columns);
    this.draw();
  }

  /**
   * Sizes come from the data and the room that there is; nothing is drawn smaller than can be pointed at, it scrolls
   * instead.
   */
  layout() {
    const { rows, columns, rowLabels, columnLabels } = this.grid,
      pen = this.base.getContext("2d");
    pen.font = `${CELL.label}px ${this.theme.mono}`;
    const widest = (labels) => Math.max(0, ...labels.slice(0, 2000).map((t) => pen.measureText(t).width));
    this.left = Math.ceil(widest(rowLabels)) + (this.grid.rowTitle ? 26 : 10);
    const room = Math.max(60, this.width - this.left - 4);
    const dense = columns * rows > 20_000;
    this.cw =
      this.grid.cellWidth ?? Math.max(dense ? 1 : CELL.minWidth, Math.min(CELL.maxWidth, Math.floor(room / columns)));
    if (!this.grid.cellWidth && columns <= 400) this.cw = Math.max(this.cw, Math.min(12, CELL.maxWidth));
    this.cw = Math.max(1, Math.min(this.cw, Math.floor(12_000 / columns)));
    const tall = this.grid.height ?? 430;
    this.ch =
      this.grid.cellHeight ?? Math.max(dense ? 1 : CELL.minHeight, Math.min(CELL.maxHeight, Math.floor(tall / rows)));
    this.ch = Math.max(1, Math.min(this.ch, Math.floor(12_000 / rows)));
    const texts = columnLabels.map((c) => shorten(c.text, 20)),
      longest = widest(texts);
    this.turned = longest + 6 > this.cw;
    this.every = this.turned ? Math.max(1, Math.ceil((CELL.label + 2) / this.cw)) : 1;
    this.rowEvery = Math.max(1, Math.ceil((CELL.label + 2) / this.ch));
    this.plotWidth = this.cw * columns;
    this.plotHeight = this.ch * rows;
    // Labels turned by 60 degrees lean to the right: the last ones need room beyond the last cell.
    this.lean = this.turned ? Math.ceil(longest * 0.5) + 8 : 0;
    this.bottom = (this.turned ? Math.ceil(longest * 0.87) + 14 : 20) + (this.grid.columnTitle ? 16 : 0);
    this.turnedTexts = texts;
  }

  size(canvas, width, height) {
    const ratio = Math.min(window.devicePixelRatio || 1, width * height > 4e6 ? 1 : 3);
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = Math.max(1, Math.round(height * ratio));
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return pen;
  }

  y(row) {
    return (this.grid.flip ? this.grid.rows - 1 - row : row) * this.ch;
  }

  draw() {
    if (!this.grid || !this.element.isConnected) return;
    this.theme = themeOf(this.element);
    this.layout();
    const { rows, columns, columnLabels, rowLabels } = this.grid,
      { theme } = this;
    const pen = this.size(this.base, this.plotWidth + this.lean, this.plotHeight + this.bottom);
    this.size(this.overlay, this.plotWidth, this.plotHeight);
    if (this.grid.image) {
      pen.imageSmoothingEnabled = false;
      pen.drawImage(this.grid.image(theme), 0, 0, this.plotWidth, this.plotHeight);
    } else this.drawCells(pen);
    pen.strokeStyle = theme.muted;
    pen.globalAlpha = 0.5;
    pen.lineWidth = 1;
    pen.strokeRect(0.5, 0.5, this.plotWidth - 1, this.plotHeight - 1);
    pen.globalAlpha = 1;
    pen.textBaseline = "middle";
    for (let c = 0; c < columns; c += this.every) {
      const { strong } = columnLabels[c],
        x = (c + 0.5) * this.cw;
      pen.font = `${strong ? "bold " : ""}${CELL.label}px ${theme.mono}`;
      pen.fillStyle = strong ? theme.accent : theme.text;
      pen.save();
      if (this.turned) {
        pen.translate(x - 2, this.plotHeight + 6);
        pen.rotate(Math.PI / 3);
        pen.textAlign = "left";
      } else {
        pen.translate(x, this.plotHeight + 10);
        pen.textAlign = "center";
      }
      pen.fillText(this.turnedTexts[c], 0, 0);
      pen.restore();
    }
    pen.fillStyle = theme.muted;
    pen.font = `${CELL.label}px ${theme.font}`;
    if (this.grid.columnTitle) {
      pen.textAlign = "left";
      pen.fillText(this.grid.columnTitle, 0, this.plotHeight + this.bottom - 8);
    }
    const side = this.size(this.rowLabels, this.left, this.plotHeight + this.bottom);
    side.textAlign = "right";
    side.textBaseline = "middle";
    side.fillStyle = theme.text;
    side.font = `${CELL.label}px ${theme.mono}`;
    for (let r = 0; r < rows; r += this.rowEvery) side.fillText(rowLabels[r], this.left - 5, this.y(r) + this.ch / 2);
    if (this.grid.rowTitle) {
      side.save();
      side.translate(8, this.plotHeight / 2);
      side.rotate(-Math.PI / 2);
      side.textAlign = "center";
      side.fillStyle = theme.muted;
      side.font = `${CELL.label}px ${theme.font}`;
      side.fillText(this.grid.rowTitle, 0, 0);
      side.restore();
    }
    this.drawOverlay();
    this.announce();
  }

  /** One pixel a cell, scaled up without smoothing: the same speed for 480 and for 400 000 cells. */
  drawCells(pen) {
    const { rows, columns, colour } = this.grid,
      small = h("canvas", { width: columns, height: rows }),
      brush = small.getContext("2d");
    const image = brush.createImageData(columns, rows),
      missing = [];
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) {
        const rgbOf = colour(r, c, this.theme),
          k = 4 * ((this.grid.flip ? rows - 1 - r : r) * columns + c),
          [red, green, blue] = rgbOf ?? this.theme.missing;
        if (!rgbOf && missing.length < 20_000) missing.push([r, c]);
        image.data[k] = red;
        image.data[k + 1] = green;
        image.data[k + 2] = blue;
        image.data[k + 3] = 255;
      }
    brush.putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, this.plotWidth, this.plotHeight);
    if (this.cw < 5 || this.ch < 5) return;
    pen.strokeStyle = this.theme.background;
    pen.globalAlpha = 0.55;
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (const [r, c] of missing) {
      const x = c * this.cw,
        y = this.y(r);
      pen.moveTo(x, y + this.ch);
      pen.lineTo(x + this.cw, y);
    }
    pen.stroke();
    pen.globalAlpha = 1;
  }

  drawOverlay() {
    if (!this.grid || !this.cw) return;
    const pen = this.overlay.getContext("2d"),
      { cw, ch, theme } = this;
    pen.clearRect(0, 0, this.plotWidth, this.plotHeight);
    if (this.cone) drawCone(this, pen);
    const box = (at, colour, width, dash = []) => {
      if (!at) return;
      const x = at.column * cw,
        y = this.y(at.row);
      pen.setLineDash(dash);
      for (const [stroke, extra] of [
        [theme.background, 2],
        [colour, 0],
      ]) {
        pen.strokeStyle = stroke;
        pen.lineWidth = width + extra;
        pen.strokeRect(x + 1, y + 1, Math.max(cw - 2, 1), Math.max(ch - 2, 1));
      }
      pen.setLineDash([]);
    };
    for (const mark of this.marks) {
      const x = mark.column * cw + cw / 2,
        y = this.y(mark.row) + ch / 2,
        r = Math.max(2, Math.min(4, cw / 4, ch / 4));
      pen.beginPath();
      pen.arc(x, y, r, 0, 7);
      pen.fillStyle = theme.background;
      pen.fill();
      pen.lineWidth = 1.5;
      pen.strokeStyle = theme.text;
      pen.stroke();
    }
    box(this.hovered, theme.text, 1);
    box(this.linked, theme.text, 1, [3, 2]);
    if (document.activeElement === this.element) box(this.focus, theme.accent, 2, [4, 2]);
    box(this.selected, theme.text, 2.5);
  }

  at(event) {
    if (!this.grid) return null;
    const box = this.overlay.getBoundingClientRect(),
      column = Math.floor((event.clientX - box.left) / this.cw),
      line = Math.floor((event.clientY - box.top) / this.ch);
    if (column < 0 || column >= this.grid.columns || line < 0 || line >= this.grid.rows) return null;
    return { row: this.grid.flip ? this.grid.rows - 1 - line : line, column };
  }

  mousemove(event) {
    const at = this.at(event);
    if (at && this.hovered && at.row === this.hovered.row && at.column === this.hovered.column) return;
    this.hovered = at;
    this.drawOverlay();
    this.onHover(at);
    if (at) this.showTip(at);
    else this.hideTip();
  }

  /**
   * tip(row, column) -> list of [label, text] lines, written as text; kept inside the view so that no output area
   * cuts it off.
   */
  showTip(at) {
    if (!this.grid.tip) return;
    const lines = this.grid.tip(at.row, at.column);
    this.tip.replaceChildren(
      ...lines.map(([label, text]) =>
        h("div", {}, label ? h("span", { class: "mn-tip-label", text: `${label} ` }) : null, h("span", { text })),
      ),
    );
    this.tip.hidden = false;
    const area = this.element.getBoundingClientRect(),
      plot = this.overlay.getBoundingClientRect();
    const x = plot.left - area.left + (at.column + 1) * this.cw + 8,
      y = plot.top - area.top + this.y(at.row) + this.ch + 6;
    const left = x + this.tip.offsetWidth > area.width ? x - this.cw - this.tip.offsetWidth - 16 : x;
    const top = y + this.tip.offsetHeight > area.height ? y - this.ch - this.tip.offsetHeight - 12 : y;
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.tip.style.top = `${Math.max(0, top)}px`;
  }
  hideTip() {
    this.tip.hidden = true;
  }

  showFocus() {
    this.drawOverlay();
    this.announce();
  }

  announce() {
    const { row, column } = this.focus;
    this.cellRow.setAttribute("aria-rowindex", (this.grid.flip ? this.grid.rows - 1 - row : row) + 1);
    this.cell.setAttribute("aria-colindex", column + 1);
    this.cell.setAttribute(
      "aria-selected",
      String(!!this.selected && this.selected.row === row && this.selected.column === column),
    );
    const text = this.name(row, column);
    this.cell.setAttribute("aria-label", text);
  }

  choose() {
    this.selected = { ...this.focus };
    this.onSelect(this.selected);
    this.drawOverlay();
    this.announce();
  }

  keydown(event) {
    if (!this.grid || event.ctrlKey || event.altKey || event.metaKey) return;
    const up = this.grid.flip ? 1 : -1,
      { rows, columns } = this.grid,
      at = { ...this.focus };
    const moves = {
      ArrowUp: [up, 0],
      ArrowDown: [-up, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      PageUp: [5 * up, 0],
      PageDown: [-5 * up, 0],
      Home: [0, -columns],
      End: [0, columns],
    };
    if (event.key in moves) {
      at.row += moves[event.key][0];
      at.column += moves[event.key][1];
    } else if (event.key === "Enter" || event.key === " ") {
      this.choose();
    } else if (event.key === "Escape") {
      this.hideTip();
      return;
    } else {
      if (this.onKey(event.key, this.focus)) {
        event.preventDefault();
        event.stopPropagation();
      }
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    this.focus = {
      row: Math.min(rows - 1, Math.max(0, at.row)),
      column: Math.min(columns - 1, Math.max(0, at.column)),
    };
    this.reveal();
    this.drawOverlay();
    this.announce();
    this.onHover(this.focus);
    this.showTip(this.focus);
  }

  reveal() {
    const x = this.focus.column * this.cw,
      box = this.scroller;
    if (x < box.scrollLeft) box.scrollLeft = x - 20;
    else if (x + this.cw > box.scrollLeft + box.clientWidth) box.scrollLeft = x + this.cw - box.clientWidth + 20;
    const y = this.y(this.focus.row);
    if (y < box.scrollTop) box.scrollTop = y;
    else if (y + this.ch > box.scrollTop + box.clientHeight && box.scrollHeight > box.clientHeight)
      box.scrollTop = y + this.ch - box.clientHeight;
  }
}
