"""Reports and explanations: what was done, and why, in words."""
