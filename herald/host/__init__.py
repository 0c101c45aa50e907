"""The plugin host: from a config file to a Plan, before anything runs."""
