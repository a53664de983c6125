"""The verbs and their flags, and nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import seminal
from seminal.cli.complaints import Parser

EPILOG = "A first run:  seminal train resnet20 digits      Your own pictures:  seminal train resnet18 FOLDER"
EXPORTS = (
    "safetensors",
    "torchvision",
    "timm",
    "akamaster",
    "onnx",
    "exported-program",
    "huggingface",
    "marian",
    "torch",
)
PREDICTED = (
    "pictures or folders of them; tables; texts, or files with one on each line (of pairs: a tab between the two)"
)
THRESHOLD = "no answer where it scores more than this above the best (default: the run's own)"


def parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The whole command line; ``words`` is what was typed, for better complaints."""
    top = Parser(
        prog="seminal",
        description="The papers that made deep learning: look at them, check them, train them on your own data.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    top.words = words
    top.add_argument("--version", action="version", version=f"seminal {seminal.__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text, allow_abbrev=False)

    shelf = verb("list", "All papers; or, with a word, the models of a paper: parameters, recipes, the paper's result.")
    shelf.add_argument("name", metavar="WORD", nargs="?", help="in the name of a model, in a title, or an author")
    show = verb("show", "The card of a model: citation, idea, its numbers beside the paper's, departures, recipes.")
    show.add_argument("name", metavar="MODEL")
    check = verb("verify", "Check every number of the papers on this machine, now.")
    check.add_argument("name", metavar="MODEL", nargs="?", help="a model or a paper; all without it")
    check.add_argument("--json", dest="as_json", action="store_true", help="print JSON")
    check.add_argument("--page", metavar="FILE.md", help="write a page: every number, and every departure")

    cost = verb("cost", "What a model takes before you start: parameters, multiply-adds, memory for a batch.")
    cost.add_argument("name", metavar="MODEL")
    cost.add_argument("--size", "--input", type=int, help="side of the pictures in pixels (default: the paper's)")
    cost.add_argument("--channels", type=int, help="of the pictures; of a table, the columns")
    cost.add_argument("--classes", type=int)
    cost.add_argument("-b", "--batch", "--batch-size", dest="batch", type=int, help="default: the recipe's")
    optimisers = "sgd, sgd-momentum, adagrad, adadelta, rmsprop, adam, adamw, bertadam (default: the recipe's)"
    cost.add_argument("--opt", "--optimizer", dest="optimiser", metavar="NAME", help=optimisers)
    cost.add_argument("--json", dest="as_json", action="store_true", help="print JSON")

    _train(
        verb("train", "Train a model on your data: a folder or archive of pictures, a table, text, or a bundled set.")
    )

    resume = verb("resume", "Go on with a run that was stopped, killed or cut off; it ends with the same weights.")
    resume.add_argument("run", metavar="RUN")

    test = verb("eval", "Score a run's best weights.")
    test.add_argument("run", metavar="RUN")
    test.add_argument("--data", help="other data of the same form; the run's own without it")
    test.add_argument("--source", metavar="NAME", help="of other text: the language, or the column, of the texts")
    test.add_argument("--target", metavar="NAME", help="of other data: the language, or the column, to be said")
    _bad_files(test, "of other data: damaged files or rows")
    test.add_argument("--split", help="train, val or test (default: test where there is one, else val)")
    test.add_argument("--ten-crop", action="store_true", help="average the predictions of ten crops of each picture")
    test.add_argument("--beam", "--beam-size", type=int, default=4, help="of translations (default: 4; 1: greedy)")
    test.add_argument("--alpha", "--length-penalty", type=float, default=0.6, help="larger: longer (default: 0.6)")
    test.add_argument("--threshold", type=float, metavar="GAP", help=THRESHOLD)
    test.add_argument("--weights", choices=("best", "last"), default="best")
    test.add_argument("--json", dest="as_json", action="store_true", help="print JSON")

    guess = verb("predict", "Predict for your own files, read exactly as validation read its own.")
    guess.add_argument("run", metavar="RUN")
    guess.add_argument("inputs", metavar="INPUT", nargs="*", help=PREDICTED)
    _bad_files(guess, "damaged pictures, or rows of tables; those left out are named")
    guess.add_argument("--question", metavar="TEXT", help="what a run that answers is asked …")
    guess.add_argument("--context", metavar="TEXT", help="… of this text (or the name of a file with it)")
    guess.add_argument("--threshold", type=float, metavar="GAP", help=THRESHOLD)
    guess.add_argument("--top", type=int, metavar="N", help="likeliest classes to show (default: 3; with --json all)")
    guess.add_argument("--csv", dest="csv_file", metavar="FILE", help="write all predictions to a table")
    guess.add_argument("--json", dest="as_json", action="store_true", help="print JSON lines")

    _writing(verb("translate", "Translate sentences: words given here, or lines of standard input."), verb)

    gaps = verb("fill", "Say hidden words: texts with [MASK] in them given here, or lines of standard input.")
    gaps.add_argument("run", metavar="RUN")
    gaps.add_argument(
        "texts", metavar="TEXT", nargs="*", help='"The [MASK] sat on the mat"; more than one may be hidden'
    )
    gaps.add_argument("--top", type=int, default=5, help="pieces to show for each (default: 5)")
    gaps.add_argument("--weights", choices=("best", "last"), default="best")
    gaps.add_argument("--json", dest="as_json", action="store_true", help="print JSON lines")

    _making(verb("sample", "Let a model make pictures: new ones, between two of them, or along its latent variables."))
    _scoring(
        verb("score", "What the pictures that a model makes are worth, or its density, or its sense of the unusual.")
    )

    page = verb("report", "Write the report of a run anew.")
    page.add_argument("run", metavar="RUN")
    compare = verb("compare", "Runs side by side: their results, and what is different about them.")
    compare.add_argument("runs", metavar="RUN", nargs="+", help="or the folder that --seeds or --folds has made")

    look = verb("explain", "Look inside: what the network sees in pictures or texts, and where it finds its evidence.")
    look.add_argument("run", metavar="RUN")
    look.add_argument("images", metavar="INPUT", nargs="+", help="pictures, or folders of them; or texts")
    look.add_argument(
        "--class", dest="class_name", metavar="NAME", help="the class to explain (default: the predicted)"
    )
    look.add_argument("--layer", metavar="NAME", help="the feature maps to take the evidence from (default: the last)")
    look.add_argument("--out", metavar="FILE", help="where the page goes (default: RUN/explain.html)")
    _bad_files(look, "damaged pictures")

    _doctor(
        verb(
            "doctor", "Say why training fails: of your own program, or of a run. Exit code 3 where something is found."
        )
    )
    alike = verb(
        "same",
        "Do two folders of pictures, two tables or two texts come from one distribution? Exit code 0 where no difference is "
        "found, 3 where one is.",
    )
    alike.add_argument("first", metavar="A", help="pictures (a folder, an archive, MNIST's files), a table, or text")
    alike.add_argument("second", metavar="B", help="of the same kind")
    alike.add_argument("--rows", type=int, default=2000, help="of each, at most, drawn at random (default: 2000)")
    alike.add_argument("--seed", type=int, default=0, help="of that draw and of the permutations (default: 0)")
    alike.add_argument("--json", metavar="FILE", help="write the answer for other programs")
    _landscape(
        verb("landscape", "Draw the loss around a run's best weights, or around where a program's training ends.")
    )
    _import(verb("import", "Make a run folder of weights from elsewhere: torchvision's, timm's, or your own file."))
    export = verb("export", "Write a run's weights, or the whole network, for other programs.")
    export.add_argument("run", metavar="RUN")
    export.add_argument("--to", required=True, choices=EXPORTS, help="whose names, or which format")
    export.add_argument("--out", metavar="FILE", help="default: a file (of text: a folder) in the run's")
    export.add_argument("--weights", choices=("best", "last"), default="best")
    return top


def _bad_files(verb: argparse.ArgumentParser | argparse._ArgumentGroup, text: str) -> None:
    verb.add_argument("--on-bad-file", "--on-bad-row", choices=("refuse", "skip"), default="refuse", help=text)


def _writing(speak: argparse.ArgumentParser, verb: Callable[[str, str], argparse.ArgumentParser]) -> None:
    speak.add_argument("run", metavar="RUN")
    speak.add_argument("texts", metavar="SENTENCE", nargs="*", help="without any: lines of standard input")
    speak.add_argument(
        "--beam", "--beam-size", type=int, default=4, help="hypotheses that go on (default: 4; 1: greedy)"
    )
    speak.add_argument("--alpha", "--length-penalty", type=float, default=0.6, help="larger: longer (default: 0.6)")
    speak.add_argument("--beta", "--coverage-penalty", type=float, default=0.0, help="reward for reading everything")
    speak.add_argument("--n-best", type=int, default=1, metavar="N", help="translations of each sentence")
    speak.add_argument("--copy-unknown", action="store_true", help="unknown words are copied from the source")
    write = verb("generate", "Let a language model write on from a prompt.")
    write.add_argument("run", metavar="RUN")
    write.add_argument("--prompt", default="", help="how the text begins")
    write.add_argument("-n", "--n", type=int, default=1, help="texts (default: 1)")
    write.add_argument("--length", "--max-new-tokens", type=int, default=200, metavar="N", help="tokens (default: 200)")
    write.add_argument("--temperature", type=float, default=0.8, help="0: always the most probable (default: 0.8)")
    write.add_argument("--top-k", type=int, default=0, metavar="K", help="only the K most probable tokens")
    write.add_argument("--top-p", type=float, default=1.0, metavar="P", help="only the most probable with this share")
    write.add_argument("--seed", type=int, default=0)
    for parser in (speak, write):
        never = "no run of N tokens is written twice"
        parser.add_argument("--no-repeat", "--no-repeat-ngram-size", type=int, default=0, metavar="N", help=never)
        parser.add_argument("--weights", choices=("best", "last"), default="best")
        parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON lines")


def _making(make: argparse.ArgumentParser) -> None:
    make.add_argument("run", metavar="RUN")
    make.add_argument("-n", "--n", type=int, default=64, help="pictures (default: 64)")
    make.add_argument("--class", dest="label", metavar="NAME", help="of this class, where the model takes classes")
    shape = make.add_mutually_exclusive_group()
    shape.add_argument("--grid", action="store_true", help="one picture that shows all, instead of a folder")
    shape.add_argument("--interpolate", action="store_true", help="ten walks from one random point to another")
    shape.add_argument("--traverse", action="store_true", help="a line for each of the first ten latent variables")
    make.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    make.add_argument("--weights", choices=("best", "last"), default="best")
    make.add_argument("--out", metavar="PATH", help="where they go (default: in RUN, under a new name)")


def _scoring(judge: argparse.ArgumentParser) -> None:
    judge.add_argument("run", metavar="RUN")
    judge.add_argument("data", metavar="DATA", nargs="?", help="other data (default: the run's validation rows)")
    judge.add_argument("--judge", metavar="RUN", help="a classifier that looks at the pictures: a run of yours")
    judge.add_argument(
        "--unusual", metavar="CLASS", help="how well rows of this class, which it has not seen, stand out"
    )
    _bad_files(judge, "of other data: damaged files or rows")
    judge.add_argument("-n", "--n", type=int, default=1000, help="made pictures (default: 1000)")
    judge.add_argument("--samples", type=int, default=100, help="importance samples for each row (default: 100)")
    judge.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    judge.add_argument("--json", dest="as_json", action="store_true", help="print JSON")


def _doctor(ask: argparse.ArgumentParser) -> None:
    ask.add_argument(
        "patient", metavar="PROGRAM.py[:make] | RUN", help="a file with a function make(seed) -> dict, or a run folder"
    )
    ask.add_argument("--check", action="store_true", help="only what can be seen before the first training run")
    ask.add_argument("--examine", action="store_true", help="after the verdict, every experiment there is")
    ask.add_argument("--cure", action="store_true", help="try the remedies, and prove the best of them")
    each = "for the verdict, and again for --examine (default: 120)"
    ask.add_argument("--budget", type=float, default=120.0, metavar="SECONDS", help=each)
    ask.add_argument("--seeds", type=int, default=3, help="of the proof of a cure (default: 3)")
    ask.add_argument("--seed", type=int, default=0, help="given to make()")
    ask.add_argument("--json", metavar="FILE", help="write the verdict for other programs")
    ask.add_argument("--lang", choices=("en", "zh"), default="en", help="of what is said (default: en)")
    ask.add_argument("--device", help="for runs: cpu, cuda (default: the best there is)")
    ask.epilog = (
        "make(seed) gives a dict with model, loss, optimizer, train and val (loaders of (input, target)), epochs and metric; "
        "train_step(model, loss, optimizer, input, target) and evaluate(model, val) where they are not the usual ones."
    )


def _landscape(draw: argparse.ArgumentParser) -> None:
    draw.add_argument("patient", metavar="PROGRAM.py[:make] | RUN", help="as for `seminal doctor`")
    planes = "random (filter-normalised), hessian (largest and smallest eigenvalue), path (of the training)"
    draw.add_argument("--directions", choices=("random", "hessian", "path"), default="random", help=planes)
    draw.add_argument("--span", type=float, default=1.0, help="how far, in lengths of the directions (default: 1)")
    draw.add_argument("--points", type=int, default=21, help="of each side, an odd number (default: 21)")
    draw.add_argument("--rows", type=int, default=256, help="training rows (default: 256)")
    draw.add_argument("--seed", type=int, default=0, help="of the directions and the rows; given to make()")
    draw.add_argument("--device", help="for runs: cpu, cuda (default: the best there is)")


def _import(weights: argparse.ArgumentParser) -> None:
    kinds = ".safetensors, .pt, .pth, or a folder of Hugging Face; code inside it is never run"
    weights.add_argument("file", metavar="FILE", help=kinds)
    weights.add_argument("--as", dest="variant", required=True, metavar="MODEL")
    weights.add_argument(
        "--from", dest="dialect", metavar="NAMES", help="torchvision, huggingface, …; found out without it"
    )
    weights.add_argument("--classes", metavar="NAMES", help="a file with a name per line, or names with commas")
    per_channel = "per channel, of pixels from 0 to 1 (default: ImageNet's)"
    weights.add_argument("--mean", type=_numbers, metavar="R,G,B", help=per_channel)
    weights.add_argument("--std", type=_numbers, metavar="R,G,B", help=per_channel)
    weights.add_argument("--size", type=int, help="side of the pictures in pixels (default: the paper's)")
    weights.add_argument(
        "--tokenizer", metavar="FILE", help="text: the tokenizer.json or vocab.txt, where FILE is no folder with one"
    )
    weights.add_argument("--pairs", action="store_true", help="a BERT that tells the class of two texts, not of one")
    weights.add_argument("--output", "--output-dir", default="runs", help="where run folders are made (default: runs)")
    weights.add_argument("--name", help="name of the run folder (default: MODEL-FILE-n)")


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split(","))


def _train(train: argparse.ArgumentParser) -> None:
    train.add_argument("model", metavar="MODEL", nargs="?")
    train.add_argument("data", metavar="DATA", nargs="?")
    train.add_argument(
        "--model", "-m", "--arch", "-a", dest="model_flag", metavar="MODEL", help="instead of the first word"
    )
    train.add_argument(
        "--data", "--data-dir", "--data-path", dest="data_flag", metavar="DATA", help="instead of the second"
    )

    data = train.add_argument_group("data")
    data.add_argument(
        "--target",
        metavar="COLUMN",
        help="the column of a table to predict, of CoNLL its number; or the language to write (de)",
    )
    data.add_argument(
        "--source",
        "--text",
        metavar="COLUMN",
        help="the language to read (en); or the column of the text (of two: A,B)",
    )
    data.add_argument(
        "--tokens", "--tokenizer", metavar="KIND", help="of text: bpe, wordpiece, uncased, words, characters"
    )
    data.add_argument("--vocab-size", "--vocab", type=int, metavar="N", help="different tokens (default: the recipe's)")
    data.add_argument("--max-length", "--max-len", type=int, metavar="N", help="tokens of a sentence or a window")
    tasks = ("auto", "classification", "regression", "pretrain", "classify", "pair", "tag", "squad", "choice")
    data.add_argument("--task", choices=tasks, default="auto", help="where the data do not tell (default: auto)")
    data.add_argument("--val-fraction", type=float, help="held out where there is no split (default: 0.2; of text 0.1)")
    data.add_argument("--split-seed", type=int, default=0, help="the luck of that split (default: 0)")
    data.add_argument("--folds", type=int, metavar="K", help="cross-validation: K runs, each validated on another fold")
    data.add_argument("--size", "--img-size", type=int, help="side of the pictures in pixels")
    _bad_files(data, "damaged files or rows")
    data.add_argument(
        "--memory-limit", type=float, default=2.0, metavar="GIB", help="larger sets are streamed (default: 2)"
    )
    data.add_argument("-j", "--workers", type=int, help="processes that decode pictures when streaming")

    recipe = train.add_argument_group("recipe (without a flag, the recipe decides)")
    recipe.add_argument(
        "--recipe", "-c", "--config", metavar="paper|modern|FILE|RUN", help="whose numbers (default: modern, mostly)"
    )
    recipe.add_argument("--epochs", type=int, help="passes over the training rows")
    recipe.add_argument("-b", "--batch-size", type=int, help="rows of a step; of text, tokens")
    recipe.add_argument("--lr", type=float, help="the largest learning rate of the schedule")
    recipe.add_argument(
        "--opt", "--optimizer", metavar="NAME", help="sgd, adagrad, adadelta, rmsprop, adam, adamw, bertadam"
    )
    recipe.add_argument("--momentum", type=float, help="of sgd and rmsprop")
    recipe.add_argument("--nesterov", action=argparse.BooleanOptionalAction, help="of sgd with momentum")
    recipe.add_argument("--wd", "--weight-decay", dest="weight_decay", type=float, help="0: none")
    schedules = "constant, step, plateau, exponential, cosine, linear, inverse-sqrt"
    recipe.add_argument("--sched", "--schedule", metavar="NAME", help=schedules)
    recipe.add_argument("--warmup-epochs", type=float, help="in which the rate rises; 0: none")
    recipe.add_argument("--smoothing", "--label-smoothing", dest="label_smoothing", type=float, help="from 0 to 1")
    losses = "cross_entropy, binary_cross_entropy; mse, mae, huber"
    recipe.add_argument("--loss", metavar="NAME", help=losses)
    recipe.add_argument("--beta", type=float, metavar="X", help="vae: weight of the KL divergence (1: the bound)")
    recipe.add_argument(
        "--annealing", type=float, metavar="SHARE", help="vae: of the training, in which beta rises from 0"
    )
    recipe.add_argument(
        "--discriminator-steps", type=int, metavar="K", help="gan: moves for each move of the generator"
    )
    recipe.add_argument(
        "--class-weights", metavar="balanced|none", help="balanced: rare classes count as much as frequent ones"
    )
    recipe.add_argument("--drop", "--dropout", dest="dropout", type=float, help="share of units; 0: none")
    recipe.add_argument("--no-augment", dest="augment", action="store_false", help="rows as they are")
    recipe.add_argument("--mixup", type=float, metavar="ALPHA", help="mixes two rows and their classes; 0.2 is usual")
    recipe.add_argument(
        "--cutmix", type=float, metavar="ALPHA", help="puts a part of one picture into another; 1 is usual"
    )
    recipe.add_argument("--reprob", type=float, metavar="P", help="random erasing")
    recipe.add_argument(
        "--color-jitter", type=float, metavar="X", help="brightness, contrast and colour change by up to X"
    )
    recipe.add_argument("--hflip", type=float, metavar="P", help="how often a picture is mirrored")
    recipe.add_argument("--rotate", type=float, metavar="DEGREES", help="by up to so many")
    recipe.add_argument("--noise", type=float, metavar="STD", help="added to scaled numbers")
    recipe.add_argument("--blur", type=float, metavar="P", help="how often a picture is blurred")
    recipe.add_argument(
        "--scaling",
        metavar="standard|pixel_mean|none",
        help="of pictures: mean 0 and spread 1; less the mean picture; none",
    )
    recipe.add_argument(
        "--clip-grad", type=float, metavar="NORM", help="gradients are scaled down to this norm; 0: never"
    )
    recipe.add_argument("--grad-accum-steps", type=int, metavar="N", help="a batch is read in N parts, for less memory")
    recipe.add_argument(
        "--model-ema",
        type=float,
        nargs="?",
        const=0.999,
        metavar="DECAY",
        help="score and keep a moving average of the weights (0.999)",
    )
    recipe.add_argument("--patience", type=int, metavar="EPOCHS", help="stop when there was no progress for so long")
    recipe.add_argument("--seed", type=int, help="of first weights, order, augmentation and dropout")
    recipe.add_argument("--from", dest="start", metavar="RUN|FILE", help="start from weights learned before")
    recipe.add_argument("--freeze", action="store_true", help="with --from: only the head learns")
    shares = "with --from: learning rate of all but the head, as a share (default: the recipe's, mostly 0.1)"
    recipe.add_argument("--body-lr", type=float, metavar="SHARE", help=shares)
    shares = "with --from: learning rate of each layer, as a share of that of the next one (default: 1)"
    recipe.add_argument("--layer-decay", type=float, metavar="SHARE", help=shares)
    recipe.add_argument("--seeds", type=int, metavar="N", help="N runs; mean and 95 %% interval")

    speed = train.add_argument_group("speed")
    speed.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU where there is one)")
    speed.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="auto: measured")
    speed.add_argument(
        "--amp", dest="precision", action="store_const", const="bf16", help="the same as --precision bf16"
    )
    speed.add_argument("--amp-dtype", choices=("bfloat16", "float16"), help="float16 is refused: it needs loss scaling")
    speed.add_argument("--channels-last", action=argparse.BooleanOptionalAction)
    speed.add_argument("--compile", "--torchcompile", action="store_true", help="with torch.compile")
    speed.add_argument("--deterministic", action="store_true", help="bit-identical repeats on a GPU too, more slowly")

    run = train.add_argument_group("run")
    run.add_argument("--output", "--output-dir", default="runs", help="where run folders are made (default: runs)")
    run.add_argument("--name", "--experiment", help="name of the run folder (default: MODEL-DATA-n)")
    run.add_argument("--resume", nargs="?", const="", metavar="RUN", help="go on with RUN, or with the newest run here")
    run.add_argument("-e", "--eval-only", "--test-only", dest="eval_only", metavar="RUN", help="score RUN instead")
    run.add_argument("--dry-run", action="store_true", help="read the data, take two steps, write nothing")
    run.add_argument("--print-config", action="store_true", help="print the resolved recipe as JSON and stop")
    run.add_argument(
        "--save-every", type=float, default=30.0, metavar="SECONDS", help="between checkpoints (default: 30)"
    )
    run.add_argument(
        "--log-interval", type=float, default=10.0, metavar="SECONDS", help="between lines without a terminal"
    )
    run.add_argument("--tensorboard", action="store_true", help="also write TensorBoard's event files")
