"""How the shipped weights of the tiny world are made from nothing (`python -m bench assets build`)."""
