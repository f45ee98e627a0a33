"""What tests share: tiny networks and their calculators, structures, checks, model files, runs of training, peers."""
