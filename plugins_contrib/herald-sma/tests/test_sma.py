from herald_sma import Sma, SmaSettings

from herald.testing import StrategyContract, make_bars, run_strategy


class TestSma(StrategyContract):
    strategy, settings = Sma, SmaSettings(length=3)


def test_goes_flat_when_price_falls_below_the_mean() -> None:
    result = run_strategy(Sma, SmaSettings(length=3), make_bars([10, 11, 12, 9]))

    assert [0.1, 0.0] == [target.size for target in result.targets]
