"""The SWAIG protocol: results, tools, and the SWML document. Standard library only."""
