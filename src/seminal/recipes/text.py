"""What the recipes of networks for text share: how text is read, the modern recipe for labelled text, that for sentence pairs
and that for plain text."""

from typing import Any

from seminal.core import DataSpec, Departure, Optim, Reading, Recipe, Task
from seminal.tasks.classification import Classification
from seminal.tasks.language import Language
from seminal.tasks.tagging import Tagging
from seminal.tasks.translation import Translation
from seminal.train.schedules import Cosine, Warmup

# ----------------------------------------------------------------------------------------------------- labelled text

DROPOUT = 0.5  # of word vectors and states, for some thousands of texts

CROSS_ENTROPY = Departure(  # where papers of before 2000 separate classes
    "cross-entropy of a softmax (paper: squared error of logistic units)",
    "classes exclude each other, and learn faster",
)


def words(most: int = 10_000) -> Reading:
    """A token for each word. Rare words share ``<unk>``: of a word seen once nothing can be learned."""
    return Reading("labelled", tokens="words", vocabulary=most, longest=256)


def task_of(spec: DataSpec, smoothing: float = 0.0) -> Task:
    """A class for each text, or for each token. Only the first is smoothed."""
    return Tagging() if spec.kind == "tagged" else Classification(label_smoothing=smoothing)


def labelled_text(variant: str, model: Any, spec: DataSpec, lr: float = 2e-3) -> Recipe:
    """For a network that reads a text word by word: AdamW, warm-up and a cosine, clipped gradients."""
    return Recipe(
        name="modern",
        variant=variant,
        model=model,
        task=task_of(spec),
        epochs=5,
        batch=2048,
        lr=lr,
        optim=Optim("adamw", weight_decay=0.01, decay_all=False),
        schedule=Warmup(Cosine(), 0.1),
        clip=1.0,
        least_steps=300,
        sources={
            "model": "dropout of half the word vectors and states: Zaremba et al. 2014 for their medium network",
            "batch": "about 100 sentences of 20 tokens",
            "lr": "chosen on the validation split of sst2",
            "epochs": "as above: by then the validation loss rises again",
            "clip": "the error of a recurrent network may blow up: Pascanu et al. 2013",
            "schedule": "cosine to zero: Loshchilov and Hutter 2017",
            "optim": "matrices only: Loshchilov and Hutter 2019",
        },
    )


# ---------------------------------------------------------------------------------------------------- sentence pairs

PIECES = Reading("pairs", tokens="bpe", vocabulary=8000, longest=256, shared=True)  # of words, for small data
SMALL = 1_000_000  # pairs below which the papers' sizes only learn by heart


def few_pairs(spec: DataSpec) -> bool:
    """Whether there are too few pairs for a network of the paper's size."""
    return spec.counts["train"] < SMALL


def mean_length(spec: DataSpec) -> float:
    """Tokens of a pair of the training split. The loss of some papers is a sum over a sentence, ours a mean over tokens:
    this many times smaller, and so is its gradient."""
    return max(1.0, spec.amount / max(1, spec.counts["train"]))


def tokens_of(sentences: int, spec: DataSpec) -> int:
    """What a batch of so many sentences holds on average."""
    return round(sentences * mean_length(spec))


def pieces_not_words(vocabulary: int, where: str) -> Departure:
    """What reading `PIECES` changes in a paper with so many words of each language."""
    return Departure(
        f"byte-pair encoding with one vocabulary of {PIECES.vocabulary:,} tokens, sentences of up to {PIECES.longest} tokens "
        f"(paper: the {vocabulary:,} most frequent words of each language, sentences of up to 50 words)",
        f"no word is unknown then; --tokens words --vocab-size {vocabulary} --max-length 50 reads as the paper does",
        where,
    )


def tokens_not_sentences(batch: int, sentences: int, where: str) -> Departure:
    """What a batch of `tokens_of` changes in a paper that counts sentences."""
    told = f"batches of {batch:,} tokens (paper: {sentences} sentences)"
    return Departure(told, "all batches then take the same time", where)


def sentence_pairs(variant: str, model: Any, epochs: int) -> Recipe:
    """For a recurrent network that translates: Adam, warm-up and a cosine, clipped gradients, label smoothing."""
    return Recipe(
        name="modern",
        variant=variant,
        model=model,
        task=Translation(label_smoothing=0.1),
        epochs=epochs,
        batch=1536,
        lr=2e-3,
        optim=Optim("adam"),
        schedule=Warmup(Cosine(0.05), 0.05),
        clip=1.0,
        least_steps=2000,
        sources={
            "model": "for 30,000 pairs: the paper's widths divided by four",
            "epochs": "of small data: a round number; of large ones: those of the paper",
            "batch": "about 90 pairs, as Bahdanau et al. 2015 have: with 4,096 tokens, five epochs of Multi30k gave no "
            "better BLEU than one of these",
            "lr": "twice the usual rate of Adam (Kingma and Ba 2015), which warm-up bears",
            "schedule": "warm-up, then cosine: Loshchilov and Hutter 2017",
            "clip": "1, as in Bahdanau et al. 2015, B.2",
            "task": "label smoothing 0.1: Szegedy et al. 2016, Sec. 7",
        },
    )


# -------------------------------------------------------------------------------------------------------- plain text

WINDOWS = Reading("stream", tokens="bpe", vocabulary=8000, longest=256, labels=True)  # of a text of a few megabytes
# With fewer tokens than the first number, the paper's sizes only learn by heart: layers, width, heads instead.
SIZES = ((3_000_000, 4, 128, 4), (100_000_000, 6, 384, 6))


def sizes_for(spec: DataSpec) -> tuple[int, int, int] | None:
    """Layers, width and heads of a network for a text of this length; None where the paper's own suit."""
    return next(((layers, width, heads) for most, layers, width, heads in SIZES if spec.tokens["train"] < most), None)


def other_windows(spec: DataSpec, printed: int, where: str) -> tuple[Departure, ...]:
    """What is said of windows that are not as long as the paper's ``printed`` ones."""
    window = spec.longest["text"]
    told = f"windows of {window} tokens (paper: {printed:,})"
    why = "as the data were cut; --max-length cuts them otherwise"
    return (Departure(told, why, where),) if window != printed else ()


def plain_text(variant: str, model: Any, spec: DataSpec, lr: float) -> Recipe:
    """For a Transformer that says the next token: what is usual today."""
    short = spec.tokens["train"] < SIZES[0][0]
    return Recipe(
        name="modern",
        variant=variant,
        model=model,
        task=Language(carried=False),
        epochs=20 if short else 10,
        batch=4 if short else 32,
        lr=lr,
        optim=Optim("adamw", betas=(0.9, 0.99), weight_decay=0.1, decay_all=False),
        schedule=Warmup(Cosine(0.1), share=0.1),
        clip=1.0,
        patience=5,
        least_steps=500,
        sources={
            "model": "width by the length of the text; no dropout inside attention, so that its fast form can be used",
            "batch": "of a short text 4 windows, 1,024 tokens, for the sake of many steps: two epochs of 280,000 tokens of "
            "Shakespeare ended at a perplexity of 253, with 16 windows at 553",
            "lr": "small networks bear a larger rate than the 2.5e-4 of GPT (Radford et al. 2018, Sec. 4.1)",
            "optim": "weight decay as in GPT-3 (Brown et al. 2020, App. B)",
            "schedule": "App. B there: linear rise, then a cosine to a tenth of the rate",
            "clip": "App. B there: a norm of 1.0",
            "patience": "a short text is soon known by heart: training ends when validation no longer improves",
        },
    )
