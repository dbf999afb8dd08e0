// The denoising step that DiffusionBench shows: a slider, a film, the seed of the starting noise.

import { field, h, setText } from "../base/dom.js";
import { button } from "../base/export.js";
import { slide } from "./edit.js";

const FILM = 3000, // milliseconds that all steps take
  LEAST = 90; // of one step

/** `redraw` draws the pictures of another step; `whole` says whether all states have their last one. */
export const stepPanel = ({ model, send, choose, redraw, whole }) => {
  const info = model.get("model_info"),
    frames = info.frames.length;
  let timer = 0;
  const scrub = h("input", {
      type: "range",
      min: 0,
      max: frames - 1,
      step: 1,
      "data-testid": "step",
      "aria-label": "Denoising step shown",
    }),
    now = h("output", { "data-testid": "step-now" });
  scrub.oninput = () => {
    const step = Math.max(0, Math.min(frames - 1, Number(scrub.value)));
    model.set("step", step);
    send("move", { fields: { step } });
    redraw();
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    setText(play, "Play");
  };
  const go = (step) => {
    model.set("step", step);
    redraw();
  };
  const play = button("play", "Play", () => {
    if (timer) {
      stop();
      return;
    }
    let at = 0;
    setText(play, "Pause");
    go(0);
    timer = setInterval(
      () => {
        at += 1;
        go(Math.min(at, frames - 1));
        if (at >= frames - 1) stop();
      },
      Math.max(LEAST, FILM / frames),
    );
  });
  play.title = "Go through the denoising steps";
  const seed =
    info.seeds.length > 1
      ? choose(
          "seed",
          info.seeds.map((s, i) => [i, `seed ${s}`]),
        )
      : null;
  const element = h(
    "div",
    { class: "mn-moves" },
    slide("Denoising step shown ", now, scrub),
    play,
    seed ? field("Starting noise", seed) : null,
  );
  const draw = () => {
    const step = Math.min(model.get("step"), frames - 1),
      of = `${info.frames[step]} of ${info.steps}`;
    scrub.value = step;
    setText(now, step < frames - 1 ? of : whole() ? `${of}, the finished picture` : "the latest there is");
    scrub.setAttribute("aria-valuetext", now.textContent);
  };
  return { element, draw, stop };
};
