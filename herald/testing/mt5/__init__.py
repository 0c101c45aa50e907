"""A simulated MetaTrader 5: `herald.testing.mt5.terminal` stands in for the package, this reads what its broker wrote down."""
