"""The program of Countersign. `python -m countersign` starts it."""
