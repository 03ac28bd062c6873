"""Traces by OpenTelemetry: from a request to what it makes the orchestrator do."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

__all__ = ["Tracing", "tracing"]

MAX_REMEMBERED: Final = 10_000
"""Workloads of which it is remembered by which request they were last changed."""

_TRACER: Final = "orchestrion"


class Tracing:
    """Follows requests, and the steps that come of them.

    What the cluster loop and the node loops do about a workload, they do some time after the request that has changed
    it was answered; their spans are children of that request's all the same.
    """

    def __init__(self, provider: trace.TracerProvider, /) -> None:
        """Take what makes spans."""
        self._tracer = provider.get_tracer(_TRACER)
        self._causes = OrderedDict[str, contexts.Context]()

    @contextmanager
    def request(self, operation: str, request_id: str, traceparent: str, /) -> Iterator[str]:
        """Be at a request while inside, and give the id of its trace.

        `traceparent` is the header of that name (W3C Trace Context), or empty.
        """
        parent = propagate.extract({"traceparent": traceparent}) if traceparent else contexts.Context()
        attributes = {"orchestrion.request_id": request_id}
        with self._tracer.start_as_current_span(
            operation, context=parent, kind=trace.SpanKind.SERVER, attributes=attributes
        ) as span:
            yield trace.format_trace_id(span.get_span_context().trace_id)

    @contextmanager
    def step(self, name: str, subject: str, /) -> Iterator[None]:
        """Be at a step of the orchestrator while inside."""
        inside = trace.get_current_span().get_span_context().is_valid
        parent = None if inside else self._causes.get(subject.partition(",")[0])
        if parent is None and not inside:
            # What nobody asked for, as a look at everything now and then, is no part of any trace.
            yield
            return
        with self._tracer.start_as_current_span(name, context=parent, attributes={"orchestrion.subject": subject}):
            if name == "apply":
                self._remember(subject.split(","))
            yield

    def _remember(self, subjects: Iterable[str]) -> None:
        for subject in subjects:
            self._causes[subject] = contexts.get_current()
            self._causes.move_to_end(subject)
        while len(self._causes) > MAX_REMEMBERED:
            self._causes.popitem(last=False)


@contextmanager
def tracing(endpoint: str = "", *, exporter: SpanExporter | None = None) -> Iterator[Tracing]:
    """Trace while inside; what was not sent yet is sent at the end, in a thread's time. Leaving it blocks for that.

    Args:
        endpoint: The URL of an OTLP receiver for traces, over HTTP; empty is what the environment says by
            `OTEL_EXPORTER_OTLP_ENDPOINT`, or this machine's port 4318.
        exporter: Where spans go instead.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": "orchestrion"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter(endpoint=endpoint or None)))
    try:
        yield Tracing(provider)
    finally:
        provider.shutdown()
