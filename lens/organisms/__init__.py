"""Small models with a known memory: a module that trains each, and beside it the folder of the weights that ship."""
