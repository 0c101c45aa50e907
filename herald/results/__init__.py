"""What a run leaves behind: its result in memory, and the run folder with its manifest."""

from herald.results.comparison import Change, Comparison, compare_runs
from herald.results.folder import StoredRun, find_run, list_runs, load_run, write_run
from herald.results.manifest import RunPlan, RunPlugin
from herald.results.run import EquityCurve, RunResult

__all__ = [
    "Change",
    "Comparison",
    "EquityCurve",
    "RunPlan",
    "RunPlugin",
    "RunResult",
    "StoredRun",
    "compare_runs",
    "find_run",
    "list_runs",
    "load_run",
    "write_run",
]
