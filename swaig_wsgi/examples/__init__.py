"""Agents to import and serve."""
