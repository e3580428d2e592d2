"""Measures: the engine alone, any OpenAI-compatible server under load, and a long load that checks for leaks."""
