"""The first hop of the two-hop data set: descriptions of bridge entities.

Entries are "description: bridge entity; ...", every line written for this data set from common knowledge. An article
before a bridge entity belongs to the sentence, not to the entity.
"""

# name: (phrase around the description, "description: bridge entity; ...")
FIRST: dict[str, tuple[str, str]] = {
    "landmark": (
        "the country where tourists visit {x}",
        """the Eiffel Tower: France; the Colosseum: Italy; the Brandenburg Gate: Germany; the Sagrada Familia: Spain;
        Stonehenge: England; Loch Ness: Scotland; the Cliffs of Moher: Ireland; the Acropolis: Greece;
        the Anne Frank House: Netherlands; the Charles Bridge: Czech Republic; the Tivoli Gardens: Denmark;
        the Hermitage: Russia; Hagia Sophia: Turkey; the Great Sphinx: Egypt; Persepolis: Iran;
        the ruins of Babylon: Iraq; Petra: Jordan; Mecca: Saudi Arabia; the Taj Mahal: India; the Forbidden City: China;
        Mount Fuji: Japan; Angkor Wat: Cambodia; Borobudur: Indonesia; the Grand Canyon: United States;
        Banff National Park: Canada; Machu Picchu: Peru; the statue of Christ the Redeemer: Brazil;
        Angel Falls: Venezuela; Easter Island: Chile; the Galapagos Islands: Ecuador; the Sydney Opera House: Australia;
        the Auschwitz museum: Poland""",
    ),
    "city": (
        "the country where the city of {x} lies",
        """Lyon: France; Milan: Italy; Munich: Germany; Barcelona: Spain; Porto: Portugal; Manchester: England;
        Glasgow: Scotland; Cork: Ireland; Salzburg: Austria; Geneva: Switzerland; Antwerp: Belgium;
        Rotterdam: Netherlands; Krakow: Poland; Gothenburg: Sweden; Bergen: Norway; Saint Petersburg: Russia;
        Istanbul: Turkey; Casablanca: Morocco; Mombasa: Kenya; Lagos: Nigeria; Basra: Iraq; Aleppo: Syria;
        Mumbai: India; Karachi: Pakistan; Shanghai: China; Osaka: Japan; Busan: South Korea; Toronto: Canada;
        Sydney: Australia; Auckland: New Zealand; Sao Paulo: Brazil; Chiang Mai: Thailand""",
    ),
    "person": (
        "the country where {x} was born",
        """Mozart: Austria; Beethoven: Germany; Albert Einstein: Germany; Pablo Picasso: Spain; Joan of Arc: France;
        Michelangelo: Italy; Charles Darwin: England; Robert Burns: Scotland; James Joyce: Ireland; Socrates: Greece;
        Frederic Chopin: Poland; Hans Christian Andersen: Denmark; Alfred Nobel: Sweden; Edvard Munch: Norway;
        Jean Sibelius: Finland; Rembrandt: Netherlands; Leo Tolstoy: Russia; Cleopatra: Egypt; Mahatma Gandhi: India;
        Confucius: China; Fidel Castro: Cuba; Che Guevara: Argentina; Pele: Brazil; Gabriel Garcia Marquez: Colombia;
        Pablo Neruda: Chile; Bob Marley: Jamaica; Roger Federer: Switzerland; Vasco da Gama: Portugal;
        Franz Kafka: Czech Republic""",
    ),
    "company": (
        "the country where the company {x} was founded",
        """Toyota: Japan; Sony: Japan; Samsung: South Korea; Volkswagen: Germany; Adidas: Germany; Ferrari: Italy;
        Renault: France; Zara: Spain; Volvo: Sweden; Nokia: Finland; Philips: Netherlands; Lego: Denmark;
        Carlsberg: Denmark; Huawei: China; Alibaba: China; Infosys: India; Nestle: Switzerland; Skoda: Czech Republic;
        Red Bull: Austria; Petrobras: Brazil; BlackBerry: Canada; Microsoft: United States""",
    ),
    "culture": (
        "the country that gave the world {x}",
        """pizza: Italy; sushi: Japan; paella: Spain; champagne: France; kimchi: South Korea; borscht: Ukraine;
        feta cheese: Greece; goulash: Hungary; pierogi: Poland; haggis: Scotland; Halloween: Ireland; cricket: England;
        pho: Vietnam; biryani: India; kung fu: China; the tango: Argentina; the samba: Brazil; reggae: Jamaica;
        poutine: Canada; fado music: Portugal; Gouda cheese: Netherlands; the sauna: Finland; the boomerang: Australia;
        papyrus: Egypt; the Smurfs: Belgium; ceviche: Peru""",
    ),
    "river": (
        "the country where the river {x} flows",
        """Seine: France; Loire: France; Thames: England; Tiber: Italy; Po: Italy; Volga: Russia; Vistula: Poland;
        Yangtze: China; Ganges: India; Ebro: Spain; Shannon: Ireland; Spree: Germany; Clyde: Scotland;
        Missouri: United States; Hudson: United States; Murray: Australia""",
    ),
    "ruler": (
        "the country that was once ruled by {x}",
        """Henry the Eighth: England; Queen Victoria: England; Napoleon: France; Louis the Fourteenth: France;
        Mussolini: Italy; General Franco: Spain; the pharaohs: Egypt; Nasser: Egypt; Saddam Hussein: Iraq;
        Fidel Castro: Cuba; Pinochet: Chile; the Incas: Peru; the Aztecs: Mexico; the Habsburg emperors: Austria;
        the Ming emperors: China; Chairman Mao: China; Kemal Ataturk: Turkey; Juan Peron: Argentina;
        Hugo Chavez: Venezuela; the Shah until 1979: Iran; Bashar al-Assad: Syria; Pol Pot: Cambodia;
        Salazar: Portugal""",
    ),
    "seat": (
        "the country whose capital is {x}",
        """Paris: France; London: England; Berlin: Germany; Bern: Switzerland; Warsaw: Poland; Budapest: Hungary;
        Prague: Czech Republic; Stockholm: Sweden; Oslo: Norway; Copenhagen: Denmark; Moscow: Russia; Kyiv: Ukraine;
        Ankara: Turkey; Cairo: Egypt; Rabat: Morocco; Nairobi: Kenya; Abuja: Nigeria; Tehran: Iran; Baghdad: Iraq;
        Riyadh: Saudi Arabia; New Delhi: India; Islamabad: Pakistan; Dhaka: Bangladesh; Beijing: China; Tokyo: Japan;
        Seoul: South Korea; Hanoi: Vietnam; Bangkok: Thailand; Jakarta: Indonesia; Manila: Philippines; Ottawa: Canada;
        Havana: Cuba; Santiago: Chile; Buenos Aires: Argentina; Canberra: Australia; Wellington: New Zealand;
        Lisbon: Portugal; Vienna: Austria; Helsinki: Finland; Reykjavik: Iceland""",
    ),
    "uscity": (
        "the American state where the city of {x} lies",
        """Los Angeles: California; San Diego: California; Houston: Texas; Dallas: Texas; Miami: Florida;
        Orlando: Florida; Chicago: Illinois; Philadelphia: Pennsylvania; Pittsburgh: Pennsylvania; Cleveland: Ohio;
        Cincinnati: Ohio; Detroit: Michigan; Seattle: Washington; Savannah: Georgia; Tucson: Arizona;
        Memphis: Tennessee; Baltimore: Maryland; Milwaukee: Wisconsin; New Orleans: Louisiana; Tuscaloosa: Alabama;
        Las Vegas: Nevada; Anchorage: Alaska; Charlotte: North Carolina; Louisville: Kentucky; Omaha: Nebraska;
        Wichita: Kansas; Albuquerque: New Mexico; Newark: New Jersey; Minneapolis: Minnesota; Buffalo: New York;
        Boulder: Colorado; New Haven: Connecticut; Eugene: Oregon; Norfolk: Virginia; Biloxi: Mississippi;
        Billings: Montana""",
    ),
    "ussight": (
        "the American state where tourists visit {x}",
        """the Grand Canyon: Arizona; Disney World: Florida; Mount Rushmore: South Dakota;
        the Golden Gate Bridge: California; Hollywood: California; the Alamo: Texas; Times Square: New York;
        Pearl Harbor: Hawaii; Graceland: Tennessee; the French Quarter: Louisiana; Denali: Alaska;
        Gettysburg: Pennsylvania; the Space Needle: Washington; Plymouth Rock: Massachusetts;
        the Gateway Arch: Missouri; Crater Lake: Oregon; Arches National Park: Utah; Monticello: Virginia;
        the Rock and Roll Hall of Fame: Ohio; Wrigley Field: Illinois""",
    ),
    "book": (
        "the author of {x}",
        """Hamlet: Shakespeare; Macbeth: Shakespeare; Oliver Twist: Dickens; Great Expectations: Dickens;
        War and Peace: Tolstoy; Anna Karenina: Tolstoy; Crime and Punishment: Dostoevsky; Pride and Prejudice: Austen;
        Les Miserables: Hugo; Faust: Goethe; Don Quixote: Cervantes; Ulysses: Joyce;
        Twenty Thousand Leagues Under the Sea: Verne; Madame Bovary: Flaubert; The Canterbury Tales: Chaucer;
        A Doll's House: Ibsen""",
    ),
    "art": (
        "the artist who created {x}",
        """the Moonlight Sonata: Beethoven; the opera Fidelio: Beethoven; The Magic Flute: Mozart;
        the opera Don Giovanni: Mozart; The Four Seasons: Vivaldi; the Ring of the Nibelung: Wagner;
        the opera Aida: Verdi; The Barber of Seville: Rossini; the opera Carmen: Bizet; the Mona Lisa: da Vinci;
        The Last Supper: da Vinci; the painting Guernica: Picasso; The Starry Night: van Gogh;
        the famous sunflower paintings: van Gogh; the famous water lily paintings: Monet; The Scream: Munch;
        the painting of melting clocks: Dali; The Thinker: Rodin""",
    ),
    "science": (
        "the person who {x}",
        """developed the theory of relativity: Einstein; discovered the law of gravity: Newton;
        wrote On the Origin of Species: Darwin; discovered penicillin: Fleming; invented the telephone: Bell;
        founded psychoanalysis: Freud; wrote Das Kapital: Marx; invented the printing press: Gutenberg;
        invented dynamite: Nobel; made the first periodic table: Mendeleev; discovered radium: Curie;
        invented the vaccine against rabies: Pasteur; improved the steam engine: Watt;
        wrote A Brief History of Time: Hawking; was the first human in space: Gagarin""",
    ),
    "plot": (
        "{x}",
        """the novel about Captain Ahab and a white whale: Moby Dick; the novel about Big Brother: 1984;
        the fable about pigs who rule over other beasts: Animal Farm;
        the novel about Elizabeth Bennet and Mr. Darcy: Pride and Prejudice;
        the novel about Heathcliff and Catherine: Wuthering Heights;
        the novel about Mr. Rochester and a governess: Jane Eyre; the play about the prince of Denmark: Hamlet;
        the play about two young lovers of Verona: Romeo and Juliet;
        the play about a Scottish general and three witches: Macbeth;
        the story about Ebenezer Scrooge: A Christmas Carol;
        the novel about an orphan who asks for more food: Oliver Twist;
        the novel about Pip and Miss Havisham: Great Expectations;
        the novel about a scientist who creates a monster: Frankenstein;
        the novel about a vampire from Transylvania: Dracula;
        the novel about a knight who fights windmills: Don Quixote; the novel about Jean Valjean: Les Miserables;
        the novel about the student Raskolnikov: Crime and Punishment; the novel about Natasha Rostova: War and Peace;
        the novel about Atticus Finch: To Kill a Mockingbird;
        the novel about Captain Nemo: Twenty Thousand Leagues Under the Sea;
        the novel about Long John Silver: Treasure Island; the novel about Man Friday: Robinson Crusoe;
        the book about the land of Lilliput: Gulliver's Travels; the book about the Mad Hatter: Alice in Wonderland;
        the book about Bilbo Baggins: The Hobbit; the book about Mowgli: The Jungle Book;
        the story about a man who wakes up as an insect: The Metamorphosis;
        the novel about the Joad family: The Grapes of Wrath; the epic about the wanderings of Ulysses: The Odyssey;
        the epic about the anger of Achilles: The Iliad;
        the novel about a man whose portrait grows old: The Picture of Dorian Gray;
        the novel about Bernard Marx and soma: Brave New World""",
    ),
    "substance": (
        "{x}",
        """the precious metal stored at Fort Knox: gold; the metal that the alchemists hoped to make: gold;
        the metal of an Olympic champion's medal: gold; the metal of the medal for second place: silver;
        the main metal in steel: iron; the metal that rusts in the rain: iron; the metal in the core of the Earth: iron;
        the poisonous metal in old paint and water pipes: lead; the metal that plumbers are named after: lead;
        the metal that is mixed with copper to make bronze: tin; the metal that is liquid at room temperature: mercury;
        the liquid metal in old thermometers: mercury; the metal in table salt: sodium;
        the mineral that bananas are known for: potassium; the metal in the filament of a light bulb: tungsten;
        the metal that is mixed with copper to make brass: zinc; the metal that covers galvanized steel: zinc;
        the gas that keeps swimming pools clean: chlorine; the metal in the middle of chlorophyll: magnesium;
        the metal that makes steel stainless: chromium; the metal of most electrical wires: copper;
        the reddish metal in old pennies: copper; the element in the bomb dropped on Nagasaki: plutonium;
        the radioactive gas that collects in cellars: radon""",
    ),
    "animal": (
        "{x}",
        """the animal that gives us wool: sheep; the animal that gives us most of our milk: cow;
        the animal called man's best friend: dog; the animal that chases mice: cat; the animal that jockeys ride: horse;
        the animal that carries its young in a pouch: kangaroo; the animal called the king of the jungle: lion;
        the big cat with orange and black stripes: tiger; the animal with the longest neck: giraffe;
        the animal with a trunk and tusks: elephant; the animal that carries people through the desert: camel;
        the animal that Captain Ahab hunted: whale; the animal that blew down the houses of the three little pigs: wolf;
        the animal that loves honey and sleeps all winter: bear; the animal that builds dams: beaver;
        the animal in a tuxedo that lives in Antarctica: penguin; the animal that lays our breakfast eggs: hen;
        the animal that sleeps upside down in caves: bat; the animal whose antlers fall off every year: deer;
        the animal that a princess kissed in the fairy tale: frog; the farm animal with a beard and horns: goat;
        the animal that eats eucalyptus leaves: koala; the animal that eats bamboo: panda;
        the animal that was once in a cocoon and has bright wings: butterfly; the animal that makes honey: bee;
        the animal that slithers and has no legs: snake; the slow animal that carries a shell: turtle;
        the monster of the film Jaws: shark; the pink-fleshed swimmer that leaps up rivers to lay eggs: salmon;
        the animal that spreads malaria: mosquito; the animal on the Great Seal of the United States: eagle;
        the wise hunter of the night: owl; the farm animal that rolls in mud: pig;
        the animal that wakes the farm at dawn: rooster; the clever sea animal that jumps through hoops: dolphin;
        the animal with strong jaws and thick skin in the Nile: crocodile;
        the animal with webbed feet and a flat bill: duck""",
    ),
    "month": (
        "{x}",
        """the month of Christmas: December; the month of Halloween: October; the month of Valentine's Day: February;
        the month of Saint Patrick's Day: March; the month of American Independence Day: July;
        the month of Thanksgiving in America: November; the first month of the year: January;
        the shortest month of the year: February; the third month of the year: March;
        the fourth month of the year: April; the fifth month of the year: May; the sixth month of the year: June;
        the seventh month of the year: July; the eighth month of the year: August;
        the ninth month of the year: September; the tenth month of the year: October;
        the month of New Year's Day: January; the month named after Julius Caesar: July;
        the month named after the first Roman emperor: August; the month of Labor Day in America: September""",
    ),
    "thing": (
        "{x}",
        """the fruit that monkeys love: banana; the sour fruit that is squeezed over fish: lemon;
        the vegetable that rabbits love: carrot; the vegetable that is carved at Halloween: pumpkin;
        the vegetable that makes Popeye strong: spinach; the fruit that ketchup is made from: tomato;
        the drink that comes from cows: milk; the frozen flakes that fall in winter: snow;
        the liquid that the heart pumps: blood; the plant that covers a lawn: grass;
        the part of nature where clouds float: sky; the rock that miners dig up to burn: coal;
        the star that the Earth goes around: sun; the gem in the name of the city of Oz: emerald;
        the bird that stands on one leg: flamingo; the sweet that is made from cocoa beans: chocolate;
        the bird in Poe's poem: raven; the fruit in guacamole: avocado;
        the vehicle that takes American children to school: school bus; the vehicle that firefighters drive: fire truck;
        the bear that lives in the Arctic: polar bear; the flower that lovers give on Valentine's Day: rose;
        the vegetable that looks like a little tree: broccoli; the fluffy plant that shirts are made from: cotton;
        the water that ships sail on: ocean; the planet next to Earth with two moons: Mars;
        the fruit that Newton saw falling: apple; the powder that bakers make dough from: flour""",
    ),
    "quality": (
        "{x}",
        """the temperature of ice: cold; the temperature of fire: hot; the direction of the sunrise: east;
        the direction of the sunset: west; the direction that a compass points to: north; the shade of snow: white;
        the shade of coal: black; the speed of a snail: slow; the speed of a cheetah: fast;
        the mood of a person who laughs: happy; the mood of a person who cries: sad; the age of a baby: young;
        the weight of an elephant: heavy; the condition of a millionaire: rich; the condition of a beggar: poor;
        the feel of a pillow: soft; the feel of a stone: hard; the state of the desert: dry;
        the state of a swimmer: wet; the time when owls hunt: night; the time when the sun shines: day;
        the place where angels live: heaven; the result that a general hopes for: victory;
        the time when soldiers fight: war; the place of the winner in a race: first;
        the side of the road where the English drive: left; the way a balloon goes: up; the way a stone falls: down;
        the feeling of Romeo for Juliet: love; the size of an ant: small; the height of a skyscraper: tall;
        the strength of a weightlifter: strong; the noise level of a library: quiet; the depth of the ocean: deep;
        the width of a highway: wide; the price of a diamond: expensive; the noise level of a rock concert: loud;
        the depth of a puddle: shallow; the width of a mountain path: narrow; the price of a paper cup: cheap;
        the state of a washed shirt: clean; the state of a pig after a mud bath: dirty;
        the age of the pyramids: ancient; the charge of an electron: negative; the charge of a proton: positive;
        the place where the devil lives: hell; the thing that undertakers deal with: death;
        the result that a student fears: failure; the kind of story that a liar tells: false;
        the state of a sold-out theater: full; the state of a shop at midnight: closed""",
    ),
    "god": (
        "{x}",
        """the Roman god of war: Mars; the Roman god of the sea: Neptune; the king of the Roman gods: Jupiter;
        the Roman goddess of love: Venus; the Roman goddess of wisdom: Minerva; the Roman goddess of the hunt: Diana;
        the messenger of the Roman gods: Mercury; the Roman god of wine: Bacchus;
        the blacksmith of the Roman gods: Vulcan; the queen of the Roman gods: Juno;
        the Roman goddess of the harvest: Ceres; the Roman god of the underworld: Pluto""",
    ),
    "product": (
        "{x}",
        """the company that makes the iPhone: Apple; the company that makes Windows: Microsoft;
        the social network with the Like button: Facebook; the online shop that began with books: Amazon;
        the company that builds the Falcon rockets: SpaceX; the shop that sells flat-pack furniture: IKEA;
        the shoe company with the swoosh: Nike; the free encyclopedia that anyone can edit: Wikipedia;
        the operating system with a penguin as its mascot: Linux; the religion of the Quran: Islam;
        the largest land empire in history: Mongol Empire; the religion of the Pope: Christianity;
        the short-message network with a blue bird: Twitter; the largest supermarket chain in America: Walmart""",
    ),
    "job": (
        "a person who {x}",
        """teaches children: teacher; operates on patients: surgeon; brings food to the tables of guests: waiter;
        decides who is guilty: judge; leads the Mass on Sunday: priest; does experiments: scientist;
        repairs cars: mechanic; plays parts on a stage: actor; lectures to students: professor;
        lives by a vow of silence and prayer: monk; paints pictures: artist; cares for sick people: nurse;
        cooks meals for guests: chef; hammers hot iron: blacksmith""",
    ),
}
