"""Short texts on everyday things, written for this package (CC0): what a model should still read well when something
unrelated is done to it.
"""

TEXTS = (
    (
        "The kettle had been on the stove for ten minutes before anyone noticed that the gas was off. Maria lit it"
        " again, set out two cups and looked for the biscuits. By the time the water boiled, the rain had stopped and"
        " the garden was full of birds."
    ),
    (
        "To repair a flat tyre, first take the wheel off the bicycle and let out what air is left. Lift one side of the"
        " tyre over the rim, pull out the tube and look for the hole. Clean the place around it, let the glue dry for a"
        " minute and press the patch on firmly."
    ),
    (
        "The library opens at nine on weekdays and at ten on Saturdays. Books can be kept for four weeks, and a loan"
        " may be renewed twice unless somebody else is waiting. A small fee is charged for each day that a book is"
        " late."
    ),
    (
        "Our train left an hour late because a tree had fallen across the line. The passengers shared newspapers and"
        " sandwiches, and an old man told the children stories about the mountains. When we finally arrived, the last"
        " bus had already gone."
    ),
    (
        "Bread needs little more than flour, water, salt and time. Mix the dough in the evening, cover the bowl with a"
        " cloth and leave it in a cool place. In the morning shape it, let it rise again and bake it in a very hot"
        " oven."
    ),
    (
        "The meeting began with the report on last year's budget. Several members asked why the costs of heating had"
        " risen so much, and the treasurer promised to send a list of all the bills. The vote was put off until the"
        " next month."
    ),
    (
        "A good night's sleep depends on simple habits. Go to bed at the same hour, keep the room dark and cool, and"
        " put away anything with a screen well before you lie down. If you cannot fall asleep, get up and read until"
        " you feel tired."
    ),
    (
        "The river is low in August, and children walk across it on the stones. In spring it is another thing: brown,"
        " loud and fast, it carries whole branches down to the bridge, where men with long poles keep them from"
        " blocking the arches."
    ),
)
