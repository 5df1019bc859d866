"""What is asked of the accuracy table, and whether the figures measured give it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tests.benchmarks import peers
from tests.benchmarks.networks import MOBILENET, UNEQUAL

if TYPE_CHECKING:
    from tests.benchmarks.accuracy import Row

PLAIN = f"{MOBILENET} (PyTorch)"   # what UNEQUAL was made of
SLACK = 1e-9   # rounding of the figures
WORST_SHOWN = 4


@dataclass(frozen=True)
class Verdict:
    """A target, the figure measured, and whether it holds; None where this run did not measure it."""

    target: str
    figure: str
    holds: bool | None


class Results:
    """Rows by setting and network, and the best peer of each network."""

    def __init__(self, rows: Sequence[Row], whole: bool):
        self._rows = {(row.settings, row.network): row for row in rows}
        self.networks = list(dict.fromkeys(row.network for row in rows if row.network != UNEQUAL.name))
        self._published = peers.PUBLISHED if whole else {}

    def row(self, settings: str, network: str) -> Row | None:
        return self._rows.get((settings, network))

    def of(self, settings: str, value: Callable[[Row], float | None], networks: Sequence[str] | None = None
           ) -> dict[str, float]:
        """A figure of each network measured in a setting; ``networks`` takes only these."""
        rows = {network: self.row(settings, network)
                for network in (self.networks if networks is None else networks)}
        return {network: value(row) for network, row in rows.items() if row and value(row) is not None}

    def best_peer(self, network: str) -> peers.Figures | None:
        """Each figure of the best of the peers of this run and of the published figures; None where there is none."""
        found = [peers.Figures(row.likeness.top1, row.likeness.agreement, row.likeness.noise)
                 for method in peers.METHODS if (row := self.row(peers.label(method), network))]
        found += [self._published[network]] if network in self._published else []
        if not found:
            return None
        return peers.Figures(max(f.top1 for f in found), max(f.agreement for f in found), max(f.noise for f in found))

    def margins(self, settings: str, figure: str) -> dict[str, float]:
        """A setting's ``agreement`` or ``noise`` above the best peer's, of the networks that have a peer."""
        values = self.of(settings, lambda row: getattr(row.likeness, figure))
        return {network: value - getattr(peer, figure) for network, value in values.items()
                if (peer := self.best_peer(network))}


def at_least(target: str, values: Mapping[str, float], bound: float, unit: str, sign: int = 1) -> Verdict:
    """Every value reaches the bound; the figure names the lowest, or those that miss it."""
    if not values:
        return Verdict(target, "not measured", None)
    ordered = sorted(values, key=lambda network: sign * values[network])
    missed = [network for network in ordered if sign * (values[network] - bound) < -SLACK]
    shown = missed[:WORST_SHOWN] or ordered[:1]
    more = f" and {len(missed) - len(shown)} more" if len(missed) > len(shown) else ""
    extreme = "missed by" if missed else "lowest:" if sign > 0 else "highest:"
    figures = ", ".join(f"{network} {values[network]:.2f}" for network in shown)
    return Verdict(target, f"{extreme} {figures} {unit}{more}", not missed)


def at_most(target: str, values: Mapping[str, float], bound: float, unit: str) -> Verdict:
    """No value is above the bound; the figure names the highest, or those that miss it."""
    return at_least(target, values, bound, unit, sign=-1)


def verdicts(results: Results) -> list[Verdict]:
    """All targets, in the order of the list they come from."""
    mobile = [network for network in results.networks if network.startswith(MOBILENET)]
    others = [network for network in results.networks if network not in mobile]
    found = [
        at_least("default: at most 0.5 point below float, but for MobileNet",
                 results.of("default", lambda row: row.likeness.change, others), -0.5, "points"),
        at_least("default: agreement at least the best peer's less 0.5 point", results.margins("default", "agreement"),
                 -0.5, "points"),
        *_mobilenet(results, mobile, "default", 50.5, 89, 20),
        at_least("best: agreement at least the best peer's", results.margins("best", "agreement"), 0, "points"),
        at_least("best: signal-to-noise ratio at least the best peer's", results.margins("best", "noise"), 0, "dB"),
        _average(results.margins("best", "noise")),
        *_mobilenet(results, mobile, "best", 51.0, 94.5, 26),
    ]
    for settings, budget in (("default", 0), ("best", 25)):
        found.append(at_most(f"{settings}: at most {budget} % extra multiply-accumulates",
                             results.of(settings, lambda row: row.extra), budget, "%"))
        found.append(at_most(f"{settings}: operands of convolutions and dense layers in 8 bits",
                             results.of(settings, lambda row: row.bits), 8, "bits"))
    found += [_unequal(results, settings) for settings in ("default", "best")]
    return found + [_reported(results, f"{bits}-bit weights") for bits in (6, 4)]


def _mobilenet(results: Results, networks: list[str], settings: str, *bounds: float) -> list[Verdict]:
    figures = (("top1", "top-1", "%"), ("agreement", "agreement", "%"), ("noise", "signal-to-noise ratio", "dB"))
    return [at_least(f"{settings}: MobileNet, {label} at least {bound:g} {unit}",
                     results.of(settings, lambda row, figure=figure: getattr(row.likeness, figure), networks),
                     bound, unit)
            for (figure, label, unit), bound in zip(figures, bounds, strict=True)]


def _average(margins: Mapping[str, float]) -> Verdict:
    target = "best: signal-to-noise ratio on the average 3 dB above the best peer's"
    if not margins:
        return Verdict(target, "not measured", None)
    plain = [margin for network, margin in margins.items() if not network.startswith(MOBILENET)]
    without = f"; {mean(plain):+.2f} dB without MobileNet" if plain else ""
    return Verdict(target, f"{mean(margins.values()):+.2f} dB over {len(margins)} networks{without}",
                   mean(margins.values()) >= 3 - SLACK)


def _unequal(results: Results, settings: str) -> Verdict:
    target = f"{settings}: unequal channels lose at most 0.5 point more than the plain network"
    plain, unequal = results.row(settings, PLAIN), results.row(settings, UNEQUAL.name)
    if plain is None or unequal is None:
        return Verdict(target, "not measured", None)
    more = plain.likeness.change - unequal.likeness.change
    return Verdict(target, f"{plain.likeness.change:+.2f} plain, {unequal.likeness.change:+.2f} unequal: "
                           f"{more:+.2f} points more", more <= 0.5 + SLACK)


def _reported(results: Results, settings: str) -> Verdict:
    """Nothing is asked of narrow weights but that they work; the worst is named."""
    changes = results.of(settings, lambda row: row.likeness.change)
    target = f"{settings}: measured on every network"
    if not changes:
        return Verdict(target, "not measured", None)
    worst = min(changes, key=lambda network: changes[network])
    return Verdict(target, f"{len(changes)} of {len(results.networks)}; lowest: {worst} {changes[worst]:+.2f} points",
                   len(changes) == len(results.networks))


def judge(console: Console, rows: Sequence[Row], whole: bool) -> list[Verdict]:
    """Print how far the networks are above the best peer, and the verdicts. ``whole``: on all evaluation pictures."""
    results = Results(rows, whole)
    compared = Table(title="against the best peer, each figure by itself: onnxruntime in this run"
                           + (", and the figures measured before" if whole else ""))
    for column in ("network", "peer top-1 %", "agreement %", "SNR dB", "default: top-1", "agreement", "SNR",
                   "best: top-1", "agreement", "SNR"):
        compared.add_column(column, justify="left" if column == "network" else "right")
    for network in results.networks:
        peer = results.best_peer(network)
        if peer is None:
            continue
        cells = [f"{peer.top1:.2f}", f"{peer.agreement:.2f}", f"{peer.noise:.2f}"]
        for settings in ("default", "best"):
            row = results.row(settings, network)
            cells += ["-"] * 3 if row is None else [f"{row.likeness.top1 - peer.top1:+.2f}",
                                                    f"{row.likeness.agreement - peer.agreement:+.2f}",
                                                    f"{row.likeness.noise - peer.noise:+.2f}"]
        compared.add_row(network, *cells)
    console.print(compared)
    found = verdicts(results)
    table = Table(title="targets" if whole else "targets, on a part of the pictures: not the figures they speak of")
    for column in ("target", "measured", ""):
        table.add_column(column)
    for verdict in found:
        table.add_row(verdict.target, verdict.figure, {True: "holds", False: "MISSED", None: "-"}[verdict.holds])
    console.print(table)
    return found
