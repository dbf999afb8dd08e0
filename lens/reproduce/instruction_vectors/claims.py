"""Claims of Instruction Vectors (Jiang et al. 2024) and of vector-guided training (Jiang et al. 2025)."""

from __future__ import annotations

from ..claims import Claim, Claims

CLAIMS = Claims(
    source="text and tables of the two papers, or a secondary source, which the row says",
    rule="the interval over seeds of the difference clear of 0, in the direction that is claimed",
    estimator="mean over seeds of the means over tasks with Student's t interval; of one seed over its tasks",
    claims={
        "loses": Claim(
            says="Fine-tuning on new tasks loses old ones asked for by instruction",
            paper="-10.24 points of instruction accuracy (Llama-2-7B-chat; secondary source)",
        ),
        "rather": Claim(
            says="G5. The instruction is lost rather than the knowledge: accuracy by instruction falls more than that"
            " of the facts that the task looks up (of all facts where it looks up none)",
            paper="instruction -10.24, knowledge +1.93 points (secondary source)",
        ),
        "gap": Claim(
            says="On the way old tasks dip below both ends of a stage (stability gap; between evaluations nothing is"
            " seen)",
            paper="not measured",
        ),
        "stays": Claim(
            says="The vector stays (cosine with its start near .95) while the task is lost",
            paper="cosine about .95 while accuracy falls from 65 % to 1 % (Last-Spanish; secondary source)",
            null=0.9,
        ),
        "heads_stay": Claim(
            says="Of the strongest heads more stay than chance would keep (Jaccard of the {k} strongest of {total})",
            paper="ten strongest heads drift slowly, only the tail of the list changes (figure 10 of the second paper)",
        ),
        "recovers": Claim(
            says="G7. Adding the old vector brings back tasks that were lost (by more than {lost}), a random one (mean"
            " of {draws} a task) does not",
            paper=".03 to .47 (Last-Spanish; secondary source); +7.3 points (Hellaswag, G1; text of the second paper)",
        ),
        "nothing_lost": Claim(
            says="G5. The instruction is lost rather than the knowledge",
            paper="instruction -10.24, knowledge +1.93 points (secondary source)",
        ),
        "in_context": Claim(
            says="Learning from demonstrations suffers more than following the instruction",
            paper="5-shot -19.60, zero-shot -4.48 points (Llama-2-7B, sequence C1; table 1 of the second paper)",
        ),
        "follows": Claim(
            says="G6. The vector's similarity follows the accuracy more closely than the weights' distance and the"
            " last hidden state do (r over a task's evaluations)",
            paper="R² .873 (Hellaswag, sequence G1), the two controls uncorrelated; Object Count: no correlation (text"
            " of the second paper)",
        ),
        "which_tasks": Claim(
            says="... and it tells which tasks are lost (rho over the old tasks at the end; control that the paper"
            " lacks)",
            paper="not measured",
        ),
        "nothing_to_recover": Claim(
            says="G7. Adding the old vector brings lost tasks back, a random one does not",
            paper=".03 to .47 (Last-Spanish; secondary source); +7.3 points (Hellaswag, G1; text of the second paper)",
        ),
        "away": Claim(
            says="... and so does taking the new task's vector away",
            paper="39.5 to 49.1 (Hellaswag, C1; text of the second paper)",
        ),
        "less_guided": Claim(
            says="{title}: less forgetting of new tasks (AP - FP), at most {points} points of final performance (FP)"
            " given up",
            paper="FP +2.84 (table 2), +.84 (table 8, the same cell) points (Llama-2-7B, G1)",
        ),
        "less": Claim(
            says="{title}: less forgetting of new tasks (AP - FP), at most {points} points of final performance (FP)"
            " given up",
            paper="not measured",
        ),
        "keeps_guided": Claim(
            says="... and it keeps old tasks better",
            paper="GP +5.44, IP +17.52 points on average (Llama-2-7B; text of the second paper)",
        ),
        "keeps": Claim(
            says="... and it keeps old tasks better",
            paper="not measured",
        ),
        "ablation": Claim(
            says="{gate}{what}: {one} minus {other}",
            paper="not measured",
        ),
        "averaging": Claim(
            says="Averaging with the first model (ratio .2) keeps old tasks too",
            paper="GP +.87, IP +10.35, FP +1.46 points (Llama-2-7B, G1, table 8)",
        ),
        "beyond": Claim(
            says="What is kept beyond what learning less would keep (accuracy by instruction above the straight line"
            " from the start model to plain fine-tuning, at the AP of each)?",
            paper="not measured",
        ),
        "drift": Claim(
            says="Which weights move? (relative change, plain fine-tuning)",
            paper="not measured",
        ),
        "cost": Claim(
            says="A training step with the vector loss costs at most 1.3 of a plain one (teacher kept beforehand)",
            paper="not measured; two more forwards a step in their code",
        ),
        "unseen": Claim(
            says="{method} draws on old rows. Does it keep old tasks whose questions are not among them? (those with"
            " few inputs, tables and steps, are asked for with the very inputs of these rows: there are no others, and"
            " their part is no generalisation)",
            paper="not measured",
        ),
        "best": Claim(
            says="Which method keeps most of the old tasks at a mean cost of at most {points} points of FP? (chosen on"
            " the numbers shown: {count} methods tried)",
            paper="not compared with these",
        ),
    },
)
