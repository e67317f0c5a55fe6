"""Alerts for marketers: the rules over real marts, and that each is told once a day."""
