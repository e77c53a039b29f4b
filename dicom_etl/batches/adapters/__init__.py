"""PyTorch and TensorFlow; each imports its library only when it is asked for."""
