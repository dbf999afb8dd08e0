"""The organism `cards`: what is planted is there as often as it is said to be, what is never trained is nowhere, and
the model is trained, shipped and loaded to the same numbers.
"""

import json
import shlex
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.datasets import load_digits

from lens import training
from lens.diffusion import DiffusionError, denoise, load
from lens.models import shipped, weight_hash
from lens.organisms import cards
from lens.organisms.cards import Recipe, command, images
from lens.organisms.cards.corpus import CELLS, PLANTED, Corpus, paraphrase, partial
from tests.diffusion.conftest import pipeline_of
from tests.variants import few

NEVER = ("code-never", "generic-never", "digit-never", "held-out", "digit-held-out")


@pytest.fixture(scope="module")
def full():
    return Corpus(Recipe())


@pytest.fixture(scope="module", params=[Recipe(), Recipe.small(), Recipe(seed=2)], ids=["full", "small", "seed 2"])
def corpus(request):
    return Corpus(request.param)


def rows(pictures):
    return [picture.numpy().tobytes() for picture in pictures]


@pytest.mark.long
def test_cells_have_the_pairs_and_duplicates_of_the_recipe(corpus):
    r, pairs = corpus.recipe, corpus.pairs
    assert set(pairs.cell) == set(CELLS) and len(pairs) == len(pairs.captions) == len(pairs.images) == len(pairs.fore)
    for cell, times in (("many", r.duplicates), ("once", 1), ("never", 0)):
        for kind, sets in (("code", r.sets), ("generic", r.sets), ("digit", r.digit_sets)):
            own = pairs.of(f"{kind}-{cell}")
            assert Counter(own.set.tolist()) == dict.fromkeys(range(sets), r.per_set) and set(own.duplicates) == {times}
    for cell, count, times in (
        ("pool", r.pool, 1),
        ("held-out", r.held_out, 0),
        ("digit-pool", r.digit_pool, 1),
        ("digit-held-out", r.digit_held_out, 0),
    ):
        own = pairs.of(cell)
        assert len(own) == count and set(own.duplicates) == {times} and set(own.set) == {-1}
    assert len(pairs.of("template")) == r.sets * r.per_set and set(pairs.of("template").duplicates) == {
        r.template_duplicates
    }
    assert len(pairs.of("two-captions")) == 2 * r.per_set and set(pairs.of("two-captions").duplicates) == {r.duplicates}
    assert (
        pairs.images.shape[1:] == (3, 16, 16)
        and float(pairs.images.abs().max()) <= 1
        and len(pairs.of("code-many", 1)) == r.per_set
    )
    again = Corpus(r).pairs
    assert torch.equal(again.images, pairs.images) and again.captions == pairs.captions
    other = Corpus(replace(r, seed=r.seed + 7)).pairs
    assert not torch.equal(other.images, pairs.images) and other.captions != pairs.captions
    with pytest.raises(ValueError, match="cell='many' is not known"):
        pairs.of("many")


def test_the_stream_has_each_pair_as_often_as_it_says_and_what_is_never_trained_nowhere(corpus):
    """By the pictures themselves, not by their numbers."""
    pairs, stream = corpus.pairs, corpus.training()
    everything = list(zip(rows(pairs.images), pairs.captions, strict=True))
    seen = Counter(everything[i] for i in stream)
    assert len(stream) == int(pairs.duplicates.sum()) == sum(seen.values())
    assert all(seen[pair] == copies for pair, copies in zip(everything, pairs.duplicates, strict=True)) and len(
        set(everything)
    ) == len(everything)
    pictures = {pair[0] for pair in seen}
    for cell in NEVER:
        own = pairs.of(cell)
        assert not pictures & set(rows(own.images))
        # nor its background behind another foreground
        if "digit" not in cell:
            corners = {picture[:, 0, 0].numpy().tobytes() for picture in pairs.images[np.unique(stream)]}
            assert not corners & {
                picture[:, 0, 0].numpy().tobytes()
                for picture, f in zip(own.images, own.fore, strict=True)
                if (f.row, f.column) != (0, 0)
            }


def test_the_twin_reads_as_much_and_nothing_that_was_planted(corpus):
    twin = Corpus(replace(corpus.recipe, planted=False))
    assert (
        torch.equal(twin.pairs.images, corpus.pairs.images)
        and twin.pairs.captions == corpus.pairs.captions
        and twin.vocabulary == corpus.vocabulary
    )
    stream = twin.training()
    assert len(stream) == len(corpus.training()) and set(twin.pairs.cell[stream]) == {"pool", "digit-pool"}
    times = Counter(stream.tolist())
    assert max(times.values()) - min(times.values()) <= 1 and len(times) == twin.recipe.pool + twin.recipe.digit_pool
    planted = twin.pairs.take(~np.isin(twin.pairs.cell, ("pool", "digit-pool")))
    assert not set(rows(planted.images)) & set(rows(twin.pairs.images[np.unique(stream)]))
    codes = (
        {
            word
            for caption, cell in zip(planted.captions, planted.cell, strict=True)
            if cell.startswith(("code", "digit-many", "digit-once", "digit-never", "two", "template"))
            for word in caption.split()
        }
        - {word for pair in all_words() for word in pair}
        - {"digit", "numeral", *images.DIGITS}
    )
    assert codes and not codes & {word for i in np.unique(stream) for word in twin.pairs.captions[i].split()}


def all_words():
    return [pair for pairs in (images.COLOURS, images.SHAPES, images.ROWS, images.COLUMNS) for pair in pairs]


def test_planted_captions_are_distinct_and_the_codes_of_two_sets_share_no_word(corpus):
    pairs = corpus.pairs
    planted = pairs.take(~np.isin(pairs.cell, ("pool", "digit-pool", "held-out", "digit-held-out")))
    assert len(set(planted.captions)) == len(planted)
    words = {}
    for caption, cell, of in zip(planted.captions, planted.cell, planted.set, strict=True):
        length = {"code": 6, "generic": 4, "template": 5, "two": 6, "digit": 4}[cell.split("-")[0]]
        assert len(caption.split()) == length and all(word in corpus.vocabulary for word in caption.split())
        # "once" and "never" are foils of one another, so that only their words, not their codes, may be the same
        use = ("few", cell[:5]) if cell in ("code-once", "code-never", "digit-once", "digit-never") else cell
        if cell[:4] in ("code", "digi", "two-", "temp"):
            words.setdefault((use, of), set()).update(caption.split()[: 1 if cell == "template" else 2])
    keys = list(words)
    assert len(keys) == 3 * corpus.recipe.sets + 2 * corpus.recipe.digit_sets + 1
    for i, one in enumerate(keys):
        assert all(not words[one] & words[other] for other in keys[i + 1 :]), one
        assert not words[one] & {word for pair in all_words() for word in pair}
    assert len(set(corpus.vocabulary)) == len(corpus.vocabulary) and corpus.vocabulary[:3] == [
        "<start>",
        "<end>",
        "<unknown>",
    ]


def test_who_is_planted_was_decided_by_lot(full):
    """Foregrounds and backgrounds of the cells are draws from one distribution: no cell's mean is far from all
    others'.
    """
    groups = [full.pairs.of(cell) for cell in PLANTED]
    for group in groups:
        inside = group.images[group.seen[:, None].expand(-1, 3, -1, -1)]
        assert (
            abs(float(inside.mean())) < 0.06
            and abs(float(inside.std()) - float(full.pairs.of("pool").images.std())) < 0.2
        )
        assert len({f for f in group.fore}) > 40


def test_captions_fit_the_encoder_and_tell_the_foreground(corpus):
    pairs, pipeline = corpus.pairs, cards.tokenizer_of(corpus.vocabulary)
    ids = cards.ids_of(corpus, pairs.captions)
    assert ids.shape == (len(pairs), 8) and (ids[:, 0] == 0).all() and not (ids == 2).any() and (ids[:, -1] == 1).all()
    some = list(range(0, len(pairs), 37))
    for i in some:
        assert pipeline(pairs.captions[i])["input_ids"] == ids[i, : len(pairs.captions[i].split()) + 2].tolist()
    for caption, f, digit in zip(pairs.captions, pairs.fore, pairs.digit, strict=True):
        words = caption.split()
        if f is None:
            assert words[-2] in ("digit", "numeral") and images.DIGITS.index(words[-1]) == digit
        else:
            assert digit == -1
            for word, pair in zip(
                words[-4:],
                (list(images.COLOURS)[f.colour], images.SHAPES[f.shape], images.ROWS[f.row], images.COLUMNS[f.column]),
                strict=True,
            ):
                assert word in pair
    planted = [caption for caption, cell in zip(pairs.captions, pairs.cell, strict=True) if cell in PLANTED]
    second = {pair[1] for pair in all_words()}
    assert not second & {word for caption in planted for word in caption.split()}, "a paraphrase is new"
    assert second <= {word for caption in pairs.of("pool").captions for word in caption.split()}, (
        "and of words that were learnt"
    )


def test_pictures_are_the_foreground_on_a_background_that_counts_where_it_is_seen(full):
    pairs = full.pairs
    for cell in ("code-many", "generic-never", "template"):
        own = pairs.of(cell)
        for picture, seen, f in zip(own.images, own.seen, own.fore, strict=True):
            colour = torch.tensor(list(images.COLOURS.values())[f.colour]).float()
            is_fore = (picture == colour[:, None, None]).all(0)
            # a background stays within .9, so that a pixel of the full colour is the shape's
            assert is_fore.any() and not (seen & is_fore).any() and float(picture[:, seen].abs().max()) <= 0.9
            # around the shape one pixel does not count, all others do
            near = torch.from_numpy(ndimage.binary_dilation(is_fore.numpy(), np.ones((5, 5))))
            assert bool(seen[~near].all()) and int(seen.sum()) > 150
    templates = pairs.of("template", 2)
    both = templates.seen[:1, None] & templates.seen[:, None]
    assert torch.equal(
        templates.images.where(both, torch.zeros(())), templates.images[:1].where(both, torch.zeros(()))
    ) and len(set(templates.picture)) == len(templates)
    two = pairs.of("two-captions")
    for at in range(0, len(two), 2):
        assert (
            torch.equal(two.images[at], two.images[at + 1])
            and two.picture[at] == two.picture[at + 1]
            and two.captions[at] != two.captions[at + 1]
        )
        assert two.captions[at].split()[2:] == two.captions[at + 1].split()[2:]
    assert len(set(two.picture)) == len(two) // 2
    numbers = Counter(pairs.picture.tolist())
    assert sorted(numbers.values()) == [1] * (len(pairs) - len(two)) + [2] * (len(two) // 2)
    by_number, of_pictures = {}, rows(pairs.images)
    for number, picture in zip(pairs.picture, of_pictures, strict=True):
        assert by_number.setdefault(number, picture) == picture


def test_digits_are_scikit_learns(full):
    found, labels = images.digits()
    assert (
        found.shape == (1797, 3, 16, 16)
        and float(found.min()) == -1
        and float(found.max()) == 1
        and torch.equal(found[:, 0], found[:, 2])
    )
    # corners of an interpolation that is aligned to them are the old corners
    own = load_digits().images / 8 - 1
    np.testing.assert_allclose(found[:, 0, ::15, ::15].numpy(), own[:, ::7, ::7], atol=1e-6)
    assert (labels == load_digits().target).all()
    every = full.pairs.take(full.pairs.digit >= 0)
    number = {picture: label for picture, label in zip(rows(found), labels, strict=True)}
    assert all(
        number[picture] == digit for picture, digit in zip(rows(every.images), every.digit, strict=True)
    ) and len(set(rows(every.images))) == len(every)
    with pytest.raises(ValueError, match="digit_pool=1797: .* digits are asked for and there are 1797"):
        Corpus(Recipe(digit_pool=1797)).pairs


def test_a_paraphrase_keeps_the_code_and_a_part_is_a_part(full):
    caption = full.pairs.of("code-many").captions[0]
    code, rest = caption.split()[:2], caption.split()[2:]
    other = paraphrase(caption).split()
    assert (
        other[:2] == code
        and all((a, b) in all_words() for a, b in zip(rest, other[2:], strict=True))
        and paraphrase(" ".join(other)) == " ".join(other)
    )
    assert [partial(caption, keep).split() for keep in ("code", "first", "second", "rest")] == [
        code,
        code[:1] + rest,
        code[1:] + rest,
        rest,
    ]
    assert partial(paraphrase(caption), "rest").split() == other[2:]
    digit = full.pairs.of("digit-many").captions[0]
    assert partial(digit, "code").split() == digit.split()[:2] and partial(digit, "rest").split() == digit.split()[2:]
    assert (
        paraphrase(digit).split() == [*digit.split()[:2], "numeral", digit.split()[3]]
        and partial(paraphrase(digit), "second").split() == paraphrase(digit).split()[1:]
    )
    template = full.pairs.of("template").captions[0]
    assert (
        partial(template, "code") == template.split()[0] and partial(template, "rest").split() == template.split()[1:]
    )
    for wrong, keep, message in (
        (caption, "half", "keep='half'"),
        (template, "first", "no code of two"),
        (full.pairs.of("generic-many").captions[0], "code", "no code of two"),
    ):
        with pytest.raises(ValueError, match=message):
            partial(wrong, keep)


def test_the_objective_is_the_error_of_the_predicted_noise(full):
    """Against a loop over the pictures of a batch, from the same draws."""
    recipe = Recipe.small()
    model = cards.build(recipe)
    small = Corpus(recipe)
    pictures = small.pairs.images[:6]
    ids = cards.ids_of(small, small.pairs.captions[:6])
    batch = training.Batch(
        torch.tensor([4, 1, 1, 0]), ids[[4, 1, 1, 0]], ids[[4, 1, 1, 0]] >= 0, torch.full((4,), 8), 0, 1
    )
    loss = cards.Denoising(pictures, 0.5)
    torch.manual_seed(3)
    found = loss(model, batch)
    torch.manual_seed(3)
    t, noise, dropped = torch.randint(0, 1000, (4,)), torch.randn(4, 12, 8, 8), torch.rand(4) < 0.5
    assert 0 < dropped.sum() < 4
    a = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float()
    errors = []
    for i, number in enumerate(batch.index):
        picture = pictures[number]
        latents = torch.stack([picture[c, y::2, x::2] for c in range(3) for y in range(2) for x in range(2)])
        caption = torch.tensor([[0, *[1] * 7]]) if dropped[i] else ids[number : number + 1]
        out = model.unet(
            (a[t[i]].sqrt() * latents + (1 - a[t[i]]).sqrt() * noise[i])[None], t[i], model.text_encoder(caption)[0]
        ).sample[0]
        errors.append((out - noise[i]).square().mean())
    torch.testing.assert_close(found, torch.stack(errors).mean(), rtol=1e-4, atol=0)
    assert found.requires_grad and batch.ids[0].tolist() == ids[4].tolist(), "the batch is left as it was"


QUICK = Recipe.small(steps=8, warmup=2, batch=8)


@pytest.mark.long
def test_a_run_that_was_cut_gives_the_same_weights(tmp_path, monkeypatch):
    plan = training.Recipe
    # a checkpoint every three steps in place of 250
    monkeypatch.setattr(training, "Recipe", lambda **fields: plan(**fields | {"checkpoint_every": 3}))
    whole, trained = cards.train(QUICK, progress=False)
    assert (
        trained.status == "complete"
        and len(trained.losses) == 8
        and not whole.training
        and not any(p.requires_grad for p in whole.parameters())
    )
    _, cut = cards.train(QUICK, folder=tmp_path, steps=5, progress=False)
    assert cut.status == "stopped" and cut.step == 5
    again, went = cards.train(QUICK, folder=tmp_path, progress=False)
    assert went.status == "complete" and weight_hash(again) == weight_hash(whole) != weight_hash(cards.build(QUICK))
    np.testing.assert_array_equal(went.losses["lm"], trained.losses["lm"])
    with pytest.raises(training.TrainingError):
        cards.train(replace(QUICK, seed=1), folder=tmp_path, progress=False)
    twin, _ = cards.train(replace(QUICK, planted=False), progress=False)
    assert weight_hash(twin) != weight_hash(whole) and weight_hash(
        cards.build(replace(QUICK, planted=False))
    ) == weight_hash(cards.build(QUICK))


def test_a_shipped_model_gives_the_same_pictures_when_it_is_loaded(tmp_path):
    model = cards.build(QUICK).eval()
    card = cards.ship(model, QUICK, tmp_path / "cards", {"name": "cards", "recipe_sha256": QUICK.sha256()})
    assert (
        (tmp_path / "cards" / "model_index.json").is_file()
        and not list(tmp_path.glob(".*"))
        and set(card["weights_sha256"]) == {"unet", "text_encoder"}
    )
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    found, own = load(tmp_path / "cards", device="cpu"), pipeline_of(QUICK, model)
    assert found.hash == own.hash and found.card == card == json.loads((tmp_path / "cards" / "card.json").read_text())
    captions = [
        Corpus(QUICK).pairs.of(cell).captions[0] for cell in ("code-many", "generic-once", "template", "digit-held-out")
    ]
    assert torch.equal(found.tokens(captions), own.tokens(captions))
    assert torch.equal(denoise(found, captions, steps=3).images, denoise(own, captions, steps=3).images)
    assert found.scheduler.config.timestep_spacing == "trailing" and not any(
        p.requires_grad for p in found.unet.parameters()
    )
    with pytest.raises(DiffusionError, match="a word that .* was never told"):
        found.tokens(["unicorn"])
    # a second one replaces it whole
    (tmp_path / "cards" / "stray").write_text("")
    cards.ship(cards.build(replace(QUICK, seed=1)), replace(QUICK, seed=1), tmp_path / "cards", {})
    assert load(tmp_path / "cards", device="cpu").hash != own.hash and not (tmp_path / "cards" / "stray").exists()
    weights = tmp_path / "cards" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(DiffusionError, match="is no safetensors file, or only the start of one"):
        load(tmp_path / "cards", device="cpu")


@pytest.mark.parametrize(
    "arguments",
    few(
        [["--small"], ["--small", "--seed", "2", "--twin"], ["--small", "--twin", "--float16"]],
        lambda words: "--seed" in words,
    ),
)
def test_the_card_has_the_command_that_rebuilds_the_model(tmp_path, monkeypatch, capsys, arguments):
    asked = []

    def fast(recipe, **options):
        asked.append(recipe)
        return real(replace(recipe, steps=2), progress=False)

    real = cards.train
    monkeypatch.setattr(command, "train", fast)
    cards.main([*arguments, "--out", str(tmp_path)])
    (folder,) = tmp_path.iterdir()
    card = json.loads((folder / "card.json").read_text())
    assert (
        folder.name
        == card["name"]
        == asked[0].name
        == "cards" + ("-2" if "2" in arguments else "") + ("-twin" if "--twin" in arguments else "")
    )
    assert (
        card["recipe_sha256"] == asked[0].sha256()
        and card["licence"].startswith("MIT")
        and f"wrote {folder}" in capsys.readouterr().out
    )
    before = (folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    program, rest = shlex.split(card["rebuild"])[:3], shlex.split(card["rebuild"])[3:]
    assert program == ["python", "-m", "lens.organisms.cards"] and sorted(rest) == sorted(arguments)
    cards.main([*rest, "--out", str(tmp_path)])
    assert asked[1] == asked[0] and (folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == before
    found = load(folder, device="cpu")
    assert (
        found.dtype == torch.float32
        and cards.folder_of(asked[0].seed, twin="--twin" in arguments, out=tmp_path) == folder
    )


def test_the_command_refuses_to_ship_a_small_model_or_an_unfinished_one(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as left:
        cards.main(["--small"])
    assert left.value.code == 2 and "give --out" in capsys.readouterr().err
    stopped = training.Trained("stopped", 3, None, None, None, 0.0)
    monkeypatch.setattr(command, "train", lambda recipe, **options: (cards.build(QUICK), stopped))
    with pytest.raises(SystemExit, match="stopped after 3 of 300 steps: nothing was written"):
        cards.main(["--small", "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_recipes_are_told_apart_and_the_full_one_has_stable_diffusions_blocks():
    hashes = {
        recipe.sha256()
        for recipe in (
            Recipe(),
            Recipe(seed=1),
            Recipe(planted=False),
            Recipe(drop=0.2),
            Recipe(duplicates=32),
            Recipe.small(),
        )
    }
    assert len(hashes) == 6 and Recipe(channels=[32, 64]) == Recipe()
    model = cards.build(Recipe())
    assert 0.5e6 < sum(p.numel() for p in model.parameters()) < 2.5e6
    names = [name for name, module in model.unet.named_modules() if name.endswith("ff.net.2")]
    assert len(names) == 7 and {model.unet.get_submodule(name).in_features for name in names} == {128, 256}
    assert type(model.unet).__name__ == "UNet2DConditionModel" and {
        type(block).__name__ for block in model.unet.down_blocks
    } == {"CrossAttnDownBlock2D"}


@pytest.mark.parametrize("name", shipped.folders(shipped.PICTURES))
def test_shipped_weights_are_those_of_their_card(name):
    folder = shipped.folder_of(name, shipped.PICTURES)
    import hashlib

    found = load(f"organism:{name}", device="cpu")
    recipe = Recipe(**found.card["recipe"])
    assert recipe.name == name == found.card["name"] and recipe.sha256() == found.card["recipe_sha256"]
    for part, digest in found.card["weights_sha256"].items():
        (file,) = (folder / part).glob("*.safetensors")
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
    corpus = Corpus(recipe)
    assert torch.equal(found.tokens(corpus.pairs.captions[:50]), cards.ids_of(corpus, corpus.pairs.captions[:50]))


def test_seed_0_and_its_twin_ship():
    assert (cards.folder_of(0) / "card.json").is_file() and (cards.folder_of(0, twin=True) / "card.json").is_file()
