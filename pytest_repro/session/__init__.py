"""The use cases: check, record, update; from a test's trials to outcomes, without pytest."""
