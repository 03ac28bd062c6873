"""What is done with objects: reading, writing, following."""
