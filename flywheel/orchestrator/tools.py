"""The tools of metrics, wired: the critic of a repository's tests, a model that judges, metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flywheel.core.errors import LMError, UsageError
from flywheel.core.events import EventBus
from flywheel.core.settings import MetricSettings, Settings
from flywheel.lm import (
    OF_REQUESTS,
    Engine,
    Failure,
    Message,
    Purpose,
    Reply,
    Request,
    Role,
    Spending,
    profile_of,
)
from flywheel.orchestrator.cost import take_calls
from flywheel.orchestrator.models import Allowance, Models
from flywheel.orchestrator.prove import Prover
from flywheel.programs import Answer, Case, Metric, Score, Tools, load_metric
from flywheel.store import Store
from flywheel.workspace import Workspace, content, find_content

_Ask = Callable[[Request], Future[Reply]]


def find_metric(name: str, settings: Settings, workspace: Workspace) -> Metric:
    """The metric of a name, the user's own first. Raises `UsageError`."""

    def find(name: str) -> Path:
        return find_content("metrics", name, workspace, configured=settings.paths.metrics).path

    return load_metric(name, find)


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of `metrics/`."""

    name: str
    """Name of the file, without its ending."""
    origin: str
    """Where it was found: `setting`, `workspace` or `packaged`."""
    metric: Metric | None
    """The metric, None where the file is none."""
    problem: str
    """Why it is none, with its line; empty where it is one."""


def list_metrics(settings: Settings, workspace: Workspace) -> tuple[Listed, ...]:
    """Every metric there is, those with a mistake too."""
    found = []
    for one in content("metrics", workspace, configured=settings.paths.metrics):
        try:
            metric, problem = find_metric(one.name, settings, workspace), ""
        except UsageError as error:
            metric, problem = None, f"{error.message}: {error.cause}"
        found.append(Listed(one.name, one.origin, metric, problem))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a metric said of one answer, and what that took."""

    score: Score
    """The score."""
    calls: tuple[str, ...]
    """Ids of the calls of models; of some no answer may have come."""


class Toolbox:
    """A metric with the tools that it needs, open for one run; leaving the block closes them."""

    def __init__(
        self,
        metric: Metric,
        settings: Settings,
        workspace: Workspace,
        store: Store,
        bus: EventBus,
        *,
        run_id: str,
        engine: Engine | None = None,
        allowed: Allowance | None = None,
    ) -> None:
        """`engine` asks the judge too: its limits and its end are those of what the answers are to.

        Without it, and where `settings.metric` has limits, the judge has one of its own with those,
        and for those that it has not with what is `allowed` to the engine.
        Raises `UsageError` or `LMError` where a model is needed that cannot be asked.
        """
        self.metric = metric
        """The metric."""
        self._seed = settings.metric.seed
        self._workspace, self._store = workspace, store
        self._held = ExitStack()
        self._models: Models | None = None
        self._ask: _Ask | None = None
        self.judge = ""
        """The name of the one that is asked, empty where none is needed."""
        self.prover: Prover | None = None
        """What proves answers, None where nothing is to be proven."""
        if "judge" in metric.all_needs:
            wanted = settings.metric
            self.judge = profile_of(Role.JUDGE, settings.lm, wanted.judge).settings.model
            purpose = Purpose(Role.JUDGE, f"metric:{metric.name}", run_id, wanted.judge or "")
            if engine is None or wanted.max_usd is not None or wanted.max_tokens is not None:
                self._models = Models(
                    Role.JUDGE,
                    settings,
                    workspace,
                    store,
                    bus,
                    chosen=wanted.judge,
                    wanted=_limits(wanted, allowed),
                    run_id=run_id,
                )
                engine = self._held.enter_context(self._models).engine
            else:
                engine.check(purpose.role, purpose.profile)
            self._ask = partial(engine.submit, purpose=purpose)
        if "critic" in metric.all_needs:
            self.prover = self._held.enter_context(Prover(settings, workspace, store, bus))

    def measure(self, case: Case, answer: Answer) -> Measurement:
        """What the metric says of an answer. Raises what `Metric.score` raises."""
        opinions = _Opinions(self._ask, self._seed) if self._ask is not None else None
        tools = Tools(critic=self.prover, judge=opinions)
        score = _Others(self.metric.uses, tools).of(self.metric, case, answer)
        return Measurement(score, tuple(opinions.calls) if opinions is not None else ())

    @property
    def spent(self) -> Spending:
        """What a judge with an engine of its own has cost."""
        return self._models.spent if self._models is not None else Spending()

    def drop(self) -> None:
        """Give up what models were asked, at once: a person does not wait for it."""
        if self._models is not None:
            self._models.close()

    def settle(self) -> None:
        """Store the calls that ended so far."""
        take_calls(self._workspace, self._store)

    def __enter__(self) -> Toolbox:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the tools; who still waits for one is told that the run has ended."""
        self._held.close()


def _limits(own: MetricSettings, allowed: Allowance | None) -> Allowance:
    """The limits of a judge's own, and where it has none those of what its answers are to."""
    if allowed is None:
        return Allowance(own.max_usd, own.max_tokens)
    return Allowance(
        own.max_usd if own.max_usd is not None else allowed.max_usd,
        own.max_tokens if own.max_tokens is not None else allowed.max_tokens,
    )


class _Opinions:
    """The port `Judge`, for one answer; it knows which calls that took."""

    def __init__(self, put: _Ask, seed: int) -> None:
        self._put, self._seed = put, seed
        self.calls: list[str] = []

    def ask(
        self,
        question: str,
        *,
        system: str = "",
        schema: Mapping[str, object] | None = None,
        samples: int = 1,
        max_tokens: int | None = None,
    ) -> tuple[str, ...]:
        """See the port. A question that the model cannot take has fewer answers, or none."""
        requests = [
            Request(
                messages=(Message("user", question),),
                system=system,
                schema=schema,
                max_tokens=max_tokens,
                seed=self._seed + sample,
                sample=sample,
            )
            for sample in range(samples)
        ]
        said = []
        for future in [self._put(request) for request in requests]:
            try:
                reply = future.result()
            except LMError as error:
                if Failure(error.failure) not in OF_REQUESTS:
                    raise
                continue
            self.calls.append(reply.call_id)
            if reply.response.finish != "refused":
                said.append(reply.response.text)
        return tuple(said)


class _Others:
    """The port `Metrics`: those that one names in `USES`, with the same tools."""

    def __init__(self, uses: Mapping[str, Metric], tools: Tools) -> None:
        self._uses, self._tools = uses, tools

    def of(self, metric: Metric, case: Case, answer: Answer) -> Score:
        """What a metric says, with those that it uses at hand."""
        others = _Others(metric.uses, self._tools)
        tools = Tools(critic=self._tools.critic, judge=self._tools.judge, metrics=others)
        return metric.score(case, answer, tools)

    def score(self, name: str, case: Case, answer: Answer) -> Score:
        """See the port."""
        if name not in self._uses:
            raise UsageError(
                f"the metric {name} is asked for, and USES does not name it",
                hint="USES = (…) of the metric's file lists all that it asks",
            )
        return self.of(self._uses[name], case, answer)
