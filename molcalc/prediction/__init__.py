"""Between structures and arrays: checks and batches of structures, results of each, charges seen from points."""
