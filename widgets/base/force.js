// An edit that is set in force by hand and taken back: the trait force.

import { h, setText } from "./dom.js";
import { button } from "./export.js";
import { hash } from "./text.js";

/**
 * The panel of the weights. `fields` come with the command that sets the edit in force; `words` says what the edit is
 * in force on (`edited`), that it was undone (`undone`), and what holds while there is none (`none`, a function).
 */
export const forcePanel = (model, send, { fields, words }) => {
  const text = h("p", { "data-testid": "force", role: "status" }),
    put = button("put", "Put this edit in force", () => send("put", { fields: fields() })),
    undo = button("undo", "Undo", () => send("undo")),
    element = h("div", { class: "mn-weights", "data-testid": "weights" }, put, undo, text);

  const said = ({ state, what, before, now, same }) => {
    if (state === "in force") return words.edited(what, `Weight hash ${hash(before)} → ${hash(now)}`);
    if (state === "error") return "";
    if (state !== "undone") return words.none();
    const from = same ? `unchanged from ${hash(before)} before the edit` : `NOT the ${hash(before)} from before`;
    return words.undone(what, `weight hash ${hash(now)}, ${from}.`);
  };
  const UNDO = { "in force": "Undo: weights back, bit-equal", undone: "Undone: weights bit-equal" };

  /** `ready`: whether there is an edit that can be set in force, `name` what the button calls it. */
  const draw = ({ ready, name }) => {
    const f = model.get("force");
    element.setAttribute("data-state", f.state);
    put.disabled = !ready || !!f.doing;
    if (name) setText(put, name);
    undo.disabled = f.state !== "in force";
    setText(undo, f.state === "undone" && !f.same ? "Undo" : (UNDO[f.state] ?? "Undo"));
    text.replaceChildren(f.doing ?? said(f), ...(f.text ? [h("strong", { class: "mn-bad", text: ` ${f.text}` })] : []));
  };
  return { element, draw };
};
