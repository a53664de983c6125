"""The life of a run: words to a case, the folder on disk, and one file per verb."""
