"""The papers' tables: what was printed, what is run to compare, the rule that judges, and who gets how many seeds."""
