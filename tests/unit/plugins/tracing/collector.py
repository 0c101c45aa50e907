"""An OTLP/HTTP collector on this machine: it takes what a real one takes, and knows what it was sent."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Exported(NamedTuple):
    """A span as it arrived."""

    trace: str
    id: str
    parent: str
    name: str
    begin: int
    end: int
    error: str
    attributes: dict[str, Any]


class Collector:
    """Listens; answers 503 while `is_down`."""

    def __init__(self, port: int = 0) -> None:
        self.spans: list[Exported] = []
        self.resources: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.requests = 0
        self.is_down = False
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests += 1
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                if not collector.is_down:
                    if self.headers["Content-Encoding"] == "gzip":
                        body = gzip.decompress(body)
                    collector._take(body)
                try:
                    self.send_response(503 if collector.is_down else 200)
                    self.end_headers()
                except OSError:
                    return

            def log_message(self, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.endpoint = f"http://127.0.0.1:{self.port}/v1/traces"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _take(self, body: bytes) -> None:
        message = ExportTraceServiceRequest()
        message.ParseFromString(body)
        for resource in message.resource_spans:
            self.resources.append(_values(resource.resource.attributes))
            for scope in resource.scope_spans:
                self.spans += [
                    Exported(
                        one.trace_id.hex(),
                        one.span_id.hex(),
                        one.parent_span_id.hex(),
                        one.name,
                        one.start_time_unix_nano,
                        one.end_time_unix_nano,
                        one.status.message if one.status.code == 2 else "",
                        _values(one.attributes),
                    )
                    for one in scope.spans
                ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
