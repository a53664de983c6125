"""One file per form of data on disk."""
