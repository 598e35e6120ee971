"""Losses: matching, segmentation, masked image modelling. Arrays in, scalars out."""
