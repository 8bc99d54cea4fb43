"""The SWML document: prompt, contexts, AI settings, call flow, rendering. Standard library only."""
