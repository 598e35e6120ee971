"""Maps to look at in a browser: a page on this machine, or a folder for a server."""
