"""Random programs over the public API: made from a seed, run eagerly and compiled, compared, and shrunk to scripts."""
