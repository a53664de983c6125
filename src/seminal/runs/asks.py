"""What a user asked for, as plain data: one class for the data, one for the recipe, one for the run.

``None`` always means: not asked, so the recipe decides.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataAsk:
    """Which data, read how. It is kept in the run folder, to read the same data again on resuming."""

    data: str
    target: str | None = None  # column of a table; of sentence pairs, the language (the ending of the files' names)
    source: str | None = None  # pairs: the other language; labelled text: the column of the text
    tokens: str | None = None  # how text is cut: see `Reading.tokens`
    vocab_size: int | None = None
    max_length: int | None = None  # tokens of a sentence or of a window
    task: str = "auto"  # auto, classification (classify), regression; of text also those of `seminal.runs.text_forms`
    val_fraction: float | None = None
    split_seed: int = 0
    fold: int | None = None  # this fold is the validation split …
    folds: int | None = None  # … of so many
    size: int | None = None
    on_bad_file: str = "refuse"
    memory_limit: float = 2.0  # GiB of decoded pictures kept in memory
    workers: int | None = None
    borrowed: bool = False  # text and tables are read as the run reads them that training started from


@dataclass(frozen=True)
class RecipeAsk:
    """Changes to the recipe."""

    recipe: str | None = None  # paper, modern, FILE.py, the doctor's FILE.json, or the folder of a run
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    opt: str | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    weight_decay: float | None = None
    sched: str | None = None
    warmup_epochs: float | None = None
    label_smoothing: float | None = None
    loss: str | None = None
    beta: float | None = None  # of a vae, and
    annealing: float | None = None  # the share of the training in which it rises
    discriminator_steps: int | None = None  # of a gan
    class_weights: str | None = None
    dropout: float | None = None
    augment: bool = True
    mixup: float | None = None
    cutmix: float | None = None
    reprob: float | None = None
    color_jitter: float | None = None
    hflip: float | None = None
    rotate: float | None = None
    noise: float | None = None
    blur: float | None = None
    scaling: str | None = None
    clip_grad: float | None = None
    grad_accum_steps: int | None = None
    model_ema: float | None = None
    patience: int | None = None
    seed: int | None = None
    start: str | None = None  # the folder of a run, or a file of weights, to start from
    freeze: bool = False  # with `start`: only the head learns
    body_lr: float | None = None  # with `start`: learning rate of all but the head, as a share
    layer_decay: float | None = None  # with `start`: that of each layer, as a share of the next one's


@dataclass(frozen=True)
class ImportAsk:
    """What a user says of weights from elsewhere."""

    file: str  # or a folder of Hugging Face
    variant: str  # the model they belong to
    dialect: str | None = None  # by whose names its entries are called; found out without it
    classes: str | None = None  # a file with a name per line, or names with commas
    mean: tuple[float, ...] | None = None  # of the pixels, per channel, from 0 to 1
    std: tuple[float, ...] | None = None
    size: int | None = None  # side of the pictures in pixels
    tokenizer: str | None = None  # text: a tokenizer.json, or BERT's vocab.txt
    pairs: bool = False  # text: the class is of two, which the weights do not tell
    output: str = "runs"
    name: str | None = None


@dataclass(frozen=True)
class RunAsk:
    """Where and how fast: nothing here changes what is learned, beyond rounding."""

    output: str = "runs"
    name: str | None = None
    device: str | None = None
    precision: str = "auto"
    channels_last: bool | None = None
    compile: bool = False
    save_every: float = 30.0  # seconds between checkpoints, at least
    log_interval: float = 10.0  # seconds between lines where there is no terminal
    tensorboard: bool = False
    deterministic: bool = False
