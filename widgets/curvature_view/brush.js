// The brush over CurvatureView's spectrum: pointer and arrow keys move the band, and choose the layer.

const GRAB = 0.012, // of the axis: how near a press is to an end of the band that it takes
  STILL = 3, // pixels that a press may move and be a click
  NEAR = 14; // pixels from a line at which a click chooses it

/**
 * Ties the brush to its box. `view` gives `chart()` and `spectra()` (null before there are any), `ends` and `stops` of
 * bands, `near(share)` and `step(share, by)` among them, `band()`, and does `preview`, `set`, `choose` and `turn`.
 */
export const brush = (box, view) => {
  let drag = null;
  /** Where an event is, on the axis of shares and in the chart's own pixels from the top. */
  const placeOf = (e) => {
    const r = box.querySelector("svg").getBoundingClientRect(),
      scale = view.chart().width / r.width;
    return { share: view.chart().share((e.clientX - r.left) * scale), y: (e.clientY - r.top) * scale };
  };
  box.addEventListener("pointerdown", (e) => {
    if (!view.chart() || e.button) return;
    const at = placeOf(e).share,
      [a, b] = view.band(),
      from = Math.abs(at - a) < GRAB ? b : Math.abs(at - b) < GRAB ? a : view.near(at);
    drag = { from, moved: false, before: [a, b], at: e.clientX };
    box.setPointerCapture?.(e.pointerId);
    box.focus({ preventScroll: true });
    e.preventDefault();
  });
  box.addEventListener("pointermove", (e) => {
    if (!drag) return;
    if (Math.abs(e.clientX - drag.at) > STILL) drag.moved = true;
    if (drag.moved) {
      const at = view.near(placeOf(e).share);
      view.preview(Math.min(drag.from, at), Math.max(drag.from, at));
    }
  });
  /** A click chooses the line that is nearest to it. */
  const chooseLine = (e) => {
    const { share, y } = placeOf(e),
      spectra = view.spectra(),
      k = Math.max(
        0,
        view.ends.findIndex((end) => share <= end),
      );
    const best = spectra.names
      .map((name, i) => [Math.abs(view.chart().Y(Math.max(spectra.density(i)[k], 1e-300)) - y), name])
      .filter(([d]) => Number.isFinite(d))
      .sort((p, q) => p[0] - q[0])[0];
    if (best && best[0] < NEAR) view.choose(best[1]);
  };
  const drop = (e) => {
    if (!drag) return;
    const { moved, before } = drag,
      [a, b] = view.band();
    drag = null;
    if (moved && (a !== before[0] || b !== before[1])) view.set(a, b);
    else if (e.type === "pointercancel") view.preview(...before);
    else if (!moved) chooseLine(e);
  };
  box.addEventListener("pointerup", drop);
  box.addEventListener("pointercancel", drop);
  box.onkeydown = (e) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 }[e.key],
      turn = { ArrowUp: -1, ArrowDown: 1 }[e.key],
      [a, b] = view.band(),
      { stops, near, step } = view;
    if ((!by && !turn) || e.ctrlKey || e.metaKey) return;
    e.preventDefault();
    e.stopPropagation();
    if (turn) {
      view.turn(turn);
      return;
    }
    const to = e.shiftKey ? [a, step(b, by)] : e.altKey ? [step(a, by), b] : [step(a, by), step(b, by)],
      inside = stops.indexOf(near(a)) + by >= 0 && stops.indexOf(near(b)) + by < stops.length;
    if (e.shiftKey || e.altKey || inside) view.set(...to);
  };
  return { dragging: () => !!drag };
};
