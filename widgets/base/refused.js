// Why nothing is run with what was chosen: the trait doubts.

import { h } from "./dom.js";

/**
 * A box that says why the choice is refused, while the doubts are of it: `names` are the traits that they are of. The
 * same words in the error of a run are not said twice.
 */
export const refusedBox = (model, error, { title, names }) => {
  const element = h("div", { class: "mn-error", role: "alert", "data-testid": "refused", hidden: true });
  const draw = () => {
    const doubts = model.get("doubts"),
      now = !!doubts.refused && names.every((name) => doubts[name] === model.get(name));
    element.hidden = !now;
    element.replaceChildren(...(now ? [h("strong", { text: title }), h("pre", { text: doubts.refused })] : []));
    if (now && model.get("error").text === doubts.refused) error.hidden = true;
  };
  return { element, draw };
};
