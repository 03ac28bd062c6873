"""What is recorded, and what can be read off it: shared by both loops and the way in."""
