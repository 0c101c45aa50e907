"""Suites of rules: an author subclasses one and inherits its tests; each test's docstring is the rule it checks."""
