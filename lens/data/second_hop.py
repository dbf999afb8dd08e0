"""The second hop of the two-hop data set: facts about bridge entities.

Entries are "bridge entity: answer; ...", every line written for this data set from common knowledge; only facts with
one usual short answer are listed. An article before a bridge entity belongs to the sentence, not to the entity.
"""

# Capital, main language, continent, currency; "-" where there is no one usual answer, or where the name gives it away
# (Germany: German).
COUNTRIES = """France: Paris, French, Europe, euro; Italy: Rome, Italian, Europe, euro;
Germany: Berlin, -, Europe, euro; Spain: Madrid, Spanish, Europe, euro; Portugal: Lisbon, Portuguese, Europe, euro;
England: London, English, Europe, pound; Scotland: Edinburgh, English, Europe, pound;
Ireland: Dublin, English, Europe, euro; Greece: Athens, Greek, Europe, euro; Austria: Vienna, German, Europe, euro;
Switzerland: Bern, -, Europe, franc; Belgium: Brussels, -, Europe, euro;
the Netherlands: Amsterdam, Dutch, Europe, euro; Poland: Warsaw, Polish, Europe, zloty;
Hungary: Budapest, Hungarian, Europe, forint; the Czech Republic: Prague, -, Europe, koruna;
Sweden: Stockholm, Swedish, Europe, krona; Norway: Oslo, Norwegian, Europe, krone;
Denmark: Copenhagen, Danish, Europe, krone; Finland: Helsinki, Finnish, Europe, euro;
Iceland: Reykjavik, -, Europe, krona; Russia: Moscow, -, -, ruble; Ukraine: Kyiv, Ukrainian, Europe, hryvnia;
Turkey: Ankara, Turkish, -, lira; Egypt: Cairo, Arabic, Africa, pound; Morocco: Rabat, Arabic, Africa, dirham;
Kenya: Nairobi, -, Africa, shilling; Nigeria: Abuja, English, Africa, naira; Iran: Tehran, Persian, Asia, rial;
Iraq: Baghdad, Arabic, Asia, dinar; Syria: Damascus, Arabic, Asia, pound; Saudi Arabia: Riyadh, Arabic, Asia, riyal;
Jordan: Amman, Arabic, Asia, dinar; India: New Delhi, -, Asia, rupee; Pakistan: Islamabad, -, Asia, rupee;
Bangladesh: Dhaka, Bengali, Asia, taka; China: Beijing, Chinese, Asia, yuan; Japan: Tokyo, -, Asia, yen;
South Korea: Seoul, -, Asia, won; Vietnam: Hanoi, -, Asia, dong; Thailand: Bangkok, -, Asia, baht;
Cambodia: Phnom Penh, Khmer, Asia, riel; Indonesia: Jakarta, -, Asia, rupiah; the Philippines: Manila, -, Asia, peso;
Canada: Ottawa, -, North America, dollar; Mexico: -, Spanish, North America, peso;
Cuba: Havana, Spanish, North America, peso; Jamaica: Kingston, English, -, dollar;
the United States: Washington, English, North America, dollar; Brazil: Brasilia, Portuguese, South America, real;
Argentina: Buenos Aires, Spanish, South America, peso; Chile: Santiago, Spanish, South America, peso;
Peru: Lima, Spanish, South America, sol; Colombia: Bogota, Spanish, South America, peso;
Venezuela: Caracas, Spanish, South America, -; Ecuador: Quito, Spanish, South America, dollar;
Australia: Canberra, English, -, dollar; New Zealand: Wellington, English, -, dollar"""

STATES = """California: Sacramento; Texas: Austin; Florida: Tallahassee; New York: Albany; Illinois: Springfield;
Pennsylvania: Harrisburg; Ohio: Columbus; Georgia: Atlanta; Michigan: Lansing; Washington: Olympia; Arizona: Phoenix;
Massachusetts: Boston; Tennessee: Nashville; Missouri: Jefferson City; Maryland: Annapolis; Wisconsin: Madison;
Colorado: Denver; Minnesota: Saint Paul; Louisiana: Baton Rouge; Alabama: Montgomery; Oregon: Salem;
Nevada: Carson City; Utah: Salt Lake City; Hawaii: Honolulu; Alaska: Juneau; Virginia: Richmond;
North Carolina: Raleigh; Kentucky: Frankfort; Nebraska: Lincoln; Kansas: Topeka; New Mexico: Santa Fe; Montana: Helena;
New Jersey: Trenton; Connecticut: Hartford; South Dakota: Pierre; Mississippi: Jackson"""

HOMES = """Shakespeare: England; Dickens: England; Tolstoy: Russia; Dostoevsky: Russia; Austen: England; Hugo: France;
Goethe: Germany; Cervantes: Spain; Joyce: Ireland; Verne: France; Flaubert: France; Chaucer: England; Ibsen: Norway;
Beethoven: Germany; Mozart: Austria; Vivaldi: Italy; Wagner: Germany; Verdi: Italy; Rossini: Italy; Bizet: France;
da Vinci: Italy; Picasso: Spain; van Gogh: the Netherlands; Monet: France; Munch: Norway; Dali: Spain; Rodin: France;
Einstein: Germany; Newton: England; Darwin: England; Fleming: Scotland; Bell: Scotland; Freud: Austria; Marx: Germany;
Gutenberg: Germany; Nobel: Sweden; Mendeleev: Russia; Curie: Poland; Pasteur: France; Watt: Scotland; Hawking: England;
Gagarin: Russia"""

COUNTRY = {"capital": 0, "language": 1, "continent": 2, "currency": 3}

# name: (prompt around {s}, description or bridge entity; "bridge entity: answer; ...")
SECOND: dict[str, tuple[str, str]] = {
    "capital": ("The capital of {s} is", ""),
    "language": ("The main language spoken in {s} is", ""),
    "continent": ("Geographically, {s} is part of the continent of", ""),
    "currency": ("The currency of {s} is the", ""),
    "statehouse": ("The governor of {s} works in the state capital,", STATES),
    "home": ("The home country of {s} was", HOMES),
    "author": (
        "Readers of {s} admire its author,",
        """Moby Dick: Herman Melville; 1984: George Orwell; Animal Farm: George Orwell;
        Pride and Prejudice: Jane Austen; Wuthering Heights: Emily Bronte; Jane Eyre: Charlotte Bronte;
        Hamlet: William Shakespeare; Romeo and Juliet: William Shakespeare; Macbeth: William Shakespeare;
        A Christmas Carol: Charles Dickens; Oliver Twist: Charles Dickens; Great Expectations: Charles Dickens;
        Frankenstein: Mary Shelley; Dracula: Bram Stoker; Don Quixote: Miguel de Cervantes; Les Miserables: Victor Hugo;
        Crime and Punishment: Fyodor Dostoevsky; War and Peace: Leo Tolstoy; To Kill a Mockingbird: Harper Lee;
        Twenty Thousand Leagues Under the Sea: Jules Verne; Treasure Island: Robert Louis Stevenson;
        Robinson Crusoe: Daniel Defoe; Gulliver's Travels: Jonathan Swift; Alice in Wonderland: Lewis Carroll;
        The Hobbit: Tolkien; The Jungle Book: Rudyard Kipling; The Metamorphosis: Franz Kafka;
        The Grapes of Wrath: John Steinbeck; The Odyssey: Homer; The Iliad: Homer;
        The Picture of Dorian Gray: Oscar Wilde; Brave New World: Aldous Huxley""",
    ),
    "symbol": (
        "The chemical symbol for {s} is",
        """gold: Au; silver: Ag; iron: Fe; lead: Pb; tin: Sn; mercury: Hg; sodium: Na; potassium: K; tungsten: W;
        zinc: Zn; chlorine: Cl; magnesium: Mg; chromium: Cr; copper: Cu; plutonium: Pu; radon: Rn""",
    ),
    "young": (
        "The baby of {s} is called a",
        """a sheep: lamb; a cow: calf; a dog: puppy; a cat: kitten; a horse: foal; a kangaroo: joey; a lion: cub;
        a tiger: cub; a giraffe: calf; an elephant: calf; a camel: calf; a whale: calf; a wolf: pup; a bear: cub;
        a beaver: kit; a penguin: chick; a hen: chick; a bat: pup; a deer: fawn; a frog: tadpole; a goat: kid;
        a koala: joey; a panda: cub; a butterfly: caterpillar; a shark: pup; a dolphin: calf""",
    ),
    "class": (
        "In biology, {s} belongs to the group of",
        """the sheep: mammals; the kangaroo: mammals; the giraffe: mammals; the elephant: mammals; the whale: mammals;
        the bat: mammals; the dolphin: mammals; the bear: mammals; the beaver: mammals; the koala: mammals;
        the penguin: birds; the eagle: birds; the owl: birds; the hen: birds; the duck: birds; the rooster: birds;
        the frog: amphibians; the butterfly: insects; the bee: insects; the mosquito: insects; the snake: reptiles;
        the turtle: reptiles; the crocodile: reptiles; the shark: fish; the salmon: fish""",
    ),
    "sound": (
        "The typical noise of {s} is a loud",
        """a cow: moo; a dog: bark; a cat: meow; a lion: roar; a duck: quack; a horse: neigh; a snake: hiss;
        a bee: buzz; a pig: grunt; a sheep: bleat; an owl: hoot; a frog: croak; a wolf: howl; a rooster: crow""",
    ),
    "next": (
        "After {s} comes the month of",
        """January: February; February: March; March: April; April: May; May: June; June: July; July: August;
        August: September; September: October; October: November; November: December; December: January""",
    ),
    "color": (
        "The usual color of {s} is",
        """a banana: yellow; a lemon: yellow; a carrot: orange; a pumpkin: orange; spinach: green; a tomato: red;
        milk: white; snow: white; blood: red; grass: green; the sky: blue; coal: black; the sun: yellow;
        an emerald: green; a flamingo: pink; chocolate: brown; a raven: black; an avocado: green; a school bus: yellow;
        a fire truck: red; a polar bear: white; a rose: red; broccoli: green; cotton: white; the ocean: blue; Mars: red;
        an apple: red; flour: white""",
    ),
    "opposite": (
        "The opposite of {s} is",
        """cold: hot; hot: cold; east: west; west: east; north: south; white: black; black: white; slow: fast;
        fast: slow; happy: sad; sad: happy; young: old; heavy: light; rich: poor; poor: rich; soft: hard; hard: soft;
        dry: wet; wet: dry; night: day; day: night; heaven: hell; victory: defeat; war: peace; first: last; left: right;
        up: down; down: up; love: hate; small: large; tall: short; strong: weak; quiet: loud; deep: shallow;
        wide: narrow; expensive: cheap; loud: quiet; shallow: deep; narrow: wide; cheap: expensive; clean: dirty;
        dirty: clean; ancient: modern; negative: positive; positive: negative; hell: heaven; death: life;
        failure: success; false: true; full: empty; closed: open""",
    ),
    "greek": (
        "In Greek mythology, the counterpart of {s} is",
        """Mars: Ares; Neptune: Poseidon; Jupiter: Zeus; Venus: Aphrodite; Minerva: Athena; Diana: Artemis;
        Mercury: Hermes; Bacchus: Dionysus; Vulcan: Hephaestus; Juno: Hera; Ceres: Demeter; Pluto: Hades""",
    ),
    "founder": (
        "The founder of {s} was",
        """Apple: Steve Jobs; Microsoft: Bill Gates; Facebook: Mark Zuckerberg; Amazon: Jeff Bezos; SpaceX: Elon Musk;
        IKEA: Ingvar Kamprad; Nike: Phil Knight; Wikipedia: Jimmy Wales; Linux: Linus Torvalds; Islam: Muhammad;
        the Mongol Empire: Genghis Khan; Christianity: Jesus; Twitter: Jack Dorsey; Walmart: Sam Walton""",
    ),
    "place": (
        "{s} works in a",
        """a teacher: school; a surgeon: hospital; a waiter: restaurant; a judge: courtroom; a priest: church;
        a scientist: laboratory; a mechanic: garage; an actor: theater; a professor: university; a monk: monastery;
        an artist: studio; a nurse: hospital; a chef: kitchen; a blacksmith: forge""",
    ),
}
