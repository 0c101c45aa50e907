"""Everything that meets the outside world: layers around a connector, and later the thread that owns it."""
