"""The attention view's state without a browser."""

import numpy as np
import pytest

import widgets
from lens.prompts import Pair
from tests.widgets import fakes
from widgets.attention_view.view import THUMBNAIL, pooled

SECONDS = 10


def view(text="a b c d e", *, layers=3, heads=2, compute=fakes.attention, **options):
    made = widgets.AttentionView(fakes.FakeModel(layers, heads), text, compute=compute, **options)
    assert made.wait(SECONDS)
    return made


def shown(made):
    return np.frombuffer(made.pattern["values"], dtype="<f4").reshape(made.pattern["size"], -1)


def test_the_chosen_head_and_all_thumbnails_are_published():
    made = view(layer=1, head=1)
    truth = fakes.attention(made.model, "a b c d e")["pattern"].values
    np.testing.assert_array_equal(shown(made), truth[1, 1])
    assert made.pattern["tokens"] == ["a", " b", " c", " d", " e"]
    image = np.frombuffer(made.overview["image"], dtype=np.uint8).reshape(3, 2, 5, 5)
    np.testing.assert_array_equal(image, np.round(truth * 255).astype(np.uint8))
    made.set_state({"layer": 2, "head": 0})
    np.testing.assert_array_equal(shown(made), truth[2, 0])


def test_hiding_the_first_token_empties_its_column_in_the_thumbnails_only():
    made = view()
    made.hide_first = True
    image = np.frombuffer(made.overview["image"], dtype=np.uint8).reshape(3, 2, 5, 5)
    assert not image[..., 0].any() and image.any() and shown(made)[:, 0].any()


def test_a_pair_shows_either_prompt_or_their_difference():
    pair = Pair("a b c", corrupted="a x c", answer=" y")
    calls = []

    def compute(model, text):
        calls.append(text)
        found = fakes.attention(model, text)
        return found * 0.5 if "x" in text else found

    made = view(pair, compute=compute)
    assert made.choices == ["clean", "corrupted", "difference"] and made.pattern["tokens"] == ["a", " b", " c"]
    clean = shown(made)
    made.which = "difference"
    made.wait(SECONDS)
    assert made.pattern["tokens"] == ["a", " b| x", " c"] and made.pattern["signed"]
    np.testing.assert_allclose(shown(made), clean / 2)
    made.which = "clean"
    made.wait(SECONDS)
    assert calls == ["a b c", "a x c"], "each prompt is run once"


def test_a_difference_of_unequal_lengths_says_so():
    made = view(Pair("a b c", corrupted="a c", answer=" y"))
    made.which = "difference"
    made.wait(SECONDS)
    assert "3 and 2 tokens" in made.error["text"] and made.pattern == {}


def test_errors_are_shown_and_a_new_text_recovers():
    def compute(model, text):
        if text == "bad":
            raise ValueError("text: holds a token that is not in the vocabulary")
        return fakes.attention(model, text)

    made = view("bad", compute=compute)
    assert made.error["text"].startswith("text: ") and made.result is None
    made.text = "a b"
    made.wait(SECONDS)
    assert made.error == {} and made.pattern["size"] == 2


def test_an_empty_text_shows_nothing_and_computes_nothing():
    def compute(model, text):
        raise AssertionError("nothing to compute")

    made = view("", compute=compute)
    assert made.overview == {} and made.pattern == {} and made.error == {}


@pytest.mark.parametrize("bad", [{"layer": 3}, {"head": -1}])
def test_layer_and_head_are_checked(bad):
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=f"{name}: {value} is out of range"):
        view(**bad)


@pytest.mark.parametrize(("name", "value", "there"), [("layer", 99, "0 to 2"), ("head", -7, "0 to 1")])
def test_a_layer_or_head_that_is_set_later_and_is_not_there_is_told_and_another_choice_recovers(name, value, there):
    made = view(layer=1, head=1)
    made.set_state({name: value})
    assert made.pattern == {} and made.error["title"] == f"There is no such {name}"
    assert f"{name}: {value}" in made.error["text"] and there in made.error["text"]
    made.set_state({name: 0})
    assert made.error == {} and made.pattern[name] == 0


def test_pooling_keeps_the_entry_of_largest_magnitude():
    values = np.zeros((100, 100), np.float32)
    values[57, 3], values[99, 98] = 1, -0.5
    small = pooled(values, THUMBNAIL)
    assert (
        small.shape == (THUMBNAIL, THUMBNAIL)
        and small.max() == 1
        and small.min() == -0.5
        and np.count_nonzero(small) == 2
    )


def test_long_texts_send_one_head_at_a_time():
    made = view(" ".join(["w"] * 300), layers=4, heads=3)
    assert len(made.overview["image"]) == 4 * 3 * THUMBNAIL**2 and len(made.pattern["values"]) == 300 * 300 * 4


def test_the_static_copy_escapes_tokens():
    made = view(f"a {fakes.SCRIPT}")
    page = made._static()
    assert fakes.SCRIPT not in page and "&lt;script&gt;" in page and "80" in page
