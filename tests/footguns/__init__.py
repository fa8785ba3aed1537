"""Ways in which tracing compilers have been known to be silently wrong, each a small function that is run both ways."""
