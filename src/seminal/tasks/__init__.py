"""What a batch means, which loss it gives, how it is scored: one file per kind of problem."""
