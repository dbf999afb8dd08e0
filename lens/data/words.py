"""Common English words by part of speech: what a control injects in place of a memory.

Small letters, single words, no word twice, not even in two classes; free to use (CC0, like the data in this folder).
Words that are as often something else ("run", "light", "well") are left out, as far as English allows it.
"""

from __future__ import annotations

NOUNS = """table chair window door kitchen garden bottle basket blanket pillow ladder bucket candle mirror carpet
curtain
pencil notebook envelope newspaper bicycle airplane tractor bridge tunnel harbor village cottage castle island mountain
valley river forest desert meadow thunder rainbow winter morning breakfast sandwich potato butter sugar kettle spoon
sweater jacket trousers button necklace umbrella doctor teacher farmer neighbor cousin uncle daughter orphan elbow
shoulder stomach eyebrow spider rabbit donkey kingdom treasure journey festival weather furniture knowledge patience
courage wisdom honesty opinion century language poem hospital"""

VERBS = """arrive become begin believe borrow bring choose collect compare complain contain continue create decide
deliver
deny describe destroy disappear discover divide earn eat enjoy enter explain fetch forget forgive gather grow hear
hesitate
imagine improve include invent invite join kneel know learn listen lose marry melt obey observe obtain occur
persuade pour pray prefer prepare pretend prevent protect prove provide receive recognize refuse remember remove repair
repeat replace rescue resemble scatter seek sell send shiver sing solve speak steal succeed suggest swallow teach tell
translate understand vanish wander whisper write"""

ADJECTIVES = """afraid ancient angry awkward beautiful bitter blind brave brief broken busy calm careful cheap clever
cloudy clumsy curious dangerous deaf deep delicious different difficult dirty eager elegant empty enormous expensive
famous
foolish fragile friendly frozen generous gentle gloomy grateful guilty handsome happy harmless heavy helpful hollow
honest
huge humble hungry impossible innocent jealous lazy lonely loud loyal lucky muddy narrow nervous noisy obvious pale
polite
poor popular proud quiet rare ripe rotten rough rude sad selfish shallow sharp silent silly slippery strange stubborn
stupid sudden tall terrible thick thirsty tiny ugly useful vague weak wealthy wise wooden young"""

ADVERBS = """again almost already also always apart away badly barely boldly briefly carefully certainly clearly
completely
deeply downstairs easily entirely especially eventually everywhere exactly forever formerly frequently fully gently
gladly
gradually greatly happily hardly here hopefully immediately indoors instantly lately loudly maybe merely mostly nearly
neatly never nowhere often outdoors overseas partly perfectly perhaps politely possibly probably quickly quietly quite
rapidly rarely really recently sadly safely seldom simply slightly slowly softly sometimes somewhere soon strangely
suddenly surely together tomorrow tonight too totally truly twice upstairs usually very warmly widely yesterday"""

# Coordinating and subordinating conjunctions, then the prepositions that do the same work between nouns.
CONJUNCTIONS = """and but or nor yet so for because although though unless until till since while whilst whereas if
whether than
that as once lest after before when whenever where wherever whereupon whereby provided supposing albeit"""
CONNECTIVES = """with without within from into onto upon among between during despite through toward throughout beyond
beside
against amid except via per"""

#: part of speech -> words; "conjunction" holds the conjunctions and, after them, the connectives.
WORDS: dict[str, tuple[str, ...]] = {
    "noun": tuple(NOUNS.split()),
    "verb": tuple(VERBS.split()),
    "adjective": tuple(ADJECTIVES.split()),
    "adverb": tuple(ADVERBS.split()),
    "conjunction": tuple(CONJUNCTIONS.split() + CONNECTIVES.split()),
}
