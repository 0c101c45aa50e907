"""From a file to a plan, or to every mistake at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from herald.clock import DAY, parse_time
from herald.errors import ConfigError, NotFound
from herald.host.plan import load_plan
from herald.model import Timeframe

from .conftest import Install

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _without_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the plugin lock out of what is not about it; a live file asks for one."""
    monkeypatch.setenv("HERALD_PLUGINS__REQUIRE_LOCK", "false")


GOOD = """
    [herald]
    api  = 1
    seed = 7

    [connectors.main]
    use    = "synthetic"
    prices = { EURUSD = 1.1 }

    [strategies.trend]
    use       = "mine"
    symbols   = ["EURUSD"]
    timeframe = ["1h", "4h"]
    length    = 30

    [[risk]]
    use   = "risk.max_position"
    limit = 1.0

    [backtest]
    start = 2020-02-01
    end   = 2020-03-01
    costs = { spread_points = 12 }
"""


@pytest.fixture(autouse=True)
def mine(install: Install) -> None:
    install("mine")


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    return [str(problem) for problem in caught.value.problems]


def test_good_file_becomes_a_plan(write: Write) -> None:
    plan = load_plan(write(GOOD))

    (trend,) = plan.strategies
    assert ("main", ("EURUSD",), (Timeframe(3600), Timeframe(14400))) == (trend.connector, trend.symbols, trend.timeframes)
    assert (30, 0.1) == (trend.part.settings.length, trend.part.settings.size)  # type: ignore[attr-defined]
    assert ["risk[0]"] == [part.name for part in plan.risk]
    assert {"synthetic", "mine", "risk"} == {origin.plugin for origin in plan.plugins}
    assert (7, "backtest") == (plan.seed, plan.mode)
    assert [("EURUSD", Timeframe(3600)), ("EURUSD", Timeframe(14400))] == plan.feeds("main")


def test_five_mistakes_are_all_listed_in_file_order_with_key_and_remedy(write: Write) -> None:
    path = write("""
        [herald]
        seeed = 7
        [connectors.main]
        use = "synthetic"
        volatlity = 0.1
        [strategies.trend]
        use       = "mine"
        connector = "man"
        symbols   = ["EURUSD"]
        timeframe = "1 hour"
        [[risk]]
        use   = "risk.max_position"
        limit = "much"
    """)

    found = problems(path)

    assert 5 == len(found)
    assert "herald.seeed: unknown key; did you mean seed?" == found[0]
    assert "connectors.main.volatlity: unknown key of synthetic; did you mean volatility?" == found[1]
    assert 'strategies.trend.connector: no connector is named "man"; did you mean main?' == found[2]
    assert found[3].startswith("strategies.trend.timeframe: unknown time frame '1 hour'; write a count and a unit")
    assert found[4].startswith("risk[0].limit: input should be a valid number, unable to parse string as a number, not 'much'")


def test_unknown_table_gets_the_nearest_name(write: Write) -> None:
    found = problems(write(GOOD.replace("connectors", "conectors")))

    assert "conectors: unknown table; did you mean connectors?" == found[0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            '"mine"',
            '"min"',
            "strategies.trend.use: no strategy is called 'min' and no plugin of that name is installed; did you mean mine?",
        ),
        ('use       = "mine"', "", "strategies.trend: use is missing; write use ="),
        ('["EURUSD"]', "[]", 'strategies.trend.symbols: must be a list of names, not []; write symbols = ["EURUSD"]'),
        ('["EURUSD"]', '["EURUSD", "EURUSD"]', "strategies.trend.symbols: EURUSD is listed twice"),
        ("length    = 30", "lenght = 30", "strategies.trend.lenght: unknown key of mine; did you mean length?"),
        ("length    = 30", 'length = "x"', "strategies.trend.length: input should be a valid integer"),
        ("length    = 30", "enabled = false", "strategies: every strategy has enabled = false; enable one"),
        ("length    = 30", "sizing = 1", "strategies.trend.sizing: must be a table"),
        ("length    = 30", 'exits = "x"', "strategies.trend.exits: must be a list of tables"),
        (
            "length    = 30",
            'exits = [{ use = "exits.traling_stop" }]',
            "strategies.trend.exits[0].use: plugin 'exits' has no exit",
        ),
        ("2020-03-01", "2020-01-01", "backtest: start (2020-02-01) is not before end (2020-01-01); change one of them"),
        ("2020-03-01", "9999-12-31", "backtest.end: 9999-12-31 is out of range; write a year from 1678 to 2261"),
        ("2020-03-01", "20200301", "backtest.end: 20200301 is no date; write 2024-01-31"),
        ("[connectors.main]", "[[connectors]]", "connectors: must be a table; write its keys below a [heading]"),
        ("[[risk]]", "[risk]", "risk: must be a list; write it in [ brackets ], a list of tables below [[headings]]"),
        ("[backtest]", "[conversions]\n    JPY = 5\n    [backtest]", "conversions.JPY: input should be a valid string, not 5"),
        (
            "[backtest]",
            "[instruments.EURUSD]\n    min_size = 5\n    max_size = 1\n    [backtest]",
            "instruments.EURUSD: min_size (5) is above max_size (1); change one of them",
        ),
        ("length    = 30", "enabled = 1", "strategies.trend.enabled: must be true or false, not 1; write enabled = false"),
        ("[strategies.trend]", '[strategies."a b"]', "strategies.a b: 'a b' is no strategy name; use letters, digits and _"),
        ("prices = { EURUSD = 1.1 }", "format = 5", "connectors.main.format: must be a name, not 5"),
        ("prices = { EURUSD = 1.1 }", "format = 'csw'", "connectors.main.format: no format is called 'csw'"),
        ("[[risk]]", "[risk_profile]\n    ues = 'x'\n    [[risk]]", "risk_profile.ues: unknown key; a profile has only use"),
        ("[[risk]]", "[risk_profile]\n    use = 5\n    [[risk]]", "risk_profile.use: must be a name, not 5; write use ="),
        ("2020-02-01", '"soon"', "backtest.start: 'soon' is no date; write 2024-01-31"),
        ("spread_points", "spred_points", "backtest.costs.spred_points: unknown key; did you mean spread_points?"),
        ("api  = 1", "api = 2", "herald.api: input should be 1, not 2"),
        (
            'use    = "synthetic"',
            'use = "synthetic"\n    poll_seconds = 0',
            "connectors.main.poll_seconds: must be a number of seconds above 0, not 0; write poll_seconds = 0.25",
        ),
        ("seed = 7", 'mode = "test"', "herald.mode: input should be 'backtest', 'paper' or 'live', not 'test'"),
        (
            "[[risk]]",
            "[risk_profile]\n    use = 'balancd'\n    [[risk]]",
            "risk_profile.use: no risk profile is called 'balancd'",
        ),
        ("[backtest]", "[plugins]\n    paths = ['nowhere']\n    [backtest]", "nowhere is not a folder"),
        ("[backtest]", "[plugins]\n    load = ['nope']\n    [backtest]", "plugins.load[0]: plugin 'nope' is not installed"),
        (
            "[backtest]",
            "[instruments.EURUSD]\n    like = 'fx_mayor'\n    [backtest]",
            "instruments.EURUSD.like: no shipped terms are called 'fx_mayor'; did you mean fx_major?",
        ),
        (
            "[backtest]",
            "[instruments.EURUSD]\n    price_step = 0\n    [backtest]",
            "instruments.EURUSD.price_step: input should be greater than 0, not 0",
        ),
    ],
)
def test_mistake_is_named_with_its_place_and_a_remedy(write: Write, old: str, new: str, words: str) -> None:
    assert old in GOOD

    found = problems(write(GOOD.replace(old, new)))

    assert any(words in problem for problem in found), found


def test_text_that_is_no_toml_names_line_and_column(write: Write) -> None:
    (problem,) = problems(write("[herald\n"))

    assert "not valid TOML" in problem
    assert "line 1" in problem


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no file .*nope\.toml"):
        load_plan(tmp_path / "nope.toml")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff", "not UTF-8 text at byte 0; save the file as UTF-8"), (b"a = 1\na = 2", "not valid TOML: Cannot")],
)
def test_file_that_cannot_be_read_says_where(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "odd.toml"
    path.write_bytes(content)

    (problem,) = problems(path)

    assert problem.startswith(words)


def test_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="name a config"):
        load_plan(tmp_path)


def test_byte_order_mark_of_windows_editors_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf" + dedent(GOOD).encode())

    assert 1 == len(load_plan(path).strategies)


def test_environment_overrides_one_key_and_leaves_the_rest(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERALD_STRATEGIES__TREND__LENGTH", "55")
    monkeypatch.setenv("HERALD_BACKTEST__CASH", "500")
    monkeypatch.setenv("HERALD_HERALD__SEED", "9")

    plan = load_plan(write(GOOD))

    assert 55 == plan.strategies[0].part.settings.length  # type: ignore[attr-defined]
    assert (500.0, 9) == (plan.config.backtest.cash, plan.seed)
    assert 12 == plan.config.backtest.costs.spread_points


def test_dates_are_utc_and_a_bare_end_date_includes_its_day(write: Write) -> None:
    backtest = load_plan(write(GOOD)).config.backtest

    assert (parse_time("2020-02-01"), parse_time("2020-03-01") + DAY) == (backtest.start_at, backtest.end_at)


def test_profile_becomes_a_list_in_which_own_entries_replace_its_own_in_place(write: Write) -> None:
    text = GOOD.replace(
        "[[risk]]",
        '[risk_profile]\n    use = "balanced"\n    [[risk]]\n    use = "risk.max_drawdown"\n    fraction = 0.77\n    [[risk]]',
    )

    plan = load_plan(write(text))

    names = [part.use for part in plan.risk]
    assert names.count("risk.max_drawdown") == 1
    assert 0.77 == plan.risk[names.index("risk.max_drawdown")].settings.fraction  # type: ignore[attr-defined]
    assert "risk.max_position" == names[-1]
    assert len(names) > 5


def test_strategy_without_exits_of_its_own_takes_the_global_ones(write: Write) -> None:
    text = GOOD + '\n    [[exits]]\n    use = "exits.time_based"\n    max_hold = "5h"\n'
    plan = load_plan(write(text))

    assert ["exits.time_based"] == [part.use for part in plan.strategies[0].exits]


def test_plan_prints_itself(write: Write) -> None:
    text = load_plan(write(GOOD)).describe()

    assert "connector main = synthetic [herald-trading" in text
    assert "strategy trend = mine [dist-mine 1.2]   main EURUSD 1h,4h   length=30 size=0.1" in text
    assert "risk     risk.max_position(limit=1.0)" in text


def test_plan_prints_all_that_a_run_consists_of(write: Write) -> None:
    own = """sizing = { use = "sizing.fixed", size = 0.2 }
    exits = [{ use = "time_based", max_hold = "5h" }, { use = "profit_target", levels = [{ r = 2.0, share = 1.0 }] }]
    risk = [{ use = "max_order_size", lots = 3.0 }]"""
    path = write(GOOD.replace("length    = 30", own) + '\n    [[observers]]\n    use = "log"\n')

    lines = [line.strip() for line in load_plan(path).describe().splitlines()]

    assert "sizing sizing.fixed(size=0.2)" in lines
    assert "exits  exits.time_based(max_hold=5h) > exits.profit_target(levels=[{r=2.0, share=1.0}])" in lines
    assert "risk   risk.max_order_size(lots=3.0)" in lines
    assert [True] == [line.startswith("observer log [herald-trading") for line in lines if "observer" in line]
    assert "account  10,000.00 USD, netting, leverage 30" in lines
    assert "backtest 2020-02-01 to 2020-03-01, intrabar worse, costs: spread_points 12.0" in lines


def test_plan_is_ready_for_json(write: Write) -> None:
    document = json.loads(json.dumps(load_plan(write(GOOD)).to_dict()))

    assert {"use": "risk.max_position", "limit": 1.0}.items() <= document["risk"][0].items()
    assert 30 == document["strategies"]["trend"]["length"]


def test_validate_hooks_add_their_problems(write: Write, install: Install) -> None:
    install(
        "picky",
        """
        from herald import Problem, hookimpl

        @hookimpl
        def herald_validate(plan):
            for part in plan.chosen("strategy"):
                yield Problem(part.name, f"{part.use} trades on {plan.feeds('main')[0][0]} (no-euro)", "do not")
        """,
    )
    text = GOOD.replace("[backtest]", "[plugins]\n    load = ['picky']\n    accept = []\n    [backtest]")

    assert ["strategies.trend: mine trades on EURUSD (no-euro); do not"] == problems(write(text))
    load_plan(write(text.replace("accept = []", 'accept = ["no-euro"]')))


def test_hook_that_fails_is_a_problem_that_names_its_plugin(write: Write, install: Install) -> None:
    for name, body in {"clumsy": "return 1 / 0", "chatty": "return ['oh no']", "quiet": "return None"}.items():
        install(name, f"from herald import hookimpl\n@hookimpl\ndef herald_validate(plan):\n    {body}\n")
    text = GOOD.replace("[backtest]", "[plugins]\n    load = ['clumsy', 'chatty', 'quiet']\n    [backtest]")

    assert {
        "plugins.clumsy: herald_validate raised ZeroDivisionError: division by zero; report it to the plugin's author",
        "plugins.chatty: herald_validate answered with a str, not a Problem; report it to the plugin's author",
    } == set(problems(write(text)))


PICKY = """
    from pydantic import Field, SecretStr, field_validator
    from herald import Settings, Strategy, component, hookimpl

    class Deep(Settings):
        token: SecretStr = SecretStr("")

    class S(Settings):
        length: int = 20
        password: SecretStr = Field(SecretStr(""), max_length=20)
        deep: Deep = Deep()

        @field_validator("length")
        @classmethod
        def check(cls, value):
            if value == 13:
                raise RuntimeError("unlucky")
            return value

    class X(Strategy):
        pass

    @hookimpl
    def herald_strategies():
        yield component("picky", S, X)
"""


@pytest.mark.parametrize(
    "stated",
    ["password = 70707070", "password = [70707070]", "deep = { token = 70707070 }", 'password = "70707070-70707070-70707070"'],
)
def test_no_message_repeats_a_secret(write: Write, install: Install, stated: str) -> None:
    install("picky", PICKY)

    (problem,) = problems(write(GOOD.replace('"mine"', '"picky"').replace("length    = 30", stated)))

    assert problem.startswith(f"strategies.trend.{'deep.token' if 'deep' in stated else 'password'}: ")
    assert "7070" not in problem


def test_a_secret_that_stands_in_the_file_is_refused_and_a_variable_is_not(write: Write, install: Install) -> None:
    install("picky", PICKY)
    text = GOOD.replace('"mine"', '"picky"').replace("length    = 30", 'password = "hunter2"\n    deep = { token = "hunter3" }')
    what = "is a secret in plain text, which everybody who gets the file can read"

    assert [
        f'strategies.trend.password: {what}; write "secret:trend_password", and: herald secrets set trend_password',
        f'strategies.trend.deep.token: {what}; write "secret:trend_deep_token", and: herald secrets set trend_deep_token',
    ] == problems(write(text))
    # A variable that sets a table sets what it names there, and excuses nothing else in it.
    with pytest.raises(ConfigError, match=r"(?s)1 problem\n  strategies.trend.password: is a secret"):
        load_plan(write(text), environ={"HERALD_STRATEGIES__TREND": '{"deep": {"token": "other"}}'})


def test_what_is_called_a_secret_is_hidden_in_the_plan_even_where_its_plugin_shows_it(write: Write, install: Install) -> None:
    careless = PICKY.replace('password: SecretStr = Field(SecretStr(""), max_length=20)', 'api_token: str = ""')
    install("picky", careless)
    text = GOOD.replace('"mine"', '"picky"').replace("length    = 30", 'api_token = "hunter2"')

    plan = load_plan(write(text))

    assert "api_token=***" in plan.describe()
    assert "hunter2" not in plan.describe() + json.dumps(plan.to_dict())


def test_secrets_are_hidden_in_the_plan(write: Write, install: Install) -> None:
    install("picky", PICKY)
    text = GOOD.replace('"mine"', '"picky"')
    environ = {"HERALD_STRATEGIES__TREND__PASSWORD": "hunter2", "HERALD_STRATEGIES__TREND__DEEP": '{"token": "hunter2"}'}

    plan = load_plan(write(text), environ=environ)

    assert "hunter2" == plan.strategies[0].part.settings.password.get_secret_value()  # type: ignore[attr-defined]
    assert "hunter2" not in plan.describe() + json.dumps(plan.to_dict())


def test_settings_whose_own_check_fails_name_the_plugin(write: Write, install: Install) -> None:
    install("picky", PICKY)

    assert [
        "strategies.trend: the settings of picky [dist-picky 1.2] cannot be checked: RuntimeError: unlucky; "
        "report it to the plugin's author"
    ] == problems(write(GOOD.replace('"mine"', '"picky"').replace("length    = 30", "length = 13")))


def test_problem_of_a_variable_names_the_variable(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load_plan(write(GOOD), environ={"HERALD_BACKTEST__CASH": "much", "HERALD_STRATEGIES__TREND__LENGHT": "5"})

    assert [
        "strategies.trend.lenght: unknown key of mine (set by HERALD_STRATEGIES__TREND__LENGHT); did you mean length?",
        "backtest.cash: input should be a valid number, unable to parse string as a number, not 'much' (set by HERALD_BACKTEST__CASH)",
    ] == [str(problem) for problem in caught.value.problems]


def test_variables_switch_strategies_off(write: Write) -> None:
    text = GOOD.replace(
        "[[risk]]", "[strategies.second]\n    use = 'mine'\n    symbols = ['EURUSD']\n    timeframe = '1h'\n    [[risk]]"
    )

    plan = load_plan(write(text), environ={"HERALD_STRATEGIES__TREND__ENABLED": "false"})

    assert ["second"] == [strategy.name for strategy in plan.strategies]


def test_entry_may_have_a_name_of_its_own(write: Write) -> None:
    plan = load_plan(write(GOOD.replace("limit = 1.0", 'limit = 1.0\n    name = "big"')))

    assert ["risk.big"] == [part.name for part in plan.risk]
    assert {"use": "risk.max_position", "limit": 1.0, "name": "big"}.items() <= plan.to_dict()["risk"][0].items()


def test_names_of_entries_are_checked(write: Write) -> None:
    entry = '[[exits]]\n    use = "exits.time_based"\n    max_hold = "5h"\n    name = "late"\n    '

    found = problems(write(GOOD.replace("limit = 1.0", "limit = 1.0\n    name = 5") + f"\n    {entry}{entry}"))

    assert [
        "risk[0].name: 5 is no name; use letters, digits and _",
        "exits[1].name: late is used twice in exits; choose another",
    ] == found


def test_mistake_beside_a_profile_keeps_the_number_it_has_in_the_file(write: Write) -> None:
    text = GOOD.replace("[[risk]]", '[risk_profile]\n    use = "balanced"\n    [[risk]]').replace("limit = 1.0", "limit = 'x'")

    (problem,) = problems(write(text))

    assert problem.startswith("risk[0].limit: input should be a valid number")


def test_bare_name_means_the_same_whatever_stands_first(write: Write, install: Install) -> None:
    install(
        "rival",
        """
        from herald import Settings, component, hookimpl

        class S(Settings):
            limit: float = 1.0

        @hookimpl
        def herald_risk_checks():
            yield component("max_position", S, lambda settings, services: None)
        """,
    )
    bare, full = '[[risk]]\n    use = "max_position"\n    limit = 2.0\n    ', '[[risk]]\n    use = "rival.max_position"\n    '

    for order in (bare + full, full + bare):
        (problem,) = problems(write(GOOD.replace("[backtest]", order + "[backtest]")))

        assert "risk 'max_position' could be risk.max_position or rival.max_position; write the full name" in problem


def test_looking_for_a_bare_name_loads_only_the_plugin_that_has_it(write: Write) -> None:
    plan = load_plan(write(GOOD + '\n    [[exits]]\n    use = "time_based"\n    max_hold = "5h"\n'))

    assert {"synthetic", "mine", "risk", "exits"} == {origin.plugin for origin in plan.plugins}
    assert ["exits.time_based"] == [part.use for part in plan.strategies[0].exits]


def test_one_missing_folder_does_not_hide_the_plugins_of_the_others(write: Write, tmp_path: Path) -> None:
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "local.py").write_text("", encoding="utf-8")

    found = problems(
        write(GOOD.replace("[backtest]", "[plugins]\n    paths = ['near', 'far']\n    load = ['local']\n    [backtest]"))
    )

    assert [f"plugins.paths[1]: {tmp_path / 'far'} is not a folder; name a folder that holds plugin files"] == found


def test_broken_plugin_that_is_named_twice_tells_the_same_cause_twice(write: Write, install: Install) -> None:
    install("broken", "import nowhere_at_all", module="mod_broken")
    text = GOOD.replace('"mine"', '"broken"').replace("[[risk]]", '[[risk]]\n    use = "broken.check"\n    [[risk]]')

    found = problems(write(text))

    assert ["strategies.trend.use", "risk[0].use"] == [line.split(":")[0] for line in found]
    assert all("No module named 'nowhere_at_all'" in line for line in found)


def test_command_may_lower_the_mode_and_not_raise_it(write: Write) -> None:
    path = write(GOOD.replace("seed = 7", 'mode = "live"'))

    assert "backtest" == load_plan(path, mode="backtest").mode
    assert "backtest" == load_plan(path, mode="backtest").to_dict()["herald"]["mode"]
    with pytest.raises(ConfigError, match=r'the file says "backtest"; a command may lower that, not raise it to "live"'):
        load_plan(write(GOOD), mode="live")


PINNED = '\n    [live]\n    account = "5012345"\n    server = "Demo"\n    real = false\n'
STATED = """
    [[risk]]
    use  = "risk.max_order_size"
    lots = 2.0
    [[risk]]
    use      = "max_daily_loss"
    fraction = 0.02
    [[risk]]
    use      = "risk.max_drawdown"
    fraction = 0.1
"""


def test_a_live_run_needs_to_know_its_account(write: Write) -> None:
    text = GOOD.replace("seed = 7", 'seed = 7\n    mode = "live"')

    found = problems(write(text + STATED))

    assert ["live.account", "live.server", "live.real"] == [one.partition(":")[0] for one in found]
    assert "account  5012345 on Demo, demo; positions of others: refuse; state in state" in (
        load_plan(write(text + PINNED + STATED)).describe().splitlines()
    )


def of_risk(path: Path) -> list[str]:
    try:
        load_plan(path)
    except ConfigError as error:
        return [str(problem) for problem in error.problems if problem.where.startswith("risk")]
    return []


def test_a_live_run_needs_the_limits_that_nobody_can_choose_for_it(write: Write) -> None:
    text = GOOD.replace("seed = 7", 'seed = 7\n    mode = "live"') + PINNED

    assert [
        'risk: has no "risk.max_order_size": a run in this mode must state that limit; '
        'write [[risk]] with use = "risk.max_order_size" and its lots or notional',
        'risk: has no "risk.max_daily_loss": a run in this mode must state that limit; '
        'write [[risk]] with use = "risk.max_daily_loss" and its fraction or amount',
        'risk: has no "risk.max_drawdown": a run in this mode must state that limit; '
        'write [[risk]] with use = "risk.max_drawdown" and its fraction',
    ] == of_risk(write(text))
    named = text + '\n    [risk_profile]\n    use = "conservative"\n'
    (left,) = of_risk(write(named))
    assert left.startswith('risk: has no "risk.max_order_size"')
    assert [] == of_risk(write(text + STATED))


def test_a_live_file_runs_on_paper_without_them(write: Write) -> None:
    text = GOOD.replace("seed = 7", 'seed = 7\n    mode = "live"') + PINNED

    assert "risk.max_order_size" not in {one.use for one in load_plan(write(text), mode="paper").risk}


def test_a_run_with_orders_has_layers_checks_and_a_journal_of_its_own_accord(write: Write) -> None:
    plan = load_plan(write(GOOD.replace("seed = 7", 'seed = 7\n    mode = "paper"')))

    assert ["health_monitor", "retry", "circuit_breaker", "rate_limiter"] == [layer.use for layer in plan.layers("main")]
    assert "journal.sqlite" == plan.journal.use  # type: ignore[union-attr]
    assert len(plan.risk) > 1
    assert "paper" == plan.mode


def test_a_command_may_lower_the_mode_and_never_raise_it(write: Write) -> None:
    paper = write(GOOD.replace("seed = 7", 'seed = 7\n    mode = "paper"'))

    plan = load_plan(paper, mode="backtest")

    assert ("backtest", (), None) == (plan.mode, tuple(plan.layers("main")), plan.journal)
    with pytest.raises(ConfigError, match='the file says "paper"; a command may lower that, not raise it to "live"'):
        load_plan(paper, mode="live")


def test_own_layers_replace_the_usual_ones(write: Write) -> None:
    text = GOOD.replace("seed = 7", 'seed = 7\n    mode = "paper"')

    none = load_plan(write(text.replace('use    = "synthetic"', 'use    = "synthetic"\n    middleware = []')))

    assert () == tuple(none.layers("main"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("cash", "cash = true", "backtest.cash: must be a number, not true"),
        ("length    = 30", "length = true", "strategies.trend.length: must be a number, not true"),
        ("limit = 1.0", "limit = false", "risk[0].limit: must be a number, not false"),
        ("seed = 7", "seed = true", "herald.seed: must be a number, not true"),
        ('["1h", "4h"]', '["1h", "60m", "4h"]', "is listed twice; list each time frame once"),
        ('["1h", "4h"]', '["1h", "1h"]', "strategies.trend.timeframe: 1h is listed twice; list each time frame once"),
        (
            "spread_points = 12",
            'spread = "data", spread_points = 12',
            'spread = "data" takes the spread of each bar, and spread_points = 12 would not count; leave one of them out',
        ),
        ("age", "max_age_seconds = 1e300", "conversions.max_age_seconds: input should be less than or equal to 3000000000"),
    ],
)
def test_what_would_silently_mean_something_else_is_refused(write: Write, old: str, new: str, words: str) -> None:
    text = GOOD
    if old == "cash":
        text += f"\n    {new}\n"
    elif old == "age":
        text += f"\n    [conversions]\n    {new}\n"
    else:
        text = text.replace(old, new)

    found = problems(write(text))

    assert any(words in one for one in found), found


def test_a_name_with_a_line_break_stays_on_its_line(write: Write) -> None:
    found = problems(write(GOOD.replace("[strategies.trend]", '[strategies."a\\nb"]')))

    assert any("a\\nb" in one for one in found)
    assert not [one for one in found if "\n" in one]


def test_a_date_of_a_replay_is_printed_as_a_date(write: Write) -> None:
    text = (
        GOOD.replace("[connectors.main]", "[connectors.history]")
        .replace(
            "[strategies.trend]",
            '[connectors.main]\n    use = "replay"\n    source = "history"\n    start = 2021-02-01\n    [strategies.trend]',
        )
        .replace('use       = "mine"', 'use = "mine"\n    connector = "main"')
    )

    text = load_plan(write(text)).describe()

    assert "start=2021-02-01T00:00:00Z" in text
    assert "1612137600000000000" not in text


def test_a_long_list_of_checks_goes_on_below_its_first(write: Write) -> None:
    lines = load_plan(write(GOOD.replace("seed = 7", 'seed = 7\n    mode = "paper"'))).describe().splitlines()

    (start,) = [number for number, line in enumerate(lines) if line.startswith("risk     ")]
    below = [line for line in lines[start + 1 :] if line.startswith("       > ")]
    assert below
    assert all(len(line) <= 118 or line.count(" > ") == 1 for line in [lines[start], *below])  # a part is never cut
