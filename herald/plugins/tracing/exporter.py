"""The process that exports: ``python -m herald.plugins.tracing.exporter``, started by the run and fed through its pipe.

Only this module imports OpenTelemetry.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from herald.plugins.tracing.wire import Begin, Span, Spans, Told, decode_down, encode
from herald.utils.child import ParentLink

__all__ = ["main"]

_FLUSH_MILLISECONDS = 2_500
_BATCH_MILLISECONDS = 1_000


def main() -> None:
    """Export what the run says until it is gone."""
    link = ParentLink()
    frame = link.read()
    if frame is None:
        return
    begin = decode_down(frame)
    if not isinstance(begin, Begin):
        raise SystemExit("the first message must say where the collector is")
    exporter = _Exporter(begin, link)
    while (frame := link.read()) is not None:
        message = decode_down(frame)
        if isinstance(message, Spans):
            for span in message.spans:
                exporter.add(span)
    exporter.flush()


class _Exporter:
    """Makes OpenTelemetry's spans of ours, with the numbers that they have already."""

    def __init__(self, begin: Begin, link: ParentLink) -> None:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http import Compression
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
        from opentelemetry.sdk.trace.id_generator import IdGenerator
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        class Given(IdGenerator):
            """Hands out the numbers that are set."""

            trace = span = 0

            def generate_trace_id(self) -> int:
                return self.trace

            def generate_span_id(self) -> int:
                return self.span

        class Reporting(SpanExporter):
            """Passes spans on, and tells the run when the collector stops taking them, and when it does so again."""

            def __init__(self, inner: SpanExporter) -> None:
                self._inner = inner
                self._is_well: bool | None = None

            def export(self, spans: Any) -> SpanExportResult:
                result = self._inner.export(spans)
                is_well = result is SpanExportResult.SUCCESS
                if is_well is not self._is_well and not (is_well and self._is_well is None):
                    with suppress(OSError):  # the run is gone
                        link.send(encode(Told(is_well)))
                self._is_well = is_well
                return result

            def shutdown(self) -> None:
                self._inner.shutdown()

            def force_flush(self, timeout_millis: int = 30_000) -> bool:
                return self._inner.force_flush(timeout_millis)

        self._trace = trace
        self._ids = Given()
        inner = OTLPSpanExporter(
            endpoint=begin.endpoint,
            headers=begin.headers,
            certificate_file=begin.certificate,
            timeout=begin.timeout_seconds,
            compression=Compression.Gzip,
        )
        self._batches = BatchSpanProcessor(
            Reporting(inner),
            max_queue_size=begin.queue,
            schedule_delay_millis=_BATCH_MILLISECONDS,
            max_export_batch_size=min(512, begin.queue),
        )
        resource = Resource.create(dict(begin.resource))
        provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        provider.add_span_processor(self._batches)
        self._tracer = provider.get_tracer("herald", begin.resource.get("service.version"))

    def add(self, span: Span) -> None:
        """Export *span* with the next batch."""
        trace = self._trace
        self._ids.trace, self._ids.span = int(span.trace, 16), int(span.id, 16)
        if span.parent:
            parent = trace.SpanContext(self._ids.trace, int(span.parent, 16), False, trace.TraceFlags(trace.TraceFlags.SAMPLED))
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
        else:
            context = trace.set_span_in_context(trace.INVALID_SPAN)
        made = self._tracer.start_span(span.name, context, start_time=span.begin, attributes=dict(span.attributes))
        if span.error:
            made.set_status(trace.Status(trace.StatusCode.ERROR, span.error))
        made.end(span.end)

    def flush(self) -> None:
        """Export what waits, within some seconds."""
        self._batches.force_flush(_FLUSH_MILLISECONDS)


if __name__ == "__main__":
    try:
        main()
    except ImportError as error:
        sys.stderr.write(f"{error}; pip install 'herald-trading[otel]'\n")
        raise SystemExit(1) from None
    # Not the long way: threads of the exporter may wait for a collector that does not answer.
    sys.stderr.flush()
    os._exit(0)
