"""A strategy that trades as often as it can, in every way that leaves something behind when its process dies."""

from herald import Settings, Strategy, component, hookimpl


class ChurnSettings(Settings):
    """Settings of `Churn`."""

    size: float = 0.1
    hold: int = 2
    """Quotes that a position is held."""
    patience: int = 2
    """Quotes that a resting order may rest."""
    rest: bool = False
    """Want nothing new; close what there is."""
    close: bool = True
    """Close what there is while resting."""


class Churn(Strategy):
    """Enters by turns with a market order, one with a stop loss, one with a bracket, and a limit that it withdraws.

    What it wants follows from the quote alone, so a run after a crash wants what any other would.
    """

    def on_start(self, ctx):
        """Start counting."""
        self.age = {}

    def on_quote(self, quote, ctx):
        """Decide."""
        symbol, settings = quote.symbol, self.settings
        age = self.age[symbol] = self.age.get(symbol, 0) + 1
        held = ctx.position(symbol).size
        own = [order for order in ctx.orders(symbol) if not order.request.parent]
        if own:
            for order in own:
                if order.request.limit is not None and (age >= settings.patience or settings.rest):
                    ctx.cancel(order)
            return
        if held:
            if age >= settings.hold and (settings.close or not settings.rest):
                self.age[symbol] = 0
                ctx.close(symbol)
            return
        if settings.rest:
            return
        self.age[symbol] = 0
        step = ctx.instrument(symbol).price_step
        turn = quote.time // 20_000_000 % 5
        if turn == 0:
            ctx.buy(symbol, settings.size)
        elif turn == 1:
            ctx.sell(symbol, settings.size, stop_loss=quote.ask + 4 * step)
        elif turn == 2:
            ctx.buy(symbol, settings.size, stop_loss=quote.bid - 12 * step, take_profit=quote.ask + 3 * step)
        elif turn == 3:
            ctx.buy(symbol, settings.size, limit=quote.bid - 500 * step)
        else:
            ctx.sell(symbol, settings.size)


@hookimpl
def herald_strategies():
    """Offer the strategy."""
    yield component("churn", ChurnSettings, Churn, "For the kill loop.")
