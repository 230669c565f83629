"""The resources of machines, and how many trials fit on them."""
