"""Which activities a combination of released components and depths enables, and what it risks."""
