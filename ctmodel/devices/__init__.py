"""What a training computes on: processors, GPUs, several machines."""
