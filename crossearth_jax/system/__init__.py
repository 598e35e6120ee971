"""Devices, hosts, files and memory; knows nothing of the method."""
