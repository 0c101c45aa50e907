"""The experiments of `resilience.py`, each a function that returns what it found."""
