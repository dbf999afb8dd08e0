"""Candidates for factual recall: relations, prompts and facts of common knowledge, paired within a relation.

Only facts with one usual short answer are listed; every line below was written for this data set from common knowledge.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

# relation: (templates, facts as "subject: answer; ...")
RELATIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "country-capital": (
        (
            "The capital of {s} is",
            "The capital city of {s} is called",
            "Travellers who visit {s} often begin in its capital,",
        ),
        """France: Paris; Italy: Rome; Germany: Berlin; Spain: Madrid; Japan: Tokyo; China: Beijing; Russia: Moscow;
        Greece: Athens; Egypt: Cairo; Austria: Vienna; Ireland: Dublin; England: London; Portugal: Lisbon;
        Sweden: Stockholm; Norway: Oslo; Denmark: Copenhagen; Finland: Helsinki; Poland: Warsaw; Hungary: Budapest;
        Turkey: Ankara; Iran: Tehran; Iraq: Baghdad; Cuba: Havana; Canada: Ottawa; Australia: Canberra; Kenya: Nairobi;
        Thailand: Bangkok; Vietnam: Hanoi; Belgium: Brussels; Scotland: Edinburgh; Syria: Damascus; Lebanon: Beirut;
        Pakistan: Islamabad; Afghanistan: Kabul; Ukraine: Kyiv; Romania: Bucharest; Bulgaria: Sofia; Serbia: Belgrade;
        Peru: Lima; Chile: Santiago; Wales: Cardiff; Iceland: Reykjavik; Indonesia: Jakarta;
        Nigeria: Abuja; Ghana: Accra; Bangladesh: Dhaka; Venezuela: Caracas; Libya: Tripoli""",
    ),
    "country-language": (
        ("The official language of {s} is", "Most people in {s} speak"),
        """France: French; Italy: Italian; Germany: German; Spain: Spanish; Japan: Japanese; China: Chinese;
        Russia: Russian; Greece: Greek; Egypt: Arabic; Austria: German; England: English; Portugal: Portuguese;
        Sweden: Swedish; Norway: Norwegian; Denmark: Danish; Finland: Finnish; Poland: Polish; Hungary: Hungarian;
        Turkey: Turkish; Iran: Persian; Iraq: Arabic; Cuba: Spanish; Australia: English; Thailand: Thai;
        Vietnam: Vietnamese; Brazil: Portuguese; Mexico: Spanish; Argentina: Spanish; Chile: Spanish; Colombia: Spanish;
        Venezuela: Spanish; Syria: Arabic; Jamaica: English; Morocco: Arabic; Ukraine: Ukrainian; Romania: Romanian;
        Bulgaria: Bulgarian; Israel: Hebrew; Iceland: Icelandic; Bangladesh: Bengali; Libya: Arabic; Yemen: Arabic""",
    ),
    "country-continent": (
        ("The country of {s} is on the continent of", "On a map of the world, {s} lies in"),
        """France: Europe; Italy: Europe; Germany: Europe; Spain: Europe; Poland: Europe; Sweden: Europe;
        Norway: Europe;
        Austria: Europe; Belgium: Europe; Hungary: Europe; Portugal: Europe; Finland: Europe; Greece: Europe;
        Japan: Asia; China: Asia; India: Asia; Thailand: Asia; Vietnam: Asia; Pakistan: Asia; Nepal: Asia;
        Mongolia: Asia;
        Bangladesh: Asia; Cambodia: Asia; Malaysia: Asia; Laos: Asia; Myanmar: Asia;
        Kenya: Africa; Nigeria: Africa; Ghana: Africa; Ethiopia: Africa; Uganda: Africa; Tanzania: Africa;
        Sudan: Africa;
        Zimbabwe: Africa; Zambia: Africa; Senegal: Africa; Mali: Africa; Rwanda: Africa; Somalia: Africa;
        Angola: Africa;
        Botswana: Africa; Namibia: Africa; Morocco: Africa; Algeria: Africa""",
    ),
    "country-currency": (
        ("The currency of {s} is the", "Shops in {s} want to be paid in the local currency, the"),
        """Japan: yen; China: yuan; India: rupee; Pakistan: rupee; Nepal: rupee; Mexico: peso; Chile: peso;
        Colombia: peso;
        Cuba: peso; Argentina: peso; Russia: ruble; Canada: dollar; Australia: dollar; Jamaica: dollar;
        France: euro; Germany: euro; Italy: euro; Spain: euro; Greece: euro; Ireland: euro; Austria: euro;
        Portugal: euro;
        Finland: euro; Belgium: euro; England: pound; Egypt: pound; Scotland: pound; Iraq: dinar; Libya: dinar""",
    ),
    "element-symbol": (
        ("The chemical symbol for {s} is", "In the periodic table, the element {s} is written as"),
        """gold: Au; silver: Ag; iron: Fe; copper: Cu; lead: Pb; tin: Sn; mercury: Hg; sodium: Na; potassium: K;
        carbon: C;
        oxygen: O; hydrogen: H; nitrogen: N; helium: He; calcium: Ca; sulfur: S; phosphorus: P; zinc: Zn; nickel: Ni;
        aluminum: Al; silicon: Si; magnesium: Mg; chlorine: Cl; fluorine: F; iodine: I; uranium: U; tungsten: W;
        neon: Ne;
        argon: Ar; lithium: Li; cobalt: Co; titanium: Ti; platinum: Pt; barium: Ba; bromine: Br; boron: B; radium: Ra;
        chromium: Cr; manganese: Mn; arsenic: As""",
    ),
    "city-country": (
        ("The city of {s} is in the country of", "People who live in {s} are citizens of"),
        """Paris: France; Lyon: France; Marseille: France; Rome: Italy; Milan: Italy; Venice: Italy; Florence: Italy;
        Naples: Italy; Berlin: Germany; Munich: Germany; Hamburg: Germany; Frankfurt: Germany; Dresden: Germany;
        Madrid: Spain; Barcelona: Spain; Seville: Spain; Valencia: Spain; Tokyo: Japan; Osaka: Japan; Kyoto: Japan;
        Hiroshima: Japan; Beijing: China; Shanghai: China; Wuhan: China; Moscow: Russia; Athens: Greece; Cairo: Egypt;
        Alexandria: Egypt; Vienna: Austria; Salzburg: Austria; Dublin: Ireland; Lisbon: Portugal; Porto: Portugal;
        Stockholm: Sweden; Oslo: Norway; Copenhagen: Denmark; Helsinki: Finland; Warsaw: Poland; Krakow: Poland;
        Budapest: Hungary; Istanbul: Turkey; Ankara: Turkey; Tehran: Iran; Baghdad: Iraq; Toronto: Canada;
        Montreal: Canada; Vancouver: Canada; Ottawa: Canada; Sydney: Australia; Melbourne: Australia;
        Brisbane: Australia;
        Perth: Australia; Delhi: India; Mumbai: India; Chennai: India; Kolkata: India; Nairobi: Kenya; Lima: Peru;
        Lagos: Nigeria; Karachi: Pakistan; Lahore: Pakistan; Kabul: Afghanistan; Bangkok: Thailand; Hanoi: Vietnam;
        Brussels: Belgium; Antwerp: Belgium; Geneva: Switzerland; Zurich: Switzerland; Amsterdam: Netherlands;
        Damascus: Syria; Beirut: Lebanon; Havana: Cuba; Jakarta: Indonesia; Manila: Philippines; Santiago: Chile""",
    ),
    "landmark-country": (
        ("The famous landmark {s} is located in", "Tourists who want to see {s} have to travel to"),
        """the Eiffel Tower: France; the Louvre: France; Notre Dame: France; the Colosseum: Italy;
        the Leaning Tower of Pisa: Italy;
        the Taj Mahal: India; the Red Fort: India; the Great Wall: China; the Forbidden City: China;
        Tiananmen Square: China;
        the Great Pyramid: Egypt; the Sphinx: Egypt; the Valley of the Kings: Egypt; the Acropolis: Greece;
        the Parthenon: Greece; Mount Olympus: Greece; the Kremlin: Russia; Red Square: Russia; the Hermitage: Russia;
        the Alhambra: Spain; the Sagrada Familia: Spain; Machu Picchu: Peru; Mount Fuji: Japan; Angkor Wat: Cambodia;
        the Brandenburg Gate: Germany; the Black Forest: Germany; Neuschwanstein Castle: Germany; Chichen Itza: Mexico;
        the Sydney Opera House: Australia; Ayers Rock: Australia; Hagia Sophia: Turkey; the Blue Mosque: Turkey;
        Table Mountain: South Africa; the Matterhorn: Switzerland; Petra: Jordan; Mount Vesuvius: Italy;
        Versailles: France""",
    ),
    "person-country": (
        ("The home country of {s} was", "History books say that {s} came from"),
        """Mozart: Austria; Freud: Austria; Picasso: Spain; Cervantes: Spain; Gandhi: India; Nehru: India;
        Shakespeare: England;
        Newton: England; Darwin: England; Dickens: England; Churchill: England; Napoleon: France; Voltaire: France;
        Descartes: France; Monet: France; Pasteur: France; Rousseau: France; Einstein: Germany; Bach: Germany;
        Beethoven: Germany; Goethe: Germany; Nietzsche: Germany; Luther: Germany; Bismarck: Germany; Hegel: Germany;
        Tolstoy: Russia; Dostoevsky: Russia; Lenin: Russia; Pushkin: Russia; Tchaikovsky: Russia; Chekhov: Russia;
        Dante: Italy; Galileo: Italy; Michelangelo: Italy; Verdi: Italy; Machiavelli: Italy; Vivaldi: Italy;
        Confucius: China; Mao: China; Aristotle: Greece; Plato: Greece; Socrates: Greece; Homer: Greece;
        Pericles: Greece;
        Chopin: Poland; Copernicus: Poland; Cleopatra: Egypt; Ramses: Egypt; Ibsen: Norway; Nobel: Sweden;
        Linnaeus: Sweden""",
    ),
    "person-work": (
        ("In his time, {s} was a famous", "The great {s} was by profession a"),
        """Mozart: composer; Bach: composer; Beethoven: composer; Chopin: composer; Verdi: composer; Haydn: composer;
        Vivaldi: composer; Handel: composer; Brahms: composer; Schubert: composer; Wagner: composer;
        Tchaikovsky: composer;
        Picasso: painter; Monet: painter; Rembrandt: painter; Renoir: painter; Matisse: painter; Vermeer: painter;
        Raphael: painter; Titian: painter; Gauguin: painter; Plato: philosopher; Aristotle: philosopher;
        Socrates: philosopher; Kant: philosopher; Nietzsche: philosopher; Hegel: philosopher; Descartes: philosopher;
        Schopenhauer: philosopher; Einstein: physicist; Bohr: physicist; Heisenberg: physicist; Feynman: physicist;
        Fermi: physicist; Planck: physicist; Keats: poet; Byron: poet; Wordsworth: poet; Shelley: poet; Pushkin: poet;
        Dickens: novelist; Hemingway: novelist; Tolstoy: novelist; Faulkner: novelist; Gauss: mathematician;
        Euler: mathematician; Riemann: mathematician; Fermat: mathematician""",
    ),
    "athlete-sport": (
        ("The athlete {s} became famous by playing", "The sport that made {s} famous is"),
        """Michael Jordan: basketball; LeBron James: basketball; Kobe Bryant: basketball; Stephen Curry: basketball;
        Larry Bird: basketball; Magic Johnson: basketball; Tim Duncan: basketball; Kevin Durant: basketball;
        Tiger Woods: golf; Jack Nicklaus: golf; Arnold Palmer: golf; Phil Mickelson: golf; Rory McIlroy: golf;
        Roger Federer: tennis; Rafael Nadal: tennis; Serena Williams: tennis; Andre Agassi: tennis;
        Pete Sampras: tennis;
        Novak Djokovic: tennis; Andy Murray: tennis; Maria Sharapova: tennis; Babe Ruth: baseball;
        Derek Jeter: baseball;
        Willie Mays: baseball; Hank Aaron: baseball; Mickey Mantle: baseball; Jackie Robinson: baseball;
        Lou Gehrig: baseball; Tom Brady: football; Peyton Manning: football; Joe Montana: football;
        Eli Manning: football;
        Wayne Gretzky: hockey; Sidney Crosby: hockey; Bobby Orr: hockey; Gordie Howe: hockey""",
    ),
    "company-country": (
        ("The company {s} was founded in the country of", "The headquarters of {s} are in"),
        """Toyota: Japan; Honda: Japan; Sony: Japan; Nissan: Japan; Nintendo: Japan; Panasonic: Japan; Toshiba: Japan;
        Mitsubishi: Japan; Yamaha: Japan; Hitachi: Japan; BMW: Germany; Siemens: Germany; Volkswagen: Germany;
        Bayer: Germany; Mercedes: Germany; Porsche: Germany; Audi: Germany; Bosch: Germany; Adidas: Germany;
        Ferrari: Italy; Fiat: Italy; Gucci: Italy; Prada: Italy; Lamborghini: Italy; Renault: France; Peugeot: France;
        Michelin: France; Chanel: France; IKEA: Sweden; Volvo: Sweden; Ericsson: Sweden; Spotify: Sweden;
        Nokia: Finland;
        Philips: Netherlands; Heineken: Netherlands; Lego: Denmark; Carlsberg: Denmark; Alibaba: China; Huawei: China;
        Tencent: China; Lenovo: China; Infosys: India; Tata: India; Qantas: Australia; Rolex: Switzerland;
        Nestle: Switzerland""",
    ),
    "animal-young": (
        ("A young {s} is called a", "The usual word for a baby {s} is"),
        """dog: puppy; cat: kitten; cow: calf; horse: foal; sheep: lamb; goat: kid; pig: piglet; bear: cub; lion: cub;
        tiger: cub;
        fox: cub; wolf: pup; seal: pup; deer: fawn; duck: duckling; goose: gosling; chicken: chick; hen: chick;
        kangaroo: joey; frog: tadpole; whale: calf; elephant: calf; giraffe: calf; swan: cygnet; bat: pup; shark: pup;
        leopard: cub; panda: cub; rabbit: kit; beaver: kit; penguin: chick; robin: chick; donkey: foal; zebra: foal""",
    ),
    "thing-kind": (
        ("A {s} is a kind of", "In a dictionary, a {s} is described as a type of"),
        """salmon: fish; trout: fish; tuna: fish; cod: fish; shark: fish; carp: fish; sparrow: bird; robin: bird;
        hawk: bird;
        pigeon: bird; penguin: bird; parrot: bird; rose: flower; tulip: flower; daisy: flower; lily: flower; pine: tree;
        maple: tree; willow: tree; birch: tree; cedar: tree; poodle: dog; beagle: dog; terrier: dog; bulldog: dog;
        beetle: insect; mosquito: insect; butterfly: insect; moth: insect; cricket: insect; wasp: insect; banana: fruit;
        pear: fruit; mango: fruit; peach: fruit; plum: fruit; cherry: fruit; carrot: vegetable; cabbage: vegetable;
        potato: vegetable; python: snake; cobra: snake; rattlesnake: snake; violin: instrument; trumpet: instrument;
        flute: instrument; guitar: instrument; hammer: tool; wrench: tool; screwdriver: tool; saw: tool""",
    ),
    "thing-color": (
        ("The usual color of {s} is", "If you ask a child to paint {s}, the child takes the color"),
        """grass: green; spinach: green; broccoli: green; cucumbers: green; emeralds: green; frogs: green; moss: green;
        snow: white; milk: white; salt: white; flour: white; polar bears: white; rice: white; cotton: white;
        coal: black;
        crows: black; ravens: black; panthers: black; tar: black; blood: red; tomatoes: red; strawberries: red;
        cherries: red; rubies: red; fire engines: red; the sky: blue; sapphires: blue; the sea: blue; blueberries: blue;
        lemons: yellow; bananas: yellow; the sun: yellow; corn: yellow; school buses: yellow; canaries: yellow;
        chocolate: brown; soil: brown; coffee: brown; wood: brown; carrots: orange; pumpkins: orange; eggplants: purple;
        flamingos: pink""",
    ),
    "word-opposite": (
        ("The opposite of {s} is", "A word that means the contrary of {s} is"),
        """hot: cold; big: small; tall: short; fast: slow; good: bad; happy: sad; light: dark; rich: poor; strong: weak;
        young: old; hard: soft; wet: dry; high: low; open: closed; full: empty; early: late; up: down; left: right;
        black: white; day: night; war: peace; love: hate; win: lose; buy: sell; push: pull; begin: end; true: false;
        inside: outside; above: below; north: south; east: west; male: female; king: queen; victory: defeat;
        success: failure; life: death; friend: enemy; clean: dirty; loud: quiet; thick: thin; wide: narrow;
        deep: shallow;
        first: last; before: after; always: never; positive: negative; maximum: minimum; increase: decrease;
        ancient: modern; odd: even; husband: wife; heaven: hell; simple: complex; cheap: expensive; near: far""",
    ),
    "time-next": (
        ("The one that comes right after {s} is", "Right after {s} comes"),
        """Monday: Tuesday; Tuesday: Wednesday; Wednesday: Thursday; Thursday: Friday; Friday: Saturday;
        Saturday: Sunday;
        Sunday: Monday; January: February; February: March; March: April; April: May; May: June; June: July;
        July: August;
        August: September; September: October; October: November; November: December; December: January; spring: summer;
        summer: autumn""",
    ),
}


def facts() -> dict[str, dict[str, str]]:
    """Relation -> subject -> answer."""
    listed = {}
    for relation, (_, text) in RELATIONS.items():
        entries = [entry.split(":") for entry in " ".join(text.split()).split(";")]
        listed[relation] = {subject.strip(): answer.strip() for subject, answer in entries}
    return listed


def halves(seed: int) -> dict[str, str]:
    """Subject -> "select" or "report", the same in every relation, each relation's new subjects dealt out evenly."""
    source = random.Random(f"halves/{seed}")
    half: dict[str, str] = {}
    for answers in facts().values():
        new = [subject for subject in answers if subject not in half]
        source.shuffle(new)
        half |= {subject: ("select", "report")[n % 2] for n, subject in enumerate(new)}
    return half


def _span(template: str, subject: str) -> str | list[Any]:
    # "ore" is also a part of "more": count what the template holds before the subject's own place.
    earlier = template[: template.index("{s}")].count(subject)
    return [subject, earlier + 1] if earlier else subject


def candidates(seed: int, length: Callable[[str], int], single: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    """Records without numbers, and one record with "why" a fact that cannot be used.

    `length` counts a prompt's tokens; `single` says whether an answer is one token. In every relation, template and
    half, subjects that give prompts of equal length stand in a shuffled ring, and each is paired with the next one
    that has another answer.
    """
    half = halves(seed)
    for relation, answers in facts().items():
        usable = {}
        for subject, answer in answers.items():
            if single(f" {answer}"):
                usable[subject] = answer
            else:
                yield {
                    "id": f"facts-{relation}-{subject}",
                    "group": relation,
                    "answer": f" {answer}",
                    "split": half[subject],
                    "why": "the answer is several tokens",
                }
        for number, template in enumerate(RELATIONS[relation][0]):
            rings: dict[tuple[str, int], list[str]] = {}
            for subject in usable:
                rings.setdefault((half[subject], length(template.format(s=subject))), []).append(subject)
            for (split, size), ring in sorted(rings.items()):
                random.Random(f"ring/{seed}/{relation}/{number}/{split}/{size}").shuffle(ring)
                taken = set()
                for place, subject in enumerate(ring):
                    others = ring[place + 1 :] + ring[:place]
                    other = next((o for o in others if usable[o] != usable[subject]), None)
                    if other is not None and frozenset((subject, other)) in taken:
                        continue
                    record = {
                        "id": f"facts-{relation}-{number}-{subject}".replace(" ", "_"),
                        "group": relation,
                        "answer": f" {usable[subject]}",
                        "split": split,
                    }
                    if other is None:
                        yield record | {"why": "no partner with another answer and as many tokens"}
                        continue
                    taken.add(frozenset((subject, other)))
                    yield record | {
                        "clean": template.format(s=subject),
                        "corrupted": template.format(s=other),
                        "subjects": [subject, other],
                        "foil": f" {usable[other]}",
                        "spans": {"subject": _span(template, subject)},
                        "source": "common knowledge",
                    }
