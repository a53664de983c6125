"""Key maps between a paper's model and the checkpoints people already have: one file per paper, both ways."""
