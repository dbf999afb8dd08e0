// The tokens of one pair under the graph: what differs between its prompts and, by token, how much the scores speak.

import { themeOf } from "../base/colour.js";
import { h, option, section, setText } from "../base/dom.js";
import { TokenStrip } from "../base/strip.js";
import { many, share, shorten, visible } from "../base/text.js";
import { sharesOf } from "./positions.js";

/** `graph()` is the one that is drawn: where it is by token, a token chosen here is a node there and the other way. */
export const pairBox = ({ get, set, graph }) => {
  let looked = -1,
    of = null,
    shares = [];
  const byToken = () => (graph()?.byPosition ? graph() : null);
  const strip = new TokenStrip({
    label: "Tokens of the chosen pair, the clean prompt; where the corrupted one differs it stands behind a bar",
    choose: (i) => {
      looked = i;
      if (byToken()) set({ node: byToken().nodeName(byToken().nodeAt(-1, i)) });
      draw();
    },
  });
  const pair = h("select", { "data-testid": "pair", onchange: () => set({ pair: Number(pair.value) }) }),
    readout = h("div", { class: "mn-note", "data-testid": "readout", "aria-live": "polite" });
  const element = section(
    { label: "Tokens of a pair", title: "A pair", beside: [h("label", { class: "mn-check" }, "shown ", pair)] },
    strip.element,
    readout,
  );
  const draw = () => {
    const t = get("tokens"),
      clean = t.clean ?? [],
      drawn = byToken(),
      scored = drawn !== null && drawn.pair === t.pair;
    element.hidden = !clean.length && !t.text;
    if (scored && of !== drawn) shares = sharesOf(drawn);
    of = scored ? drawn : null;
    const node = scored ? drawn.nodeOf(get("node")) : -1;
    if (node >= 0) looked = drawn.tokenOf(node);
    if (looked >= clean.length) looked = -1;
    const names = get("graph").names ?? Array.from({ length: t.of ?? 0 }, (_, i) => `pair ${i}`);
    if (pair.length !== names.length || pair.dataset.run !== String(get("graph").run))
      pair.replaceChildren(...names.map((name, i) => option(String(i), `${i}: ${shorten(visible(name), 60)}`)));
    pair.dataset.run = String(get("graph").run);
    pair.value = String(t.pair ?? 0);
    const theme = scored ? themeOf(element) : null,
      most = Math.max(...(scored ? shares : [0]));
    strip.update(
      clean.map((token, i) => {
        const other = t.corrupted[i],
          differs = other !== token,
          said = [differs ? `corrupted ${visible(other)}` : "", scored ? `${share(shares[i])} of all scores` : ""];
        return {
          token: differs ? `${token}|${other}` : token,
          strong: differs,
          colour: scored && most ? theme.single(shares[i] / most) : undefined,
          says: said.filter(Boolean).join(", "),
        };
      }),
      looked,
    );
    const answer = `answer ${visible(t.answer ?? "")}${t.foil ? `, foil ${visible(t.foil)}` : ""}`,
      part = scored && looked >= 0 ? `${share(shares[looked])} of all scores’ size; ` : "";
    setText(
      readout,
      t.text ??
        (looked < 0
          ? `${many(clean.length, "token")}; ${answer}`
          : `position ${looked}: clean ${visible(clean[looked])}, ` +
            `corrupted ${visible(t.corrupted[looked])}; ${part}${answer}`),
    );
  };
  return { element, draw };
};
