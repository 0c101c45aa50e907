"""Experiments on a strategy or on Herald itself, by the same machinery that trades."""

__all__: list[str] = []
