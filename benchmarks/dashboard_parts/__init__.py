"""The parts of `./pipeline bench dashboard`."""
