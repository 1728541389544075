"""NTU RGB+D 60 and 120: everyday, medical and mutual actions before three depth cameras."""
