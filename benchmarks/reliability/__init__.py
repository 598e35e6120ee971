"""What clusters do to a run: kills, stops, full disks, damaged files, dead hosts."""
