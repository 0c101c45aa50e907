"""The bundled prices and the config of `herald demo`; read them through `importlib.resources`."""
