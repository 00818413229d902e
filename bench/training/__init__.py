"""What decides a number: the network, what of a graph a step sees, its loss, and the step."""
