"""Studies on top of runs: nearest neighbours in a bank, control errors, the user study, agreement with people."""
