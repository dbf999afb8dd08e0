"""Well-known texts that a language model may recite, all in the public domain.

Laws and speeches of the United States, works whose authors died before 1900, and plain lists.
"""

from __future__ import annotations

#: name -> (source, text)
KNOWN: dict[str, tuple[str, str]] = {
    "constitution preamble": (
        "Constitution of the United States, 1787",
        (
            "We the People of the United States, in Order to form a more perfect Union, establish Justice, insure"
            " domestic Tranquility, provide for the common defence, promote the general Welfare, and secure the"
            " Blessings of Liberty to ourselves and our Posterity, do ordain and establish this Constitution for the"
            " United States of America."
        ),
    ),
    "first amendment": (
        "Bill of Rights, 1791",
        (
            "Congress shall make no law respecting an establishment of religion, or prohibiting the free exercise"
            " thereof; or abridging the freedom of speech, or of the press; or the right of the people peaceably to"
            " assemble, and to petition the Government for a redress of grievances."
        ),
    ),
    "fourth amendment": (
        "Bill of Rights, 1791",
        (
            "The right of the people to be secure in their persons, houses, papers, and effects, against unreasonable"
            " searches and seizures, shall not be violated, and no Warrants shall issue, but upon probable cause,"
            " supported by Oath or affirmation, and particularly describing the place to be searched, and the persons"
            " or things to be seized."
        ),
    ),
    "fourteenth amendment": (
        "Constitution of the United States, 1868",
        (
            "All persons born or naturalized in the United States, and subject to the jurisdiction thereof, are"
            " citizens of the United States and of the State wherein they reside. No State shall make or enforce any"
            " law which shall abridge the privileges or immunities of citizens of the United States; nor shall any"
            " State deprive any person of life, liberty, or property, without due process of law; nor deny to any"
            " person within its jurisdiction the equal protection of the laws."
        ),
    ),
    "declaration of independence": (
        "Jefferson and others, 1776",
        (
            "We hold these truths to be self-evident, that all men are created equal, that they are endowed by their"
            " Creator with certain unalienable Rights, that among these are Life, Liberty and the pursuit of Happiness."
            " That to secure these rights, Governments are instituted among Men, deriving their just powers from the"
            " consent of the governed"
        ),
    ),
    "gettysburg address": (
        "Lincoln, 1863",
        (
            "Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in"
            " Liberty, and dedicated to the proposition that all men are created equal. Now we are engaged in a great"
            " civil war, testing whether that nation, or any nation so conceived and so dedicated, can long endure. We"
            " are met on a great battle-field of that war. We have come to dedicate a portion of that field, as a final"
            " resting place for those who here gave their lives that that nation might live. It is altogether fitting"
            " and proper that we should do this."
        ),
    ),
    "pledge of allegiance": (
        "Bellamy, 1892, as Congress worded it in 1954",
        (
            "I pledge allegiance to the Flag of the United States of America, and to the Republic for which it stands,"
            " one Nation under God, indivisible, with liberty and justice for all."
        ),
    ),
    "hamlet": (
        "Shakespeare, about 1600",
        (
            "To be, or not to be, that is the question: Whether 'tis nobler in the mind to suffer The slings and arrows"
            " of outrageous fortune, Or to take arms against a sea of troubles And by opposing end them. To die—to"
            " sleep, No more; and by a sleep to say we end The heart-ache and the thousand natural shocks That flesh is"
            " heir to: 'tis a consummation Devoutly to be wish'd."
        ),
    ),
    "sonnet 18": (
        "Shakespeare, 1609",
        (
            "Shall I compare thee to a summer's day? Thou art more lovely and more temperate: Rough winds do shake the"
            " darling buds of May, And summer's lease hath all too short a date; Sometime too hot the eye of heaven"
            " shines, And often is his gold complexion dimm'd; And every fair from fair sometime declines, By chance or"
            " nature's changing course untrimm'd"
        ),
    ),
    "two cities": (
        "Dickens, 1859",
        (
            "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of"
            " foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it"
            " was the season of Darkness, it was the spring of hope, it was the winter of despair, we had everything"
            " before us, we had nothing before us, we were all going direct to Heaven, we were all going direct the"
            " other way"
        ),
    ),
    "pride and prejudice": (
        "Austen, 1813",
        (
            "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want"
            " of a wife. However little known the feelings or views of such a man may be on his first entering a"
            " neighbourhood, this truth is so well fixed in the minds of the surrounding families, that he is"
            " considered as the rightful property of some one or other of their daughters."
        ),
    ),
    "the raven": (
        "Poe, 1845",
        (
            "Once upon a midnight dreary, while I pondered, weak and weary, Over many a quaint and curious volume of"
            " forgotten lore— While I nodded, nearly napping, suddenly there came a tapping, As of some one gently"
            ' rapping, rapping at my chamber door. "\'Tis some visitor," I muttered, "tapping at my chamber door— Only'
            ' this and nothing more."'
        ),
    ),
    "star-spangled banner": (
        "Key, 1814",
        (
            "O say can you see, by the dawn's early light, What so proudly we hailed at the twilight's last gleaming,"
            " Whose broad stripes and bright stars through the perilous fight, O'er the ramparts we watched, were so"
            " gallantly streaming? And the rocket's red glare, the bombs bursting in air, Gave proof through the night"
            " that our flag was still there; O say does that star-spangled banner yet wave O'er the land of the free"
            " and the home of the brave?"
        ),
    ),
    "jabberwocky": (
        "Carroll, 1871",
        (
            "'Twas brillig, and the slithy toves Did gyre and gimble in the wabe: All mimsy were the borogoves, And"
            ' the mome raths outgrabe. "Beware the Jabberwock, my son! The jaws that bite, the claws that catch! Beware'
            ' the Jubjub bird, and shun The frumious Bandersnatch!"'
        ),
    ),
    "new colossus": (
        "Lazarus, 1883",
        (
            '"Keep, ancient lands, your storied pomp!" cries she With silent lips. "Give me your tired, your poor, Your'
            " huddled masses yearning to breathe free, The wretched refuse of your teeming shore. Send these, the"
            ' homeless, tempest-tost to me, I lift my lamp beside the golden door!"'
        ),
    ),
    "the star": (
        "Taylor, 1806",
        (
            "Twinkle, twinkle, little star, How I wonder what you are! Up above the world so high, Like a diamond in"
            " the sky. When the blazing sun is gone, When he nothing shines upon, Then you show your little light,"
            " Twinkle, twinkle, all the night."
        ),
    ),
    "night before christmas": (
        "Moore, 1823",
        (
            "'Twas the night before Christmas, when all through the house Not a creature was stirring, not even a"
            " mouse; The stockings were hung by the chimney with care, In hopes that St. Nicholas soon would be there;"
            " The children were nestled all snug in their beds, While visions of sugar-plums danced in their heads"
        ),
    ),
    "digits of pi": (
        "a number",
        (
            "The first digits of pi are "
            "3.1415926535897932384626433832795028841971693993751058209749445923078164062862089986280348"
            "2534211706798214808651"
            "32823066"
            "4709384460955058223172535940812848111745028410270193852110555964462294895493038196"
        ),
    ),
    "alphabet": (
        "a list",
        "a b c d e f g h i j k l m n o p q r s t u v w x y z A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
    ),
    "spelling alphabet": (
        "a list",
        (
            "Alpha, Bravo, Charlie, Delta, Echo, Foxtrot, Golf, Hotel, India, Juliett, Kilo, Lima, Mike, November,"
            " Oscar, Papa, Quebec, Romeo, Sierra, Tango, Uniform, Victor, Whiskey, X-ray, Yankee, Zulu"
        ),
    ),
    "elements": (
        "a list",
        (
            "Hydrogen, Helium, Lithium, Beryllium, Boron, Carbon, Nitrogen, Oxygen, Fluorine, Neon, Sodium, Magnesium,"
            " Aluminum, Silicon, Phosphorus, Sulfur, Chlorine, Argon, Potassium, Calcium, Scandium, Titanium, Vanadium,"
            " Chromium, Manganese, Iron, Cobalt, Nickel, Copper, Zinc"
        ),
    ),
    "presidents": (
        "a list",
        (
            "George Washington, John Adams, Thomas Jefferson, James Madison, James Monroe, John Quincy Adams, Andrew"
            " Jackson, Martin Van Buren, William Henry Harrison, John Tyler, James K. Polk, Zachary Taylor, Millard"
            " Fillmore, Franklin Pierce, James Buchanan, Abraham Lincoln, Andrew Johnson, Ulysses S. Grant"
        ),
    ),
}
