"""A report is data; the terminal, the page and JSON are views of it."""
