"""The networks with shared memory have the tensors of those without."""

from seminal.weights import densenet

TORCHVISION = {f"{ours}-shared": theirs for ours, theirs in densenet.TORCHVISION.items()}
TIMM = TORCHVISION
torchvision = densenet.torchvision
timm = densenet.timm
