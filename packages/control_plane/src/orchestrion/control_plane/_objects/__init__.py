"""Objects as documents: how they are kept, changed, selected and listed."""
