// DiffusionBench's edit: how much is cut at how many steps, in words, and the edit in force.

import { h, section, setText } from "../base/dom.js";
import { forcePanel } from "../base/force.js";
import { share, short } from "../base/text.js";

/** A slider under its name; what it is set to stands on a line of its own. */
export const slide = (title, out, input) =>
  h("div", { class: "mn-field mn-slide" }, h("span", {}, h("span", { class: "mn-label", text: title }), out), input);

/** `asked` tells what the fields ask: `busy`, `current(key)`, `placeOf(name)`, `placeNow()`, `fields()`. */
export const editPanel = ({ model, send, push, bound, steps, asked }) => {
  const stops = model.get("sparsities"),
    nearest = (v) =>
      stops.reduce((best, s, i) => (Math.abs(Math.log(s / v)) < Math.abs(Math.log(stops[best] / v)) ? i : best), 0);
  const sparsity = h("input", {
      type: "range",
      min: 0,
      max: stops.length - 1,
      step: 1,
      "data-testid": "sparsity",
      "aria-label": "Sparsity: share of each row’s weights set to 0 at one step",
    }),
    sparsityNow = h("output", { "data-testid": "sparsity-now" });
  const first = bound(
      "first",
      h("input", {
        type: "range",
        min: 1,
        max: steps,
        step: 1,
        "aria-label": "Denoising steps whose masks are united",
      }),
    ),
    firstNow = h("output", { "data-testid": "first-now" });
  sparsity.oninput = () => push({ sparsity: stops[Number(sparsity.value)] });
  const words = h("p", { class: "mn-note", "data-testid": "edit", role: "status" });
  const force = forcePanel(model, send, {
    fields: asked.fields,
    words: {
      edited: (edit, hashes) =>
        `The model is edited now: ${edit}. ${hashes}; whatever ` +
        `the notebook asks this pipeline is answered by the edited one.`,
      undone: (edit, hashes) => `The model is not edited: ${edit} was undone; ${hashes}`,
      none: () =>
        asked.busy()
          ? "While pictures are drawn, the weights are edited and restored."
          : "The model is not edited: the pictures below were drawn with the edit and the weights " +
            "restored. Here it can be left in force, to try in the notebook.",
    },
  });
  const element = section(
    { label: "The edit", title: "The edit" },
    h(
      "div",
      { class: "mn-moves" },
      slide("Sparsity: share of each row’s weights, at one step ", sparsityNow, sparsity),
      slide("First denoising steps, masks united ", firstNow, first),
    ),
    words,
    force.element,
  );
  const said = (e) => {
    if (!e.weights) return "";
    if (asked.current(e.key))
      return (
        `The mask sets ${e.weights.toLocaleString("en")} weights to 0, ${share(e.density)} of those in ` +
        `the ${asked.placeOf(e.key.place).layers}.`
      );
    const other = !asked.busy() && e.key.place !== model.get("place");
    return (
      `The pictures with an edit are still of ${e.text}.` +
      (other ? ` “Locate and draw” makes those of the ${asked.placeNow().layers}.` : "")
    );
  };
  const draw = () => {
    const s = model.get("sparsity"),
      n = model.get("first"),
      same = asked.placeNow().alike;
    sparsity.value = nearest(s);
    setText(sparsityNow, short(s));
    sparsity.setAttribute("aria-valuetext", short(s));
    setText(firstNow, same ? "makes no difference here" : `${n} of ${steps}`);
    first.setAttribute("aria-valuetext", same ? firstNow.textContent : `${n} of ${steps} steps`);
    first.disabled = same;
    first.title = same ? "Keys and values read the caption’s words, the same at every step: so are the masks" : "";
    setText(words, said(model.get("edit")));
  };
  const drawForce = () => {
    const { weights, key } = model.get("edit");
    force.element.hidden = !weights && model.get("force").state === "none";
    force.draw({ ready: !asked.busy() && !!weights && asked.current(key) });
  };
  return { element, draw, drawForce };
};
