// The tokens of a prompt in a line, which mouse, keyboard and screen reader walk: one for all views that show them.

import { css, inkOn } from "./colour.js";
import { h, uniqueId } from "./dom.js";
import { visible } from "./text.js";

export class TokenStrip {
  /** choose(index) is told of a click or a key, hover(index or null) of the pointer. */
  constructor({ label, testid = "strip", choose = () => {}, hover = () => {} }) {
    Object.assign(this, { choose, hover });
    this.ids = uniqueId("token");
    this.count = 0;
    this.chosen = 0;
    this.element = h("div", {
      class: "mn-strip",
      role: "listbox",
      "aria-orientation": "horizontal",
      tabindex: "0",
      "aria-label": label,
      "data-testid": testid,
      onkeydown: (event) => this.keydown(event),
    });
  }

  /**
   * tokens: [{ token, colour, says, strong }]: `colour` lies behind it, `says` is what a screen reader adds, `strong`
   * is marked; `chosen` is the index of one, -1 for none.
   */
  update(tokens, chosen) {
    this.count = tokens.length;
    this.chosen = chosen;
    this.element.replaceChildren(
      ...tokens.map(({ token, colour, says = "", strong = false }, i) => {
        const text = visible(token);
        const item = h("span", {
          class: `mn-token${i === chosen ? " mn-chosen" : ""}${strong ? " mn-strong" : ""}`,
          role: "option",
          id: `${this.ids}-${i}`,
          "aria-selected": String(i === chosen),
          "data-index": i,
          text,
          "aria-label": `${i} ${text}${i === chosen ? ", chosen" : ""}${says ? `, ${says}` : ""}`,
          onclick: () => {
            this.element.focus({ preventScroll: true });
            this.choose(i);
          },
          onmouseenter: () => this.hover(i),
          onmouseleave: () => this.hover(null),
        });
        if (colour) {
          item.style.backgroundColor = css(colour);
          item.style.color = inkOn(colour);
        }
        return item;
      }),
    );
    if (chosen >= 0) this.element.setAttribute("aria-activedescendant", `${this.ids}-${chosen}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  keydown(event) {
    const t = this.chosen,
      to = {
        ArrowLeft: t - 1,
        ArrowRight: t + 1,
        ArrowUp: t - 1,
        ArrowDown: t + 1,
        Home: 0,
        End: this.count - 1,
        PageUp: t - 10,
        PageDown: t + 10,
      }[event.key];
    if (to === undefined || !this.count || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.choose(Math.max(0, Math.min(this.count - 1, to)));
  }
}
