"""The only code that steps an optimiser."""
