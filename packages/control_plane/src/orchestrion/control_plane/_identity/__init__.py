"""Who asks, and what they may do. Import the modules themselves: most of them need libraries that others do not."""
