"""How a message reaches people: a webhook or Slack over HTTP, mail over SMTP, any other service through Apprise.

A receiver's URL is a secret: whatever goes wrong, nothing of it is in a text, a log or an error. Every delivery takes
bounded time. Apprise is imported by a process of its own alone.
"""
