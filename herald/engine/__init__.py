"""The engine: one event in, requests out; no I/O, no thread, no clock of its own."""
