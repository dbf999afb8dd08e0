"""The tasks that ship: word lists written for this project, and rules over them (CC0, like lens/data).

An ability is a list of pairs, what is asked in words, and three natural sentences with {x} whose next word is the
output.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..data.facts import RELATIONS
from ..data.words import WORDS

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Ability:
    """A shipped task: `pairs()` makes its pairs, always the same."""

    pairs: Callable[[], Pairs]
    instruction: str
    texts: tuple[str, str, str]


IRREGULAR_PAST = """become became; begin began; bite bit; blow blew; break broke; bring brought; build built;
buy bought; catch caught; choose chose;
come came; dig dug; do did; draw drew; drink drank; drive drove; eat ate; fall fell; feed fed; feel felt;
fight fought; find found; fly flew; forget forgot;
forgive forgave; freeze froze; get got; give gave; go went; grow grew; hang hung; have had; hear heard; hide hid;
hold held; keep kept; kneel knelt; know knew;
leave left; lend lent; lose lost; make made; mean meant; meet met; pay paid; ride rode; ring rang; rise rose; run ran;
say said; see saw; seek sought; sell sold;
send sent; shake shook; shine shone; shoot shot; sing sang; sink sank; sit sat; sleep slept; speak spoke; spend spent;
spin spun; stand stood; steal stole;
stick stuck; strike struck; swear swore; sweep swept; swim swam; swing swung; take took; teach taught; tear tore;
tell told; think thought; throw threw;
understand understood; wake woke; wear wore; weep wept; win won; write wrote"""
REGULAR_VERBS = """ask call answer open close help work play talk walk look jump laugh smile paint climb cook clean
wash push pull kick count knock land pack
pick plant point print reach rest return roll row sail save shout start stay thank touch travel turn visit vote wait
warn watch wish carry study hurry try cry dry
marry bury copy stop plan drop grab hug step beg rob dance bake close hope move smoke taste use waste wave gather
murmur borrow follow"""
#: regular verbs that double their last letter
_DOUBLED = {"stop", "plan", "drop", "grab", "hug", "step", "beg", "rob", "occur", "prefer"}

IRREGULAR_PLURAL = """child children; foot feet; tooth teeth; goose geese; mouse mice; man men; woman women; ox oxen;
person people; knife knives; wife wives;
life lives; leaf leaves; loaf loaves; wolf wolves; shelf shelves; half halves; calf calves; thief thieves;
scarf scarves; elf elves; potato potatoes; tomato tomatoes;
hero heroes; echo echoes; cactus cacti; crisis crises; oasis oases; analysis analyses; gentleman gentlemen;
policeman policemen; grandchild grandchildren"""
REGULAR_NOUNS = """apple book box brush bus car cat church city class coin cup desk dish dog dream driver dress engine
eye farm fence finger flag flower fox friend
game girl glass hand hat horse house idea kiss lady lake letter match nurse party peach pen phone picture plane poppy
road rock rose school ship shoe shop
song star story street tax train tree truck wall watch week wish witch year"""
_NO_PLURAL = {
    "butter",
    "sugar",
    "trousers",
    "thunder",
    "furniture",
    "weather",
    "knowledge",
    "patience",
    "courage",
    "wisdom",
    "honesty",
    "breakfast",
}

ANTONYMS = """hot cold; big small; tall short; up down; left right; day night; black white; happy sad; rich poor;
fast slow; old new; good bad; hard soft; high low;
in out; on off; open closed; early late; full empty; strong weak; light dark; clean dirty; wet dry; near far;
first last; begin end; buy sell; come go;
push pull; win lose; love hate; laugh cry; live die; give take; ask answer; sit stand; rise fall; remember forget;
arrive depart; accept refuse; add subtract;
agree disagree; alive dead; always never; ancient modern; appear disappear; asleep awake; attack defend;
beautiful ugly; before after; best worst; bitter sweet;
brave cowardly; bright dim; broad narrow; build destroy; calm stormy; careful careless; cheap expensive;
clever stupid; combine separate; comedy tragedy;
create destroy; deep shallow; difficult easy; east west; enemy friend; enter leave; even odd; everything nothing;
export import; fact fiction; famous unknown;
fat thin; female male; find lose; float sink; foolish wise; forward backward; freedom slavery; front back;
future past; generous selfish; gentle rough;
guilty innocent; heaven hell; heavy light; horizontal vertical; increase decrease; inside outside; interesting boring;
junior senior; king queen; lead follow;
lend borrow; long short; loose tight; loud quiet; major minor; maximum minimum; more less; noisy silent; north south;
optimist pessimist; over under;
peace war; permanent temporary; polite rude; positive negative; praise blame; public private; question answer;
raise lower; receive send; reward punish;
simple complex; sharp blunt; smooth rough; summer winter; sunrise sunset; success failure; teacher student;
thick thin; top bottom; true false;
victory defeat; visible invisible; warm cool; wide narrow; young old; yes no"""

MORE_CAPITALS = """Albania: Tirana; Algeria: Algiers; Angola: Luanda; Argentina: Buenos Aires; Armenia: Yerevan;
Azerbaijan: Baku; Bahrain: Manama; Belarus: Minsk;
Belize: Belmopan; Bhutan: Thimphu; Botswana: Gaborone; Brazil: Brasilia; Cambodia: Phnom Penh; Cameroon: Yaounde;
Chad: N'Djamena; Colombia: Bogota;
Croatia: Zagreb; Cyprus: Nicosia; Ecuador: Quito; Eritrea: Asmara; Estonia: Tallinn; Ethiopia: Addis Ababa;
Fiji: Suva; Gabon: Libreville; Georgia: Tbilisi;
Guinea: Conakry; Guyana: Georgetown; Haiti: Port-au-Prince; Honduras: Tegucigalpa; India: New Delhi;
Jamaica: Kingston; Jordan: Amman; Kazakhstan: Astana;
Kosovo: Pristina; Kyrgyzstan: Bishkek; Laos: Vientiane; Latvia: Riga; Liberia: Monrovia; Lithuania: Vilnius;
Madagascar: Antananarivo; Malawi: Lilongwe;
Malaysia: Kuala Lumpur; Mali: Bamako; Malta: Valletta; Moldova: Chisinau; Mongolia: Ulaanbaatar; Morocco: Rabat;
Mozambique: Maputo; Namibia: Windhoek;
Nepal: Kathmandu; Nicaragua: Managua; Niger: Niamey; Oman: Muscat; Paraguay: Asuncion; Qatar: Doha; Rwanda: Kigali;
Senegal: Dakar; Slovakia: Bratislava;
Slovenia: Ljubljana; Somalia: Mogadishu; Sudan: Khartoum; Taiwan: Taipei; Tajikistan: Dushanbe; Tunisia: Tunis;
Uganda: Kampala; Uruguay: Montevideo;
Uzbekistan: Tashkent; Yemen: Sanaa; Zambia: Lusaka; Zimbabwe: Harare"""

#: rows whose next item follows; a row ending in its own first item is a circle
ROWS = (
    (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
        " seventeen eighteen nineteen twenty"
    ),
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday Monday",
    "January February March April May June July August September October November December January",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z",
    "I II III IV V VI VII VIII IX X XI XII",
    "first second third fourth fifth sixth seventh eighth ninth tenth",
    "ten twenty thirty forty fifty sixty seventy eighty ninety",
    " ".join(str(n) for n in range(1, 41)),
)
#: triples of a choice task
CHOICES = 160


def _split(text: str, between: str = " ") -> Pairs:
    halves = (entry.strip().split(between, 1) for entry in text.split(";"))
    return [(x.strip(), y.strip()) for x, y in halves]


def past(verb: str) -> str:
    """The past tense of a regular verb."""
    if verb in _DOUBLED:
        return f"{verb}{verb[-1]}ed"
    if verb.endswith("e"):
        return f"{verb}d"
    return f"{verb[:-1]}ied" if verb.endswith("y") and verb[-2] not in "aeiou" else f"{verb}ed"


def plural(noun: str) -> str:
    """The plural of a regular noun."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "z", "ch", "sh")) else f"{noun}s"


def _present_past() -> Pairs:
    irregular = _split(IRREGULAR_PAST)
    irregular_verbs = {x for x, _ in irregular}
    regular = dict.fromkeys([*REGULAR_VERBS.split(), *WORDS["verb"]])
    return irregular + [(v, past(v)) for v in regular if v not in irregular_verbs and v != "melt"]


def _singular_plural() -> Pairs:
    irregular = _split(IRREGULAR_PLURAL)
    exceptions = {x for x, _ in irregular} | _NO_PLURAL
    return irregular + [
        (n, plural(n)) for n in dict.fromkeys([*REGULAR_NOUNS.split(), *WORDS["noun"]]) if n not in exceptions
    ]


def _words() -> list[str]:
    return [w for kind in ("noun", "verb", "adjective", "adverb") for w in WORDS[kind]]


def _capitals() -> Pairs:
    here = _split(RELATIONS["country-capital"][1], ":")
    countries = {x for x, _ in here}
    return here + [p for p in _split(MORE_CAPITALS, ":") if p[0] not in countries]


def _next_item() -> Pairs:
    pairs = [pair for row in ROWS for pair in zip(row.split(), row.split()[1:])]
    next_of: dict[str, str] = {}
    for x, y in pairs:  # "ten" is followed by "eleven" and by "twenty": the first stays
        next_of.setdefault(x, y)
    return list(next_of.items())


def _choice(place: int) -> Callable[[], Pairs]:
    def pairs() -> Pairs:
        draw, words = random.Random(place), _words()
        triples = [draw.sample(words, 3) for _ in range(CHOICES)]
        return [(", ".join(t), t[place]) for t in triples]

    return pairs


def _rule(rule: Callable[[str], tuple[str, str]]) -> Callable[[], Pairs]:
    return lambda: [rule(w) for w in _words()]


ABILITIES: Mapping[str, Ability] = {
    "present_past": Ability(
        _present_past,
        "Give the past tense of the verb.",
        (
            "The past tense of the verb {x} is",
            "Today they {x}; yesterday they",
            "Writing about last year, the author did not use the verb form {x} but the form",
        ),
    ),
    "singular_plural": Ability(
        _singular_plural,
        "Give the plural of the noun.",
        (
            "The plural of the noun {x} is",
            "Here is one {x}, and over there are two",
            "I had only one {x}, but my brother had many",
        ),
    ),
    "capitalize": Ability(
        _rule(lambda w: (w, w.capitalize())),
        "Write the word with a capital first letter.",
        (
            "At the start of a sentence the word {x} is written",
            "With a capital first letter, {x} becomes",
            "The heading had one word, {x}, and the editor corrected it to",
        ),
    ),
    "lowercase": Ability(
        _rule(lambda w: (w.upper(), w)),
        "Write the word in small letters.",
        (
            "In small letters, {x} is written",
            "The sign said {x}, but in the letter she wrote",
            "Do not shout: instead of {x} write",
        ),
    ),
    "first_letter": Ability(
        _rule(lambda w: (w, w[0])),
        "Give the first letter of the word.",
        (
            "The first letter of the word {x} is",
            "The word {x} begins with the letter",
            "In the index, {x} is listed under the letter",
        ),
    ),
    "last_letter": Ability(
        _rule(lambda w: (w, w[-1])),
        "Give the last letter of the word.",
        (
            "The last letter of the word {x} is",
            "The word {x} ends with the letter",
            "Spelling {x} aloud, the child finished with the letter",
        ),
    ),
    "word_length": Ability(
        _rule(lambda w: (w, str(len(w)))),
        "Give the number of letters in the word.",
        (
            "The number of letters in the word {x} is",
            "In the crossword, the squares needed for {x} number",
            "Counting the letters of {x} one gets",
        ),
    ),
    "country_capital": Ability(
        _capitals,
        "Give the capital of the country.",
        (
            "The capital of {x} is",
            "The government of {x} has its seat in the city of",
            "On our journey through {x} we first saw the capital,",
        ),
    ),
    "antonym": Ability(
        lambda: _split(ANTONYMS),
        "Give the opposite of the word.",
        (
            "The opposite of {x} is",
            "He said {x}, but he meant the contrary:",
            "The antonym of the word {x} is the word",
        ),
    ),
    "next_item": Ability(
        _next_item,
        "Give what comes next in the row.",
        ("In the usual order, {x} is followed by", "Right after {x} comes", "The child counted on: after {x} she said"),
    ),
    "choose_first_of_3": Ability(
        _choice(0),
        "Give the first word of the list.",
        (
            "Of the words {x}, the first is",
            "The list is: {x}. It begins with the word",
            "She read {x} aloud, and the word she read first was",
        ),
    ),
    "choose_middle_of_3": Ability(
        _choice(1),
        "Give the middle word of the list.",
        (
            "Of the words {x}, the one in the middle is",
            "The list is: {x}. Its second word is",
            "She read {x} aloud, and the word she read second was",
        ),
    ),
    "choose_last_of_3": Ability(
        _choice(2),
        "Give the last word of the list.",
        (
            "Of the words {x}, the last is",
            "The list is: {x}. It ends with the word",
            "She read {x} aloud, and the word she read last was",
        ),
    ),
}
