"""The dictionary that ships does on texts that people wrote what its page says, and is as small as it is said to be."""

import lens
from lens.data.texts import TEXTS
from lens.features import shipping

NAME = "smollm2-15"


def test_it_is_small_and_says_how_it_came_about():
    files = sorted((shipping.FOLDER / NAME).iterdir())
    assert [path.name for path in files] == ["decoder.safetensors", "dictionary.json", "encoder.safetensors"]
    sizes = [path.stat().st_size for path in files]
    assert max(sizes) <= 2_000_000 and sum(sizes) <= 3_000_000
    sae = lens.features.load(f"features:{NAME}")
    assert NAME in lens.features.shipped() and (sae.n_features, sae.rule.k) == (1280, 32)
    assert (sae.reads.site, sae.reads.layer, sae.model) == ("resid_post", 15, "smollm2")
    recipe = sae.about["card"]["recipe"]
    assert f"--tokens {recipe['tokens']} " in sae.about["card"]["command"]


def test_it_explains_most_of_a_text_and_the_model_reads_on(smollm2):
    """By the lower bounds, over the everyday texts of the package; a random dictionary of its shape does neither."""
    check = lens.features.check(smollm2, lens.features.load(f"features:{NAME}"), list(TEXTS))
    explained, recovered = (check.sel(measure=name) for name in ("explained_variance", "loss_recovered_zero"))
    assert explained.low.sel(dictionary="given") >= 0.6 and recovered.low.sel(dictionary="given") >= 0.9
    assert explained.high.sel(dictionary="random") < 0.6 and recovered.high.sel(dictionary="random") < 0.9
