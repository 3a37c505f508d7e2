"""The final of a benchmark: those who meet make passes in turn, on one host, until every pair is decided.

Who meets and when it is decided are rules of domain/promoting/; the main passes are in runner.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from bench_pipeline.benchmark.dispatcher import Dispatcher, Host
from bench_pipeline.benchmark.events import FinalOmitted, FinalPass
from bench_pipeline.benchmark.model_run import HostLost, Measured, ModelMeasurement, PlannedCall
from bench_pipeline.benchmark.preparation import PreparedTask
from bench_pipeline.benchmark.results import result_of, tell_finished
from bench_pipeline.domain.measuring.disturbance import with_takes_settled
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Scoreboard, rank
from bench_pipeline.domain.models.actor import Entrant
from bench_pipeline.domain.promoting.final import order_of


@dataclass(frozen=True, slots=True)
class FinalRules:
    """Who meets in passes of their own after the main passes, and whether it is decided after so many."""

    meet: Callable[[Scoreboard], tuple[str, ...]]
    decided: Callable[[Scoreboard, Sequence[str], int], bool]


class FinalSession:
    """The final between models whose main passes ended.

    Named hosts that measured them may be several, but latencies are only compared on one: a host that has all who
    meet. If it is lost, its passes are deleted and another such host begins anew.
    """

    def __init__(self, prepared: PreparedTask, incumbents: frozenset[str], dispatcher: Dispatcher) -> None:
        self._prepared = prepared
        self._protocol = prepared.protocol
        self._incumbents = incumbents
        self._dispatcher = dispatcher

    def run(
        self,
        eligible: Sequence[Entrant],
        measured: dict[str, Measured],
        rules: FinalRules,
        calls: Callable[[int], Sequence[PlannedCall]],
    ) -> None:
        """Let those who meet make passes in random order, the calls of each by its number, until it is decided."""
        main = rank((self._main_result(one) for one in measured.values()), self._incumbents)
        names = rules.meet(main)
        hosts = {entrant.name: entrant.hosts for entrant in eligible if entrant.name in names and entrant.hosts}
        while names:
            host = self._host(hosts, measured)
            if hosts and host is None:
                self._discard(names, measured, None)
                self._dispatcher.on(None).tell(FinalOmitted(self._why_apart(hosts)))
                return
            on = {name: self._dispatcher.on(host if name in hosts else None) for name in names}
            self._discard(names, measured, host)
            try:
                self._passes(measured, on, rules, calls)
            except HostLost as lost:
                self._dispatcher.lose(lost)
                continue
            return

    def _passes(
        self,
        measured: dict[str, Measured],
        on: Mapping[str, ModelMeasurement],
        rules: FinalRules,
        calls: Callable[[int], Sequence[PlannedCall]],
    ) -> None:
        names = tuple(on)
        for number in range(1, self._protocol.final_passes + 1):
            in_order = order_of(names, number, on[names[0]].benchmark_id)
            on[names[0]].tell(FinalPass(number, in_order))
            for name in in_order:
                if measured[name].run.final_passes < number:
                    measured[name] = on[name].begin_final_pass(measured[name], number)
                measured[name] = on[name].take(measured[name], calls(number))
            board = rank((result_of(self._prepared, one) for one in measured.values()), self._incumbents)
            if rules.decided(board, names, number):
                break
        for name in names:
            tell_finished(on[name], measured[name])

    def _host(self, hosts: Mapping[str, Sequence[str]], measured: Mapping[str, Measured]) -> Host:
        """Return the host for those who are on named ones: where a final began, else where most were measured."""
        first, *others = hosts.values() or [()]
        common = self._dispatcher.answering([host for host in first if all(host in other for other in others)])
        if not common:
            return None
        began = Counter(measured[name].run.final_host for name in hosts)
        main = Counter(measured[name].run.host for name in hosts)
        return max(common, key=lambda host: (began[host], main[host]))

    def _discard(self, names: Sequence[str], measured: dict[str, Measured], host: Host) -> None:
        """Delete the passes that were made on another host than this one."""
        for name in names:
            run = measured[name].run
            if run.final_host not in (None, host):
                measured[name] = self._dispatcher.on(None).discard_final(measured[name])

    def _why_apart(self, hosts: Mapping[str, Sequence[str]]) -> str:
        where = "; ".join(f"{name} is on {', '.join(self._dispatcher.answering(of)) or 'no host now'}"
                          for name, of in hosts.items())  # fmt: skip
        return (
            f"no host has all models that would meet, and only equal machines are compared: {where}; pull them on one"
        )

    def _main_result(self, measured: Measured) -> ModelResult:
        """Return the result of the main passes only, so that a resumed final keeps its contenders."""
        main = takewhile(lambda sample: sample.repeat <= self._protocol.repeats, measured.samples)
        # The final may have repeated calls of the main passes; until then their first latencies counted.
        return result_of(
            self._prepared, Measured(replace(measured.run, final_passes=0), tuple(with_takes_settled(main)))
        )
