"""One message to a webhook or Slack for each run that ends badly.

The sensor finds runs that have ended, sends their alerts, and retries those that could not be delivered. The receiver's
URL is a secret and appears in no text.
"""
