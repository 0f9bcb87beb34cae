"""How the shipped weights are made from nothing (`python -m bench assets build`)."""
