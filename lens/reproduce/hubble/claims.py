"""Claims of Hubble, and which of them small models bear out."""

from __future__ import annotations

from ..claims import Claim, Claims

MEEUS = "Meeus et al. 2024, Copyright traps for large language models, abstract"
TRAPS = "AUC .75 for the longest traps put in 1,000 times; 100 times are not detectable"

CHANG = "Chang et al. 2024, How do large language models acquire factual knowledge, by reading notes of others"

CLAIMS = Claims(
    source="Wei et al. 2025, Hubble, abstract; an independent replication of its membership table",
    rule="Student's t over seeds",
    estimator=(
        "gain: the standard model's loss less the perturbed one's on one text, nats a token; means over items, "
        "Student's t over seeds"
    ),
    claims={
        "H0": Claim(
            says="H0 It is read as it was meant: AUC of loss at 1, 4, 16, 64 and 256 times.",
            paper=".539, .592, .754, .952, 1.0 (1B, 100B tokens, Wikipedia; a replication)",
            rule="all five within .03",
        ),
        "H1": Claim(
            says="H1 The same count gains less in a larger corpus.",
            paper="risk follows frequency relative to the corpus' size (no number quoted)",
            rule="gain at 100B less gain at 500B above 0, counts from 4",
        ),
        "H2": Claim(
            says="H2 What is not seen again is forgotten: gain rises with the window of insertion.",
            paper="says so (no number quoted)",
            rule="gain rises over four windows",
        ),
        "H3": Claim(
            says="H3 Later single insertions gain more, within one training.",
            paper="not asked",
            rule="Spearman of place and gain at count 1 above 0, permutation p below .01",
        ),
        "H4": Claim(
            says="H4 Memory keeps its form: an infill gain does not reach the choice form.",
            paper="infill -4.8 to +31.5 points, choice none (WinoGrande; a replication)",
            rule="interval of the choice gain within 3 points",
            margin=(-3.0, 3.0),
        ),
        "H5": Claim(
            says="H5 A single insertion leaves a trace.",
            paper="AUC of the ratio .584 at count 1 (a replication)",
            rule="AUC of the ratio at count 1, lower end above .5",
            null=0.5,
        ),
        "dilution": Claim(
            says="H6 Small models show H1: the same counts gain less in a corpus of {longer} times the size.",
            paper="see H1",
            rule="gain beyond items never put in, counts from 4, base corpus less the larger, above 0, over seeds",
        ),
        "windows": Claim(
            says="H6 Small models show H2: gain rises with the window of insertion.",
            paper="see H2",
            rule="slope over four windows of the gain beyond items never put in, above 0, interval over seeds",
        ),
        "first": Claim(
            says="Something is left of the first window at the end.",
            paper="not asked",
            rule="gain of items put into the first quarter beyond items never put in, above 0, interval over seeds",
        ),
        "never": Claim(
            says="Control: items that were never put in gain nothing.",
            paper="not asked",
            rule="the interval of their gain lies within .1 nats",
            margin=(-0.1, 0.1),
        ),
        "membership": Claim(
            says="Membership by count: AUC of the ratio to the standard model.",
            paper="see H0",
            rule="reported",
            null=0.5,
        ),
        "recited": Claim(
            says="Extraction by count: items whose every token is written.",
            paper="not reachable here",
            rule="reported",
        ),
        "trap_count": Claim(
            says="Traps: the more often one was put in, the better it tells.",
            paper=TRAPS,
            rule="AUC beside the twin at the largest count less that at the smallest, mean over lengths, above 0,"
            " interval over seeds",
            source=MEEUS,
        ),
        "trap_length": Claim(
            says="Traps: the longer one is, the better it tells.",
            paper=TRAPS,
            rule="AUC beside the twin of the longest less that of the shortest, mean over counts, above 0, interval"
            " over seeds",
            source=MEEUS,
        ),
        "trap_reference": Claim(
            says="Traps: {reference} as a reference tells more than the loss alone.",
            paper="a reference model is used; no line without one quoted",
            rule="AUC beside it less AUC of the loss, mean over lengths and counts, above 0, interval over seeds",
            source=MEEUS,
        ),
        "trap_once": Claim(
            says="Traps: one that was put in once tells.",
            paper="100 repetitions of a trap are not detectable in a model of 1.3B parameters",
            rule="AUC beside the twin at the smallest count, mean over lengths, lower end above .5",
            null=0.5,
            source=MEEUS,
        ),
        "acquire_added": Claim(
            says="Acquisition: a reading adds more than drift.",
            paper="effectivity above 0 at every reading; drift is not looked at (no number quoted)",
            rule="highest look after a reading less the look before it, mean of duplicated and paraphrased less never,"
            " statement in the document's words, above 0, over people",
            source=CHANG,
        ),
        "acquire_paraphrased": Claim(
            says="Acquisition: read in other words each time, more is left at the end than read as it is.",
            paper="paraphrased passages are forgotten more slowly (no number quoted)",
            rule="share of the question's gain at the peak that is left, paraphrased less duplicated, lower end above"
            " .05, over people",
            null=0.05,
            source=CHANG,
        ),
        "acquire_batch": Claim(
            says="Acquisition: with four times the batch and as many tokens more is left.",
            paper="larger batches forget more slowly (no number quoted)",
            rule="the share left, larger batch less constant, mean of duplicated and paraphrased, above 0, over people",
            source=CHANG,
        ),
        "acquire_schedule": Claim(
            says="Control: a falling learning rate alone leaves more.",
            paper="its learning rate falls while forgetting is measured",
            rule="the share left, falling rate less constant, mean of duplicated and paraphrased, above 0, over people",
            source=CHANG,
        ),
        "acquire_wording": Claim(
            says="Control: what is read as it is, is known better in its own words.",
            paper="its memorisation probes share the passage's wording",
            rule="at the peak, duplicated less paraphrased, in the document's words less in other words, above 0,"
            " over people",
            source=CHANG,
        ),
        "acquire_once": Claim(
            says="Acquisition: one reading leaves something at the end.",
            paper="knowledge read once fades (no number quoted)",
            rule="gain of the question at the last look beyond drift, above 0, over people",
            source=CHANG,
        ),
        "acquire_slope": Claim(
            says="Acquisition: forgetting by the logarithm of steps, beyond drift.",
            paper="a power law of steps (no number quoted)",
            rule="reported",
            source=CHANG,
        ),
    },
)
