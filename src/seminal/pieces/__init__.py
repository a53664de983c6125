"""Pieces that no paper claims: random numbers that belong to rows, image changes, measurements. Pure functions."""
