"""The dashboard: pages for browsers, live over one stream, with nothing from elsewhere."""
