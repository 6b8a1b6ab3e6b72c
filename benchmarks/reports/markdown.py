"""Small pieces of Markdown."""

from __future__ import annotations

from typing import Any, List, Mapping, Sequence

from benchmarks.stats import Spread


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; every row has as many cells as the header.

    Raises:
        ValueError: a row of another length.
    """
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{len(row)} cells under {len(header)} headings: {row}")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three significant digits, thousands marked; no exponent."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.4f}"


def spread(value: Spread) -> str:
    """The median, and the extremes in brackets."""
    if value.rounds == 1:
        return number(value.median)
    return f"{number(value.median)} ({number(value.low)}–{number(value.high)})"


def heading(kind: str, machine: Mapping[str, Any], interleaved: bool = True) -> str:
    """Title and what it was measured on.

    Args:
        interleaved: whether what is compared took turns, round by round.
    """
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    gpu = "; ".join(machine["gpus"]) or "none"
    lines: List[str] = [
        f"# {kind}",
        "",
        f"Commit {machine['commit']}, {machine['date']}. {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, GPU: {gpu}; {machine['system']}; load before the run {machine['load_before']}.",
        f"Python {machine['python']}, {machine['java']}; {versions}.",
        "",
    ]
    if interleaved:
        lines.append("Medians of the rounds, extremes in brackets. Servers took turns in each round: read the ratios.")
    steal = machine.get("steal")
    if steal and (steal["repeated"] or steal["disturbed"]):
        lines.append(
            f"Measurements of which the hypervisor stole more than {steal['most_stolen']:.0%} of the processor time: "
            f"{steal['repeated']} repeated, {steal['disturbed']} kept all the same."
        )
    lines.append("")
    return "\n".join(lines)
