"""Speed and memory, measured on this machine; one command each."""
