// Layer and strength of a vector that is added: two sliders, and a number that may be any.

import { h, setText, slide } from "./dom.js";

/**
 * Controls of the traits layer and strength. `ends`: low, high and step of the slider; `drawn` is called after each
 * move, and by `follow`.
 */
export const placeControls = (bound, { layers, ends, name, strengthName, drawn = () => {} }) => {
  const layer = bound(
      "layer",
      h("input", { type: "range", min: 0, max: Math.max(0, layers - 1), step: 1, "aria-label": "Layer" }),
    ),
    layerText = h("output", { class: "mn-p", "data-testid": "layer-text" }),
    strength = bound("strength", h("input", { type: "number", step: ends.step, "aria-label": "Strength, any number" })),
    slider = h("input", {
      type: "range",
      min: ends.low,
      max: ends.high,
      step: ends.step,
      "data-testid": "strength-slider",
      "aria-label": `Strength, ${ends.low} to ${ends.high}`,
    });
  slider.oninput = () => {
    strength.value = slider.value;
    strength.dispatchEvent(new Event("input"));
  };
  const follow = () => {
    slider.value = strength.value;
    setText(layerText, `${layer.value} of ${Math.max(0, layers - 1)}`);
    drawn();
  };
  for (const control of [layer, strength])
    for (const event of ["input", "pulled"]) control.addEventListener(event, follow);
  return {
    follow,
    elements: [
      slide(name, layerText, layer),
      slide(strengthName, null, h("div", { class: "mn-both" }, slider, strength)),
    ],
  };
};
