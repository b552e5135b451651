"""Jobs: what they are, how they are run, and where their results are kept."""
