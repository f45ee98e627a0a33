"""Loop of training: batches, loss, steps, validation, checkpoints, several processes."""
