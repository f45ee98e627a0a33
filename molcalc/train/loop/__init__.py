"""The loop of training: batches, loss, steps, validation, checkpoints, several processes."""
