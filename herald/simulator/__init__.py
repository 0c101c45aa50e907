"""The broker of backtest and paper mode: fills, costs and margin."""
