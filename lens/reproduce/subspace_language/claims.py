"""Claims about a memory subspace (Chavhan et al. 2024), carried over to language models."""

from __future__ import annotations

from ..claims import Claim, Claims

CLAIMS = Claims(
    source="output of the authors' notebook (IoU), and later work that checked it (Kowalczuk et al. 2025, Finding"
    " DoRI; Chang et al. 2024)",
    rule="interval over seeds above 0",
    estimator="mean over trained models with Student's t interval; the model is the unit",
    claims={
        "overlap": Claim(
            says="Masks of disjoint sets of memorised sequences overlap far above chance (published contrast, one"
            " common reference)",
            paper="mean IoU .556 against the null prompt, .538 against captions; chance .005 (Stable Diffusion 1.4, 5"
            " sets of 10 prompts; computed from the notebook's output)",
        ),
        "planted": Claim(
            says="Memory at a known place: hard concrete finds most of the planted neurons, activations least",
            paper="recall at .5 % .874 (GPT-2), .764 (Pythia 6.9B); order hard concrete > slimming > zero-out,"
            " integrated gradients > activations > random (from a summary of Chang et al. 2024)",
        ),
        "smollm2": Claim(
            says="SmolLM2-135M recites well-known text",
            paper="larger models recite such text (OLMo-2: windows of 48 tokens)",
        ),
        "demonstration": Claim(
            says="Demonstration on SmolLM2: planted passages are cut out of a copy (memory in three known blocks)",
            paper="no claim of a paper",
        ),
        "contrast": Claim(
            says="Pruning by the published contrast takes recitation away at little cost, more than random pruning"
            " does",
            paper="memorisation rate .98 to .00, SSCD .90 to .20 (Stable Diffusion 1.4, verbatim prompts; measured in"
            " Finding DoRI)",
        ),
        "corrected": Claim(
            says="The corrected contrast does better than the published one",
            paper="not in the paper",
        ),
        "corrected_random": Claim(
            says="The corrected contrast does better than random pruning",
            paper="not in the paper",
        ),
        "eigen": Claim(
            says="A linear subspace (generalised eigenvectors) does better than the best mask of a contrast",
            paper="not in the paper, which speaks of a subspace and prunes weights",
        ),
        "one_cost": Claim(
            says="Every method at one cost: strict recitation of the located set at +{rise} nats of clean loss"
            " (interval over seeds; by seed)",
            paper="in language models, drop of the target by locator: hard concrete > slimming > zero-out, integrated"
            " gradients > activations > random (GPT-2, Pythia; from a summary of Chang et al. 2024)",
        ),
        "balanced_subnet": Claim(
            says="BalancedSubnet takes away what it was trained on, less a family it did not see",
            paper="strict on Dolma .06, on historical quotes .60 (OLMo-2 7B; other models)",
        ),
        "planted_chance": Claim(
            says="... and every locator does better than chance",
            paper="as above",
        ),
        "planted_trap": Claim(
            says="Trap of that test: planting leaves its mark in the weights themselves, so that the size alone finds"
            " it",
            paper="not measured",
        ),
        "gone": Claim(
            says="Pruning hides the memory, it does not erase it ({title})",
            paper="after Wanda pruning SSCD .20, after an embedding attack .76; never memorised .48 (Stable Diffusion"
            " 1.4; Finding DoRI)",
        ),
        "damage": Claim(
            says="What is cut falls on facts and sums more than on copying from the prompt ({method})",
            paper="closed-book facts .74 to .86 and arithmetic .66 to .74 of the base, open-book .93 to .99 (OLMo-2"
            " 7B, another edit)",
        ),
        "specific_contrast": Claim(
            says="... and the overlap is about memory: sets of unseen sequences overlap less (published contrast, the"
            " control that is lacking): {kind}",
            paper="no set of prompts that are not memorised was tried",
        ),
        "specific_corrected": Claim(
            says="... with the corrected contrast (margin of one standard error, reference of the same kind): {kind}",
            paper="not measured",
        ),
        "transfer": Claim(
            says="A common subspace: the edit found on some memories takes away {name} too ({method})",
            paper="shown on the prompts that the mask was found on, and on sets that share templates with them",
        ),
    },
)
