"""What is changed in a model is undone whatever happens: Ctrl-C at each line, twice, threads, lost handles; and a
computation is of one model.
"""

import contextlib
import copy
import gc
import itertools
import signal
import sys
import threading
import weakref
from pathlib import Path

import pytest
import torch

import lens
from lens import memorization, subspace
from lens.engine import changes, interrupts
from lens.engine.change_registry import ChangeError
from lens.engine.changes import Undo, temporary
from lens.engine.edited import install
from lens.engine.sessions import of_one_model
from lens.engine.weights import apply_weights, edited_weights
from lens.models import weight_hash
from tests.models import speaking
from tests.variants import few

PACKAGE = str(Path(lens.__file__).parent)
IDS = torch.tensor([[1, 2, 3, 4, 5]])
PAIR = lens.Pair("w4 w5 w6 w7", corrupted="w4 w5 w9 w7", answer=" w10", foil=" w11")
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
#: modules at whose lines Ctrl-C is pressed: those that change a model, and those that a change goes through
WAYS = (
    "changes.py",
    "interrupts.py",
    "sessions.py",
    "weights.py",
    "hooks.py",
    "places.py",
    "anatomy.py",
    "masks.py",
    "edit.py",
    "damage.py",
    "recompute.py",
    "tradeoff.py",
)


@pytest.fixture(autouse=True)
def keyboard():
    """Ctrl-C as in a terminal: a suite that runs in the background may have been started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pressed(k, use):
    """Runs `use` with a Ctrl-C at the k-th line of WAYS that runs; returns the lines that ran, and whether
    KeyboardInterrupt came out.
    """
    lines = []

    def line(frame, event, argument):
        if event == "line":
            lines.append((frame.f_code, frame.f_lineno))
            if len(lines) == k:
                signal.raise_signal(signal.SIGINT)
        return line

    def call(frame, event, argument):
        name = frame.f_code.co_filename
        return line if name.startswith(PACKAGE) and name.rpartition("/")[2] in WAYS else None

    before, out = sys.gettrace(), False
    sys.settrace(call)
    try:
        use()
    except KeyboardInterrupt:
        out = True
    finally:
        sys.settrace(before)
    return lines, out


def ends(lines):
    """The numbers of those at which a line runs for the first or for the last time."""
    numbered = list(enumerate(lines, 1))
    first, last = ({line: k for k, line in way} for way in (reversed(numbered), numbered))
    return sorted({*first.values(), *last.values()})


def hooks(model):
    return [len(getattr(m, name)) for m in model.modules() for name in HOOKS]


def up(model, layer=0):
    name = f"model.layers.{layer}.mlp.up_proj"
    return {name: torch.zeros_like(dict(model.named_modules())[name].weight)}


def mask_of(model):
    return subspace.Mask.of(
        {
            f"model.layers.{l}.mlp.down_proj": torch.rand(32, 48, generator=torch.Generator().manual_seed(l)) < 0.3
            for l in (0, 2)
        }
    )


def in_block(context):
    with context:
        pass


def interrupted(context):
    with context:
        raise KeyboardInterrupt


PRESSES = {"once": in_block, "twice": interrupted}
EDITS = (
    lens.Edit(lens.Site("attn_out", 1), "zero"),
    lens.Edit(lens.Site("pattern", 0), "scale", scale=0.5),
    lens.Edit(lens.Site("resid_mid", 2, position=1), "zero"),
)
CONTEXTS = {
    "weights": lambda model: edited_weights(model, up(model) | up(model, 1)),
    "mask": lambda model: mask_of(model).applied(model),
    "edits": lambda model: lens.edited(model, *EDITS),
    "a mask and edits": lambda model: lens.edited(model, mask_of(model), EDITS),
    "any": lambda model: memorization.edited(model, mask_of(model)),
}


@pytest.mark.parametrize(
    ("press", "what"),
    few(itertools.product(PRESSES, CONTEXTS), [("once", "weights"), ("once", "any"), ("twice", "a mask and edits")]),
)
@pytest.mark.parametrize("again", few([False, True], [False]), ids=["first and last", "each"])
def test_ctrl_c_at_any_line_of_the_way_in_and_out_leaves_nothing_behind(press, what, again):
    """``again``: also where a loop comes by a line between the first and the last time."""
    model, press = speaking(), PRESSES[press]
    saved, before = [p.clone() for p in model.parameters()], hooks(model)
    press_at = lambda k: pressed(k, lambda: press(CONTEXTS[what](model)))  # noqa: E731
    press_at(-1)
    lines, _ = press_at(-1)
    assert len(lines) > 50
    lost = 0
    for k in range(1, len(lines) + 1) if again else ends(lines):
        _, out = press_at(k)
        lost += not out
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), saved)), k
        assert (
            hooks(model) == before and not changes.Changes.of(model).changes and not changes.Changes.of(model).sessions
        ), k
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, k
    assert lost == 0, "a Ctrl-C is held back, never swallowed"
    in_block(CONTEXTS[what](model))


@pytest.mark.long
@pytest.mark.parametrize("presses", few([8, 20], [8]))
def test_ctrl_c_in_the_middle_of_a_trade_off_leaves_the_weights_as_they_were(presses):
    model = speaking()
    saved = [p.clone() for p in model.parameters()]
    rows = torch.arange(60).reshape(4, 15) % 97
    sequences = memorization.Sequences(rows.numpy(), prefix=8)

    def use():
        return memorization.tradeoff(model, {"mask": mask_of(model)}, sequences, rows.numpy(), heads=False)

    pressed(-1, use)
    lines, _ = pressed(-1, use)
    for k in range(1, len(lines) + 1, max(1, len(lines) // presses)):
        _, out = pressed(k, use)
        assert out and all(torch.equal(a, b) for a, b in zip(model.parameters(), saved)), k
        assert not changes.Changes.of(model).changes and not changes.Changes.of(model).sessions


def test_an_undo_that_was_cut_short_is_finished_by_the_next_call():
    model, done = speaking(), []
    fails = [True]

    def make(undo):
        undo.back(lambda: done.append("first"))
        undo.back(step)
        undo.back(lambda: done.append("last"))

    def step():
        if fails:
            fails.pop()
            raise torch.OutOfMemoryError("full")
        done.append("middle")

    undo = Undo(model, "three steps", make)
    undo.begin()
    with pytest.raises(torch.OutOfMemoryError):
        undo.undo()
    assert done == ["last", "first"] and undo.in_force
    undo.undo()
    undo.undo()
    assert done == ["last", "first", "middle"] and not undo.in_force


def test_what_cannot_be_put_in_force_as_a_whole_is_not_put_in_force():
    model, old = speaking(), None
    old = {n: p.clone() for n, p in model.named_parameters()}
    with (
        edited_weights(model, up(model, 1)),
        pytest.raises(lens.engine.weights.WeightError, match="in force on this layer already"),
    ):
        apply_weights(model, up(model, 0) | up(model, 1))
    assert all(torch.equal(p, old[n]) for n, p in model.named_parameters())


def test_a_handler_of_the_persons_own_gets_the_ctrl_c_when_all_is_undone():
    model, seen = speaking(), []
    before = signal.signal(
        signal.SIGINT, lambda number, frame: seen.append(lens.engine.changes.Changes.of(model).changes[:])
    )
    try:
        in_block(lens.edited(model, *EDITS))
        lines, _ = pressed(-1, lambda: in_block(lens.edited(model, *EDITS)))
        for k in range(1, len(lines) + 1, 11):
            seen.clear()
            pressed(k, lambda: in_block(lens.edited(model, *EDITS)))
            assert len(seen) == 1, k
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_is_put_in_front_inside_a_block_stays_its_owners():
    model, seen = speaking(), []
    with edited_weights(model, up(model)):
        mine = lambda number, frame: seen.append(number)  # noqa: E731
        old = signal.signal(signal.SIGINT, mine)
        in_block(lens.edited(model, *EDITS))
        assert signal.getsignal(signal.SIGINT) is mine
        signal.signal(signal.SIGINT, old)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert not seen and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_training_inside_a_block_still_puts_ctrl_c_off_to_the_end_of_a_step():
    from lens.training.interruption import between_steps

    with lens.edited(speaking(), *EDITS):
        with between_steps() as asked:
            signal.raise_signal(signal.SIGINT)
            assert asked()
        assert interrupts.own_handler() is signal.default_int_handler


def together(*uses):
    """Runs functions in threads of their own; returns what each raised or returned."""
    out = [None] * len(uses)

    def run(i):
        try:
            out[i] = uses[i]()
        except Exception as error:
            out[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(uses))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return out


def test_two_threads_put_edits_on_and_off_without_a_trace():
    model, interval = speaking(), sys.getswitchinterval()
    saved = [p.clone() for p in model.parameters()]

    def use():
        for _ in range(30):
            try:
                apply_weights(model, up(model)).undo()
            except lens.engine.weights.WeightError as error:
                assert "in force" in str(error)

    sys.setswitchinterval(1e-5)
    try:
        assert together(use, use, use) == [None] * 3
    finally:
        sys.setswitchinterval(interval)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), saved))


@pytest.mark.parametrize("path", ["walk", "hooks"])
def test_two_threads_that_sweep_one_model_get_the_numbers_of_each_alone(path):
    model = speaking()
    if path == "hooks":
        model.model.layers[0].register_forward_hook(lambda m, args, out: None)
    other = lens.Pair("w4 w5 w6 w7", corrupted="w4 w5 w12 w7", answer=" w13", foil=" w14")
    sweep = lambda pair: lens.patch(model, pair, progress=False).effect.values  # noqa: E731
    with pytest.warns(UserWarning) if path == "hooks" else contextlib.nullcontext():
        alone = [sweep(PAIR), sweep(other)]
        for _ in range(3):
            for got, want in zip(together(lambda: sweep(PAIR), lambda: sweep(other)), alone):
                assert not isinstance(got, Exception), got
                assert abs(got - want).max() < 1e-5


def test_a_forward_of_a_thread_that_was_there_before_is_not_edited(monkeypatch):
    model = speaking()
    monkeypatch.setattr(changes, "PATIENCE", 0.2)
    begun, go = threading.Event(), threading.Event()

    def elsewhere():
        begun.set()
        assert go.wait(30)
        try:
            return model(IDS)
        except ChangeError as error:
            return str(error)

    answers = []
    early = threading.Thread(target=lambda: answers.append(elsewhere()))
    early.start()
    begun.wait(30)
    with lens.edited(model, *EDITS):
        want = model(IDS).logits
        go.set()
        early.join(30)
        late = together(lambda: model(IDS).logits)[0]
        refused = together(lambda: lens.patch(model, PAIR, progress=False))[0]
    assert "MainThread" in answers[0] and "in force" in answers[0]
    assert torch.equal(late, want), "a thread that is started inside the block is of the block"
    assert isinstance(refused, ValueError) and "edits are in force" in str(refused)


def test_a_thread_that_is_started_inside_a_block_of_edits_changes_nothing_in_the_model(monkeypatch):
    model = speaking()
    monkeypatch.setattr(changes, "PATIENCE", 0.2)
    with lens.edited(model, *EDITS):
        before = hooks(model)
        refused = together(lambda: in_block(lens.edited(model, EDITS[0])), lambda: mask_of(model).apply(model))
        assert all(isinstance(error, ChangeError) and "'MainThread'" in str(error) for error in refused), refused
        assert hooks(model) == before


@pytest.mark.filterwarnings("ignore:no token met")
@pytest.mark.parametrize("site", ["resid_pre", "resid_mid", "pattern"])
def test_a_hook_that_is_taken_off_while_its_module_is_called_does_nothing(site):
    """Torch looks up at the call whether a hook takes keywords: another thread may have taken it off meanwhile."""
    model, calls, at = speaking(), [], []
    plain, edit = model(IDS).logits, lens.Edit(lens.Site(site, 0), "scale", scale=0.5)

    def take(*_):
        calls.append(1)
        if len(calls) in at:
            handle.remove()

    for module in model.modules():
        module.register_forward_pre_hook(take)
        module.register_forward_hook(take)
    [handle] = install(model, [edit])
    calls.clear()
    assert not torch.equal(model(IDS).logits, plain)
    handle.remove()
    for number in range(1, len(calls) + 1, 2):
        [handle] = install(model, [edit])
        calls.clear()
        at[:] = [number]
        model(IDS)
        at.clear()
        assert torch.equal(model(IDS).logits, plain), number


def test_a_change_waits_for_another_threads_computation_and_is_refused_when_patience_ends(monkeypatch):
    model, inside, go = speaking(), threading.Event(), threading.Event()

    @of_one_model
    def compute(model):
        inside.set()
        assert go.wait(30)
        return "done"

    monkeypatch.setattr(changes, "PATIENCE", 0.1)
    out = []
    worker = threading.Thread(target=lambda: out.append(compute(model)), name="computer")
    worker.start()
    inside.wait(30)
    for use in (
        lambda: apply_weights(model, up(model)),
        lambda: in_block(lens.edited(model, *EDITS)),
        lambda: lens.restore(model),
    ):
        with pytest.raises(ChangeError, match="'computer'"):
            use()
    monkeypatch.setattr(changes, "PATIENCE", 30.0)
    threading.Timer(0.2, go.set).start()
    apply_weights(model, up(model)).undo()
    worker.join(30)
    assert out == ["done"]


def test_weights_are_not_changed_while_a_sweep_of_the_same_thread_reads_them():
    model, errors = speaking(), []
    want = lens.patch(model, PAIR, progress=False)

    def stop():
        try:
            mask_of(model).apply(model)
        except ChangeError as error:
            errors.append(str(error))
        return False

    got = lens.patch(model, PAIR, progress=False, stop=stop)
    assert errors and all("lens.patching.exact.patch" in text for text in errors)
    assert abs(got.effect - want.effect).max() < 1e-5


@pytest.mark.parametrize("way", ["in place", "through data", "a hook", "the configuration"])
def test_a_model_that_is_changed_by_other_means_during_a_sweep_gives_no_result(way):
    model, calls = speaking(), []

    def stop():
        calls.append(1)
        if len(calls) == 2:
            weight = model.model.layers[1].mlp.up_proj.weight
            if way == "in place":
                weight.mul_(1.5).div_(1.5)
            elif way == "through data":
                weight.data.mul_(1.5)
            elif way == "a hook":
                model.model.layers[1].register_forward_hook(lambda m, args, out: None)
            else:
                model.config.rms_norm_eps = 0.1
        return False

    with pytest.raises(ChangeError, match="changed while lens.patching.exact.patch"):
        lens.patch(model, PAIR, progress=False, stop=stop)


def test_a_store_gets_no_part_of_a_changed_model(tmp_path):
    model, calls = speaking(), []

    def stop():
        calls.append(1)
        if len(calls) == 1:
            model.model.layers[1].mlp.up_proj.weight.mul_(1.5)
        return False

    with pytest.raises(ChangeError):
        lens.patch(model, PAIR, progress=False, stop=stop, store=str(tmp_path / "a.zarr"))
    held = lens.open(str(tmp_path / "a.zarr"))
    assert not held.value.notnull().any()


def test_restore_undoes_what_nobody_holds_and_says_what():
    model = speaking()
    before, logits = weight_hash(model), model(IDS).logits
    apply_weights(model, up(model))
    block = lens.edited(model, *EDITS)
    block.__enter__()
    mask = mask_of(model)
    mask.apply(model)
    assert weight_hash(model) != before
    told = lens.restore(model)
    assert (
        len(told) == 3
        and "mask of 2 layers" in told[0]
        and "lens.edited with 3 edits" in told[1]
        and "edit of weights of 1 layer" in told[2]
    )
    assert weight_hash(model) == before and torch.equal(model(IDS).logits, logits) and lens.restore(model) == []
    block.__exit__(None, None, None)
    in_block(mask.applied(model))
    with pytest.raises(ChangeError, match="^model='gpt2' .*expected a model"):
        lens.restore("gpt2")


def test_a_bridge_and_its_plain_model_share_what_is_in_force(tiny_bridge):
    from lens.scoring.likelihood import plain

    bridge, _ = tiny_bridge("llama")
    before = weight_hash(bridge)
    apply_weights(plain(bridge), up(plain(bridge)))
    assert len(lens.restore(bridge)) == 1 and weight_hash(bridge) == before


def test_a_copy_begins_with_nothing_in_force_and_the_registry_dies_with_its_model():
    model = speaking()
    with lens.edited(model, *EDITS):
        pass
    with edited_weights(model, up(model)):
        made = copy.deepcopy(model)
        assert not changes.Changes.of(made).changes and changes.Changes.of(model).changes
    gone = weakref.ref(changes.Changes.of(model))
    del model, made
    gc.collect()
    assert gone() is None


def test_what_a_block_missed_is_ended_with_the_session_round_it():
    model = speaking()

    @of_one_model(reads=False)
    def computes(model):
        here = temporary(model)
        here.__enter__()
        here.put(lambda: model.register_forward_hook(lambda m, args, out: None).remove)
        raise KeyboardInterrupt  # as where the line of a with statement is interrupted: its way out never runs

    with pytest.raises(KeyboardInterrupt):
        computes(model)
    assert sum(hooks(model)) == 0 and not changes.Changes.of(model).sessions


def test_hooks_that_a_bridge_puts_on_at_its_first_forward_are_no_change():
    """A bridge wires its own capture hooks when its blocks first run, inside a computation."""
    lens.load("organism:palimpsest")  # the first load of a machine runs the bridge, to compare it
    model = lens.load("organism:palimpsest")
    before = sum(len(m._forward_pre_hooks) for m in model.modules())
    scored = lens.scoring.rows.score(model, [[1, 2, 3, 4], [4, 3, 2, 1]], progress=False)
    assert len(scored) == 2 and sum(len(m._forward_pre_hooks) for m in model.modules()) > before, (
        "else this says nothing"
    )


def test_a_session_with_a_model_that_was_compiled_whole(tiny):
    """A compiled module keeps no mode of its own, and is compared by the module that it wraps."""
    model = torch.compile(tiny("llama"), backend="eager")

    @of_one_model
    def computes(model, change):
        change()
        return model

    assert computes(model, lambda: None) is model
    with pytest.raises(ChangeError, match="hooks, configuration or modules"):
        computes(model, model._orig_mod.train)


def test_two_threads_that_want_each_others_model_do_not_wait_without_end():
    models, both, said = [speaking(), speaking()], threading.Barrier(2), []

    @of_one_model
    def outer(first, second):
        both.wait(60)
        return inner(second)

    @of_one_model
    def inner(model):
        return "done"

    def run(first, second):
        try:
            said.append(outer(first, second))
        except ChangeError as error:
            said.append(str(error))

    threads = [threading.Thread(target=run, args=order, daemon=True) for order in (models, models[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(said)[0] == "done" and len(said) == 2
    assert (
        "is using it" in sorted(said)[1] and "waits, in its turn, for a model that this thread uses" in sorted(said)[1]
    )
    assert all(inner(model) == "done" for model in models)
