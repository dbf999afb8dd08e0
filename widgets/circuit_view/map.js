// The graph on a canvas: edges below, what is hovered, chosen and focused above. No element an edge.

import { css, themeOf } from "../base/colour.js";
import { h, uniqueId } from "../base/dom.js";
import { largest } from "../base/text.js";
import { incident } from "./graph.js";
import { curveOf, indexOf, layoutOf } from "./layout.js";

/** Edges of like strength are drawn in one stroke: so many strokes for each sign. */
export const LEVELS = 10;

/** 0 to 1 by an edge's score beside the largest: square root, so that weak ones are seen. */
export const strength = (score, most) => (most ? Math.sqrt(Math.min(1, Math.abs(score) / most)) : 0);
export const widthOf = (s) => 0.5 + 4 * s * s + 0.7 * s;
export const colourOf = (theme, sign, s) => theme.diverging(0.5 + sign * (0.24 + 0.26 * s));

/** Positions in `kept` by sign and strength, the weakest first: [{ sign, s, edges }]. */
export const buckets = (graph, kept, most) => {
  const found = Array.from({ length: 2 * LEVELS }, (_, k) => ({
    sign: k % 2 ? 1 : -1,
    s: (Math.floor(k / 2) + 0.5) / LEVELS,
    edges: [],
  }));
  kept.forEach((edge, i) => {
    const score = graph.scores[edge],
      level = Math.min(LEVELS - 1, Math.floor(strength(score, most) * LEVELS));
    found[2 * level + (score >= 0 ? 1 : 0)].edges.push(i);
  });
  return found.filter((one) => one.edges.length);
};

export class CircuitMap {
  /** hover(edge or -1, node or -1), selectNode(node), selectEdge(edge) tell the view; say(node, edge) names them. */
  constructor({ label, testid, hover = () => {}, selectNode, selectEdge, say, tip }) {
    Object.assign(this, { onHover: hover, selectNode, selectEdge, say, tip: tip });
    this.graph = null;
    this.node = -1; // chosen
    this.edge = -1; // chosen
    this.walk = -1; // which of the chosen node's edges the keyboard is on
    this.hovered = { edge: -1, node: -1 };
    this.strokes = 0; // of the last drawing, base and overlay
    const id = uniqueId("circuit");
    this.spoken = h("div", { role: "option", id, class: "mn-hidden", "data-testid": `${testid}-spoken` });
    this.base = h("canvas", { "aria-hidden": "true" });
    this.overlay = h("canvas", { class: "mn-overlay", "aria-hidden": "true" });
    this.stack = h("div", { class: "mn-stack" }, this.base, this.overlay);
    this.tipBox = h("div", { class: "mn-tip", "aria-hidden": "true", "data-testid": `${testid}-tip`, hidden: true });
    this.element = h(
      "div",
      {
        class: "mn-map",
        role: "listbox",
        tabindex: "0",
        "aria-label": label,
        "aria-activedescendant": id,
        "data-testid": testid,
        onkeydown: (event) => this.keydown(event),
        onfocus: () => {
          this.drawOverlay();
          this.announce();
        },
        onblur: () => {
          this.hideTip();
          this.drawOverlay();
        },
      },
      this.spoken,
      h("div", { class: "mn-scroll" }, this.stack),
      this.tipBox,
    );
    this.stack.addEventListener("mousemove", (event) => this.mousemove(event));
    this.stack.addEventListener("mouseleave", () => {
      this.hovered = { edge: -1, node: -1 };
      this.hideTip();
      this.drawOverlay();
      this.onHover(-1, -1);
    });
    this.stack.addEventListener("click", (event) => {
      const { edge, node } = this.at(event);
      this.element.focus({ preventScroll: true });
      this.hideTip();
      if (node >= 0) this.choose(node);
      else if (edge >= 0) this.selectEdge(edge);
      else this.choose(-1);
    });
  }

  /** graph, the kept edges (strongest first) and the room; `node` and `edge` are chosen. */
  update({ graph, kept, node, edge }, width) {
    if (graph !== this.graph || node !== this.node) this.walk = -1;
    const again = graph !== this.graph || kept !== this.kept || width !== this.width;
    Object.assign(this, { graph, kept, node, edge, width });
    if (again || themeOf(this.element).dark !== this.theme?.dark) this.draw();
    this.incident = node < 0 ? [] : incident(graph, kept, node);
    this.drawOverlay();
    this.announce();
  }

  size(canvas) {
    const { width, height } = this.layout,
      ratio = Math.min(window.devicePixelRatio || 1, width * height > 4e6 ? 1 : 2);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return pen;
  }

  trace(pen, [a, b, c, d, e, f, g, i]) {
    pen.moveTo(a, b);
    pen.bezierCurveTo(c, d, e, f, g, i);
  }

  draw() {
    if (!this.graph || !this.element.isConnected) return;
    const { graph, kept } = this;
    this.theme = themeOf(this.element);
    this.layout = layoutOf(graph, this.width);
    this.most = largest(graph.scores);
    this.curves = [...kept].map((edge) => curveOf(graph, this.layout, edge));
    this.index = null;
    // made while nobody waits: the first hover finds it there
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.edgeIndex(), 100);
    this.used = new Uint8Array(graph.writers + 1);
    for (const edge of kept) {
      this.used[graph.writerOf(edge)] = 1;
      for (const node of graph.nodesOf(graph.readerOf(edge))) this.used[node] = 1;
    }
    const pen = this.size(this.base);
    this.size(this.overlay);
    this.strokes = 0;
    pen.lineCap = "round";
    for (const { sign, s, edges } of buckets(graph, kept, this.most)) {
      pen.strokeStyle = css(colourOf(this.theme, sign, s));
      pen.globalAlpha = 0.35 + 0.6 * s;
      pen.lineWidth = widthOf(s);
      pen.beginPath();
      for (const i of edges) this.trace(pen, this.curves[i]);
      pen.stroke();
      this.strokes++;
    }
    pen.globalAlpha = 1;
    this.drawNodes(pen);
    this.drawLabels(pen);
    this.drawOverlay();
  }

  /** Attention is a circle, an MLP a square, input and logits are boxes; those without an edge are faint. */
  drawNodes(pen) {
    const { graph, layout, theme } = this,
      { r } = layout;
    for (const used of [0, 1]) {
      pen.beginPath();
      layout.nodes.forEach(({ x, y }, node) => {
        if (layout.boxes.has(node) || this.used[node] !== used) return;
        const shape = graph.shape(node);
        if (shape === "square") pen.rect(x - r, y - r, 2 * r, 2 * r);
        else if (shape === "input") pen.rect(x - 1.6 * r, y - r, 3.2 * r, 2 * r);
        else {
          pen.moveTo(x + r, y);
          pen.arc(x, y, r, 0, 7);
        }
      });
      pen.fillStyle = theme.background;
      pen.fill();
      pen.globalAlpha = used ? 1 : 0.35;
      pen.strokeStyle = used ? theme.text : theme.muted;
      pen.lineWidth = used ? 1.4 : 1;
      pen.stroke();
      this.strokes++;
      pen.globalAlpha = 1;
    }
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.font = `11px ${theme.font}`;
    for (const [node, { wide, high, text }] of layout.boxes) {
      const { x, y } = layout.nodes[node];
      pen.fillStyle = theme.background;
      pen.fillRect(x - wide, y - high, 2 * wide, 2 * high);
      pen.strokeStyle = theme.text;
      pen.strokeRect(x - wide, y - high, 2 * wide, 2 * high);
      pen.fillStyle = theme.text;
      pen.fillText(text, x, y);
      this.strokes++;
    }
  }

  drawLabels(pen) {
    const { theme } = this;
    for (const { text, x, y, align = "center", turn = 0, title } of this.layout.labels) {
      pen.font = `11px ${title ? theme.font : theme.mono}`;
      pen.fillStyle = title ? theme.muted : theme.text;
      pen.textAlign = align;
      pen.save();
      pen.translate(x, y);
      pen.rotate(turn);
      pen.fillText(text, 0, 0);
      pen.restore();
    }
  }

  drawOverlay() {
    if (!this.layout || !this.graph) return;
    const pen = this.overlay.getContext("2d"),
      { theme, layout } = this;
    pen.clearRect(0, 0, layout.width, layout.height);
    this.overStrokes = 0;
    const line = (edges, colour, width, dash = []) => {
      if (!edges.length) return;
      pen.beginPath();
      for (const edge of edges) this.trace(pen, curveOf(this.graph, layout, edge));
      pen.setLineDash(dash);
      pen.lineCap = "round";
      for (const [stroke, extra] of [
        [theme.background, 3],
        [colour, 0],
      ]) {
        pen.strokeStyle = stroke;
        pen.lineWidth = width + extra;
        pen.stroke();
        this.overStrokes++;
      }
      pen.setLineDash([]);
    };
    const ring = (node, colour, width, dash = []) => {
      if (node < 0) return;
      const { x, y } = layout.nodes[node],
        box = layout.boxes.get(node),
        wide = (box?.wide ?? layout.r) + 4,
        high = (box?.high ?? layout.r) + 4;
      pen.setLineDash(dash);
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.strokeRect(x - wide, y - high, 2 * wide, 2 * high);
      pen.setLineDash([]);
      this.overStrokes++;
    };
    // as wide and as strong as they are below: being a chosen node's does not make an edge large
    for (const { sign, s, edges } of buckets(this.graph, this.incident ?? [], this.most))
      line(
        edges.map((i) => this.incident[i]),
        css(colourOf(theme, sign, s)),
        widthOf(s) + 0.5,
      );
    if (this.edge >= 0) line([this.edge], theme.text, 3.2);
    if (this.walk >= 0 && this.incident?.[this.walk] !== undefined)
      line([this.incident[this.walk]], theme.accent, 3, [7, 4]);
    if (this.hovered.edge >= 0) line([this.hovered.edge], theme.text, 2.4);
    ring(this.hovered.node, theme.text, 1);
    ring(this.node, document.activeElement === this.element ? theme.accent : theme.text, 2);
  }

  /** The index of the edges as they are drawn. */
  edgeIndex() {
    this.index ??= indexOf(this.curves, this.layout.width, this.layout.height);
    return this.index;
  }

  /** What lies under the pointer: a node before an edge. */
  at(event) {
    const none = { edge: -1, node: -1 };
    if (!this.layout) return none;
    const box = this.overlay.getBoundingClientRect(),
      x = event.clientX - box.left,
      y = event.clientY - box.top,
      { nodes, r, boxes } = this.layout;
    let node = -1,
      best = r + 3;
    nodes.forEach((at, i) => {
      const box = boxes.get(i),
        inside = box && Math.abs(x - at.x) <= box.wide && Math.abs(y - at.y) <= box.high,
        d = box ? (inside ? 0 : Infinity) : Math.hypot(x - at.x, y - at.y);
      if (d < best) {
        best = d;
        node = i;
      }
    });
    if (node >= 0) return { edge: -1, node };
    const i = this.edgeIndex().nearest(x, y);
    return i < 0 ? none : { edge: this.kept[i], node: -1 };
  }

  mousemove(event) {
    const now = this.at(event);
    if (now.edge !== this.hovered.edge || now.node !== this.hovered.node) {
      this.hovered = now;
      this.drawOverlay();
      this.onHover(now.edge, now.node);
    }
    if (now.edge < 0 && now.node < 0) return this.hideTip();
    const area = this.element.getBoundingClientRect();
    this.showTip(now, event.clientX - area.left, event.clientY - area.top);
  }

  showTip({ edge, node }, x, y) {
    const lines = this.tip(edge, node);
    this.tipBox.replaceChildren(
      ...lines.map(([label, text]) =>
        h("div", {}, label ? h("span", { class: "mn-tip-label", text: `${label} ` }) : null, h("span", { text })),
      ),
    );
    this.tipBox.hidden = false;
    const area = this.element.getBoundingClientRect(),
      { offsetWidth: width, offsetHeight: height } = this.tipBox;
    this.tipBox.style.left = `${Math.max(0, x + 14 + width > area.width ? x - width - 14 : x + 14)}px`;
    this.tipBox.style.top = `${Math.max(0, y + 14 + height > area.height ? y - height - 14 : y + 14)}px`;
  }

  hideTip() {
    this.tipBox.hidden = true;
  }

  announce() {
    if (!this.graph) return;
    const edge = this.walk >= 0 ? this.incident[this.walk] : -1;
    this.spoken.setAttribute("aria-selected", String(this.node >= 0));
    this.spoken.setAttribute("aria-label", this.say(this.node, edge ?? -1, this.walk, this.incident?.length ?? 0));
  }

  choose(node) {
    this.walk = -1;
    this.selectNode(node);
  }

  /** Arrows go from node to node; Enter goes into the node's edges, where arrows walk and Enter asks; Escape leaves. */
  keydown(event) {
    if (!this.graph || event.ctrlKey || event.altKey || event.metaKey) return;
    const step = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key],
      { graph } = this;
    if (step && this.walk >= 0) {
      const by = event.key === "ArrowDown" || event.key === "ArrowRight" ? 1 : -1;
      this.walk = Math.max(0, Math.min(this.incident.length - 1, this.walk + by));
    } else if (step) {
      const { layer, column } = this.node < 0 ? { layer: graph.rows, column: -1 } : graph.place(this.node);
      const to = Math.max(-1, Math.min(graph.rows, layer + (this.node < 0 ? 0 : step[0])));
      const before = Math.min(this.column ?? (graph.byPosition ? graph.last : 0), graph.last);
      const along = column < 0 ? before : Math.max(0, Math.min(graph.last, column + step[1]));
      this.column = along;
      this.choose(graph.nodeAt(to, along));
    } else if (event.key === "Home" || event.key === "End") {
      this.choose(event.key === "Home" ? 0 : graph.writers);
    } else if (event.key === "Enter" || event.key === " ") {
      if (this.walk >= 0) this.selectEdge(this.incident[this.walk]);
      else if (this.incident?.length) this.walk = 0;
    } else if (event.key === "Escape" && (this.walk >= 0 || this.node >= 0)) {
      if (this.walk >= 0) this.walk = -1;
      else this.choose(-1);
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.hideTip();
    this.drawOverlay();
    this.announce();
  }
}
