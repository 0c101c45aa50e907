"""Built-in plugins, found through entry points like everybody else's."""
