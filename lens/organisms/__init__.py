"""Small models with a known memory, a folder each: text, recipe, training, and the `weights` that ship.

A folder with a card in `weights/<name>` is found by its name (`lens.models.shipped`): no line elsewhere names it.
`python -m lens.organisms` trains again what ships, each model by the command in its card.
"""
