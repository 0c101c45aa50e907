"""MetaTrader 5: the connector, the process beside the terminal, and what both speak."""
