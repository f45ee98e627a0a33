"""What calculators tell beyond the results of single structures."""
