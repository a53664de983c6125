"""One file per paper's recipes: the paper's own numbers, each with its section, and a modern one beside it."""
