"""Write the Grafana dashboards; what they show stands in the tables below.

python monitoring/make_dashboards.py

A test compares the files with what this writes, and runs every query against the metrics of a real run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "herald-prometheus"}
RUN = 'instance=~"$instance"'
RATE = "[$__rate_interval]"
CALLS = "herald_connector_calls_total"


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: Above it.
        queries: (expression, legend) of each line.
        unit: Of Grafana, such as ``s``.
        kind: timeseries, stat or table.
        width: Of 24 columns.
        words: Shown for single values, such as {0: ("trading", "green")}.
        hint: What a reader should know.
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    words: tuple[tuple[float, str, str], ...] = ()
    hint: str = ""


def quantiles(name: str, by: str = "", legend: str = "") -> tuple[tuple[str, str], ...]:
    """Return the queries of median, p95 and p99 of a distribution."""
    kept = f"le, {by}" if by else "le"
    return tuple(
        (
            f"histogram_quantile({share}, sum by ({kept}) (rate(herald_{name}_bucket{{{RUN}}}{RATE})))",
            f"{word} {legend}".strip(),
        )
        for share, word in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


def stat(title: str, query: str, unit: str = "short", *words: tuple[float, str, str], width: int = 4, hint: str = "") -> Panel:
    """Return a single value."""
    return Panel(title, ((query, "{{connector}}{{strategy}}{{scope}}"),), unit, "stat", width, words, hint)


YES_NO = ((0.0, "no", "red"), (1.0, "yes", "green"))
DASHBOARDS: dict[str, tuple[str, tuple[tuple[str, tuple[Panel, ...]], ...]]] = {
    "trading": (
        "Herald: trading",
        (
            (
                "Now",
                (
                    stat("Trades", f"herald_running{{{RUN}}}", "short", *YES_NO),
                    stat(
                        "Kept back",
                        f'herald_trading_restriction{{{RUN}, scope="account"}}',
                        "short",
                        (0.0, "nothing", "green"),
                        (1.0, "entries", "orange"),
                        (2.0, "all", "red"),
                        hint="What the trading state of the account forbids.",
                    ),
                    stat("Equity", f"sum(herald_account_equity{{{RUN}}})"),
                    stat("Open profit", f"sum(herald_position_profit{{{RUN}}})"),
                    stat("Drawdown", f"herald_drawdown_ratio{{{RUN}}}", "percentunit"),
                    stat(
                        "Orders in doubt", f"herald_orders_unresolved{{{RUN}}}", hint="Nobody knows whether the broker has them."
                    ),
                ),
            ),
            (
                "Money",
                (
                    Panel(
                        "Equity and balance",
                        (
                            (f"herald_account_equity{{{RUN}}}", "equity {{connector}} {{currency}}"),
                            (f"herald_account_balance{{{RUN}}}", "balance {{connector}} {{currency}}"),
                            (f"herald_equity_peak{{{RUN}}}", "peak"),
                        ),
                    ),
                    Panel("Drawdown", ((f"herald_drawdown_ratio{{{RUN}}}", "below the peak"),), "percentunit"),
                    Panel("Closed profit", ((f"herald_realized_profit{{{RUN}}}", "{{strategy}} {{symbol}}"),)),
                    Panel("Open profit", ((f"herald_position_profit{{{RUN}}}", "{{strategy}} {{symbol}}"),)),
                    Panel("Position, lots", ((f"herald_position_lots{{{RUN}}}", "{{strategy}} {{symbol}}"),)),
                    Panel("Exposure", ((f"herald_position_exposure{{{RUN}}}", "{{strategy}} {{symbol}}"),)),
                    Panel(
                        "Margin",
                        (
                            (f"herald_account_margin_used{{{RUN}}}", "used {{connector}}"),
                            (f"herald_account_margin_free{{{RUN}}}", "free {{connector}}"),
                        ),
                    ),
                    Panel(
                        "Traded lots an hour",
                        (
                            (
                                f"sum by (symbol, side) (rate(herald_traded_lots_total{{{RUN}}}{RATE})) * 3600",
                                "{{side}} {{symbol}}",
                            ),
                        ),
                    ),
                ),
            ),
            (
                "Orders",
                (
                    Panel(
                        "Orders a minute", ((f"sum by (status) (rate(herald_orders_total{{{RUN}}}{RATE})) * 60", "{{status}}"),)
                    ),
                    Panel(
                        "Fills a minute",
                        (
                            (
                                f"sum by (strategy, symbol, side) (rate(herald_fills_total{{{RUN}}}{RATE})) * 60",
                                "{{strategy}} {{side}} {{symbol}}",
                            ),
                        ),
                    ),
                    Panel(
                        "Denials a minute",
                        (
                            (
                                f"sum by (strategy, code) (rate(herald_denials_total{{{RUN}}}{RATE})) * 60",
                                "{{strategy}}: {{code}}",
                            ),
                        ),
                    ),
                    Panel(
                        "Refused by the broker a minute",
                        (
                            (
                                f"sum by (strategy, code) (rate(herald_rejections_total{{{RUN}}}{RATE})) * 60",
                                "{{strategy}}: {{code}}",
                            ),
                        ),
                    ),
                    Panel(
                        "Working, in doubt, blocked",
                        (
                            (f"herald_orders_working{{{RUN}}}", "working"),
                            (f"herald_orders_unresolved{{{RUN}}}", "in doubt"),
                            (f"herald_entries_blocked{{{RUN}}}", "blocked"),
                        ),
                    ),
                    Panel(
                        "Alerts in the last day",
                        ((f"sum by (code) (increase(herald_alerts_total{{{RUN}}}[1d]))", "{{code}}"),),
                        kind="table",
                    ),
                ),
            ),
            (
                "Strategies",
                (
                    stat("Strategies that run", f"herald_strategy_running{{{RUN}}}", "short", *YES_NO, width=12),
                    Panel(
                        "Failures in the last day",
                        ((f"sum by (strategy) (increase(herald_strategy_failures_total{{{RUN}}}[1d]))", "{{strategy}}"),),
                        kind="table",
                    ),
                    Panel(
                        "Changes of the trading state in the last day",
                        (
                            (
                                f"sum by (scope, state) (increase(herald_trading_state_changes_total{{{RUN}}}[1d]))",
                                "{{scope}} {{state}}",
                            ),
                        ),
                        kind="table",
                    ),
                    Panel(
                        "Observers muted",
                        ((f"sum by (observer) (herald_observers_muted_total{{{RUN}}})", "{{observer}}"),),
                        kind="table",
                    ),
                ),
            ),
        ),
    ),
    "connections": (
        "Herald: connections",
        (
            (
                "Now",
                (
                    stat(
                        "Ready",
                        f"herald_connector_ready{{{RUN}}}",
                        "short",
                        *YES_NO,
                        width=6,
                        hint="Connected, and the account agrees with the books.",
                    ),
                    Panel(
                        "Healthy", ((f"herald_connector_healthy{{{RUN}}}", "{{component}}"),), kind="stat", width=6, words=YES_NO
                    ),
                    Panel(
                        "Circuit",
                        ((f"herald_circuit_open{{{RUN}}}", "{{component}}"),),
                        kind="stat",
                        width=6,
                        words=((0.0, "closed", "green"), (0.5, "half open", "orange"), (1.0, "open", "red")),
                    ),
                    stat("Oldest price", f"max(herald_price_age_seconds{{{RUN}}})", "s", width=6),
                ),
            ),
            (
                "Calls",
                (
                    Panel(
                        "Calls a second",
                        (
                            (
                                f"sum by (connector, operation) (rate({CALLS}{{{RUN}}}{RATE}))",
                                "{{connector}} {{operation}}",
                            ),
                        ),
                        "ops",
                    ),
                    Panel(
                        "Failed calls a second",
                        (
                            (
                                f'sum by (connector, operation, outcome) (rate({CALLS}{{{RUN}, outcome!="ok"}}{RATE}))',
                                "{{connector}} {{operation}} {{outcome}}",
                            ),
                        ),
                        "ops",
                    ),
                    Panel(
                        "Time of a call",
                        quantiles("connector_call_seconds", "connector, operation", "{{connector}} {{operation}}"),
                        "s",
                        width=24,
                    ),
                    Panel("Time of a ping", quantiles("ping_seconds"), "s"),
                    Panel(
                        "How long the call under way has taken", ((f"herald_worker_busy_seconds{{{RUN}}}", "{{connector}}"),), "s"
                    ),
                ),
            ),
            (
                "Resilience",
                (
                    Panel("Repeated calls a minute", ((f"rate(herald_retries_total{{{RUN}}}{RATE}) * 60", "{{component}}"),)),
                    Panel(
                        "Refused calls a minute",
                        (
                            (f"rate(herald_circuit_refused_total{{{RUN}}}{RATE}) * 60", "open circuit {{component}}"),
                            (f"rate(herald_rate_limited_total{{{RUN}}}{RATE}) * 60", "limit {{component}}"),
                        ),
                    ),
                    Panel("Waits for the limit", quantiles("rate_limiter_wait_seconds"), "s"),
                    Panel(
                        "Cache hit rate",
                        ((f"1 - herald_cache_misses_total{{{RUN}}} / herald_cache_requests_total{{{RUN}}}", "{{component}}"),),
                        "percentunit",
                        hint="Of all calls of the run that could be answered from a cache.",
                    ),
                    Panel(
                        "Connections lost and back in the last day",
                        (
                            (f"increase(herald_disconnects_total{{{RUN}}}[1d])", "lost {{connector}}"),
                            (f"increase(herald_reconnects_total{{{RUN}}}[1d])", "back {{connector}}"),
                        ),
                    ),
                    Panel(
                        "Mean time between failures, and to repair",
                        (
                            (f"herald_connector_mtbf_seconds{{{RUN}}} > 0", "between failures {{connector}}"),
                            (f"herald_connector_mttr_seconds{{{RUN}}} > 0", "to repair {{connector}}"),
                        ),
                        "s",
                    ),
                    Panel(
                        "Changes in the last day",
                        (
                            (
                                f"sum by (component, state) (increase(herald_health_changes_total{{{RUN}}}[1d]))",
                                "{{component}} {{state}}",
                            ),
                            (
                                f"sum by (component, state) (increase(herald_circuit_changes_total{{{RUN}}}[1d]))",
                                "{{component}} {{state}}",
                            ),
                        ),
                        kind="table",
                    ),
                    Panel("Age of the last price", ((f"herald_price_age_seconds{{{RUN}}}", "{{symbol}}"),), "s"),
                ),
            ),
        ),
    ),
    "engine": (
        "Herald: engine",
        (
            (
                "Now",
                (
                    stat("Uptime", f"time() - herald_start_timestamp_seconds{{{RUN}}}", "s"),
                    stat(
                        "Heartbeat",
                        f"time() - herald_heartbeat_timestamp_seconds{{{RUN}}}",
                        "s",
                        hint="Since the engine was last known to go round.",
                    ),
                    stat("Memory", f"herald_resident_memory_bytes{{{RUN}}}", "bytes"),
                    stat("Disk left", f"herald_disk_free_bytes{{{RUN}}}", "bytes"),
                    stat(
                        "Journal",
                        f"herald_journal_writable{{{RUN}}}",
                        "short",
                        (0.0, "not writable", "red"),
                        (1.0, "writable", "green"),
                    ),
                    Panel(
                        "Version",
                        ((f"herald_build_info{{{RUN}}}", "{{version}} {{mode}} Python {{python}}"),),
                        kind="stat",
                        width=4,
                        words=((1.0, "1", "text"),),
                    ),
                ),
            ),
            (
                "Latency",
                (
                    Panel(
                        "From a price to an order at its worker",
                        quantiles("tick_to_order_seconds"),
                        "s",
                        hint="The record of the intent on disk included.",
                    ),
                    Panel("From a decision to its first fill", quantiles("order_to_fill_seconds", "type", "{{type}}"), "s"),
                    Panel("Engine's time for a message", quantiles("message_seconds"), "s"),
                    Panel("How late the loop comes to what is due", quantiles("event_loop_lag_seconds"), "s"),
                    Panel("Time of a commit of the journal", quantiles("journal_commit_seconds"), "s"),
                    Panel("Messages a second", ((f"rate(herald_message_seconds_count{{{RUN}}}{RATE})", "messages"),), "ops"),
                ),
            ),
            (
                "Queues and resources",
                (
                    Panel(
                        "Queues",
                        (
                            (f"herald_inbox_messages{{{RUN}}}", "engine"),
                            (f"herald_journal_backlog_entries{{{RUN}}}", "journal"),
                            (f"herald_worker_backlog_jobs{{{RUN}}}", "{{connector}}"),
                        ),
                    ),
                    Panel(
                        "Records of the journal a second", ((f"deriv(herald_journal_records{{{RUN}}}{RATE})", "records"),), "ops"
                    ),
                    Panel("Memory", ((f"herald_resident_memory_bytes{{{RUN}}}", "resident"),), "bytes"),
                    Panel("Threads", ((f"herald_threads{{{RUN}}}", "threads"),)),
                    Panel("Clock against the broker's", ((f"herald_clock_skew_seconds{{{RUN}}}", "difference"),), "s"),
                    Panel("Disk left", ((f"herald_disk_free_bytes{{{RUN}}}", "left"),), "bytes"),
                ),
            ),
        ),
    ),
}


def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    title, rows = DASHBOARDS[name]
    panels: list[dict[str, Any]] = []
    y = 0
    for row, contents in rows:
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": row, "collapsed": False, "gridPos": _place(0, y, 24, 1), "panels": []}
        )
        y += 1
        x = height = 0
        for one in contents:
            if x + one.width > 24:
                x, y = 0, y + height
            height = 4 if one.kind == "stat" else 8
            panels.append(_panel(len(panels) + 1, one, _place(x, y, one.width, height)))
            x += one.width
        y += height
    variable = {
        "name": "instance",
        "label": "run",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": "label_values(herald_build_info, instance)", "refId": "instance"},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }
    return {
        "uid": f"herald-{name}",
        "title": title,
        "tags": ["herald"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [variable]},
        "links": [
            {
                "type": "dashboards",
                "title": "Herald",
                "tags": ["herald"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "annotations": {"list": []},
        "panels": panels,
    }


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.words:
        defaults["mappings"] = [
            {"type": "value", "options": {f"{value:g}": {"text": text, "color": color} for value, text, color in panel.words}}
        ]
        defaults["color"] = {"mode": "thresholds"}
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.hint,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": query,
                "legendFormat": legend,
                "instant": panel.kind != "timeseries",
                "range": panel.kind == "timeseries",
                "format": "table" if panel.kind == "table" else "time_series",
            }
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }
    if panel.kind == "timeseries":
        made["options"] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 5, "showPoints": "never"}
    elif panel.kind == "stat":
        made["options"] = {
            "reduceOptions": {"calcs": ["lastNotNull"]},
            "colorMode": "value",
            "graphMode": "none",
            "textMode": "auto",
        }
        if panel.title == "Version":
            made["options"]["textMode"] = "name"
    return made


def text(name: str) -> str:
    """Return the file of a dashboard."""
    return json.dumps(dashboard(name), indent=1) + "\n"


def main() -> None:
    """Write every dashboard."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(text(name), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
