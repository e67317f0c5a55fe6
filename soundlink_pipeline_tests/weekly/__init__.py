"""The weekly report: what arrives, that it does so once, and that no receiver is shown."""
