"""The ways on which a message leaves: webhooks, mail, and services through Apprise."""
