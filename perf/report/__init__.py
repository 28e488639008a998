"""How a run is shown: records, tables, plots, targets, and two runs side by side."""
