"""The Model Context Protocol: what `Control` offers, as tools and resources for programs that talk to models."""
