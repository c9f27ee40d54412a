"""Studies with people: made from a store, served as a page, scored as a report."""
