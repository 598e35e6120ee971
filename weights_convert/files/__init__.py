"""Files of weights read and written as bytes, with nothing executed."""
