"""How good faces made from voices are: protocols, baselines, intervals, a report."""
