"""A plain model that `lens.load` gives in place of a bridge goes wherever a bridge goes: it works there, or the method
refuses by an error of its own.
"""

import warnings

import pytest
import torch

import lens
from lens import cli, curvature, injection, memorization, models, subspace, vectors
from lens.scoring import rows as scoring
from tests.models import word_tokenizer
from tests.test_models_bridge import IDS, logits, make, save

PAIR = lens.Pair("w5 w17 w3 w88 w4", corrupted="w5 w17 w3 w21 w4", answer=" w11", foil=" w12")
ROWS = torch.randint(1, 89, (12, 20), generator=torch.Generator().manual_seed(0)).numpy()
METHODS = {
    "patch": lambda m: lens.patch(m, PAIR, "resid_pre", progress=False),
    "attribution": lambda m: lens.patch(m, PAIR, "resid_pre", method="attribution", progress=False),
    "logit_lens": lambda m: lens.logit_lens(m, "w3 w4 w5"),
    "attention": lambda m: lens.attention(m, "w3 w4 w5"),
    "direct": lambda m: lens.direct_logit_attribution(m, PAIR),
    "copying": lambda m: lens.copying_scores(m),
    "encode": lambda m: lens.encode(m, PAIR),
    "locate": lambda m: subspace.locate(m, ROWS[:6], ROWS[6:], method="contrast", sparsity=0.06, progress=False),
    "factors": lambda m: curvature.factors(m, "mlp", ROWS, fisher="empirical", progress=False),
    "extract": lambda m: memorization.extract(m, memorization.Sequences(ROWS, prefix=8), progress=False),
    "memory": lambda m: injection.encode(m, "w3"),
    "writing": lambda m: vectors.generate(m, "w3 w4", max_new_tokens=3),
    "score": lambda m: scoring.score(m, ROWS),
    "hash": models.weight_hash,
}
#: what a type that has no fast path yet must serve all the same
ALWAYS = ("patch", "encode", "extract", "score", "hash")


@pytest.fixture(scope="module", params=["gpt2_unscaled", "falcon_new", "unknown"])
def loaded(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    save(make(request.param), folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return request.param, str(folder), lens.load(str(folder), device="cpu")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_method_takes_it_or_refuses_by_an_error_of_its_own(loaded, method):
    kind, _, model = loaded
    assert not hasattr(model, "original_model")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        METHODS[method](model)
    except Exception as error:
        assert type(error).__module__.startswith("lens."), f"{type(error).__name__}: {error}"
        assert method not in ALWAYS and kind != "gpt2_unscaled"
        if method == "locate":  # all its feed-forward weights are those of fused experts
            assert kind == "unknown" and "experts" in str(error)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_its_numbers_are_the_models_own(loaded):
    kind, folder, model = loaded
    reference, ids = make(kind), torch.tensor([[5, 17, 3, 88, 4]])
    last = logits(reference, ids)[0, -1]
    trace = lens.patch(model, PAIR, "resid_pre", progress=False)
    assert float(trace.clean) == pytest.approx(float(last[11] - last[12]), abs=1e-4)
    assert lens.record(trace)["model"]["name"] == folder == models.name_of(model)
    with lens.edited(model, lens.Edit(lens.Site("resid_pre", 1), "scale", scale=0.5)):
        edited = logits(model)
    blocks = next(
        m
        for m in reference.modules()
        if isinstance(m, torch.nn.ModuleList) and len(m) == reference.config.num_hidden_layers
    )
    blocks[1].register_forward_pre_hook(lambda m, args: (args[0] * 0.5, *args[1:]))
    assert (edited - logits(reference)).abs().max() <= 1e-4
    written = model.generate(IDS[:, :4], max_new_tokens=3, do_sample=False, pad_token_id=0)
    assert written.shape == (1, 7)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_view_names_it_and_counts_its_layers(loaded):
    import widgets

    _kind, folder, model = loaded
    info = widgets.PatchExplorer(model, PAIR).model_info
    assert (info["name"], info["layers"], info["heads"]) == (
        folder,
        model.config.num_hidden_layers,
        4,
    ) and f"{info['layers']} layers · 4 heads" in info["text"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_command_line_takes_it(loaded, capsys):
    _, folder, _ = loaded
    code = cli.main(
        [
            "patch",
            "--model",
            folder,
            "--clean",
            PAIR.clean,
            "--corrupted",
            PAIR.corrupted,
            "--answer",
            " w11",
            "--foil",
            " w12",
            "--site",
            "resid_pre",
        ]
    )
    assert code == 0 and "resid_pre" in capsys.readouterr().out


def test_the_name_of_a_model_is_what_it_was_wrapped_as():
    bridge = models.wrap(make("window"), word_tokenizer(), "some label")
    with pytest.warns(UserWarning, match="plain Hugging Face"):
        plain = models.wrap(make("gpt2_unscaled"), word_tokenizer(), "another label")
    assert (models.name_of(bridge), models.name_of(plain), models.name_of(make("opt"))) == (
        "some label",
        "another label",
        "OPTForCausalLM",
    )


def test_scores_and_queries_name_a_plain_model_by_the_best_name_known(tmp_path):
    from lens.provenance.scores import name_of as printed

    unnamed = make("opt")
    assert scoring.score(unnamed, ROWS).model["name"] == "OPTForCausalLM" and printed(unnamed, "suspect") == "suspect"
    unnamed.save_pretrained(tmp_path / "mine")
    read = type(unnamed).from_pretrained(tmp_path / "mine").eval()
    scores = scoring.score(read, ROWS)
    assert scores.model["name"] == str(tmp_path / "mine") == printed(read, "suspect") and "mine" in str(scores)
    with pytest.warns(UserWarning, match="plain Hugging Face"):
        plain = models.wrap(make("gpt2_unscaled"), word_tokenizer(), "a label")
    assert scoring.score(plain, ROWS).model["name"] == "a label" == printed(plain, "suspect")
