"""Data sets of the UCR and UEA archives."""
