"""Structure files of any kind: what ASE reads, with the charge and spin that they state."""
