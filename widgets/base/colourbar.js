// The colour bar beside a map.

import { css } from "./colour.js";
import { h, setText } from "./dom.js";

/** A colour bar with its three labelled points and what the numbers mean. */
export class ColourBar {
  constructor(testid) {
    this.canvas = h("canvas", { width: 128, height: 8, "aria-hidden": "true" });
    this.low = h("span");
    this.middle = h("span");
    this.high = h("span");
    this.title = h("div", { class: "mn-bar-title" });
    this.element = h(
      "div",
      { class: "mn-bar", role: "img", "data-testid": testid },
      this.title,
      this.canvas,
      h("div", { class: "mn-bar-ends" }, this.low, this.middle, this.high),
    );
  }
  update({ ramp: colour, low, middle = "", high, title }) {
    const pen = this.canvas.getContext("2d");
    for (let x = 0; x < 128; x++) {
      pen.fillStyle = css(colour(x / 127));
      pen.fillRect(x, 0, 1, 8);
    }
    setText(this.low, low);
    setText(this.middle, middle);
    setText(this.high, high);
    setText(this.title, title);
    this.element.setAttribute("aria-label", `Colour scale: ${title}, from ${low} to ${high}`);
  }
}
