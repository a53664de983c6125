"""Recipes for BN-Inception, with the changes of Sec. 4.2.1 that batch normalisation allows."""

from dataclasses import replace

from seminal.core import DataSpec, Departure, Optim, Recipe
from seminal.papers.bn_inception import VARIANTS
from seminal.pieces.augment import ColourJitter, HorizontalFlip
from seminal.pieces.crops import ResizedCrop
from seminal.recipes.pictures import large_pictures
from seminal.tasks.classification import Classification
from seminal.train.schedules import Exponential

DEFAULT = "modern"

PICTURES = 1_281_167  # of ImageNet 2012's training split
DECAY = 0.96 ** (1 / 8)  # of the rate per epoch: Szegedy et al. 2014, Sec. 6, 4 % every 8 epochs

# Sec. 4.2.2: the first learning rate of each network. BN-x5 is `bn-inception` with 0.0075, 5 · 0.0015, in place of BN-x30's.
RATES = {"inception": 0.0015, "bn-baseline": 0.0015, "bn-inception": 0.045, "bn-inception-sigmoid": 0.0075}
# Steps: 31.0 · 10⁶ for Inception to its best (Fig. 3), 6 · 10⁶ for BN-x30 to its best (Sec. 4.2.2).
STEPS = {
    "inception": 31_000_000,
    "bn-baseline": 31_000_000,
    "bn-inception": 6_000_000,
    "bn-inception-sigmoid": 6_000_000,
}


def paper(variant: str, spec: DataSpec) -> Recipe:
    """Ioffe and Szegedy 2015, Sec. 4.2. `inception` and `bn-baseline` are trained alike; the others have all of Sec.
    4.2.1: a larger rate, no dropout, a fifth of the weight decay, six times the decay of the rate, no response
    normalisation, a new order of the pictures each epoch, and weaker distortions."""
    accelerated = variant in ("bn-inception", "bn-inception-sigmoid")
    epochs = round(STEPS[variant] * 32 / PICTURES)
    strength = 0.25 if accelerated else 0.5
    return Recipe(
        name="paper",
        variant=variant,
        model=VARIANTS[variant],
        task=Classification(),
        epochs=epochs,
        batch=32,
        lr=RATES[variant],
        optim=Optim("sgd", momentum=0.9, weight_decay=4e-5 if accelerated else 2e-4),
        schedule=Exponential(DECAY ** (epochs * (6 if accelerated else 1))),
        augment=(ResizedCrop(), HorizontalFlip(), ColourJitter(strength, strength, strength)),
        sources=_sources(accelerated),
        departures=(
            Departure("steps follow each other (paper: asynchronous, on many machines)", "one machine", "Sec. 4.2"),
            Departure(
                "channels are also divided by their spread (paper: not said)", "the first weights expect it", "Sec. 4.2"
            ),
        ),
    )


def _sources(accelerated: bool) -> dict[str, str]:
    """Where each number comes from, the changes of Sec. 4.2.1 among them."""
    found = {
        "epochs": "Sec. 4.2.2 and Fig. 3: 6 · 10⁶ steps with all changes, 31 · 10⁶ without; × 32 / 1.28 M pictures",
        "batch": "Sec. 4.2: mini-batch size of 32",
        "lr": "Sec. 4.2.2: Inception and BN-Baseline 0.0015; BN-x5 0.0075, with sigmoids too; BN-x30 0.045",
        "optim": "Sec. 4.2: a version of SGD with momentum; 0.9 in Szegedy et al. 2014, Sec. 6; the weight decay of "
        "Inception is not printed: 2e-4 as in the Caffe replication of GoogLeNet",
        "schedule": "Sec. 4.2.1: exponential decay; its pace for Inception is not printed: that of Szegedy et al. 2014",
        "augment": "as Szegedy et al. 2014, Sec. 6",
        "model": "Sec. 4.2.3: dropout of 40 % in the original Inception; Sec. 4.2.1: it has response normalisation",
    }
    if accelerated:
        found["lr"] = f"Sec. 4.2.1, increase learning rate. {found['lr']}"
        found["model"] = "Sec. 4.2.1, remove dropout; remove local response normalisation"
        found["optim"] += "; Sec. 4.2.1, reduce the L2 weight regularisation: divided by 5"
        found["schedule"] += "; Sec. 4.2.1, accelerate the learning rate decay: 6 times faster"
        found["seed"] = "Sec. 4.2.1, shuffle more thoroughly: every epoch draws a new order of all rows"
        found["augment"] += "; Sec. 4.2.1, reduce the photometric distortions: by how much is not printed, here by half"
    return found


def modern(variant: str, spec: DataSpec) -> Recipe:
    """The recipe for large photographs; gentler where no normalisation holds the activations."""
    recipe = large_pictures(variant, VARIANTS[variant], spec)
    if VARIANTS[variant].normalised:
        return recipe
    gentle = {
        **recipe.sources,
        "lr": "that of the Caffe replication of GoogLeNet, which has no batch normalisation either",
        "clip": "a bound of the order of the gradients in a run that goes well",
    }
    return replace(recipe, lr=0.01, clip=5.0, sources=gentle)
