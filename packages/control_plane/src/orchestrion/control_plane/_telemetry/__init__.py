"""What a server tells of itself: counts, health, logs, traces."""
