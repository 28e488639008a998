"""The plots, each as SVG and PNG: throughput and CPU time, latency, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from figures.summary import PERCENTILES, Summary, of_scenario
from measuring.scenarios import SCENARIOS, Scenario

from .record import Record

OURS, LIMIT, OTHERS = "#1b7f79", "#b0b0b0", "#d9a441"
COLUMNS = 3
PANEL = (4.2, 2.4)  # inches
NINES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}


def draw(made: Record, folder: Path) -> list[str]:
    """Write the plots for which there are samples; returns their names."""
    found = {
        name: of_scenario(made.samples, name, scenario.higher_is_better)
        for name, scenario in SCENARIOS.items()
    }
    measured = [SCENARIOS[name] for name, summaries in found.items() if summaries]
    rates = [s for s in measured if s.higher_is_better]
    costs = [s for s in measured if not s.higher_is_better]
    drawn = []
    if rates:
        drawn.append(_save(_bars(rates, found, "value"), folder, "throughput"))
        drawn.append(_save(_bars(rates, found, "cpu"), folder, "cpu"))
    if costs:
        drawn.append(_save(_bars(costs, found, "value"), folder, "costs"))
    if found["open-loop"]:
        drawn.append(_save(_latency(found["open-loop"]), folder, "latency"))
    return drawn


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "ringnet"  # the same picture is the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    return figure, axes


def _bars(
    scenarios: Sequence[Scenario], found: Mapping[str, Mapping[str, Summary]], what: str
) -> Any:
    rows = -(-len(scenarios) // COLUMNS)
    figure, axes = _figure(rows, COLUMNS, (PANEL[0] * COLUMNS, PANEL[1] * rows))
    panels = [axis for line in axes for axis in line]
    for axis, scenario in zip(panels, scenarios, strict=False):
        _panel(axis, scenario, list(found[scenario.name].values()), what)
    for axis in panels[len(scenarios) :]:
        axis.set_visible(False)
    return figure


def _panel(axis: Any, scenario: Scenario, summaries: list[Summary], what: str) -> None:
    bars = [(s, s.value.middle if what == "value" else s.cpu_us or 0.0) for s in summaries]
    rising = scenario.higher_is_better and what == "value"
    bars.sort(key=lambda bar: bar[1], reverse=not rising)  # the best on top
    values = [value for _, value in bars]
    spreads = None
    if what == "value":
        low = [s.value.middle - s.value.least for s, _ in bars]
        spreads = [low, [s.value.most - s.value.middle for s, _ in bars]]
    names = [s.peer for s, _ in bars]
    axis.barh(names, values, color=[_color(n) for n in names], xerr=spreads, ecolor="#555555")
    unit = scenario.unit if what == "value" else f"server us/{scenario.cpu_unit}"
    axis.set_title(f"{scenario.name}, {unit}", fontsize=9)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


def _color(peer: str) -> str:
    if peer.startswith("ringnet"):
        return OURS
    return LIMIT if peer.startswith("limit") else OTHERS


def _latency(summaries: Mapping[str, Summary]) -> Any:
    figure, axes = _figure(1, 1, (7, 4))
    axis = axes[0][0]
    names = [name for name in PERCENTILES if name in NINES]
    for one in summaries.values():
        style = "--" if one.peer.startswith("limit") else "-"
        width = 2.4 if one.peer.startswith("ringnet") else 1.2
        values = [one.latency_us[name] for name in names]
        axis.plot(names, values, style, linewidth=width, label=one.peer)
    axis.set_yscale("log")
    axis.set_ylabel("us from when it was due")
    axis.set_title("open-loop: latency at a fixed rate", fontsize=10)
    axis.legend(fontsize=7)
    return figure


def _save(figure: Any, folder: Path, name: str) -> str:
    from matplotlib import pyplot

    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", dpi=120)
    pyplot.close(figure)
    return name
