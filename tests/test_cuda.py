"""The same numbers on a GPU as on the CPU: engine, patching, heads, vectors, scores, training, edits of weights. Left
out where there is no CUDA.
"""

import numpy as np
import pytest
import torch

import lens
from lens import vectors
from lens.engine.linear import gradients_of, linears
from lens.engine.weights import edited_weights
from lens.scoring.rows import score
from lens.training import Recipe, Rows, train
from tests.models import KINDS, tiny, word_tokenizer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a machine with CUDA")
PAIR = lens.Pair("w1 w2 w3 w4 w5 w6", corrupted="w1 w2 w9 w4 w8 w6", answer=" w7", foil=" w8", spans={"subject": "w3"})
TASK = vectors.Task.from_pairs([(f"w{i}", f"w{i + 40}") for i in range(1, 31)], name="shift", shares=(0.6, 0.2, 0.2))


def speaking(kind, device):
    return lens.models.wrap(tiny(kind).to(device), word_tokenizer(), f"tiny-{kind}")


def close(a, b, allowed=2e-4):
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape and np.isfinite(a).all() and np.abs(a - b).max() <= allowed * max(1.0, np.abs(b).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [{"site": "resid_pre"}, {"site": "z", "over": ("layer", "head")}, {"site": "mlp_out", "method": "attribution"}],
    ids=str,
)
def test_patching(kind, options):
    there, here = (
        lens.patch(speaking(kind, device), PAIR, options["site"], **{k: v for k, v in options.items() if k != "site"})
        for device in ("cuda", "cpu")
    )
    assert lens.record(there)["model"]["device"].startswith("cuda")
    close(there.effect, here.effect)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_paths_causal_traces_and_readouts(kind):
    there, here = speaking(kind, "cuda"), speaking(kind, "cpu")
    receiver = lens.Site("q", layer=2, head=1)
    close(lens.path_patch(there, PAIR, receiver).effect, lens.path_patch(here, PAIR, receiver).effect)
    close(lens.logit_lens(there, PAIR.clean).kl, lens.logit_lens(here, PAIR.clean).kl)
    close(lens.attention(there, PAIR.clean).pattern, lens.attention(here, PAIR.clean).pattern)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "olmo2"])
def test_heads_vectors_and_their_effect(kind):
    there, here = speaking(kind, "cuda"), speaking(kind, "cpu")
    options = dict(trials=3, shots=3, template="bare", mean_prompts=6, known=False, progress=False)
    effects = [vectors.head_effects(model, TASK, **options) for model in (there, here)]
    close(*(e.edited for e in effects))
    found = [
        vectors.extract(model, TASK, effects=e, top=3, shots=3, template="bare")
        for model, e in zip((there, here), effects)
    ]
    close(found[0].direction.cpu(), found[1].direction.cpu())
    close(
        *(
            vectors.evaluate(model, TASK, {"v": found[1]}, template="bare", shots=3, progress=False).logprob
            for model in (there, here)
        )
    )


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_rows(kind):
    rows = [np.arange(1, 4 + n) % 97 for n in range(20)]
    there, here = (
        score(tiny(kind).to(device), rows, start=None, extra=("mean", "variance"), progress=False)
        for device in ("cuda", "cpu")
    )
    close(there.nll(), here.nll())


def test_scores_in_bfloat16_are_near():
    rows = [np.arange(1, 30) % 97]
    there, here = (
        score(tiny("llama").to(device), rows, start=None, dtype=dtype, progress=False)
        for device, dtype in (("cuda", "bfloat16"), ("cpu", None))
    )
    close(there.nll(), here.nll(), 0.05)


def test_training_has_the_losses_of_the_cpu_and_resumes(tmp_path):
    draw = np.random.default_rng(0)
    rows = Rows.of([(draw.integers(1, 97, 6).tolist(), draw.integers(1, 97, 3).tolist()) for _ in range(24)])
    recipe = Recipe(steps=10, batch=8, learning_rate=1e-3, seed=1, checkpoint_every=4)
    there, here = (
        train(tiny("llama").to(device), rows, recipe, parameters=lambda name: True, progress=False)
        for device in ("cuda", "cpu")
    )
    close(there.losses.lm, here.losses.lm, 1e-3)
    seen = []
    train(
        tiny("llama").to("cuda"),
        rows,
        recipe,
        parameters=lambda name: True,
        folder=tmp_path,
        progress=False,
        after_step=lambda batch: seen.append(batch.step),
        stop=lambda: len(seen) == 6,
    )
    resumed = train(
        tiny("llama").to("cuda"), rows, recipe, parameters=lambda name: True, folder=tmp_path, progress=False
    )
    assert resumed.status == "complete"
    close(resumed.losses.lm, there.losses.lm, 1e-4)


def test_weights_are_edited_and_restored_and_gradients_come_back():
    model = tiny("llama").to("cuda")
    ids = torch.arange(12).reshape(2, 6).cuda()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with edited_weights(
        model, {name: torch.zeros(linear.weight.shape) for name, linear in linears(model, "*.down_proj").items()}
    ):
        assert not torch.equal(model(ids).logits, tiny("llama").to("cuda")(ids).logits)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    layers, found = linears(model), {}
    model.requires_grad_(True)
    with gradients_of(model, layers, lambda name, x, g: found.__setitem__(name, g.T @ x)):
        model(ids).logits.square().mean().backward()
    for name, linear in layers.items():
        close(found[name].cpu(), linear.module.weight.grad.cpu())


def test_a_shipped_organism_runs_there():
    there, here = (lens.load("organism:symbols", device=device) for device in ("cuda", "cpu"))
    ids = torch.arange(1, 40)[None]
    close(there(ids.cuda()).detach().cpu(), here(ids).detach())


def test_the_walk_is_exact_against_hooks():
    model = speaking("llama", "cuda")
    trace = lens.patch(model, PAIR, "resid_pre", metric="logit_diff")
    ids = {
        name: torch.tensor([[int(word[1:]) for word in text.split()]]).cuda()
        for name, text in (("clean", PAIR.clean), ("corrupted", PAIR.corrupted))
    }
    plain = tiny("llama").to("cuda")
    for layer in range(3):
        with torch.no_grad():
            clean = plain(ids["clean"], output_hidden_states=True).hidden_states[layer]
        for position in range(6):

            def hook(module, args, position=position, clean=clean):
                x = args[0].clone()
                x[:, position] = clean[:, position]
                return (x, *args[1:])

            handle = plain.model.layers[layer].register_forward_pre_hook(hook)
            with torch.no_grad():
                logits = plain(ids["corrupted"]).logits[0, -1]
            handle.remove()
            want = float(logits[7] - logits[8])
            assert abs(float(trace.value.isel(layer=layer, position=position).squeeze()) - want) <= 1e-3 * max(
                1, abs(want)
            )


def split(model, share=0.5):
    """A model with its first blocks and the embedding on the GPU, the others in the processor's memory, from where
    accelerate brings them to the GPU for each call.
    """
    from accelerate import dispatch_model

    n = model.config.num_hidden_layers
    where = {f"model.layers.{i}": 0 if i < share * n else "cpu" for i in range(n)}
    where |= {"model.embed_tokens": 0, "model.rotary_emb": 0, "model.norm": 0, "lm_head": 0}
    return dispatch_model(model, where, main_device=0)


def random_llama(dtype, **sizes):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=97, bos_token_id=0, eos_token_id=0, pad_token_id=0, **sizes)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = LlamaForCausalLM._from_config(config, dtype=dtype, attn_implementation="eager")
    model = model.eval().requires_grad_(False)
    model.tokenizer = word_tokenizer()
    return model


def test_a_model_split_over_gpu_and_cpu_memory_is_patched_as_on_the_gpu():
    model = random_llama(
        torch.float32,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    want = [lens.patch(model, PAIR, "resid_pre"), lens.patch(model, PAIR, "z", over=("layer", "head"))]
    before = lens.models.weight_hash(model)
    there = split(model)
    ours = [lens.patch(there, PAIR, "resid_pre"), lens.patch(there, PAIR, "z", over=("layer", "head"))]
    assert lens.models.weight_hash(there) == before
    for a, b in zip(ours, want, strict=True):
        close(a.value, b.value, 1e-4)
    assert all(p.is_meta for p in there.model.layers[-1].parameters())


def test_a_7b_model_in_bf16_split_over_gpu_and_cpu_memory():
    free, _ = torch.cuda.mem_get_info()
    with open("/proc/meminfo", encoding="utf-8") as lines:
        host = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    if free < 24 << 30 or host < 16 << 30:
        pytest.skip("needs 24 GiB on the GPU and 16 GiB beside it")
    model = random_llama(
        torch.bfloat16,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
    )
    want = lens.patch(model, PAIR, "resid_pre")
    there = split(model)
    ours = lens.patch(there, PAIR, "resid_pre")
    close(ours.value, want.value, 0.05)
