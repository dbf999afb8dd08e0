"""What of a model fits a machine: sizes from a configuration against those of the model itself, operations against a
count one by one, and the command.
"""

import json
import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

import lens
from lens import cli, curvature
from lens.curvature.factors import empty_gram
from lens.doctor import fits as fitting
from lens.doctor.fits import fits, shape_of
from lens.doctor.sizes import (
    _TRIANGLE,
    BESIDE,
    BYTES,
    H100,
    REACHED,
    USABLE,
    Device,
    Estimate,
    Placed,
    Shape,
    place,
    table,
)
from lens.engine.pieces import run_bytes
from tests.models import tiny

#: Rates that make seconds easy to follow.
SLOW = Device("slow", 10e9, {"float32": 1e12, "bfloat16": 2e12}, 1e11, 1e10, "made up")


def llama(layers=32, width=4096, mlp=14336, heads=32, kv_heads=8, vocabulary=128256):
    config = LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=mlp,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
    )
    with torch.device("meta"):
        return Shape.of(LlamaForCausalLM(config), "llama")


def test_the_share_of_a_product_that_is_summed_is_that_of_the_sums():
    assert len(empty_gram(4096)) == _TRIANGLE * 4096**2


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_sizes_are_those_of_the_model_itself(kind):
    model = tiny(kind)
    shape, view = Shape.of(model, kind), lens.Model.of(model)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert (shape.blocks, shape.width, shape.mlp, shape.heads) == (
        view.n_layers,
        view.d_model,
        view.d_mlp,
        view.n_heads,
    )
    assert shape.runs(7, "float32") == 2 * run_bytes(view, 7, ())
    factors = curvature.factors(model, "mlp", torch.arange(24).view(2, 12) % 50, progress=False)
    assert shape.factor_bytes() == factors.nbytes


def test_of_experts_a_token_meets_the_chosen_ones_alone():
    config = MixtralConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=8,
        num_experts_per_tok=2,
    )
    with torch.device("meta"):
        shape = Shape.of(MixtralForCausalLM(config))
    experts = 2 * 8 * 3 * 32 * 48
    assert shape.inner - shape.active == experts * 6 // 8


def test_operations_are_those_of_every_edited_run():
    shape, tokens = llama(3, 64, 96, 4, 2, 50), 5
    block = shape.active / shape.blocks
    counted = 0.0
    for first in range(shape.blocks):
        for position in range(tokens):
            for _ in range(first, shape.blocks):
                counted += sum(2 * block + 4 * shape.width * (query + 1) for query in range(position, tokens))
    assert shape.sweep(tokens) == pytest.approx(counted)
    assert shape.heads_sweep(tokens) == pytest.approx(
        sum(
            2 * block + 4 * shape.width * (query + 1)
            for first in range(shape.blocks)
            for _ in range(shape.heads)
            for _ in range(first, shape.blocks)
            for query in range(tokens)
        )
    )
    assert shape.rows(tokens, "bfloat16") == 3 * (5 + 4 + 3 + 2 + 1) * (2 * 64 * 2 + 64)


def test_known_models_have_their_known_sizes():
    eight, seventy = llama(), llama(80, 8192, 28672, 64)
    assert round(eight.parameters / 1e9, 2) == 8.03 and round(seventy.parameters / 1e9, 2) == 70.55
    assert round(eight.factor_bytes() / eight.blocks / 1e9, 1) == 2.6
    assert place(eight, H100, 8, "bfloat16", 64) == Placed(8, 1)
    assert place(seventy, H100, 8, "bfloat16", 64) == Placed(4, 2), "two devices hold it"
    assert place(seventy, H100, 8, "bfloat16", 2048) == Placed(2, 3), "and three of them its unedited runs"
    assert place(seventy, H100, 1, "bfloat16", 64) == Placed(1, 1, True)


def test_times_follow_from_operations_and_bytes():
    shape = llama(4, 512, 1024, 8, 8, 1000)
    here = Estimate(shape, SLOW, 1, "float32", 32)
    assert here.fits and here.sweep == pytest.approx(shape.sweep(32) / (1e12 * REACHED))
    assert Estimate(shape, SLOW, 4, "float32", 32).sweep == pytest.approx(here.sweep / 4)
    assert here.scoring == pytest.approx(1e12 * REACHED / shape.forward(32))
    assert here.factors > 20_480 * (shape.factor_passes() + shape.factor_sums()) / 1e12
    large = llama(40, 5120, 13824, 40, 40, 32000)  # 13 billion parameters on 10 GB
    away = Estimate(large, SLOW, 1, "bfloat16", 4)
    assert not away.fits and not away.factors_fit
    assert away.sweep == pytest.approx(
        max(large.sweep(4) / (2e12 * REACHED), (1 + away.walks) * large.weights("bfloat16") / 1e10)
    )
    long = Estimate(shape, SLOW, 1, "float32", 1024)
    assert long.walks == math.ceil(shape.rows(1024, "float32") / _row_room(shape, 1024)) > 1


def _row_room(shape, tokens):
    allowed = 0.4 * (10e9 * USABLE - shape.weights("float32"))
    left = allowed - shape.runs(tokens, "float32")
    return left - min(2 << 30, left / 4)


def test_the_table_has_a_column_an_estimate_and_says_what_does_not_fit():
    printed = table({"one": [Estimate(llama(), H100, 1, "bfloat16", t) for t in (64, 2048)]})
    assert "64 tokens: copies x devices of each" in printed and "2048 tokens" in printed
    assert "16.1 GB" in printed and "fit beside the weights, spread" in printed


def test_a_folder_and_a_config_alone_say_the_same_without_weights(tmp_path, monkeypatch):
    GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=4, vocab_size=64)).config.save_pretrained(tmp_path)
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda *a, **k: pytest.fail("weights are read"))
    of_folder, of_file = shape_of(tmp_path), shape_of(tmp_path / "config.json")
    assert of_folder.parameters == of_file.parameters and of_folder.blocks == 2
    assert not list(tmp_path.glob("*.safetensors"))


def test_what_fits_is_told_for_each_format(tmp_path):
    LlamaConfig(
        num_hidden_layers=4, hidden_size=1024, intermediate_size=4096, num_attention_heads=8, vocab_size=32000
    ).save_pretrained(tmp_path)
    shape = shape_of(tmp_path)
    between = shape.weights("bfloat16") + shape.runs(64, "bfloat16") + BESIDE
    device = Device("small", between / USABLE + 1, SLOW.rate, 1e11, 1e10)
    said = fits(tmp_path, device=device)
    assert [said.facts[dtype]["fits"]["sweep"] for dtype in BYTES] == [False, True]
    assert "does not fit" in str(said) and "offloaded" in str(said) and "K-FAC of all MLPs" in str(said)
    assert said.facts["bfloat16"]["bytes"]["weights"] == shape.parameters * 2


def test_the_command_prints_lines_and_json(tmp_path, capsys, monkeypatch):
    LlamaConfig(
        num_hidden_layers=2, hidden_size=64, intermediate_size=96, num_attention_heads=4, vocab_size=100
    ).save_pretrained(tmp_path)
    monkeypatch.setattr(fitting, "measured", lambda: SLOW)
    assert cli.main(["doctor", "--model", str(tmp_path), "--tokens", "12"]) == 0
    assert "sweep of a pair of 12 tokens: fits" in capsys.readouterr().out
    assert cli.main(["doctor", "--model", str(tmp_path / "config.json"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["tokens"] == 64 and facts["float32"]["fits"] == dict.fromkeys(
        ("weights", "sweep", "scoring", "kfac"), True
    )


def test_this_machine_is_measured(monkeypatch):
    monkeypatch.setattr(fitting, "_MATRIX", {"cpu": 64})
    made = fitting.measured()
    assert made.memory > 1e8 and min(made.rate.values()) > 1e6 and made.bandwidth > 1e6 and made.link is None


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nobody/no-such-model", "hf download nobody/no-such-model config.json"),
        ("organism:nothing", "no such organism"),
        ("", "model='' does not fit"),
    ],
)
def test_what_is_not_there_is_told_with_the_next_step(model, said, monkeypatch, capsys):
    with pytest.raises(lens.LoadError, match=said):
        fits(model, device=SLOW)
    assert cli.main(["doctor", "--model", model]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_without_a_config_and_a_config_of_something_else_are_refused(tmp_path):
    with pytest.raises(lens.LoadError, match="has no config.json"):
        fits(tmp_path, device=SLOW)
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(lens.LoadError, match="no causal language model"):
        fits(tmp_path, device=SLOW)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(lens.LoadError, match="cannot be read"):
        fits(tmp_path, device=SLOW)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(lens.LoadError, match="tokens=0"):
        fits(tmp_path, tokens=0, device=SLOW)
