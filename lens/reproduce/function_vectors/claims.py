"""Claims of Function Vectors in Large Language Models (Todd et al., ICLR 2024)."""

from __future__ import annotations

from ..claims import Claim, Claims

#: Accuracies that differ by no more than this are called equal.
MARGIN = 0.05
CLAIMS = Claims(
    source="the authors' code, the paper, or a secondary source, which the row says",
    rule="the interval of the difference over tasks above 0",
    estimator="mean over tasks with Student's t interval, seeds of a task averaged first",
    claims={
        "demonstrations": Claim(
            says="Demonstrations make the task; with shuffled labels it is mostly lost (more than half of what they"
            " gave)",
            paper="the corrupted prompt of the method; its accuracies are not quoted (no source that could be checked)",
        ),
        "few_heads": Claim(
            says="A few heads carry the task (the {k} strongest of {cells} hold more than half of the summed positive"
            " effect)",
            paper="GPT-J: mean over tasks .059 (strongest head) to .011 (tenth of 448), middle layers (authors' code)",
            null=0.5,
        ),
        "causal": Claim(
            says="G1. The vector causes the task zero-shot: more than .3 above no vector, and more than .2 above a"
            " random vector of equal norm",
            paper="57.5 % with the vector (GPT-J, six tasks; secondary source)",
        ),
        "repairs": Claim(
            says="... and repairs prompts with shuffled labels (more than nothing, and than a random vector)",
            paper="90.8 % with the vector (GPT-J, six tasks; secondary source)",
        ),
        "average": Claim(
            says="G2. It does more than the layer average (at the layer and strength that suit the average best)",
            paper="the layer average is the paper's baseline; its values are not quoted",
        ),
        "one_set": Claim(
            says="One head set serves all tasks (as well as heads chosen on the task itself, within {margin})",
            paper="one set of ten heads for all tasks of GPT-J (authors' code)",
            margin=(-MARGIN, MARGIN),
        ),
        "third": Claim(
            says="The place is about a third of the depth (as good as the chosen layer, within {margin})",
            paper="layer 9 of 28 (authors' code); a replication's best: .26-.37 of the depth in four models, .55 and"
            " .64 in Qwen (secondary source)",
            margin=(-MARGIN, MARGIN),
        ),
        "instruction_heads": Claim(
            says="Instruction text calls on other heads than demonstrations do (Davidson 2025)",
            paper="not measured in the paper",
        ),
        "instruction_vector": Claim(
            says="... and gives a vector that works as well (within {margin})",
            paper="not measured in the paper",
            margin=(-MARGIN, MARGIN),
        ),
        "composition": Claim(
            says="Vectors add up: v(last, capital) = v(last) + v(first, capital) - v(first)",
            paper="several list tasks; data and code were never released",
        ),
        "vocabulary": Claim(
            says="Read through the unembedding, the vector names the task's outputs (a readout, not what it does)",
            paper="tokens of the output space for most tasks; values not quoted",
        ),
        "specific": Claim(
            says="It carries this task, not just any (control that the paper lacks: the vector of another task, its"
            " own best cell)",
            paper="not measured",
        ),
        "ten_heads": Claim(
            says="About ten heads are enough (95 % of the most, on test; the layer is that of {k} heads)",
            paper="ten heads for GPT-J (authors' code); a replication: 8-11, Qwen 25-27 (secondary source)",
            null=11,
        ),
        "distributed": Claim(
            says="Adding each head's part at its own layer does more (asked by reviewers; reported by Pham 2026)",
            paper="not measured",
        ),
        "templates": Claim(
            says="It works in other templates than the one it was taken from",
            paper="random templates of 120; values not quoted",
        ),
        "written": Claim(
            says="It works in natural sentences (the answer is in the first {tokens} tokens written)",
            paper="this criterion; values not quoted",
        ),
        "text": Claim(
            says="... and the answer is the next word there",
            paper="not this criterion",
        ),
        "one_shot": Claim(
            says="Without a demonstration the vector does more than one demonstration",
            paper="accuracy by the number of demonstrations; values not quoted",
        ),
        "exact": Claim(
            says="G3. The exact effects equal those of one hooked forward a head (to 1e-5 in probability)",
            paper="one forward a head is the published way",
        ),
        "atp": Claim(
            says="G4. Attribution patching finds the same heads (at least {need} of the {k} strongest)",
            paper="not in the paper",
            null="need",
        ),
        "atp*": Claim(
            says="... attribution patching with GradDrop (AtP*) (at least {need} of the {k} strongest)",
            paper="not in the paper",
            null="need",
        ),
        "ig": Claim(
            says="... integrated gradients (at least {need} of the {k} strongest)",
            paper="not in the paper",
            null="need",
        ),
    },
)
